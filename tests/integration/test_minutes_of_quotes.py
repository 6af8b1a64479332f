"""The last bid and ask of each minute as batches leave them in PostgreSQL, against DuckDB over all quotes at once."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import cycle
from typing import Any, Final

import duckdb
import polars as pl
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from market.settings import Settings
from tests.integration.alert_rows import LAST
from tests.integration.quote_rows import SCHEMA, publish_rows
from warehouse.connection import connect

pytestmark = pytest.mark.integration

OF_SIDE: Final = """
    arg_max({side}, ({order})) filter (where {side} is not null),
    arg_max(coalesce({side}_size, -1), ({order})) filter (where {side} is not null),
    arg_max(quoted_at, ({order})) filter (where {side} is not null),
    arg_max(sequence, ({order})) filter (where {side} is not null),
    arg_max(arrival, ({order}, -arrival)) filter (where {side} is not null)
"""
ORDER: Final = "quoted_at, sequence, {side}, coalesce({side}_size, -1)"
ORACLE: Final = f"""
with minutes as (
    select
        symbol, date_trunc('minute', quoted_at) as bar_at,
        {", ".join(OF_SIDE.format(side=side, order=ORDER.format(side=side)) for side in ("bid", "ask"))}
    from quotes group by 1, 2
)
select * from minutes order by 1, 2
"""
STORED: Final = """
select symbol, bar_at, bid, case when bid is not null then coalesce(bid_size, -1) end, bid_at, bid_sequence,
    ask, case when ask is not null then coalesce(ask_size, -1) end, ask_at, ask_sequence, revised_at, session_date, segment
from lake.quotes_1m order by symbol, bar_at
"""


@pytest.fixture
def empty(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with connect(settings) as connection:
        connection.autocommit = True
        yield connection
        connection.execute("truncate lake.quotes_1m, lake.latest_quotes, lake.stream_batches")


side = st.none() | st.tuples(st.integers(1, 3), st.none() | st.integers(0, 2))
quotes = st.lists(
    st.tuples(
        st.sampled_from(["IBM", "SPY"]), st.sampled_from([0, 59.999999, 60, 61]), st.integers(0, 1), side, side
    ).filter(lambda quote: quote[3] is not None or quote[4] is not None),
    min_size=1,
    max_size=14,
)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(quotes=quotes, sizes=st.lists(st.integers(1, 6), min_size=1))
def test_any_order_and_any_batches_leave_the_same_minutes(
    empty: psycopg.Connection[Any], quotes: list[tuple[Any, ...]], sizes: list[int]
) -> None:
    empty.execute("truncate lake.quotes_1m, lake.latest_quotes, lake.stream_batches")
    rows = [
        {
            "source": "lean",
            "symbol": symbol,
            "quoted_at": LAST.open_at + timedelta(seconds=second),
            "session_date": LAST.session_date,
            "segment": "regular",
            "sequence": sequence,
            "bid": Decimal(bid[0]) if bid else None,
            "bid_size": bid[1] if bid else None,
            "ask": Decimal(ask[0]) if ask else None,
            "ask_size": ask[1] if ask else None,
        }
        for symbol, second, sequence, bid, ask in quotes
    ]
    start, turns = 0, cycle(sizes)
    while start < len(rows):
        end = start + next(turns)
        publish_rows(empty, rows[start:end])
        start = end
    every = pa.Table.from_pylist(rows, SCHEMA)
    frame = pl.DataFrame(every).with_columns(pl.col("ingested_at").dt.epoch("us").alias("arrival"))
    with duckdb.connect() as oracle:
        oracle.execute("set timezone = 'UTC'")
        oracle.register("quotes", frame.to_arrow())
        expected = oracle.execute(ORACLE).fetchall()
    stored = empty.execute(STORED).fetchall()
    assert [row[:10] for row in stored] == [(*row[:6], *row[7:11]) for row in expected]
    arrived = [max(arrival for arrival in (row[6], row[11]) if arrival is not None) for row in expected]
    assert [int(row[10].timestamp() * 10**6) for row in stored] == arrived
    assert {row[11:] for row in stored} == {(LAST.session_date, "regular")}
    assert {row[1].second for row in stored} == {0}
