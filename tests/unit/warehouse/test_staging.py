"""Arrow rows on their way to PostgreSQL: exact types, and the newest quote of each side."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.tables import PG_BARS, PG_QUOTES_1M, QUOTES, Column, DataType
from warehouse.staging import (
    LATEST_QUOTE_COLUMNS,
    PLACED_QUOTE_COLUMNS,
    QUOTE_COLUMNS,
    arrow_schema,
    conform,
    latest_quotes,
    minute_quotes,
)

START = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
PRICE = Column("price", DataType.PRICE, "Price.")


def test_a_float_never_becomes_a_price() -> None:
    with pytest.raises(TypeError, match="never carried as a float"):
        conform(pa.table({"price": [1.5]}), [PRICE])


def test_a_price_with_more_than_six_decimals_is_refused_not_rounded() -> None:
    with pytest.raises(pa.ArrowInvalid):
        conform(pa.table({"price": [Decimal("1.0000001")]}), [PRICE])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(TypeError, match="lack the column price"):
        conform(pa.table({"volume": [1]}), [PRICE])


def test_columns_come_in_the_declared_order_and_types() -> None:
    schema = arrow_schema(PG_BARS.columns)
    rows = pa.table({name: pa.array([], schema.field(name).type) for name in reversed(schema.names)})
    assert conform(rows, PG_BARS.columns).schema.types == schema.types
    assert conform(rows, PG_BARS.columns).column_names == list(PG_BARS.column_names)


sides = st.none() | st.tuples(st.integers(1, 3), st.none() | st.integers(1, 2))
quotes = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["IBM", "SPY"]),
            "second": st.integers(0, 2),
            "sequence": st.integers(0, 2),
            "bid": sides,
            "ask": sides,
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)  # the first call loads Arrow's kernels
@given(quotes)
def test_each_side_is_that_of_the_last_quote_that_has_it(given_quotes: list[dict[str, Any]]) -> None:
    rows = [
        {
            "source": "lean",
            "symbol": quote["symbol"],
            "quoted_at": START + timedelta(seconds=quote["second"]),
            "sequence": quote["sequence"],
            **{
                column: value
                for side in ("bid", "ask")
                for column, value in (
                    (side, Decimal(quote[side][0]) if quote[side] else None),
                    (f"{side}_size", quote[side][1] if quote[side] else None),
                )
            },
        }
        for quote in given_quotes
    ]
    schema = pa.schema(
        [
            ("source", pa.string()),
            ("symbol", pa.string()),
            ("quoted_at", pa.timestamp("us", "UTC")),
            ("sequence", pa.int64()),
            ("bid", pa.decimal128(18, 6)),
            ("bid_size", pa.int64()),
            ("ask", pa.decimal128(18, 6)),
            ("ask_size", pa.int64()),
        ]
    )
    assert set(schema.names) == set(QUOTE_COLUMNS)
    expected = {}
    for symbol in {row["symbol"] for row in rows}:
        own = [row for row in rows if row["symbol"] == symbol]
        latest: dict[str, Any] = {"source": "lean", "symbol": symbol, "quoted_at": max(row["quoted_at"] for row in own)}
        for side in ("bid", "ask"):
            known = [row for row in own if row[side] is not None]
            last = max(
                known,
                key=lambda row: (row["quoted_at"], row["sequence"], row[side], row[f"{side}_size"] or -1),
                default=None,
            )
            latest[side] = last[side] if last else None
            latest[f"{side}_size"] = last[f"{side}_size"] if last else None
            latest[f"{side}_at"] = last["quoted_at"] if last else None
            latest[f"{side}_sequence"] = last["sequence"] if last else None
        expected[symbol] = latest
    found = latest_quotes(pa.Table.from_pylist(rows, schema))
    assert found.column_names == [column.name for column in LATEST_QUOTE_COLUMNS]
    assert {row["symbol"]: row for row in found.to_pylist()} == expected


def test_each_minute_has_what_was_named_within_it_and_says_when_that_came() -> None:
    at = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
    place = {"source": "lean", "symbol": "IBM", "session_date": at.date(), "segment": "regular", "sequence": 0}
    sides = dict.fromkeys(("bid", "bid_size", "ask", "ask_size"))
    quotes = [
        {"quoted_at": at, "bid": Decimal(10), "bid_size": 5, "ingested_at": at},
        {"quoted_at": at + timedelta(seconds=59.999999), "bid": Decimal(11), "ingested_at": at + timedelta(seconds=80)},
        {"quoted_at": at + timedelta(seconds=30), "ask": Decimal(12), "ingested_at": at + timedelta(seconds=90)},
        {"quoted_at": at + timedelta(seconds=30), "ask": Decimal(12), "ingested_at": at + timedelta(seconds=70)},
        {"quoted_at": at + timedelta(seconds=60), "ask": Decimal(13), "ask_size": 7, "ingested_at": at},
    ]
    schema = arrow_schema([column for column in QUOTES.columns if column.name in PLACED_QUOTE_COLUMNS])
    found = minute_quotes(pa.Table.from_pylist([{**place, **sides, **quote} for quote in quotes], schema))
    assert tuple(found.column_names) == PG_QUOTES_1M.column_names
    first, second = sorted(found.to_pylist(), key=lambda row: row["bar_at"])
    assert (first["bar_at"], first["bid"], first["bid_size"], first["ask"]) == (at, 11, None, 12)
    assert (first["bid_at"], first["ask_at"]) == (quotes[1]["quoted_at"], quotes[2]["quoted_at"])
    assert first["revised_at"] == at + timedelta(seconds=80), "the ask was there since 70"
    assert (second["bar_at"], second["bid"], second["ask_size"]) == (at + timedelta(minutes=1), None, 7)
    assert (second["session_date"], second["segment"], second["revised_at"]) == (at.date(), "regular", at)
