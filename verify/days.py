"""Days and prices in the marts, worked out from the bars of the lake and those of vendors.

What belongs here: ``historical_ohlcv`` and ``realtime_prices``. What does not: intraday bars, which are :mod:`verify.marts`.

A vendor's bar is the day; where no vendor has one, the regular segment's minutes are. Prices are a view: they are those of the
bars that PostgreSQL has now.
"""

from typing import Final

import polars as pl

from market import tables
from market.records import DAILY
from market.sessions import Segment, Session, all_sessions
from verify.comparison import compare
from verify.lake import Lake, schema_of
from verify.longer_bars import Tapes, after, longer, until
from verify.mart_schemas import HISTORICAL, MART_SCHEMA, PRICE_SCHEMA, REALTIME
from verify.origins import NUMBERS, RealSymbols, counted, one_feed, preferred, taken
from verify.previous_closes import with_previous_closes
from verify.questions import Published
from verify.results import Findings
from verify.revisions import newest_revisions
from verify.vendor_bars import vendor_days

_KEY: Final = ["symbol", "session_date"]
_DAY_SECONDS: Final = 24 * 60 * 60
_IN_HOURS: Final = pl.col("segment") == Segment.REGULAR.value


class DayProof:
    """Keeps of every session what its days and prices come to, and compares them when all sessions were looked at.

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
        self._through, self._vendors_through = published.days_known_through()
        self._tapes = Tapes(lake, published.coverage(), self._through)
        self._real = real
        no_bars = pl.DataFrame(schema=schema_of(tables.BAR_REVISIONS))
        self._days: list[pl.DataFrame] = []
        self._prices: list[pl.DataFrame] = []
        self._known: list[pl.DataFrame] = []
        self.add(no_bars, next(iter(all_sessions())))

    def add(self, revisions: pl.DataFrame, session: Session) -> None:
        """Take in every revision of the bars of some symbols of a session."""
        newest = newest_revisions(revisions)
        known = newest_revisions(until(revisions, self._through))
        self._known.append(counted(known))
        self._days.append(longer(known.filter(_IN_HOURS), DAILY, _DAY_SECONDS, session))
        now = longer(newest.filter(_IN_HOURS), DAILY, _DAY_SECONDS, session)
        last = pl.col("close", "bar_at", "segment").filter(pl.col("close").is_not_null()).last()
        first = pl.col("open").drop_nulls().first().alias("first_price")
        sources = newest.sort("bar_at").group_by(pl.col("source").alias("origin"), *_KEY).agg(last, first, *NUMBERS)
        sources = sources.rename({"close": "price", "bar_at": "price_at"})
        so_far = now.drop("bar_at", "segment", "interval", "ends_at")
        self._prices.append(sources.join(so_far, on=["origin", *_KEY], how="left"))

    def check(self, vendor_bars: pl.DataFrame, actions: pl.DataFrame) -> None:
        """Check the days and the prices.

        Parameters
        ----------
        vendor_bars
            Every version of the vendors' bars, with the columns of ``silver/vendor_bars``.
        actions
            Every version of the corporate actions, with the columns of ``silver/corporate_actions``.
        """
        in_mart = self._published.days()
        if in_mart is not None:
            self._check_days(vendor_bars, in_mart)
        self._check_prices(in_mart, actions)

    def _check_days(self, vendor_bars: pl.DataFrame, in_mart: pl.DataFrame) -> None:
        self._findings.count("mart_days", in_mart.height)
        sources = pl.concat(self._prices)
        is_vendors = pl.col("is_vendor_bar")
        vendors = vendor_days(until(vendor_bars, self._vendors_through, "ingested_at"))
        shown = in_mart.filter(is_vendors)
        vendors = preferred(self._real.kept(vendors, shown, self._through, self._vendors_through), _KEY)
        minutes = pl.concat(self._days).join(vendors, on=_KEY, how="anti")
        # A feed is chosen by all of its bars: where the one that is shown has no regular minute there is no day.
        known = pl.concat(self._known)
        states = [known, sources.select(known.columns)]
        minutes = one_feed(minutes, states, in_mart.filter(~is_vendors))
        minutes = self._real.kept(minutes, in_mart.filter(~is_vendors), self._through, self._vendors_through)
        minutes = self._tapes.finish(minutes, in_mart, _KEY)
        minutes = minutes.with_columns(pl.lit(value=False).alias("is_vendor_bar"))
        compare(
            self._findings,
            what="day",
            where=HISTORICAL,
            expected=pl.concat([vendors.select(*MART_SCHEMA), minutes.select(*MART_SCHEMA)]),
            found=in_mart,
            table=tables.PG_BARS,
            key=_KEY,
        )
        of_vendors = vendor_days(vendor_bars)
        of_minutes = sources.filter(pl.col("revision").is_not_null()).join(of_vendors, on=_KEY, how="anti")
        later = [after(of_vendors, self._vendors_through), after(of_minutes, self._through)]
        behind = pl.concat([rows.select(_KEY) for rows in later]).n_unique()
        self._findings.count("mart_days_behind", behind)

    def _check_prices(self, days: pl.DataFrame | None, actions: pl.DataFrame) -> None:
        in_mart = self._published.prices()
        if in_mart is None:
            return
        every = pl.concat(self._prices)
        newest = every.filter(pl.col("session_date") == pl.col("session_date").max().over("symbol"))
        shown = newest.join(taken(newest), on=[*_KEY, "origin"], how="semi")
        shown = with_previous_closes(shown, days, actions)
        compare(
            self._findings,
            what="price",
            where=REALTIME,
            expected=shown.with_columns(pl.col("volume", "trade_count").fill_null(0)).select(*PRICE_SCHEMA),
            found=in_mart,
            table=tables.PG_BARS,
            key=["symbol"],
        )
