"""PostgreSQL as a test wants it: what the proofs ask of it, from rows that the test wrote."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from market import tables
from market.tables import DataType, Table
from tests.unit.verify.fake_indicators import FakeIndicators
from tests.unit.verify.nothing_adjusted import NothingAdjusted
from verify.lake import schema_of
from verify.mart_schemas import (
    BAR_SESSION_SCHEMA,
    COVERAGE_SCHEMA,
    GAP_SCHEMA,
    MART_SCHEMA,
    PRICE_SCHEMA,
    RECONCILIATION_SCHEMA,
    VENDOR_BAR_SESSION_SCHEMA,
)
from verify.questions import Place, Through

Row = dict[str, Any]

ARROW_PRICES: Final = {DataType.PRICE: pl.Decimal(18, 6), DataType.NOTIONAL: pl.Decimal(38, 6)}
"""How prices and notionals are stored in the lake."""


class FakePublished(NothingAdjusted, FakeIndicators):
    """PostgreSQL as a test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.bar_rows: list[Row] = []
        self.session_rows: list[Row] | None = None
        self.vendor_rows: list[Row] = []
        self.action_rows: list[Row] = []
        self.quote_rows: list[Row] = []
        self.minute_rows: list[Row] = []
        self.mart_rows: list[Row] | None = None
        self.day_rows: list[Row] | None = None
        self.price_rows: list[Row] | None = None
        self.vendor_session_rows: list[Row] | None = None
        self.comparison_rows: list[Row] | None = None
        self.coverage_rows: list[Row] = []
        self.halt_rows: list[Row] = []
        self.gap_rows: list[Row] | None = None
        self.gaps_through: datetime | None = None
        self.kept_from: dict[str, datetime] = {}
        self.offsets: dict[Place, int] = {}
        self.offsets_now: dict[Place, int] | None = None
        self.batches: set[datetime] = set()

    def next_offsets(self) -> Mapping[Place, int]:
        return self.offsets

    def next_offsets_now(self) -> Mapping[Place, int]:
        return self.offsets if self.offsets_now is None else self.offsets_now

    def batches_now(self) -> set[datetime]:
        return self.batches

    def sessions_with_bars(self) -> set[date | None]:
        return {row["session_date"] for row in self.bar_rows}

    def bar_sessions(self) -> pl.DataFrame:
        if self.session_rows is None:  # as triggers keep them
            found: dict[tuple[Any, ...], list[tuple[datetime, datetime]]] = {}
            for row in self.bar_rows:
                key = row["source"], row["symbol"], row["session_date"]
                found.setdefault(key, []).append((row["bar_at"], row["revised_at"]))
            rows = [(*key, len(moments), *map(max, zip(*moments, strict=True))) for key, moments in found.items()]
            return pl.DataFrame(rows, schema=BAR_SESSION_SCHEMA, orient="row")
        return pl.DataFrame(self.session_rows, schema=BAR_SESSION_SCHEMA, orient="row")

    def vendor_bar_sessions(self) -> pl.DataFrame:
        if self.vendor_session_rows is not None:
            return pl.DataFrame(self.vendor_session_rows, schema=VENDOR_BAR_SESSION_SCHEMA, orient="row")
        key = ("source", "symbol", "interval", "session_date")  # as triggers keep them
        found: dict[tuple[Any, ...], list[datetime]] = {}
        for row in self.vendor_rows:
            if row["interval"] != "1d":
                found.setdefault(tuple(row[name] for name in key), []).append(row["ingested_at"])
        rows = [(*session, len(moments), max(moments)) for session, moments in found.items()]
        return pl.DataFrame(rows, schema=VENDOR_BAR_SESSION_SCHEMA, orient="row")

    def bars(self, session_date: date | None) -> pl.DataFrame:
        return _in_millionths(tables.PG_BARS, [row for row in self.bar_rows if row["session_date"] == session_date])

    def vendor_bars(self) -> pl.DataFrame:
        return _in_millionths(tables.PG_VENDOR_BARS, self.vendor_rows)

    def corporate_actions(self) -> pl.DataFrame:
        return _in_millionths(tables.PG_CORPORATE_ACTIONS, self.action_rows)

    def latest_quotes(self) -> pl.DataFrame:
        return _in_millionths(tables.PG_LATEST_QUOTES, self.quote_rows)

    def quoted_sessions(self) -> set[date | None]:
        return {row["session_date"] for row in self.minute_rows}

    def minute_quotes(self, session_date: date | None) -> pl.DataFrame:
        of_session = [row for row in self.minute_rows if row["session_date"] == session_date]
        return _in_millionths(tables.PG_QUOTES_1M, of_session)

    def mart_sessions(self) -> set[date | None]:
        return {row["session_date"] for row in self.mart_rows or []}

    def mart_bars(self, session_date: date | None) -> pl.DataFrame | None:
        if self.mart_rows is None:
            return None
        return _of_mart(MART_SCHEMA, [row for row in self.mart_rows if row["session_date"] == session_date])

    def keep_from(self, tier: str) -> datetime | None:
        return self.kept_from.get(tier)

    def intraday_known_through(self) -> Through:
        return _newest(self.mart_rows)

    def reconciliation_sessions(self) -> set[date | None]:
        return {row["session_date"] for row in self.comparison_rows or [] if row["interval"] != "1d"}

    def reconciliation(self, session_date: date | None) -> pl.DataFrame | None:
        return self._comparisons(lambda row: row["interval"] != "1d" and row["session_date"] == session_date)

    def reconciled_days(self) -> pl.DataFrame | None:
        return self._comparisons(lambda row: row["interval"] == "1d")

    def _comparisons(self, wanted: Callable[[Row], bool]) -> pl.DataFrame | None:
        if self.comparison_rows is None:
            return None
        return _of_mart(RECONCILIATION_SCHEMA, [row for row in self.comparison_rows if wanted(row)])

    def reconciliation_known_through(self) -> Through:
        rows = self.comparison_rows or []
        others = [{"is_vendor_bar": r["is_other_vendor_bar"], "revised_at": r["other_revised_at"]} for r in rows]
        return _newest([*rows, *others])

    def days(self) -> pl.DataFrame | None:
        return None if self.day_rows is None else _of_mart(MART_SCHEMA, self.day_rows)

    def days_known_through(self) -> Through:
        return _newest(self.day_rows)

    def prices(self) -> pl.DataFrame | None:
        return None if self.price_rows is None else _of_mart(PRICE_SCHEMA, self.price_rows)

    def coverage(self) -> pl.DataFrame:
        return pl.DataFrame(self.coverage_rows, schema=COVERAGE_SCHEMA, orient="row")

    def halts(self) -> pl.DataFrame:
        return pl.DataFrame(self.halt_rows, schema=schema_of(tables.PG_TRADING_HALTS), orient="row")

    def gaps(self) -> pl.DataFrame | None:
        return None if self.gap_rows is None else pl.DataFrame(self.gap_rows, schema=GAP_SCHEMA, orient="row")

    def gaps_known_through(self) -> datetime | None:
        return self.gaps_through


def _newest(rows: list[Row] | None) -> Through:
    own, of_vendors = (
        max(
            (row["revised_at"] for row in rows or [] if row["is_vendor_bar"] is vendors and row["revised_at"]),
            default=None,
        )
        for vendors in (False, True)
    )
    return own, of_vendors


def _in_millionths(table: Table, rows: list[Row]) -> pl.DataFrame:
    decimals = {column.name for column in table.columns if column.type in ARROW_PRICES}
    scaled = [
        {name: int(row[name] * 10**6) if name in decimals and row[name] is not None else row[name] for name in row}
        for row in rows
    ]
    return pl.DataFrame(scaled, schema=schema_of(table), orient="row")


def _of_mart(schema: Mapping[str, pl.DataType], rows: list[Row]) -> pl.DataFrame:
    scaled = [
        {
            name: int(value * (100 if name.endswith("_bps") else 10**6)) if isinstance(value, Decimal) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    return pl.DataFrame(scaled, schema=schema, orient="row")
