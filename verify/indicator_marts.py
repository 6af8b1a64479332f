"""The marts of indicators as law 3 reads them: which bars belong to which series, what is copied, and how PostgreSQL is asked.

What belongs here: declarations and queries. What does not: what the rows ought to be, which is :mod:`verify.indicators`.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple

import polars as pl

from market.records import DAILY
from verify.mart_schemas import HISTORICAL, INTRADAY, MOMENT
from warehouse.dbt import dbt_variables

PENDING: Final = "staging.pending_sessions"
EVERY_SYMBOL: Final = "*"
"""Stands in the queue for every session of every symbol."""

_NUMBER: Final = pl.Int128()
_PRICE: Final = pl.Decimal(38, 6)
_AS_READ: Final[Mapping[pl.DataType, pl.DataType]] = {MOMENT: pl.Float64(), pl.Date(): pl.Int32()}
_MILLIONTHS: Final = ("open", "high", "low", "close", "bar_vwap")
_COPIED: Final = {
    "symbol": pl.String(),
    "interval": pl.String(),
    "bar_at": MOMENT,
    "session_date": pl.Date(),
    "segment": pl.String(),
    **dict.fromkeys((*_MILLIONTHS[:4], "volume", "bar_vwap"), _NUMBER),
    "is_final": pl.Boolean(),
    "revision": pl.Int64(),
    "origin": pl.String(),
    "is_vendor_bar": pl.Boolean(),
    "revised_at": MOMENT,
}
_OF_DAYS: Final = {"company": pl.String(), "current_symbol": pl.String()}
_FIRST, _LAST = "0001-01-02", "9999-12-30"
"""Days beyond these, infinite ones too, are compared as these: they are equal to none that can be."""


class Series(NamedTuple):
    """One series of a mart.

    Attributes
    ----------
    name
        The symbol, or the company.
    interval
        Length of its bars.
    symbols
        The symbols that its bars have.
    bars
        How many bars belong to it.
    """

    name: str
    interval: str
    symbols: tuple[str, ...]
    bars: int


@dataclass(frozen=True, slots=True)
class IndicatorMart:
    """A mart of indicators.

    Attributes
    ----------
    name
        With its schema.
    source
        The mart that its bars are of.
    condition
        Which bars of the source belong to it.
    columns
        What its columns are of the source, where they are called otherwise.
    daily
        Whether its bars are days, and a series a company.
    """

    name: str
    source: str
    condition: str
    columns: Mapping[str, str]
    daily: bool

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns that are copied of the bars."""
        return {**_COPIED, **_OF_DAYS} if self.daily else dict(_COPIED)

    @property
    def series_column(self) -> str:
        """The column that names a series; bars of other lengths are other series."""
        return "company" if self.daily else "symbol"

    @property
    def key(self) -> list[str]:
        """The columns that name a row, its series first."""
        return ["company", "symbol", "bar_at"] if self.daily else ["symbol", "interval", "bar_at"]


def indicator_marts() -> list[IndicatorMart]:
    """Return the marts of indicators; which segments make a series is a variable of the dbt project."""
    segments = ", ".join(f"'{segment}'" for segment in dbt_variables()["indicator_segments"])
    return [
        IndicatorMart(
            "marts.intraday_analytics",
            INTRADAY,
            f"close is not null and segment in ({segments})",
            {"bar_vwap": "vwap"},
            daily=False,
        ),
        _days("marts.daily_analytics", "split_adjusted_", "split_factor"),
        _days("marts.daily_analytics_raw", "", "1"),
        _days("marts.daily_analytics_total_return", "total_return_", "total_return_factor"),
    ]


def _days(name: str, prefix: str, factor: str) -> IndicatorMart:
    volume = "split_adjusted_volume" if prefix else "volume"
    needed = (f"{prefix}high", f"{prefix}low", f"{prefix}close", volume)
    columns = {
        **{price: f"{prefix}{price}" for price in ("open", "high", "low", "close")},
        "volume": volume,
        "bar_vwap": f"round(vwap * {factor}, 6)",
        "company": "coalesce(current_symbol, concat(symbol, ':gone'))",
    }
    condition = " and ".join(f"{column} is not null" for column in needed)
    return IndicatorMart(name, HISTORICAL, condition, columns, daily=True)


class IndicatorSnapshot:
    """What a snapshot of PostgreSQL says of indicators. Rows come as text, which has every digit of a double."""

    _connection: Any

    def indicator_columns(self, mart: IndicatorMart) -> set[str] | None:
        """Return the columns of a mart, or ``None`` if there is no mart."""
        if not self._is_there(mart.name):
            return None
        query = "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        return {row[0] for row in self._connection.execute(query, (mart.name,))}

    def indicator_series(self, mart: IndicatorMart) -> list[Series]:
        """Return the series that have bars, or rows in the mart, in order."""
        own = f"select {mart.series_column}, interval, symbol, 0 as bars from {mart.name}"  # noqa: S608 - fixed names
        parts = [f"select distinct * from ({own}) as rows"]  # noqa: S608
        if self._is_there(mart.source):
            name = mart.columns.get(mart.series_column, mart.series_column)
            parts.append(
                f"select {name}, interval, symbol, count(*) from {mart.source} "  # noqa: S608
                f"where {mart.condition} group by 1, 2, 3"
            )
        grouped = "select name, interval, array_agg(distinct symbol), sum(bars)::bigint"
        rows_of = f"({' union all '.join(parts)}) as parts (name, interval, symbol, bars)"
        query = f"{grouped} from {rows_of} group by 1, 2 order by 1, 2"
        rows = self._connection.execute(query)
        return [Series(name, interval, tuple(symbols), bars) for name, interval, symbols, bars in rows]

    def pending_sessions(self, mart: IndicatorMart) -> dict[str, date]:
        """Return since which session of each symbol the mart has yet to take changes up; see :data:`EVERY_SYMBOL`."""
        if not self._is_there(PENDING):
            return {}
        moment = f"least(greatest(min(session_date), '{_FIRST}'), '{_LAST}')"
        query = f"select symbol, {moment} from {PENDING} where mart = %s group by 1"  # noqa: S608 - fixed names
        return dict(self._connection.execute(query, (mart.name.rpartition(".")[2],)).fetchall())

    def indicator_bars(self, mart: IndicatorMart, series: Series) -> pl.DataFrame:
        """Return the bars that belong to a series, with the mart's names and :attr:`IndicatorMart.schema`, in order."""
        if not self._is_there(mart.source):
            return pl.DataFrame(schema=mart.schema)
        name = mart.columns.get(mart.series_column, mart.series_column)
        where = f"{mart.condition} and {_of_series(name)}"
        return self._copied(mart.source, mart.schema, mart.columns, where, series)

    def indicator_rows(self, mart: IndicatorMart, series: Series, values: Sequence[str]) -> pl.DataFrame:
        """Return the mart's rows of a series: what is copied, ``bar_number``, ``is_stable``, and ``values`` as doubles."""
        schema = {
            **mart.schema,
            "bar_number": pl.Int64(),
            "is_stable": pl.Boolean(),
            **dict.fromkeys(values, pl.Float64()),
        }
        return self._copied(mart.name, schema, {}, _of_series(mart.series_column), series)

    def _copied(
        self, table: str, schema: Mapping[str, pl.DataType], named: Mapping[str, str], where: str, series: Series
    ) -> pl.DataFrame:
        columns = ", ".join(_as_text(kind, named.get(name, f'"{name}"')) for name, kind in schema.items())
        query = f"select {columns} from {table} where {where} order by bar_at, symbol"  # noqa: S608 - fixed names
        parameters = (list(series.symbols), series.interval, series.name)
        return _parsed(self._text(query, parameters), schema)

    def _text(self, query: str, parameters: Sequence[object]) -> bytes:
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"copy ({query}) to stdout (format csv)", parameters) as rows,
        ):
            return b"".join(rows)

    def _is_there(self, name: str) -> bool:
        return bool(self._connection.execute("select to_regclass(%s) is not null", (name,)).fetchone()[0])


def _of_series(name: str) -> str:
    """Return a condition; the symbols, of which there is an index, say where to look."""
    return f"symbol = any(%s) and interval = %s and {name} = %s"


def _parsed(text: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows out of their text. What is no number, as the NaN of a numeric, is null, as is a moment without end."""
    read = {name: _PRICE if name in _MILLIONTHS else _AS_READ.get(kind, kind) for name, kind in schema.items()}
    rows = pl.DataFrame(schema=read)
    if text:
        rows = pl.read_csv(io.BytesIO(text), has_header=False, schema=read, ignore_errors=True)
    seconds = [name for name, kind in schema.items() if kind == MOMENT]
    return rows.with_columns(
        pl.col(*_MILLIONTHS).to_physical(),
        pl.col("session_date").cast(pl.Date()),
        (pl.col(seconds) * 1e6).round().cast(pl.Int64(), strict=False).cast(MOMENT),
    )


def _as_text(kind: pl.DataType, column: str) -> str:
    """Return an expression that costs little to write and to read: a moment is seconds, a day its number, since 1970."""
    if kind == MOMENT:
        return f"date_part('epoch', {column})"
    if kind == pl.Date():
        finite = f"least(greatest({column}, '{_FIRST}'), '{_LAST}')"
        return f"case when {column} is not null then {finite} - '1970-01-01'::date end"
    return f"{column}::text" if kind == pl.Boolean() else column


def bars_per_year(interval: str, seconds: Mapping[str, int]) -> float:
    """Return how many bars of an interval 252 sessions of regular hours have."""
    return 252.0 if interval == DAILY else 252 * 390 * 60 / seconds[interval]


def first_pending(series: Series, pending: Mapping[str, date]) -> date | None:
    """Return since which session a series is yet to be built again."""
    found: Iterable[date] = [pending[symbol] for symbol in (*series.symbols, EVERY_SYMBOL) if symbol in pending]
    return min(found, default=None)
