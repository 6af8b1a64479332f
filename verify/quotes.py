"""The last known bid and ask of each symbol, worked out from every quote.

What belongs here: ``lake.latest_quotes``. What does not: the quotes themselves, which are :mod:`verify.bars`.

A later quote is newer, then one of a higher sequence, then of a higher price and size, an unknown size being the least. A side
that a quote does not name is not changed by it.
"""

from typing import Final

import polars as pl

from market.tables import PG_LATEST_QUOTES, QUOTES
from verify.comparison import compare
from verify.lake import schema_of
from verify.questions import Published
from verify.results import Findings

_KEY: Final = list(PG_LATEST_QUOTES.key)
_SIDES: Final = ("bid", "ask")


class QuoteProof:
    """Keeps what the quotes come to, and compares it when all were looked at."""

    def __init__(self) -> None:
        nothing = newest_sides(pl.DataFrame(schema=schema_of(QUOTES)))
        self._kept = [nothing]
        self._possible = [nothing]

    def add(self, quotes: pl.DataFrame, expired: pl.DataFrame) -> None:
        """Take in quotes, and those whose rows may be gone: the stream may have taken another one for the record."""
        self._kept.append(newest_sides(quotes))
        self._possible.append(newest_sides(pl.concat([quotes, expired])))

    def check(self, findings: Findings, published: Published) -> None:
        """Check the bids and asks of all symbols but those whose newest may be of a quote that is kept no longer."""
        kept, possible = (_newest_of(sides) for sides in (self._kept, self._possible))
        sure = kept.join(possible, on=kept.columns, how="semi", nulls_equal=True)
        unsure = possible.join(sure, on=_KEY, how="anti")
        findings.count(PG_LATEST_QUOTES.name, sure.height)
        compare(
            findings,
            what="quote",
            where=PG_LATEST_QUOTES.qualified_name,
            expected=sure,
            found=published.latest_quotes().join(unsure, on=_KEY, how="anti"),
            table=PG_LATEST_QUOTES,
            key=_KEY,
        )


def newest_sides(quotes: pl.DataFrame) -> pl.DataFrame:
    """Return the newest bid and the newest ask of each source and symbol, with the columns of ``lake.latest_quotes``.

    Parameters
    ----------
    quotes
        The columns of ``silver/quotes``, prices in millionths.
    """
    newest = quotes.group_by(_KEY).agg(pl.col("quoted_at").max())
    for side in _SIDES:
        size = f"{side}_size"
        order = ("quoted_at", "sequence", side, pl.col(size).fill_null(-1))
        named = quotes.filter(pl.col(side).is_not_null()).sort(*order).unique(_KEY, keep="last", maintain_order=True)
        columns = (pl.col("quoted_at").alias(f"{side}_at"), pl.col("sequence").alias(f"{side}_sequence"))
        newest = newest.join(named.select(*_KEY, side, size, *columns), on=_KEY, how="left")
    return newest.select(PG_LATEST_QUOTES.column_names)


def _newest_of(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the newest sides of what was found in several parts."""
    every = pl.concat(parts)
    as_quotes = [
        every.select(
            *_KEY,
            pl.col(f"{side}_at").alias("quoted_at"),
            pl.col(f"{side}_sequence").alias("sequence"),
            *(pl.col(name) if name.startswith(side) else pl.lit(None, pl.Int64).alias(name) for name in _OF_SIDES),
        ).filter(pl.col(side).is_not_null())
        for side in _SIDES
    ]
    sides = newest_sides(pl.concat(as_quotes)).drop("quoted_at")
    moments = every.group_by(_KEY).agg(pl.col("quoted_at").max())
    return moments.join(sides, on=_KEY, how="left").select(PG_LATEST_QUOTES.column_names)


_OF_SIDES: Final = ("bid", "bid_size", "ask", "ask_size")
