"""Which of several sources a mart may show, worked out from their bars by the rule of ``docs/bars.md``.

What belongs here: whose bars are shown. What does not: what the bars of a source are, which is :mod:`verify.longer_bars` and
:mod:`verify.vendor_bars`.

A mart was built at some moment, of which nobody knows what heartbeats had come by then. So there may be several answers, and
what the mart shows has to be one of them: by the bars that the mart has seen or by all, and by the heartbeats that there are
now or by none.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from market import tables
from market.records import DAILY, INTERVALS
from market.sessions import Segment, Session
from verify.lake import Lake
from verify.longer_bars import Tapes
from verify.questions import Through
from warehouse.dbt import dbt_variables

SIDE: Final = ["origin", "is_vendor_bar"]
"""A source, and whether its bars are a vendor's: one source may have both."""
GROUP: Final = ["symbol", "session_date", "segment", "interval"]
"""Of such a group of bars a mart shows one source, as ``docs/bars.md`` says."""
FROM_OPEN: Final = pl.col("segment") != Segment.PRE.value
"""Whether a bar lies in or after regular hours."""
HAS_PRICE: Final = pl.col("open").is_not_null()
"""Whether a bar is one that its source has: without a price, as where all trades were cancelled, it is none."""
NUMBERS: Final = HAS_PRICE.sum().alias("minutes"), (HAS_PRICE & FROM_OPEN).sum().alias("from_open")
"""Of a feed's bars of minutes, how many it has, as :func:`taken` asks for."""
_SESSION: Final = ["symbol", "session_date"]
_FEED: Final = [*_SESSION, "origin"]
_MINUTE: Final = "1m"
_OVER: Final = {"origin": pl.String(), "segment": pl.String()}
_WHOLE: Final = {"symbol": pl.String(), **_OVER}


def source_rank(source: str) -> int:
    """Return the place of a source by ``source_priority``: the least is preferred."""
    priority = dbt_variables()["source_priority"]
    return int(priority.index(source if source in priority else "*"))


def is_last_resort(source: str) -> bool:
    """Return whether a source is shown only of symbols that no other has anything like it of."""
    return source_rank(source) > source_rank("*")


def preferred(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return of each key the rows of the first source by ``source_priority``, then by name."""
    if rows.is_empty():
        return rows
    names = sorted(rows.get_column("origin").unique(), key=lambda source: (source_rank(source), source))
    places = pl.col("origin").replace_strict(names, range(len(names)), default=None, return_dtype=pl.Int64)
    return rows.filter(places == places.min().over(key))


class RealSymbols:
    """The symbols that a source before the last resort has anything of, and since when: bars shorter than a day, or days too.

    Parameters
    ----------
    lake
        The lake, cut at the newest batches that PostgreSQL has.
    versions
        Every version of the vendors' bars, days too.
    """

    def __init__(self, lake: Lake, versions: pl.DataFrame) -> None:
        revisions = lake.scan(tables.BAR_REVISIONS).select("source", "symbol", "revised_at")
        own = lake.read(revisions.group_by("source", "symbol").agg(pl.col("revised_at").min().alias("since_at")))
        by_kind = versions.group_by("source", "symbol", (pl.col("interval") == DAILY).alias("is_day"))
        vendors = by_kind.agg(pl.col("ingested_at").min().alias("since_at"))
        self._own, self._vendors = (rows.filter(~_is_last_resort(rows, "source")) for rows in (own, vendors))

    def kept(
        self, rows: pl.DataFrame, in_mart: pl.DataFrame, through: datetime | None, vendors_through: datetime | None
    ) -> pl.DataFrame:
        """Return the rows without what is made up of real symbols.

        A made-up day is left out of a symbol that has anything real, a shorter made-up bar of one that has a real bar shorter
        than a day. Where the mart may not have seen yet that a symbol is real, what it shows is right.

        Parameters
        ----------
        rows
            Rows with ``symbol``, ``session_date``, ``interval`` and ``origin``.
        in_mart
            The same columns of the mart's rows, but for ``interval``.
        through, vendors_through
            Up to which moments the mart has seen own bars and vendors' ones.
        """
        is_day = pl.col("interval") == DAILY
        parts = [(rows.filter(is_day), self._vendors), (rows.filter(~is_day), self._vendors.filter(~pl.col("is_day")))]
        kept = []
        for part, vendors in parts:
            every = pl.concat([self._own, vendors.select(self._own.columns)]).get_column("symbol").unique()
            known = _until(self._own, through), _until(vendors, vendors_through).select(self._own.columns)
            seen = pl.concat(known).get_column("symbol").unique()
            made_up = part.filter(_is_last_resort(part, "origin") & pl.col("symbol").is_in(every.implode()))
            shown = made_up.join(in_mart, on=[*_SESSION, "origin"], how="semi").filter(
                ~pl.col("symbol").is_in(seen.implode())
            )
            hidden = made_up.join(shown, on=[*_SESSION, "origin"], how="anti")
            kept.append(part.join(hidden, on=[*_SESSION, "origin"], how="anti"))
        return pl.concat(kept)


def counted(minutes: pl.DataFrame) -> pl.DataFrame:
    """Return how many minutes of a session each feed has, all and from the open on, of its bars of minutes, one a minute."""
    feed = [*_SESSION, pl.col("source").alias("origin")]
    return minutes.group_by(feed).agg(NUMBERS)


def taken(feeds: pl.DataFrame) -> pl.DataFrame:
    """Return whose minutes are taken of each session: ``symbol``, ``session_date`` and ``origin``.

    The first feed by ``source_priority`` that has any; what is made up comes behind all others. Those that it does not name
    have one place: of these the first by name that has not markedly fewer minutes than another of them: from the open on, once
    one of them has any.

    Parameters
    ----------
    feeds
        ``symbol``, ``session_date``, ``origin``, and how many minutes it has: all ``minutes``, and those ``from_open`` on.
    """
    if feeds.is_empty():
        return feeds.select(_FEED)
    places = {source: source_rank(source) for source in feeds.get_column("origin").unique()}
    place = pl.col("origin").replace_strict(places, return_dtype=pl.Int64)
    of_one_place = feeds
    for worse in (_is_last_resort(feeds, "origin"), pl.col("minutes") == 0, place):
        of_one_place = of_one_place.filter(worse == worse.min().over(_SESSION))
    percent, margin = (dbt_variables()[name] for name in ("vendor_completeness_percent", "feed_margin_minutes"))
    is_open = pl.col("from_open").max().over(_SESSION) > 0
    held = of_one_place.with_columns(pl.when(is_open).then("from_open").otherwise("minutes").alias("held"))
    most = pl.col("held").max().over(_SESSION)
    has_enough = (pl.col("held") * 100 >= most * percent) | (pl.col("held") + margin > most)
    return preferred(held.filter(has_enough), _SESSION).select(_FEED)


def one_feed(rows: pl.DataFrame, states: Sequence[pl.DataFrame], in_mart: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of own bars of one feed a session: of those that may be shown the one that the mart has, or that of now.

    Parameters
    ----------
    rows
        Own bars: ``symbol``, ``session_date`` and ``origin`` among their columns.
    states
        The same columns of all feeds, and what :func:`taken` asks for: as the mart has seen them, then perhaps as they are now.
    in_mart
        The same columns of the mart's own bars.
    """
    may_be = pl.concat([taken(state) for state in states])
    known = may_be.join(in_mart, on=_FEED, how="semi")
    others = may_be.join(known, on=_SESSION, how="anti")
    others = others.unique(_SESSION, keep="last", maintain_order=True)
    return rows.join(pl.concat([known, others]), on=_FEED, how="semi")


class Origins:
    """Whose bars a mart may show.

    Parameters
    ----------
    coverage
        The spans of ``lake.feed_coverage``.
    tapes
        How far the tapes of feeds are.
    real
        The symbols that something real is known of.
    through
        Up to which moments the mart has seen own bars and vendors' ones.
    """

    def __init__(self, coverage: pl.DataFrame, tapes: Tapes, real: RealSymbols, through: Through) -> None:
        self._coverage = coverage
        self._tapes = tapes
        self._real = real
        self._through = through

    def choose(
        self, states: Sequence[pl.DataFrame], in_mart: pl.DataFrame, shown: pl.DataFrame, session: Session | None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the bars that take part, and ``GROUP`` and ``SIDE`` of those that are shown.

        Parameters
        ----------
        states
            Bars of all sources (:data:`verify.vendor_bars.CANDIDATE_SCHEMA`): those that the mart has seen, then perhaps
            those that there are now.
        in_mart
            ``symbol``, ``session_date`` and ``SIDE`` that the mart has rows of, whether shown or beside what is shown.
        shown
            ``GROUP`` and ``SIDE`` that the mart shows.
        session
            The session of all; ``None`` if the calendar has none.
        """
        is_vendors = pl.col("is_vendor_bar")
        kept = [self._real.kept(state, in_mart, *self._through) for state in states]
        own = [state.filter(~is_vendors) for state in kept]
        # Days alone have no minutes to be counted: of these one feed is left already.
        is_counted = HAS_PRICE & (pl.col("interval") == _MINUTE)
        numbers = is_counted.sum().alias("minutes"), (is_counted & FROM_OPEN).sum().alias("from_open")
        counts = [state.group_by(_FEED).agg(numbers) for state in own]
        feeds = [one_feed(own[0], counts, in_mart.filter(~is_vendors))]
        feeds += [
            state.join(taken(count), on=_FEED, how="semi") for state, count in zip(own[1:], counts[1:], strict=True)
        ]
        parts = [pl.concat([feed, state.filter(is_vendors)]) for feed, state in zip(feeds, kept, strict=True)]
        whole, passed = pl.DataFrame(schema=_WHOLE), [pl.DataFrame(schema=_OVER)]
        if session is not None:
            whole, passed = whole_segments(self._coverage, session), self._tapes.passed(session)
        sides = [
            part.group_by(*GROUP, *SIDE).agg(
                HAS_PRICE.sum().alias("count"),
                pl.col("bar_at").filter(HAS_PRICE).max().alias("newest_at"),
                pl.col("volume").max(),
                pl.col("is_given").any(),
            )
            for part in parts
        ]
        may_be = [
            chosen(side, covered, over) for side in sides for covered in (whole, whole.clear()) for over in passed
        ]
        every = pl.concat(may_be)
        right = shown.join(every, on=[*GROUP, *SIDE], how="semi").select(*GROUP, *SIDE)
        others = every.join(right, on=GROUP, how="anti").unique(GROUP, keep="first", maintain_order=True)
        return parts[0], pl.concat([right, others])


def sides_of(in_mart: pl.DataFrame) -> pl.DataFrame:
    """Return which source a mart shows of each group: ``GROUP`` and ``SIDE``, that of most rows."""
    counted = in_mart.group_by(*GROUP, *SIDE).len().sort("len", *SIDE, descending=[True, False, False])
    return counted.unique(GROUP, keep="first", maintain_order=True).select(*GROUP, *SIDE)


def chosen(sides: pl.DataFrame, whole: pl.DataFrame, over: pl.DataFrame) -> pl.DataFrame:
    """Return the source of each group by the rule.

    Parameters
    ----------
    sides
        What one feed, and vendors, have of each group: ``GROUP``, ``SIDE``, ``count`` and ``newest_at`` of bars with a price,
        the greatest ``volume``, and ``is_given``.
    whole
        ``origin``, ``symbol`` and ``segment`` that the heartbeats of a feed cover whole.
    over
        ``origin`` and ``segment`` that the tape of a feed has passed.

    Returns
    -------
    polars.DataFrame
        ``GROUP`` and ``SIDE``.
    """
    vendors = sides.filter("is_vendor_bar")
    enough = pl.col("count") * 100 >= pl.col("count").max().over(GROUP) * dbt_variables()["vendor_completeness_percent"]
    vendors = preferred(vendors.filter(enough), GROUP).drop("is_vendor_bar", "volume", "is_given")
    own = sides.filter(~pl.col("is_vendor_bar")).drop("is_vendor_bar", "is_given")
    own = own.join(
        whole.with_columns(pl.lit(value=True).alias("is_whole")), on=["origin", "symbol", "segment"], how="left"
    )
    own = own.join(over.with_columns(pl.lit(value=True).alias("is_over")), on=["origin", "segment"], how="left")
    both = own.join(vendors, on=GROUP, how="full", coalesce=True, suffix="_vendor")
    is_tie_the_vendors = pl.col("volume") == 0
    has_more = (pl.col("count_vendor") > pl.col("count")) | (
        is_tie_the_vendors & (pl.col("count_vendor") == pl.col("count"))
    )
    is_newer = (pl.col("newest_at") > pl.col("newest_at_vendor")).fill_null(value=False)
    is_ahead = pl.col("is_over").is_null() & is_newer
    # Of days the vendor's is shown wherever there is one.
    is_own = (pl.col("is_whole").is_not_null() | is_ahead | ~has_more) & (pl.col("interval") != DAILY)
    is_vendors = pl.col("origin").is_null() | (pl.col("origin_vendor").is_not_null() & ~is_own)
    by_number = both.select(
        *GROUP,
        pl.when(is_vendors).then("origin_vendor").otherwise("origin").alias("origin"),
        is_vendors.alias("is_vendor_bar"),
    )
    return _following(by_number, sides.filter("is_given").select(GROUP).unique())


def whole_segments(coverage: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Return ``origin``, ``symbol`` and ``segment`` of a session that heartbeats cover whole."""
    spans = coverage.filter(pl.col("session_date") == session.session_date)
    segments = [
        (Segment.PRE, session.pre_open_at, session.open_at),
        (Segment.REGULAR, session.open_at, session.close_at),
        (Segment.POST, session.close_at, session.post_close_at),
    ]
    found = [
        spans.filter((pl.col("since_at") <= starts_at) & (pl.col("until_at") >= ends_at)).select(
            "symbol", pl.col("source").alias("origin"), pl.lit(segment.value).alias("segment")
        )
        for segment, starts_at, ends_at in segments
    ]
    return pl.concat(found).unique()


def _following(by_number: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """Return the choice with that of the next shorter length wherever no vendor gave the length."""
    lengths = sorted(INTERVALS, key=lambda interval: INTERVALS[interval])
    parts = [by_number.filter(pl.col("interval") == lengths[0])]
    for length in lengths[1:]:
        these = by_number.filter(pl.col("interval") == length)
        follows = these.join(given, on=GROUP, how="anti").select(GROUP)
        shorter = parts[-1].drop("interval")
        followed = follows.join(shorter, on=[name for name in GROUP if name != "interval"])
        parts.append(pl.concat([these.join(given, on=GROUP, how="semi"), followed.select(by_number.columns)]))
    return pl.concat([by_number.filter(~pl.col("interval").is_in(lengths)), *parts])


def _until(rows: pl.DataFrame, through: datetime | None) -> pl.DataFrame:
    return rows.clear() if through is None else rows.filter(pl.col("since_at") <= through)


def _is_last_resort(rows: pl.DataFrame, column: str) -> pl.Expr:
    return pl.col(column).is_in([source for source in rows.get_column(column).unique() if is_last_resort(source)])
