"""The mart of intraday bars: every row worked out from the bars of the lake, as of the mart's newest build.

What belongs here: ``intraday_ohlcv``. What does not: the bars that it is made of, which are :mod:`verify.bars`; days and
prices, which are :mod:`verify.days`; the gaps, which are :mod:`verify.gaps`.
"""

from typing import Final

import polars as pl

from market import tables
from market.records import INTERVALS
from market.sessions import Session
from verify.comparison import compare
from verify.lake import Lake
from verify.longer_bars import Tapes, after, longer, of_one_origin, origins_of, until
from verify.published import Published
from verify.results import Findings
from verify.revisions import newest_revisions
from verify.shapes import INTRADAY, MART_SCHEMA

_KEY: Final = ["symbol", "interval", "bar_at"]


class MartProof:
    """Compares the mart with the revisions of bars, some symbols of a session at a time.

    Parameters
    ----------
    findings
        Where to record what breaks the law.
    lake
        The lake, cut at the newest batches that PostgreSQL has.
    published
        PostgreSQL.
    """

    def __init__(self, findings: Findings, lake: Lake, published: Published) -> None:
        self._findings = findings
        self._through = published.intraday_known_through()
        self._tapes = Tapes(lake, self._through)

    def check(self, revisions: pl.DataFrame, in_mart: pl.DataFrame | None, session: Session | None) -> None:
        """Check the rows of some symbols of a session.

        Parameters
        ----------
        revisions
            Every revision of the bars of these symbols in this session.
        in_mart
            What the mart holds of them (:data:`verify.published.MART_SCHEMA`); ``None`` if there is no mart.
        session
            The session; ``None`` if the calendar has none of that date.
        """
        if in_mart is None:
            return
        self._findings.count("mart_bars", in_mart.height)
        origins = origins_of(in_mart, ["symbol"])
        known = newest_revisions(until(revisions, self._through))
        lengths = [] if session is None else [longer(known, *length, session) for length in INTERVALS.items()]
        shown = [self._tapes.finish(of_one_origin(bars, origins, ["symbol"]), in_mart, _KEY) for bars in lengths]
        compare(
            self._findings,
            what="bar",
            where=INTRADAY,
            expected=pl.concat([in_mart.clear(), *(bars.select(*MART_SCHEMA) for bars in shown)]),
            found=in_mart,
            table=tables.PG_BARS,
            key=_KEY,
        )
        later = after(newest_revisions(revisions), self._through).rename({"source": "origin"})
        self._findings.count("mart_bars_behind", of_one_origin(later, origins, ["symbol"]).height)
