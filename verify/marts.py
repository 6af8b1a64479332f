"""The mart of intraday bars: every row worked out from the bars of the lake, own and vendors', as of the mart's newest build.

What belongs here: ``intraday_ohlcv``. What does not: the bars that it is made of, which are :mod:`verify.bars`; days and
prices, which are :mod:`verify.days`; the gaps, which are :mod:`verify.gaps`.
"""

from typing import Final

import polars as pl

from market import tables
from market.records import INTERVALS
from market.sessions import Session
from market.tiers import INTRADAY as INTRADAY_TIER
from verify.comparison import compare
from verify.lake import Lake
from verify.longer_bars import Tapes, after, longer, until
from verify.mart_schemas import INTRADAY, MART_SCHEMA
from verify.origins import GROUP, SIDE, Origins, RealSymbols, sides_of
from verify.questions import Published
from verify.results import Findings
from verify.revisions import newest_revisions
from verify.vendor_bars import CANDIDATE_SCHEMA, newest_versions, vendor_bars_of

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
    real
        The symbols that something real is known of.
    """

    def __init__(self, findings: Findings, lake: Lake, published: Published, real: RealSymbols) -> None:
        self._findings = findings
        self._through, self._vendors_through = published.intraday_known_through()
        self._keep_from = published.keep_from(INTRADAY_TIER.name)
        coverage = published.coverage()
        self._tapes = Tapes(lake, coverage, self._through)
        self._origins = Origins(coverage, self._tapes, real, (self._through, self._vendors_through))

    def check(
        self, revisions: pl.DataFrame, versions: pl.DataFrame, in_mart: pl.DataFrame | None, session: Session | None
    ) -> None:
        """Check the rows of some symbols of a session.

        Parameters
        ----------
        revisions
            Every revision of the bars of these symbols in this session.
        versions
            Every version of vendors' bars of these, with the columns of ``silver/vendor_bars``.
        in_mart
            What the mart holds of them (:data:`verify.mart_schemas.MART_SCHEMA`); ``None`` if there is no mart.
        session
            The session; ``None`` if the calendar has none of that date.
        """
        if in_mart is None:
            return
        self._findings.count("mart_bars", in_mart.height)
        shown = sides_of(in_mart)
        states = [(until(revisions, self._through), until(versions, self._vendors_through, "ingested_at"))]
        if (states[0][0].height, states[0][1].height) != (revisions.height, versions.height):
            states.append((revisions, versions))
        bars = [pl.DataFrame(schema=CANDIDATE_SCHEMA)]
        if session is not None:
            bars = [
                pl.concat([self._own_bars(newest_revisions(own), in_mart, session), vendor_bars_of(theirs, session)])
                for own, theirs in states
            ]
        kept = self._kept(bars[0], in_mart)
        candidates, chosen = self._origins.choose([kept, *bars[1:]], in_mart, shown, session)
        compare(
            self._findings,
            what="bar",
            where=INTRADAY,
            expected=candidates.join(chosen, on=[*GROUP, *SIDE], how="semi").select(*MART_SCHEMA),
            found=in_mart,
            table=tables.PG_BARS,
            key=_KEY,
        )
        self._count_behind(revisions, versions, shown, session)

    def _own_bars(self, known: pl.DataFrame, in_mart: pl.DataFrame, session: Session) -> pl.DataFrame:
        """Return the bars of all lengths that minutes come to (:data:`verify.vendor_bars.CANDIDATE_SCHEMA`)."""
        lengths = pl.concat([longer(known, *length, session) for length in INTERVALS.items()])
        finished = self._tapes.finish(lengths, in_mart, _KEY)
        no = pl.lit(value=False)
        return finished.with_columns(no.alias("is_vendor_bar"), no.alias("is_given")).select(*CANDIDATE_SCHEMA)

    def _count_behind(
        self, revisions: pl.DataFrame, versions: pl.DataFrame, shown: pl.DataFrame, session: Session | None
    ) -> None:
        """Count the bars that came after the mart's newest build, but for those of sources that it does not show.

        Nor do those count of sessions that are kept no longer: no build brings them, and a mart without a row, as after the last
        of its sessions expired, has no newest build.
        """
        later = after(newest_revisions(revisions), self._through).with_columns(
            pl.col("source").alias("origin"), pl.lit(value=False).alias("is_vendor_bar"), pl.lit("1m").alias("interval")
        )
        rows = [later.select(*GROUP, *SIDE)]
        if session is not None:
            newest = after(newest_versions(versions), self._vendors_through, "ingested_at").select(versions.columns)
            given = vendor_bars_of(newest, session).filter("is_given")
            rows.append(given.select(*GROUP, *SIDE))
        behind = self._of_kept_sessions(pl.concat(rows), revisions, versions)
        others = behind.join(shown, on=GROUP, how="semi").join(shown, on=[*GROUP, *SIDE], how="anti")
        self._findings.count("mart_bars_behind", behind.height - others.height)

    def _of_kept_sessions(self, rows: pl.DataFrame, revisions: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of sessions that a build would keep now: that are young, or were changed of late."""
        if self._keep_from is None:
            return rows
        changes = pl.concat(
            [revisions.select("symbol", changed_at="revised_at"), versions.select("symbol", changed_at="ingested_at")]
        )
        changed = changes.filter(pl.col("changed_at") >= self._keep_from).get_column("symbol").unique()
        is_young = pl.col("session_date") >= self._keep_from.date()
        return rows.filter(is_young | pl.col("symbol").is_in(changed.implode()))

    def _kept(self, bars: pl.DataFrame, in_mart: pl.DataFrame) -> pl.DataFrame:
        """Return the bars that the mart has to have: of sessions that are young, or were changed of late, or are there still.

        A session that is kept no longer goes with the next build; until then it is there, and has to be right.
        """
        if self._keep_from is None:
            return bars
        is_young = pl.col("session_date") >= self._keep_from.date()
        was_changed = pl.col("revised_at").max().over("symbol", "session_date") >= self._keep_from
        is_there = pl.col("symbol").is_in(in_mart.get_column("symbol").unique().implode())
        expired = bars.filter(~(is_young | was_changed))
        self._findings.count("mart_sessions_expired", expired.get_column("symbol").n_unique())
        return bars.filter(is_young | was_changed | is_there)
