"""What every feed must do: each feed's tests subclass this and give only fixtures."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ingest.feeds import Feed, FeedRequest
from market.errors import FeedError, UsageError
from market.instruments import parse_symbols
from market.records import (
    MAX_PRICE,
    MAX_SEQUENCE,
    MAX_SIZE_SHARES,
    Bar,
    Cancel,
    Correction,
    Halt,
    Heartbeat,
    Quote,
    Record,
    Resume,
    Trade,
    decode,
    encode,
)
from market.sessions import session_at


def moment_of(record: Record) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=record.ts)


def identity_of(record: Record) -> tuple[str, ...]:
    if isinstance(record, Trade):
        return ("trade", record.source, record.symbol, record.trade_id)
    if isinstance(record, Quote):
        return ("quote", record.source, record.symbol, record.quote_id)
    if isinstance(record, Cancel | Correction):
        return ("amendment", record.source, record.symbol, record.ref_id, str(record.ts))
    if isinstance(record, Heartbeat):
        return ("heartbeat", record.source, record.symbol, str(record.since), str(record.ts))
    if isinstance(record, Halt | Resume):
        return (type(record).__name__, record.source, record.symbol, str(record.ts))
    assert isinstance(record, Bar)
    return ("bar", record.source, record.symbol, record.interval, str(record.ts))


def assert_price(price: Decimal) -> None:
    exponent = price.as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent >= -6
    assert 0 < price < MAX_PRICE


def assert_sequence(sequence: int | None) -> None:
    assert sequence is not None
    assert 0 <= sequence <= MAX_SEQUENCE


def assert_valid(record: Record) -> None:
    assert parse_symbols(record.symbol) == (record.symbol,)
    if isinstance(record, Trade):
        assert_price(record.price)
        assert 0 < record.size <= MAX_SIZE_SHARES
        assert_sequence(record.sequence)
    elif isinstance(record, Quote):
        assert record.bid is not None or record.ask is not None
        for price, size in ((record.bid, record.bid_size), (record.ask, record.ask_size)):
            assert (price is None) == (size is None)
            if price is not None:
                assert_price(price)
        assert_sequence(record.sequence)
    elif isinstance(record, Bar):
        for price in (record.open, record.high, record.low, record.close):
            assert_price(price)
        assert record.low <= min(record.open, record.close)
        assert max(record.open, record.close) <= record.high
        assert 0 <= record.volume <= MAX_SIZE_SHARES
    elif isinstance(record, Heartbeat):
        first, last = (
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us) for us in (record.since, record.ts - 1)
        )
        assert first <= last
        assert session_at(first) is not None
        assert session_at(first) == session_at(last)


class FeedContract:
    """Subclasses provide the fixtures ``feed``, ``request_small`` (two symbols, a few sessions) and ``unknown_symbol``."""

    @pytest.fixture
    def feed(self) -> Feed:
        raise NotImplementedError

    @pytest.fixture
    def request_small(self) -> FeedRequest:
        raise NotImplementedError

    @pytest.fixture
    def unknown_symbol(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def records(self, feed: Feed, request_small: FeedRequest) -> list[Record]:
        return list(feed.read(request_small))

    def test_gives_records_of_the_symbols_asked_for_only(
        self, records: Sequence[Record], request_small: FeedRequest
    ) -> None:
        assert {record.symbol for record in records} == set(request_small.symbols)

    def test_names_itself_as_the_source(self, feed: Feed, records: Sequence[Record]) -> None:
        assert {record.source for record in records} == {feed.name}

    def test_records_satisfy_the_invariants(self, records: Sequence[Record]) -> None:
        for record in records:
            assert_valid(record)

    def test_records_survive_encoding(self, records: Sequence[Record]) -> None:
        assert [decode(encode(record)) for record in records] == list(records)

    def test_records_come_in_order_of_event_time_then_symbol(self, records: Sequence[Record]) -> None:
        keys = [(record.ts, record.symbol) for record in records if not isinstance(record, Heartbeat)]
        assert keys == sorted(keys)

    def test_every_trade_is_covered_by_a_heartbeat_that_comes_after_it(self, records: Sequence[Record]) -> None:
        waiting: list[Trade] = []
        for record in records:
            if isinstance(record, Trade):
                waiting.append(record)
            elif isinstance(record, Heartbeat):
                covered = (record.symbol, record.since, record.ts)
                waiting = [t for t in waiting if not (t.symbol == covered[0] and covered[1] <= t.ts < covered[2])]
        assert waiting == []

    def test_heartbeats_of_a_symbol_do_not_overlap(self, records: Sequence[Record]) -> None:
        ends: dict[str, int] = {}
        for record in records:
            if isinstance(record, Heartbeat):
                assert record.since >= ends.get(record.symbol, 0)
                ends[record.symbol] = record.ts

    def test_sequences_of_a_kind_and_symbol_rise_within_a_session(self, records: Sequence[Record]) -> None:
        last: dict[tuple[object, ...], int] = {}
        for record in records:
            if not isinstance(record, Trade | Quote):
                continue
            session = session_at(moment_of(record))
            key = (type(record), record.symbol, session.session_date if session else None)
            assert record.sequence is not None
            assert record.sequence > last.get(key, 0)
            last[key] = record.sequence

    def test_identities_are_unique(self, records: Sequence[Record]) -> None:
        assert len({identity_of(record) for record in records}) == len(records)

    def test_times_lie_inside_sessions_of_the_range(
        self, records: Sequence[Record], request_small: FeedRequest
    ) -> None:
        assert request_small.start is not None
        assert request_small.end is not None
        for record in records:
            if isinstance(record, Heartbeat):
                continue  # see assert_valid
            session = session_at(moment_of(record))
            assert session is not None
            assert request_small.start <= session.session_date <= request_small.end

    def test_the_same_request_gives_equal_records_twice(
        self, feed: Feed, request_small: FeedRequest, records: Sequence[Record]
    ) -> None:
        assert list(feed.read(request_small)) == list(records)

    def test_check_tells_how_many_records_there_will_be(
        self, feed: Feed, request_small: FeedRequest, records: Sequence[Record]
    ) -> None:
        assert feed.check(request_small) == len(records)

    def test_a_symbol_gives_the_same_records_alone_as_with_others(
        self, feed: Feed, request_small: FeedRequest, records: Sequence[Record]
    ) -> None:
        symbol = request_small.symbols[0]
        alone = list(feed.read(replace(request_small, symbols=(symbol,))))
        assert alone == [record for record in records if record.symbol == symbol]

    def test_an_unknown_symbol_fails_before_the_first_record_and_names_it(
        self, feed: Feed, request_small: FeedRequest, unknown_symbol: str
    ) -> None:
        request = replace(request_small, symbols=(*request_small.symbols, unknown_symbol))
        for ask in (feed.check, feed.read):
            with pytest.raises(FeedError, match=unknown_symbol):
                ask(request)

    def test_an_end_before_the_start_is_a_usage_error(self, request_small: FeedRequest) -> None:
        with pytest.raises(UsageError, match="lies before the start"):
            replace(request_small, start=date(2013, 10, 8), end=date(2013, 10, 7))

    def test_days_without_a_session_give_nothing_and_say_so(self, feed: Feed, request_small: FeedRequest) -> None:
        for ask in (feed.check, feed.read):
            with pytest.raises(FeedError):
                ask(replace(request_small, start=date(2013, 2, 16), end=date(2013, 2, 18)))
