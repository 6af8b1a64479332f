"""The last known bids and asks as the deep path works them out: of all quotes from the first session of a range until now.

What belongs here: which quotes count, and what must be in ``lake.latest_quotes``. What does not: which of two quotes is newer,
which is :func:`warehouse.staging.latest_quotes`.

A quote of an earlier session is older than all of these. So the newest of them is the last known one, whatever was before; and a
side that none of them names was named before the range: nothing is said of it.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Final

import polars as pl

from market import tables
from spark_jobs.jobs.spool import News, Spool
from spark_jobs.schemas import MOMENT, frame_schema, in_millionths, to_arrow
from spark_jobs.transforms.rightful import LEDGER_ORDER, first_messages
from warehouse.staging import QUOTE_COLUMNS, latest_quotes

CANDIDATE_COLUMNS: Final = tuple(dict.fromkeys((*QUOTE_COLUMNS, *LEDGER_ORDER, "key_hash", "payload_hash")))
"""What of a message about a quote tells whether it is the last known one."""

_TABLE: Final = tables.PG_LATEST_QUOTES
_KEY: Final = list(_TABLE.key)
_SIDES: Final = ("bid", "ask")
_STORED: Final = "__stored"

Kept = Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]


class LatestQuotes:
    """The newest bid and ask of each source and symbol: one row for each is kept in memory, however many quotes there are.

    Parameters
    ----------
    spool
        The messages; what it keeps of later sessions are :data:`CANDIDATE_COLUMNS`.
    kept
        Divides messages into those whose records' rows are kept still and those of which nothing can be said any more.
    most_records
        So many messages are read at once, or those of one source and symbol of a session.
    """

    def __init__(self, spool: Spool, kept: Kept, most_records: int) -> None:
        self._spool = spool
        self._divide = kept
        self._most_records = most_records
        self._kept = self._possible = pl.DataFrame(schema=frame_schema(_TABLE))
        # The sessions that messages came about since they were read; None if none was read yet.
        self._to_read: set[date] | None = None

    def note(self, news: News) -> None:
        """Note what messages came about: only these sessions have to be read again."""
        if self._to_read is not None:
            self._to_read |= {session_date for session_date, _ in news.records} | news.later

    def work_out(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows that must be there, as far as the quotes tell them, and those of which nothing can be said.

        Both have the columns of ``lake.latest_quotes``. Nothing can be said where the newest may be of a record whose row may be
        gone: the stream may have taken another message for it.
        """
        is_first = self._to_read is None
        days = self._spool.every_session() if self._to_read is None else self._to_read
        # More messages only add quotes, so the newest of those that were read before still counts.
        for session_date in sorted(days, reverse=True):
            self._read(session_date, only_unknown=is_first)
        self._to_read = set()
        sure = self._kept.join(self._possible, on=self._kept.columns, how="semi", nulls_equal=True)
        return sure, self._possible.join(sure, on=_KEY, how="anti")

    def _read(self, session_date: date, *, only_unknown: bool) -> None:
        """Take in the quotes of a session; if later ones were read, only those of whom a side is not known."""
        messages = self._spool.candidates(session_date)
        counts = messages.group_by(_KEY).len().sort(_KEY).collect()
        if only_unknown:
            is_known = pl.all_horizontal(pl.col(f"{side}_at").is_not_null() for side in _SIDES)
            counts = counts.join(self._possible.filter(is_known), on=_KEY, how="anti")
        for of in self._groups(counts):
            candidates = messages.join(of.lazy(), on=_KEY, how="semi").collect()
            kept, forgotten = self._divide(candidates)
            found = first_messages(kept).select(QUOTE_COLUMNS)
            self._kept = newest_of(self._kept, found)
            self._possible = newest_of(self._possible, pl.concat([found, forgotten.select(QUOTE_COLUMNS)]))

    def _groups(self, counts: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield sources and symbols, so many at a time as memory allows."""
        start, records = 0, 0
        for position, count in enumerate(counts["len"]):
            if position > start and records + count > self._most_records:
                yield counts[start:position].select(_KEY)
                start, records = position, 0
            records += count
        if counts.height > start:
            yield counts[start:].select(_KEY)


def newest_of(latest: pl.DataFrame, quotes: pl.DataFrame) -> pl.DataFrame:
    """Return the last known bids and asks after some more quotes.

    Parameters
    ----------
    latest
        Those before, with the columns of ``lake.latest_quotes``.
    quotes
        The quotes, with :data:`warehouse.staging.QUOTE_COLUMNS`; prices in millionths.
    """
    every = pl.concat([*(_as_quotes(latest, side) for side in _SIDES), quotes.select(QUOTE_COLUMNS)])
    found = pl.DataFrame(latest_quotes(to_arrow(every, tables.QUOTES, QUOTE_COLUMNS)))
    return found.select(in_millionths(_TABLE))


def rightful_latest(latest: pl.DataFrame, stored: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """Return what ``lake.latest_quotes`` must hold, with its columns.

    Parameters
    ----------
    latest
        The last known bids and asks of all quotes from a moment on.
    stored
        What is there, of the same sources and symbols or of more.
    since
        That moment. A stored side of before it is taken as it is where there is no newer one; one of later that no quote named
        is not right, and what was there before it is not known.
    """
    rows = latest.join(stored, on=_KEY, how="full", coalesce=True, suffix=_STORED)
    for side in _SIDES:
        is_earlier = pl.col(f"{side}_at{_STORED}") < pl.lit(since, MOMENT)
        rows = rows.with_columns(
            pl.when(pl.col(f"{side}_at").is_not_null())
            .then(pl.col(name))
            .when(is_earlier)
            .then(pl.col(f"{name}{_STORED}"))
            .alias(name)
            for name in (side, f"{side}_size", f"{side}_at", f"{side}_sequence")
        )
    # A quote names one side at least, so the newest quote is the newer one of both sides.
    rows = rows.with_columns(pl.max_horizontal(f"{side}_at" for side in _SIDES).alias("quoted_at"))
    return rows.filter(pl.col("quoted_at").is_not_null()).select(_TABLE.column_names)


def _as_quotes(latest: pl.DataFrame, side: str) -> pl.DataFrame:
    """Return the last known bids, or asks, as the quotes that named them."""
    columns = {name: name for name in ("source", "symbol", side, f"{side}_size")}
    columns |= {"quoted_at": f"{side}_at", "sequence": f"{side}_sequence"}
    types = frame_schema(tables.QUOTES)
    return latest.filter(pl.col(f"{side}_at").is_not_null()).select(
        pl.col(columns[name]).alias(name) if name in columns else pl.lit(None, types[name]).alias(name)
        for name in QUOTE_COLUMNS
    )
