import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingest.feeds.yahoo import stream
from ingest.feeds.yahoo.live import YahooLive
from ingest.feeds.yahoo.messages import Translator
from ingest.history.source import Ask, SourceBusyError, SourceError
from ingest.live.connection import Connection
from ingest.live.source import Capability, Delivery
from market.errors import FeedError, ServiceError
from market.records import Quote, Record, Trade
from market.settings import Settings
from tests.unit.ingest.live.stream_server import Peer, Script, StreamServer
from tests.unit.ingest.live.yahoo_stream import frame
from warehouse.history import KnownClose, KnownCloses

TEN = datetime(2026, 11, 20, 15, tzinfo=UTC)
MILLIS = round(TEN.timestamp()) * 1000
GOOD = {"id": "SPY", "price": 182.01, "time": MILLIS, "exchange": "PCX", "quote_type": 20, "day_volume": 1_234_567}
GOOD_TRADE = Trade(
    "yahoo", "SPY", MILLIS * 1000, Decimal("182.01"), 1, f"{MILLIS}-1234567-182.01", 1_234_567, "PCX", "1"
)
SYMBOLS = ("BRK.B", "SPY")
DEADLINE_SECONDS = 20.0


class Heard:
    """A connection, and what it has brought so far."""

    def __init__(self, url: str) -> None:
        settings = Settings().model_copy(update={"yahoo_stream_url": url})
        source = YahooLive(settings, lambda: TEN + timedelta(seconds=1), lambda _: {})
        self.connection = Connection(source, SYMBOLS)
        self.deliveries: list[Delivery] = []

    def until(self, condition: Callable[["Heard"], object]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition(self):
            assert time.monotonic() < deadline, (self.deliveries, self.connection.error)
            self.deliveries += self.connection.take()
            time.sleep(0.005)

    def error(self) -> FeedError:
        self.until(lambda heard: heard.connection.error)
        assert self.connection.error is not None
        return self.connection.error

    @property
    def records(self) -> list[Record]:
        return [record for delivery in self.deliveries for record in delivery.records]

    @property
    def passed_over(self) -> list[dict[str, int]]:
        return [delivery.passed_over for delivery in self.deliveries if delivery.passed_over]


Listen = Callable[..., Heard]


@pytest.fixture
def listen() -> Iterator[Listen]:
    made: list[tuple[StreamServer, Heard]] = []

    def begin(*scripts: Script, refusals: Sequence[int] = ()) -> Heard:
        server = StreamServer(*scripts)
        server.refusals.extend(refusals)
        server.__enter__()
        made.append((server, Heard(server.url)))
        return made[-1][1]

    yield begin
    for server, heard in made:
        heard.connection.close()
        server.__exit__()


def saying(*frames: str | bytes, then: Callable[[Peer], None] = Peer.stay_silent) -> Script:
    def script(peer: Peer) -> None:
        peer.receive()
        for one in frames:
            peer.send(one)
        then(peer)

    return script


def test_it_subscribes_by_the_vendors_names_and_never_says_that_it_has_every_trade(listen: Listen) -> None:
    asked: list[Any] = []

    def script(peer: Peer) -> None:
        asked.append(json.loads(peer.receive()))
        peer.stay_silent()

    heard = listen(script)
    heard.until(lambda _: asked)
    assert sorted(asked[0]["subscribe"]) == ["BRK-B", "SPY"]
    assert YahooLive(Settings()).has_every_trade is False
    assert Capability.AMENDMENTS not in YahooLive(Settings()).capabilities


def test_other_symbols_are_subscribed_on_the_same_connection(listen: Listen) -> None:
    asked: list[Any] = []

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(frame(**GOOD))
        asked.extend(json.loads(peer.receive()) for _ in range(2))
        peer.send(frame(**{**GOOD, "id": "BRK-B"}))
        peer.send(frame(**{**GOOD, "id": "IBM"}))
        peer.stay_silent()

    heard = listen(script)
    heard.until(lambda heard: heard.records)
    heard.connection.subscribe(("IBM", "SPY"))
    heard.until(lambda heard: len(heard.records) == 2)
    assert asked[0] == {"unsubscribe": ["BRK-B"]}
    assert sorted(asked[1]["subscribe"]) == ["IBM", "SPY"]
    assert [record.symbol for record in heard.records] == ["SPY", "IBM"]
    assert heard.passed_over == [{"other_symbol": 1}]
    said = [delivery.subscribed for delivery in heard.deliveries if delivery.subscribed is not None]
    assert said == [frozenset(SYMBOLS), frozenset({"IBM", "SPY"})]


def test_a_message_is_a_sample_of_a_trade_and_the_same_message_the_same_sample(listen: Listen) -> None:
    heard = listen(saying(frame(**GOOD), frame(**GOOD), frame(**{**GOOD, "id": "BRK-B"})))
    heard.until(lambda heard: len(heard.records) == 2)
    first, other = heard.records
    assert first == GOOD_TRADE
    assert other.symbol == "BRK.B"
    assert heard.passed_over == [{"repeated": 1}]
    translator = Translator({"SPY": "SPY"})
    assert translator.delivery(GOOD) == translator.delivery(GOOD)


def test_a_size_is_taken_from_the_message_itself(listen: Listen) -> None:
    heard = listen(saying(frame(**GOOD, last_size=300)))
    heard.until(lambda heard: heard.records)
    (trade,) = heard.records
    assert isinstance(trade, Trade)
    assert trade.size == 300


def test_what_the_last_session_says_and_a_lone_price_far_off_are_passed_over(listen: Listen) -> None:
    stale = {**GOOD, "time": MILLIS - 86_400_000}
    odd = {**GOOD, "price": 18_201.0, "time": MILLIS + 100}
    heard = listen(saying(frame(**stale), frame(**GOOD), frame(**odd), frame(**{**GOOD, "id": "BRK-B"}), frame(**GOOD)))
    heard.until(lambda heard: len(heard.records) == 3)
    assert [record.symbol for record in heard.records] == ["SPY", "BRK.B", "SPY"]
    assert heard.records[0] == heard.records[2] == GOOD_TRADE
    assert heard.passed_over == [{"other_session": 1}, {"off_by_far": 1}]


def test_a_price_is_remembered_from_one_connection_to_the_next() -> None:
    source = YahooLive(Settings(), lambda: TEN, lambda _: {})
    odd = {**GOOD, "price": 18_201.0, "time": MILLIS + 100}
    records: list[Record] = []
    for message in (GOOD, odd):
        other = {**GOOD, "id": "BRK-B", "time": message["time"]}
        with StreamServer(saying(frame(**message), frame(**other))) as server:
            source._settings = Settings().model_copy(update={"yahoo_stream_url": server.url})
            connection = Connection(source, SYMBOLS)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not any(record.symbol == "BRK.B" for record in records):
                assert time.monotonic() < deadline
                records += [record for delivery in connection.take() for record in delivery.records]
            connection.close()
        assert [record for record in records if record.symbol == "SPY"] == [GOOD_TRADE]
        records = [record for record in records if record.symbol == "SPY"]


def test_closes_that_could_not_be_had_at_first_are_asked_for_again_on_the_same_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Ask] = []

    def known(ask: Ask) -> Mapping[str, KnownCloses]:
        asked.append(ask)
        if len(asked) == 1:
            msg = "PostgreSQL is away"
            raise ServiceError(msg)
        return {"SPY": KnownCloses(KnownClose("alpaca", 0, Decimal(1)))}

    def script(peer: Peer) -> None:
        peer.receive()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not source._samples._prices:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        peer.send(frame(**GOOD))
        peer.send(frame(**{**GOOD, "id": "BRK-B"}))
        peer.stay_silent()

    monkeypatch.setattr(stream, "LEARN_AGAIN_SECONDS", 0.01)
    with StreamServer(script) as server:
        settings = Settings().model_copy(update={"yahoo_stream_url": server.url})
        source = YahooLive(settings, lambda: TEN + timedelta(seconds=1), known)
        connection = Connection(source, SYMBOLS)
        records: list[Record] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not records:
            assert time.monotonic() < deadline, connection.error
            records += [record for delivery in connection.take() for record in delivery.records]
        connection.close()
    assert [record.symbol for record in records] == ["BRK.B"], "the other is far from its close"
    assert len(asked) == 2


def test_a_bid_and_an_ask_are_a_quote(listen: Listen) -> None:
    heard = listen(saying(frame(**GOOD, bid=182.0, bid_size=4, ask=182.02)))
    heard.until(lambda heard: heard.records)
    _, quote = heard.records
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (Decimal("182.0"), 4, Decimal("182.02"), None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "IBM"}, "other_symbol"),
        ({"quote_type": 41}, "no_share"),
        ({"currency": "EUR"}, "other_currency"),
        ({"price": 0.0}, "no_price"),
        ({"price": float("nan")}, "no_price"),
        ({"price": -1.0}, "no_price"),
        ({"time": 0}, "outside_session"),
        ({"time": MILLIS + 86_400_000}, "outside_session"),
        ({"time": 2**62}, "outside_session"),
    ],
)
def test_what_cannot_be_a_trade_is_passed_over_and_counted(listen: Listen, change: dict[str, Any], reason: str) -> None:
    heard = listen(saying(frame(**{**GOOD, **change}), frame(**GOOD)))
    heard.until(lambda heard: heard.records)
    assert heard.records == [GOOD_TRADE]
    assert heard.passed_over == [{reason: 1}]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "unreadable_frame"),
        ("[]", "other_frame"),
        ('{"message": 3}', "other_frame"),
        ('{"message": "%%%"}', "other_symbol"),
        ('{"message": "CgNT"}', "unreadable_frame"),
        (b"\xff\xfe", "unreadable_frame"),
    ],
)
def test_a_frame_that_cannot_be_read_is_passed_over_and_counted(listen: Listen, bad: str | bytes, reason: str) -> None:
    heard = listen(saying(bad, frame(**GOOD)))
    heard.until(lambda heard: heard.records)
    assert heard.records == [GOOD_TRADE]
    assert heard.passed_over == [{reason: 1}]


@pytest.mark.parametrize(
    "end", [Peer.cut, lambda peer: peer.connection.close(1000), lambda peer: peer.connection.close(1011)]
)
def test_whoever_ends_the_connection_it_has_ended(listen: Listen, end: Callable[[Peer], None]) -> None:
    heard = listen(saying(frame(**GOOD), then=end))
    error = heard.error()
    assert type(error) is SourceBusyError
    assert heard.records == [GOOD_TRADE], "what came before is not lost"


@pytest.mark.parametrize(
    ("status", "kind"), [(403, SourceError), (404, SourceError), (429, SourceBusyError), (503, SourceBusyError)]
)
def test_a_handshake_that_fails_says_whether_to_try_again(listen: Listen, status: int, kind: type[FeedError]) -> None:
    error = listen(saying(), refusals=[status]).error()
    assert type(error) is kind
    assert str(status) in str(error)


def test_nobody_at_the_address_is_busy() -> None:
    assert type(Heard("ws://127.0.0.1:1").error()) is SourceBusyError


def test_the_client_asks_again_for_its_symbols_and_leaves_nothing_behind(listen: Listen) -> None:
    heard = listen(saying())
    heard.until(lambda heard: heard.deliveries)
    before = time.monotonic()
    heard.connection.close()
    assert time.monotonic() - before < 5


def test_prices_below_the_wires_precision_are_rounded_or_none() -> None:
    translator = Translator({"SPY": "SPY"})
    assert translator.delivery({**GOOD, "price": 0.12345678}).records[0].price == Decimal("0.123457")  # type: ignore[union-attr]
    assert translator.delivery({**GOOD, "price": 1e-7}).passed_over == {"no_price": 1}
