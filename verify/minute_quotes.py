"""The last bid and ask of each minute, worked out from the quotes of a session.

What belongs here: ``lake.quotes_1m``. What does not: the last known ones ever, which are :mod:`verify.quotes`.

A later quote is newer, then one of a higher sequence, then of a higher price and size, an unknown size being the least. A side
that no quote of the minute names is null.
"""

from datetime import date
from typing import Final

import polars as pl

from market.tables import PG_QUOTES_1M
from verify.comparison import compare
from verify.questions import Published
from verify.results import Findings

_KEY: Final = list(PG_QUOTES_1M.key)
_WHERE: Final = PG_QUOTES_1M.qualified_name


class MinuteProof:
    """Compares the minutes of one session after the other, and keeps in mind of which sessions some are wrong."""

    def __init__(self, findings: Findings, published: Published) -> None:
        self._findings = findings
        self._published = published
        self._wrong: set[date] = set()
        self._read: tuple[date | None, pl.DataFrame] | None = None

    def check(self, session_date: date | None, part: pl.Expr, quotes: pl.DataFrame, expired: pl.DataFrame) -> None:
        """Check the minutes of a part of a session.

        Parameters
        ----------
        session_date, part
            The session, and the condition that a row is of the part.
        quotes
            All quotes of it that there are, with the columns of ``silver/quotes``, prices in millionths.
        expired
            Messages about quotes that are kept no longer: the stream may have taken another one for the record, so nothing is
            said of their minutes.
        """
        if self._read is None or self._read[0] != session_date:
            self._read = session_date, self._published.minute_quotes(session_date)
        unknown = expired.select("source", "symbol", _MINUTE.alias("bar_at")).unique()
        expected = minutes_of(quotes).join(unknown, on=_KEY, how="anti")
        before = self._findings.total_offending
        self._findings.count(PG_QUOTES_1M.name, expected.height)
        compare(
            self._findings,
            what="quote of a minute",
            where=_WHERE,
            expected=expected,
            found=self._read[1].filter(part).join(unknown, on=_KEY, how="anti"),
            table=PG_QUOTES_1M,
            key=_KEY,
        )
        if session_date is not None and self._findings.total_offending > before:
            self._wrong.add(session_date)

    def note_repair(self) -> None:
        """Say what puts wrong minutes right: a database from before there were any has none of its old quotes."""
        if self._wrong:
            command = f"./run recompute --start {min(self._wrong)} --end {max(self._wrong)}"
            self._findings.notes.append(
                f"{_WHERE} is not what the quotes come to: {command} fills it, after an upgrade too."
            )


def minutes_of(quotes: pl.DataFrame) -> pl.DataFrame:
    """Return the last bid and the last ask of each minute, with the columns of ``lake.quotes_1m``."""
    placed = quotes.with_columns(_MINUTE.alias("bar_at"))
    minutes = placed.group_by(_KEY).agg(pl.col("session_date", "segment").first())
    for side in ("bid", "ask"):
        # The newest one last; of those that say the same the one that came first.
        order = ("quoted_at", "sequence", side, f"{side}_size", "ingested_at")
        named = placed.filter(pl.col(side).is_not_null()).sort(order, descending=[False] * 4 + [True], nulls_last=False)
        newest = named.group_by(_KEY, maintain_order=True).last()
        columns = {"quoted_at": f"{side}_at", "sequence": f"{side}_sequence", "ingested_at": f"{side}_ingested_at"}
        values = (side, f"{side}_size", *(pl.col(name).alias(own) for name, own in columns.items()))
        minutes = minutes.join(newest.select(*_KEY, *values), on=_KEY, how="left")
    revised_at = pl.max_horizontal("bid_ingested_at", "ask_ingested_at").alias("revised_at")
    return minutes.with_columns(revised_at).select(PG_QUOTES_1M.column_names)


_MINUTE: Final = pl.col("quoted_at").dt.truncate("1m")
