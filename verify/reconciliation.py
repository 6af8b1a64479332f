"""The reconciliation of own bars and vendors': every row worked out from the bars of the lake, as of the mart's newest build.

What belongs here: ``bar_reconciliation``. What does not: what the bars of a source are, which is :mod:`verify.longer_bars` and
:mod:`verify.vendor_bars`; what is shown, which is :mod:`verify.origins`.
"""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final

import polars as pl

from market import tables
from market.records import DAILY, INTERVALS
from market.sessions import Segment, Session
from verify.comparison import NO_PRICE, compare
from verify.lake import Lake
from verify.longer_bars import Tapes, longer, until
from verify.mart_schemas import BPS_LIMIT, PRICES, RECONCILIATION, RECONCILIATION_KEY, RECONCILIATION_SCHEMA
from verify.origins import GROUP, SIDE, Origins, RealSymbols, counted, one_feed, sides_of
from verify.questions import Published
from verify.results import Findings
from verify.revisions import newest_revisions
from verify.vendor_bars import CANDIDATE_SCHEMA, vendor_bars_of, vendor_days
from warehouse.dbt import dbt_variables

_DAY_SECONDS: Final = 24 * 60 * 60
_OTHER: Final = {"origin": "other_origin", "is_vendor_bar": "is_other_vendor_bar"}
_PAIR: Final = [*GROUP, *SIDE, *_OTHER.values()]
_SESSION: Final = ["symbol", "session_date"]
_VALUES: Final = [*PRICES, "volume", "revised_at"]


class ReconciliationProof:
    """Compares the mart with the bars of the lake, some symbols of a session at a time, and the days in the end.

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
        self._published = published
        self._through, self._vendors_through = published.reconciliation_known_through()
        self._is_empty = self._through is None and self._vendors_through is None
        coverage = published.coverage()
        tapes = Tapes(lake, coverage, self._through)
        self._origins = Origins(coverage, tapes, real, (self._through, self._vendors_through))
        self._own_days = [pl.DataFrame(schema=CANDIDATE_SCHEMA)]
        no_feed = counted(self._own_days[0].rename({"origin": "source"}))
        self._feeds = [no_feed], [no_feed]

    def check(
        self, revisions: pl.DataFrame, versions: pl.DataFrame, in_mart: pl.DataFrame | None, session: Session | None
    ) -> None:
        """Check the rows of some symbols of a session that are not of days.

        Parameters
        ----------
        revisions
            Every revision of the bars of these symbols in this session.
        versions
            Every version of vendors' bars of these, with the columns of ``silver/vendor_bars``.
        in_mart
            What the mart holds of them (:data:`verify.mart_schemas.RECONCILIATION_SCHEMA`); ``None`` if there is no mart.
        session
            The session; ``None`` if the calendar has none of that date.
        """
        if in_mart is None:
            return
        states = [pl.DataFrame(schema=CANDIDATE_SCHEMA)]
        if session is not None:
            seen = self._seen(revisions, self._through), self._seen(versions, self._vendors_through, "ingested_at")
            states = [_candidates(*seen, session)]
            if (seen[0].height, seen[1].height) != (revisions.height, versions.height):
                states.append(_candidates(revisions, versions, session))
            in_hours = newest_revisions(seen[0]).filter(pl.col("segment") == Segment.REGULAR.value)
            self._own_days.append(_of_minutes(longer(in_hours, DAILY, _DAY_SECONDS, session)))
            for feeds, bars in zip(self._feeds, (seen[0], revisions), strict=True):
                feeds.append(counted(newest_revisions(bars)))
        self._compare(states, in_mart, session)

    def check_days(self, versions: pl.DataFrame) -> None:
        """Check the rows of days, after all sessions were looked at.

        Parameters
        ----------
        versions
            Every version of the vendors' bars, with the columns of ``silver/vendor_bars``.
        """
        in_mart = self._published.reconciled_days()
        if in_mart is None:
            return
        vendors = vendor_days(self._seen(versions, self._vendors_through, "ingested_at"))
        given = vendors.with_columns(pl.lit(value=True).alias("is_given")).select(*CANDIDATE_SCHEMA)
        # A feed is chosen by all of its bars: where the one that is shown has no regular minute there is no own day.
        feeds = [pl.concat(state) for state in self._feeds]
        shown = _sides(in_mart).filter(~pl.col("is_vendor_bar"))
        own = one_feed(pl.concat(self._own_days), feeds, shown)
        self._compare([pl.concat([own, given])], in_mart, None)

    def _seen(self, rows: pl.DataFrame, through: datetime | None, column: str = "revised_at") -> pl.DataFrame:
        """Return the rows that the mart has seen; of a mart without a row all, which it lacks."""
        return rows if self._is_empty else until(rows, through, column)

    def _compare(self, states: Sequence[pl.DataFrame], in_mart: pl.DataFrame, session: Session | None) -> None:
        self._findings.count("mart_comparisons", in_mart.height)
        part, shown = self._origins.choose(states, _sides(in_mart), sides_of(in_mart), session)
        expected = compared(part, shown)
        if self._is_empty:
            self._findings.count("mart_comparisons_behind", expected.height)
            return
        compare(
            self._findings,
            what="comparison",
            where=RECONCILIATION,
            expected=expected,
            found=in_mart,
            table=tables.PG_BARS,
            key=RECONCILIATION_KEY,
        )


def _sides(in_mart: pl.DataFrame) -> pl.DataFrame:
    """Return ``symbol``, ``session_date`` and ``SIDE`` of what is shown and of what stands beside it."""
    others = in_mart.drop(*SIDE).rename({other: own for own, other in _OTHER.items()})
    return pl.concat([rows.select(*_SESSION, *SIDE) for rows in (in_mart, others)])


def _candidates(revisions: pl.DataFrame, versions: pl.DataFrame, session: Session) -> pl.DataFrame:
    lengths = [longer(newest_revisions(revisions), *length, session) for length in INTERVALS.items()]
    return pl.concat([_of_minutes(pl.concat(lengths)), vendor_bars_of(versions, session)])


def compared(bars: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each bar that the shown source of a group or another one has.

    Parameters
    ----------
    bars
        Bars of several sources (:data:`verify.vendor_bars.CANDIDATE_SCHEMA`).
    shown
        Which source is shown of each group.

    Returns
    -------
    polars.DataFrame
        :data:`verify.mart_schemas.RECONCILIATION_SCHEMA`.
    """
    sides = bars.group_by(*GROUP, *SIDE).agg(pl.col("is_given").any())
    others = sides.rename({**_OTHER, "is_given": "is_other_given"})
    is_itself = pl.all_horizontal(pl.col(own) == pl.col(other) for own, other in _OTHER.items())
    pairs = (
        sides.join(shown, on=[*GROUP, *SIDE], how="semi")
        .join(others, on=GROUP)
        .filter(~is_itself & (pl.col("is_given") | pl.col("is_other_given")))
        .select(*_PAIR)
    )
    mine = pairs.join(bars.select(*GROUP, *SIDE, "bar_at", *_VALUES), on=[*GROUP, *SIDE])
    renamed = bars.select(
        *GROUP,
        *(pl.col(own).alias(other) for own, other in _OTHER.items()),
        "bar_at",
        *(_other(name) for name in _VALUES),
    )
    theirs = pairs.join(renamed, on=[*GROUP, *_OTHER.values()])
    both = mine.join(theirs, on=[*_PAIR, "bar_at"], how="full", coalesce=True)
    differences = [(pl.col(f"other_{name}") - pl.col(name)).alias(f"{name}_difference") for name in PRICES]
    points = [_hundredths_of_bps(name).alias(f"{name}_difference_bps") for name in PRICES]
    ratio = _rounded(pl.col("other_volume").cast(pl.Int128) * 1_000_000, pl.col("volume").cast(pl.Int128))
    return both.with_columns(
        *differences, *points, ratio.cast(pl.Int64).alias("volume_ratio"), _agreement().alias("agreement")
    ).select(*RECONCILIATION_SCHEMA)


def _of_minutes(bars: pl.DataFrame) -> pl.DataFrame:
    no = pl.lit(value=False)
    return bars.with_columns(no.alias("is_vendor_bar"), no.alias("is_given"), no.alias("is_final")).select(
        *CANDIDATE_SCHEMA
    )


def _other(name: str) -> pl.Expr:
    return pl.col(name).alias(f"other_{name}")


def _hundredths_of_bps(name: str) -> pl.Expr:
    """Return by how many hundredths of a basis point another price is above the shown one, half rounded away from zero."""
    shown = pl.col(name).cast(pl.Int128)
    apart = pl.col(f"other_{name}").cast(pl.Int128) - shown
    points = apart.sign() * _rounded(apart.abs() * 1_000_000, shown)
    return pl.when(points.abs() <= BPS_LIMIT).then(points).when(points.is_not_null()).then(NO_PRICE).cast(pl.Int64)


def _rounded(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return a quotient of whole numbers, half rounded up; null over 0."""
    return pl.when(denominator > 0).then((numerator * 2 + denominator) // (denominator * 2))


def _agreement() -> pl.Expr:
    variables = dbt_variables()
    prices, shares = (Fraction(str(variables[name])) for name in ("price_tolerance_bps", "volume_tolerance_percent"))
    mine, theirs = pl.col("volume"), pl.col("other_volume")
    is_vendor, is_other_vendor = pl.col("is_vendor_bar"), pl.col("is_other_vendor_bar")
    lone_vendor = pl.when(theirs.is_null()).then(is_vendor).otherwise(is_other_vendor)
    alone = (
        pl.when(is_vendor & is_other_vendor)
        .then(pl.when(theirs.is_null()).then(pl.lit("only_shown")).otherwise(pl.lit("only_other")))
        .when(lone_vendor)
        .then(pl.lit("only_vendor"))
        .otherwise(pl.lit("only_own"))
    )
    prices_agree = pl.all_horizontal(
        _is_within(pl.col(name), pl.col(f"other_{name}"), prices / 10_000) for name in PRICES
    )
    return (
        pl.when(mine.is_null() | theirs.is_null())
        .then(alone)
        .when(~prices_agree)
        .then(pl.lit("prices_differ"))
        .when(~_is_within(mine, theirs, shares / 100))
        .then(pl.lit("volume_differs"))
        .otherwise(pl.lit("agrees"))
    )


def _is_within(shown: pl.Expr, other: pl.Expr, part: Fraction) -> pl.Expr:
    """Return whether another value is no further from the shown one than a part of it; no value is near to none."""
    whole, other_whole = shown.cast(pl.Int128), other.cast(pl.Int128)
    return ((other_whole - whole).abs() * part.denominator <= whole * part.numerator).fill_null(value=False)
