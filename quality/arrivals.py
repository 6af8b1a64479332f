"""How the messages of a session came: how many trades late, how many messages rejected, by symbol; counted in the lake.

A trade is late if one of a later minute of its symbol came before it, in the order of the ledger: batch, partition, offset. So
the count does not depend on how messages fell into batches, and can be taken again at any time. A rejected message belongs to the
symbol that it names and to the session of its own time, or of the day on which it came where that cannot be read; one that names
no symbol is in no count here (``./run quarantine`` has them all).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import polars as pl
import structlog
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from market.domains import FEED_PATTERN
from market.errors import ServiceError
from market.instruments import SYMBOL_PATTERN
from market.sessions import EXCHANGE_ZONE, find_session
from market.settings import Settings
from market.tables import PG_SESSION_ARRIVALS, QUARANTINE, TRADES, Table
from warehouse.quality_marks import move_marks, read_marks
from warehouse.session_arrivals import counting

OVERLAP: Final = timedelta(hours=1)
"""How far behind the newest batch the next count begins: batches of two topics are not written in the order of their times."""
ROWS_AT_ONCE: Final = 5_000_000
"""Trades of a session that are in memory at once: of more, symbols are taken in turn."""

_COUNTS: Final = ("trades", "late_trades", "rejected_messages")
_SERIES: Final = ("source", "symbol", "session_date")
_LEDGER_ORDER: Final = ("ingested_at", "partition", "offset")
_MOMENTS: Final = ("traded_at", "quoted_at", "bar_at", "amended_at", "status_at")
"""What a conflict calls the time of its record."""
_LAST_MICROS: Final = 7_258_118_400_000_000
_LONGEST_DIGITS: Final = 16

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted again: sessions, rows, and the sums of all of them."""

    sessions: int
    rows: int
    trades: int
    late_trades: int
    rejected_messages: int


def count_arrivals(settings: Settings, *, everything: bool = False) -> Counted:
    """Count again how messages came, of the sessions of which a batch brought some since the last count, or of all.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached, or the lake cannot be read.
    """
    name = PG_SESSION_ARRIVALS.qualified_name
    with counting(settings) as put:
        mark = None if everything else read_marks(settings).get(name)
        since = None if mark is None else mark - OVERLAP
        try:
            trades, rejected = _scan(settings, TRADES), _scan(settings, QUARANTINE)
            days, newest = _touched(trades, rejected, since)
            counts = _counts(trades, rejected, days)
        except (pl.exceptions.PolarsError, DeltaError, OSError) as error:
            msg = f"The lake at {settings.lake} cannot be read: {str(error).splitlines()[0][:300]}"
            raise ServiceError(msg) from error
        put(counts.to_arrow(), None if everything else days)
    if newest is not None:
        move_marks(settings, {name: newest})
    _log.info("arrivals_counted", sessions=len(days), rows=counts.height)
    return Counted(len(days), counts.height, *(int(counts[column].sum()) for column in _COUNTS))


def _scan(settings: Settings, table: Table) -> pl.LazyFrame | None:
    uri = f"{settings.lake}/{table.path}"
    if not DeltaTable.is_deltatable(uri):
        return None
    delta = DeltaTable(uri)
    # polars looks for the files of a local path with a space under the path's percent-encoded name; pyarrow does not.
    return pl.scan_delta(delta, use_pyarrow="%" in delta.table_uri)


def _touched(
    trades: pl.LazyFrame | None, rejected: pl.LazyFrame | None, since: datetime | None
) -> tuple[set[date], datetime | None]:
    """Return the sessions of which a message came since a moment, and when the newest message came."""
    recent = pl.lit(value=True) if since is None else pl.col("ingested_at") >= pl.lit(since)
    newest, found = pl.col("ingested_at").max(), []
    if trades is not None:
        found.append(trades.filter(recent).group_by("session_date").agg(newest).collect(engine="streaming"))
    if rejected is not None:
        placed = _placed(rejected.filter(recent).collect(engine="streaming"))
        found.append(placed.group_by("session_date").agg(newest))
    if not found:
        return set(), None
    every = pl.concat(found)
    moment = every["ingested_at"].max()
    return set(every["session_date"].to_list()), moment if isinstance(moment, datetime) else None


def _counts(trades: pl.LazyFrame | None, rejected: pl.LazyFrame | None, days: Iterable[date]) -> pl.DataFrame:
    """Return a row for each source, symbol and session of some days, with what came of it."""
    empty = pl.DataFrame(
        schema={"source": pl.String, "symbol": pl.String, "session_date": pl.Date, **dict.fromkeys(_COUNTS, pl.Int64)}
    )
    wanted = sorted(days)
    parts = [empty]
    for day in wanted if trades is not None else ():
        parts += _of_day(trades, day)
    if rejected is not None and wanted:
        placed = _placed(rejected.collect(engine="streaming")).filter(pl.col("session_date").is_in(wanted))
        parts.append(placed.group_by(_SERIES).agg(pl.len().cast(pl.Int64).alias("rejected_messages")))
    return (
        pl.concat(parts, how="diagonal")
        .group_by(_SERIES)
        .agg(pl.col(*_COUNTS).sum())
        .with_columns(pl.lit(datetime.now(UTC)).cast(pl.Datetime("us", "UTC")).alias("counted_at"))
        .sort(_SERIES)
    )


def _of_day(trades: pl.LazyFrame | None, day: date) -> Iterator[pl.DataFrame]:
    assert trades is not None
    rows = trades.filter(pl.col("session_date") == day)
    total = rows.select(pl.len()).collect(engine="streaming").item()
    parts = max(1, -(-total // ROWS_AT_ONCE))
    for part in range(parts):
        some = rows if parts == 1 else rows.filter(pl.col("symbol").hash() % parts == part)
        yield late_trades(some.select(*_SERIES, "traded_at", *_LEDGER_ORDER).collect(engine="streaming"))


def late_trades(rows: pl.DataFrame) -> pl.DataFrame:
    """Return how many trades there are of each source, symbol and session, and how many of them came late.

    Parameters
    ----------
    rows
        ``source, symbol, session_date, traded_at, ingested_at, partition, offset``, one row a trade.
    """
    minute = pl.col("traded_at").dt.truncate("1m")
    return (
        rows.sort(_LEDGER_ORDER)
        .with_columns((minute < minute.cum_max().over(_SERIES)).alias("is_late"))
        .group_by(_SERIES)
        .agg(pl.len().cast(pl.Int64).alias("trades"), pl.col("is_late").sum().cast(pl.Int64).alias("late_trades"))
    )


def _placed(rejected: pl.DataFrame) -> pl.DataFrame:
    """Return the rejected messages that name a feed and a symbol, each with its session."""
    stated = rejected.select("ingested_at", "detail").with_columns(
        pl.col("detail").str.json_path_match(f"$.{name}").alias(name) for name in ("source", "symbol", "ts", *_MOMENTS)
    )
    named = stated.filter(pl.col("source").str.contains(FEED_PATTERN), pl.col("symbol").str.contains(SYMBOL_PATTERN))
    is_micros = pl.col("ts").str.contains(rf"^[0-9]{{1,{_LONGEST_DIGITS}}}$")
    micros = pl.when(is_micros).then(pl.col("ts")).cast(pl.Int64, strict=False)
    own = pl.when(micros <= _LAST_MICROS).then(micros).cast(pl.Datetime("us", "UTC"))
    written = pl.coalesce(_MOMENTS).str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    came = pl.col("ingested_at").dt.convert_time_zone("UTC")
    local = pl.coalesce(own, written, came).dt.convert_time_zone(str(EXCHANGE_ZONE)).dt.date().alias("session_date")
    placed = named.select(*_SERIES[:2], "ingested_at", local)
    sessions = [day for day in placed["session_date"].unique().to_list() if find_session(day) is not None]
    return placed.filter(pl.col("session_date").is_in(sessions))
