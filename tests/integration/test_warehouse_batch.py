"""A batch of the stream in PostgreSQL: whole or not at all, once, and the same whatever the batches were."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from market.errors import ServiceError
from market.settings import Settings
from market.tables import FEED_STATUS, PG_BARS, QUOTES, VENDOR_BARS
from warehouse.batch import BatchOutput, publish_batch
from warehouse.connection import connect
from warehouse.progress import (
    bars_changed_since,
    last_batch,
    newest_ingested_at,
    next_offsets,
    stream_status,
    wait_for_offsets,
)
from warehouse.staging import PLACED_QUOTE_COLUMNS, arrow_schema

pytestmark = pytest.mark.integration

OPEN_AT = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
EXACT = Decimal("123456789012.123457")
few_examples = hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with connect(settings) as connection:
        empty(connection)
        yield connection


def empty(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "truncate lake.bars_1m, lake.vendor_bars, lake.latest_quotes, lake.quotes_1m, lake.stream_batches, lake.stream_offsets, "
        "lake.bar_sessions, lake.feed_coverage, lake.trading_halts"
    )
    connection.commit()


def read(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    rows = connection.execute(query.encode()).fetchall()
    connection.rollback()
    return rows


def batch(number: int = 0, **changes: Any) -> BatchOutput:
    base = BatchOutput(query_id="q", batch_id=number, ingested_at=OPEN_AT, started_monotonic=time.monotonic())
    return replace(base, **changes)


def bar(minute: int = 0, revision: int = 1, price: Decimal | None = EXACT) -> dict[str, Any]:
    return {
        "source": "lean",
        "symbol": "IBM",
        "bar_at": OPEN_AT + timedelta(minutes=minute),
        "session_date": OPEN_AT.date(),
        "segment": "regular",
        "open": price,
        "high": price,
        "low": price,
        "close": price,
        "volume": 100 * revision,
        "notional": Decimal("12345678901234567890.123457"),
        "vwap": price,
        "trade_count": revision,
        "excluded_trade_count": 0,
        "left_out": None,
        "cancelled_trade_count": 0,
        "corrected_trade_count": 0,
        "revision": revision,
        "revised_at": OPEN_AT + timedelta(microseconds=revision),
    }


def bar_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(PG_BARS.columns))


def vendor_bar(offset: int, close: int, minute: int = 0) -> dict[str, Any]:
    return {
        "source": "sample",
        "symbol": "IBM",
        "interval": "1d",
        "bar_at": OPEN_AT + timedelta(minutes=minute),
        "session_date": OPEN_AT.date(),
        **dict.fromkeys(("open", "high", "low", "close"), Decimal(close)),
        "volume": 1,
        "topic": "market.bars.v1",
        "partition": 0,
        "offset": offset,
        "ingested_at": OPEN_AT,
    }


def vendor_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(VENDOR_BARS.columns))


def quote_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        list(rows), arrow_schema([column for column in QUOTES.columns if column.name in PLACED_QUOTE_COLUMNS])
    )


def test_values_arrive_to_the_last_digit(connection: psycopg.Connection[Any]) -> None:
    rows = [bar(0), bar(1, price=None)]
    assert publish_batch(connection, batch(bar_rows=bar_table(rows)))
    stored = read(connection, f"select {', '.join(PG_BARS.column_names)} from lake.bars_1m order by bar_at")
    assert stored == [tuple(row[name] for name in PG_BARS.column_names) for row in rows]


def test_a_batch_that_comes_again_changes_nothing(connection: psycopg.Connection[Any]) -> None:
    first = batch(7, bar_rows=bar_table([bar()]), bars=1, messages=3, next_offsets={("t", 0): 3})
    assert publish_batch(connection, first)
    again = replace(first, bar_rows=bar_table([bar(revision=9)]), next_offsets={("t", 0): 99})
    assert not publish_batch(connection, again)
    assert read(connection, "select revision from lake.bars_1m") == [(1,)]
    assert read(connection, "select batch_id, messages, bars from lake.stream_batches") == [(7, 3, 1)]
    assert read(connection, "select next_offset from lake.stream_offsets") == [(3,)]
    assert publish_batch(connection, replace(again, query_id="another checkpoint"))


def test_a_bar_that_is_called_new_and_is_there_keeps_its_newer_revision(connection: psycopg.Connection[Any]) -> None:
    publish_batch(connection, batch(0, bar_rows=bar_table([bar(0, revision=4), bar(1)])))
    others = [bar(1, price=Decimal(7)), bar(2), bar(3, revision=2)]
    publish_batch(connection, batch(1, query_id="another lake", bar_rows=bar_table([bar(0), *others])))
    stored = read(connection, "select revision, open = 7 from lake.bars_1m order by bar_at")
    assert stored == [(4, False), (1, False), (1, False), (2, False)]


def test_a_batch_that_fails_leaves_nothing_and_can_be_published_after(connection: psycopg.Connection[Any]) -> None:
    broken = batch(bar_rows=bar_table([bar()]), quote_rows=pa.table({"bid": [1.5]}), next_offsets={("t", 0): 1})
    with pytest.raises(TypeError):
        publish_batch(connection, broken)
    for table in ("bars_1m", "bar_sessions", "stream_batches", "stream_offsets"):
        assert read(connection, f"select count(*) from lake.{table}") == [(0,)]
    assert publish_batch(connection, replace(broken, quote_rows=None))


def test_an_open_transaction_is_refused_because_the_batch_would_not_be_committed(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute("select 1")
    with pytest.raises(ValueError, match="without an open transaction"):
        publish_batch(connection, batch())


def test_offsets_never_move_back(connection: psycopg.Connection[Any], settings: Settings) -> None:
    publish_batch(connection, batch(0, next_offsets={("t", 0): 10, ("t", 1): 5}))
    publish_batch(connection, batch(1, next_offsets={("t", 0): 8, ("t", 1): 6, ("u", 0): 1}))
    assert next_offsets(settings) == {("t", 0): 10, ("t", 1): 6, ("u", 0): 1}


def test_the_newest_stamp_is_that_of_the_query_and_of_earlier_batches(
    connection: psycopg.Connection[Any], settings: Settings
) -> None:
    assert newest_ingested_at(settings, "query", before_batch=9) is None
    for query_id, batch_id, seconds in (("query", 3, 5), ("query", 4, 1), ("query", 5, 9), ("other", 1, 20)):
        stamp = OPEN_AT + timedelta(seconds=seconds)
        publish_batch(connection, replace(batch(batch_id), query_id=query_id, ingested_at=stamp))
    assert newest_ingested_at(settings, "query", before_batch=5) == OPEN_AT + timedelta(seconds=5)


def cut(rows: Sequence[Any], sizes: Sequence[int]) -> Iterator[list[Any]]:
    start = 0
    for size in sizes:
        yield list(rows[start : start + size])
        start += size
    yield list(rows[start:])


cuts = st.lists(st.integers(0, 4), max_size=4)
revisions = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), unique=True, min_size=1, max_size=12)


@few_examples
@given(revisions=revisions.flatmap(st.permutations), sizes=cuts)
def test_bars_are_the_highest_revisions_in_any_order_and_any_batches(
    connection: psycopg.Connection[Any], revisions: list[tuple[int, int]], sizes: list[int]
) -> None:
    empty(connection)
    for number, part in enumerate(cut(revisions, sizes)):
        assert publish_batch(connection, batch(number, bar_rows=bar_table([bar(*key) for key in part])))
    expected = {minute: max(r for m, r in revisions if m == minute) for minute, _ in revisions}
    stored = read(connection, f"select {', '.join(PG_BARS.column_names)} from lake.bars_1m order by bar_at")
    assert stored == [tuple(bar(minute, revision).values()) for minute, revision in sorted(expected.items())]
    assert read(connection, "select bar_count from lake.bar_sessions") == [(len(expected),)]


@few_examples
@given(versions=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3)), min_size=1, max_size=10), sizes=cuts)
def test_vendor_bars_are_the_newest_versions_and_count_only_other_values(
    connection: psycopg.Connection[Any], versions: list[tuple[int, int]], sizes: list[int]
) -> None:
    empty(connection)
    rows = [vendor_bar(offset, close, minute) for offset, (minute, close) in enumerate(versions)]
    for number, part in enumerate(cut(rows, sizes)):
        publish_batch(connection, batch(number, vendor_bar_rows=vendor_table(part)))
    expected = []
    for minute in sorted({minute for minute, _ in versions}):
        closes = [(offset, close) for offset, (m, close) in enumerate(versions) if m == minute]
        changes = sum(1 for _ in groupby(closes, key=lambda version: version[1]))
        expected.append((OPEN_AT + timedelta(minutes=minute), *closes[-1][::-1], changes))
    assert (
        read(connection, 'select bar_at, close, "offset", revision from lake.vendor_bars order by bar_at') == expected
    )


def test_an_older_version_of_a_vendor_bar_is_ignored(connection: psycopg.Connection[Any]) -> None:
    publish_batch(connection, batch(0, vendor_bar_rows=vendor_table([vendor_bar(5, 50)])))
    publish_batch(connection, batch(1, vendor_bar_rows=vendor_table([vendor_bar(4, 40)])))
    assert read(connection, 'select close, "offset", revision from lake.vendor_bars') == [(50, 5, 1)]


sides = st.none() | st.tuples(st.integers(1, 3), st.none() | st.integers(1, 2))
a_quote = st.tuples(st.integers(0, 2), st.integers(0, 2), sides, sides).filter(lambda quote: quote[2:] != (None, None))
quotes = st.lists(a_quote, min_size=1, max_size=10)


@few_examples
@given(quotes=quotes, sizes=cuts)
def test_a_late_quote_never_overwrites_a_newer_side(
    connection: psycopg.Connection[Any],
    quotes: list[tuple[int, int, tuple[int, int | None] | None, tuple[int, int | None] | None]],
    sizes: list[int],
) -> None:
    empty(connection)
    rows = [
        {
            "source": "lean",
            "symbol": "IBM",
            "quoted_at": OPEN_AT + timedelta(seconds=second),
            "sequence": sequence,
            "bid": Decimal(bid[0]) if bid else None,
            "bid_size": bid[1] if bid else None,
            "ask": Decimal(ask[0]) if ask else None,
            "ask_size": ask[1] if ask else None,
            "session_date": OPEN_AT.date(),
            "segment": "regular",
            "ingested_at": OPEN_AT,
        }
        for second, sequence, bid, ask in quotes
    ]
    for number, part in enumerate(cut(rows, sizes)):
        publish_batch(connection, batch(number, quote_rows=quote_table(part)))

    def newest(side: int) -> tuple[Any, ...]:
        known = [(q[0], q[1], q[side][0], q[side][1] or 0) for q in quotes if q[side] is not None]  # type: ignore[index]
        if not known:
            return (None, None, None)
        second, _, price, size = max(known)
        return (price, size or None, OPEN_AT + timedelta(seconds=second))

    newest_at = OPEN_AT + timedelta(seconds=max(q[0] for q in quotes))
    assert read(
        connection, "select quoted_at, bid, bid_size, bid_at, ask, ask_size, ask_at from lake.latest_quotes"
    ) == [(newest_at, *newest(2), *newest(3))]


@few_examples
@given(
    spans=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), min_size=1, max_size=12),
    halts=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["halt", "resume"])), max_size=6),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
)
def test_coverage_and_halts_are_sets_whatever_the_order_the_repeats_and_the_batches(
    connection: psycopg.Connection[Any], spans: list[tuple[int, int]], halts: list[tuple[int, str]], sizes: list[int]
) -> None:
    empty(connection)
    rows = [status("heartbeat", start + length, start) for start, length in spans]
    rows += [status(kind, second) for second, kind in halts]
    for number, part in enumerate(cut(rows, sizes)):
        table = pa.Table.from_pylist(part, arrow_schema(FEED_STATUS.columns))
        publish_batch(connection, batch(number, status_rows=table, statuses=len(part)))
    covered = {second for start, length in spans for second in range(start, start + length)}
    edges = "select lower(span), upper(span) from lake.feed_coverage, unnest(covered) as span order by 1"
    assert read(connection, edges) == [
        (OPEN_AT + timedelta(seconds=first), OPEN_AT + timedelta(seconds=last + 1))
        for first in sorted(covered)
        if first - 1 not in covered
        for last in [next(second for second in range(first, 60) if second + 1 not in covered)]
    ]
    known = read(connection, "select changed_at, kind from lake.trading_halts order by 1, 2")
    assert known == sorted({(OPEN_AT + timedelta(seconds=second), kind) for second, kind in halts})


def status(kind: str, second: int, since: int | None = None) -> dict[str, Any]:
    return {
        "source": "lean",
        "symbol": "IBM",
        "kind": kind,
        "since_at": None if since is None else OPEN_AT + timedelta(seconds=since),
        "status_at": OPEN_AT + timedelta(seconds=second),
        "session_date": None if since is None else OPEN_AT.date(),
        "reason": "",
        "topic": "t",
        "partition": 0,
        "offset": second,
        "ingested_at": OPEN_AT,
    }


def test_two_writers_of_the_same_bars_do_not_deadlock(
    settings: Settings, connection: psycopg.Connection[Any], run_together: Callable[..., list[Any]]
) -> None:
    rows = [bar(minute) for minute in range(200)]

    def write(query_id: str, ordered: list[dict[str, Any]]) -> bool:
        with connect(settings) as own:
            return all(
                publish_batch(
                    own, batch(n, query_id=query_id, bar_rows=bar_table([{**r, "revision": n} for r in own_rows]))
                )
                for n, own_rows in enumerate([rows, *[ordered] * 6], 1)
            )

    assert run_together(lambda: write("forwards", rows), lambda: write("backwards", rows[::-1])) == [True, True]
    assert read(connection, "select count(*), min(revision) from lake.bars_1m") == [(200, 7)]


@pytest.fixture
def run_together() -> Callable[..., list[Any]]:
    from concurrent.futures import ThreadPoolExecutor

    def run(*functions: Callable[[], Any]) -> list[Any]:
        with ThreadPoolExecutor(len(functions)) as pool:
            return [future.result(timeout=60) for future in [pool.submit(function) for function in functions]]

    return run


def test_progress_tells_what_the_batches_brought(connection: psycopg.Connection[Any], settings: Settings) -> None:
    before = datetime.now(UTC)
    assert last_batch(settings) is None
    assert not bars_changed_since(settings, before)
    publish_batch(connection, batch(0, messages=2, next_offsets={("t", 0): 2}))
    assert not bars_changed_since(settings, before)
    publish_batch(
        connection, batch(1, bar_rows=bar_table([bar(0), bar(3)]), bars=2, messages=5, newest_event_at=OPEN_AT)
    )
    assert bars_changed_since(settings, before)
    assert not bars_changed_since(settings, before + timedelta(minutes=5))
    status = stream_status(settings)
    assert status.last_batch == last_batch(settings)
    assert status.last_batch is not None
    assert (status.last_batch.batch_id, status.last_batch.messages) == (1, 5)
    assert (status.bars, status.vendor_bars, status.quoted_symbols) == (2, 0, 0)
    assert status.newest_bar_at == OPEN_AT + timedelta(minutes=3)
    assert status.newest_bar_revised_at == OPEN_AT + timedelta(microseconds=1)


def test_waiting_ends_when_the_offsets_are_reached_and_else_says_how_many_are_missing(
    connection: psycopg.Connection[Any], settings: Settings
) -> None:
    publish_batch(connection, batch(0, next_offsets={("t", 0): 10}))
    remaining: list[int] = []
    wait_for_offsets(settings, {("t", 0): 10, ("u", 0): 0}, timeout_seconds=5, on_progress=remaining.append)
    assert remaining == [0]
    with pytest.raises(ServiceError, match="1,003 messages are still not in PostgreSQL"):
        wait_for_offsets(settings, {("t", 0): 13, ("u", 0): 1000}, timeout_seconds=0.3)


def test_waiting_sees_a_batch_that_comes_meanwhile(
    connection: psycopg.Connection[Any], settings: Settings, run_together: Callable[..., list[Any]]
) -> None:
    seen: list[int] = []

    def publish_after_the_first_look() -> None:
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        publish_batch(connection, batch(0, next_offsets={("t", 0): 4}))

    run_together(
        lambda: wait_for_offsets(settings, {("t", 0): 4}, timeout_seconds=20, on_progress=seen.append),
        publish_after_the_first_look,
    )
    assert (seen[0], seen[-1]) == (4, 0)
