"""What the proofs ask of PostgreSQL.

What belongs here: the questions. What does not: how PostgreSQL is asked, which is :mod:`verify.published`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

import polars as pl

from verify.indicator_marts import IndicatorMart, Series

Place = tuple[str, int]
Through = tuple[datetime | None, datetime | None]
"""Up to which moments batches were seen: those of own bars, and those of vendors' bars."""


class Published(Protocol):
    """What the proofs ask of PostgreSQL."""

    def next_offsets(self) -> Mapping[Place, int]:
        """Return the stream's progress by topic and partition, as of the snapshot."""

    def next_offsets_now(self) -> Mapping[Place, int]:
        """Return the stream's progress as it is now."""

    def batches_now(self) -> set[datetime]:
        """Return the ``ingested_at`` of the batches that are in PostgreSQL now, of the last weeks."""

    def sessions_with_bars(self) -> set[date | None]:
        """Return the sessions that have 1-minute bars; ``None`` for bars of no date that can be."""

    def bar_sessions(self) -> pl.DataFrame:
        """Return what ``lake.bar_sessions`` says of sessions with bars (:data:`BAR_SESSION_SCHEMA`)."""

    def vendor_bar_sessions(self) -> pl.DataFrame:
        """Return what ``lake.vendor_bar_sessions`` says of sessions with bars (:data:`VENDOR_BAR_SESSION_SCHEMA`)."""

    def bars(self, session_date: date | None) -> pl.DataFrame:
        """Return the 1-minute bars of a session in the types of :func:`verify.lake.schema_of`."""

    def vendor_bars(self) -> pl.DataFrame:
        """Return the vendor bars in the types of :func:`verify.lake.schema_of`."""

    def corporate_actions(self) -> pl.DataFrame:
        """Return the corporate actions in the types of :func:`verify.lake.schema_of`."""

    def latest_quotes(self) -> pl.DataFrame:
        """Return the last known bids and asks in the types of :func:`verify.lake.schema_of`."""

    def quoted_sessions(self) -> set[date | None]:
        """Return the sessions that have minutes with quotes; ``None`` for minutes of no date that can be."""

    def minute_quotes(self, session_date: date | None) -> pl.DataFrame:
        """Return the last bids and asks of the minutes of a session in the types of :func:`verify.lake.schema_of`."""

    def mart_sessions(self) -> set[date | None]:
        """Return the sessions that the mart of intraday bars has."""

    def mart_bars(self, session_date: date | None) -> pl.DataFrame | None:
        """Return the mart's intraday bars of a session (:data:`MART_SCHEMA`), or ``None`` if there is no mart."""

    def keep_from(self, tier: str) -> datetime | None:
        """Return since when sessions and changes of them are kept by a tier of the marts; ``None`` if all are."""

    def intraday_known_through(self) -> Through:
        """Return the newest ``revised_at`` of the mart's own intraday bars, and of vendors' ones; ``None`` without a row."""

    def reconciliation_sessions(self) -> set[date | None]:
        """Return the sessions of which the reconciliation has bars shorter than a day."""

    def reconciliation(self, session_date: date | None) -> pl.DataFrame | None:
        """Return the compared bars of a session, :data:`RECONCILIATION_SCHEMA`, but for days; ``None`` if there is no mart."""

    def reconciled_days(self) -> pl.DataFrame | None:
        """Return the compared days (:data:`RECONCILIATION_SCHEMA`), or ``None`` if there is no mart."""

    def reconciliation_known_through(self) -> Through:
        """Return the newest time of change of the compared own bars, and of vendors' ones; ``None`` without one."""

    def days(self) -> pl.DataFrame | None:
        """Return the mart's days (:data:`MART_SCHEMA`), or ``None`` if there is no mart."""

    def days_known_through(self) -> Through:
        """Return the newest ``revised_at`` of the days made of minutes, and of those of vendors; ``None`` without a row."""

    def adjusted_days(self) -> pl.DataFrame | None:
        """Return the mart's days (see :mod:`verify.adjusted_schemas`), or ``None`` if there is no mart that adjusts."""

    def believed_actions(self) -> pl.DataFrame | None:
        """Return which source of each action the marts believe (see :mod:`verify.adjusted_schemas`), if there is a mart."""

    def prices(self) -> pl.DataFrame | None:
        """Return the mart's newest prices (:data:`PRICE_SCHEMA`), or ``None`` if there is no mart."""

    def coverage(self) -> pl.DataFrame:
        """Return the spans of ``lake.feed_coverage`` (:data:`COVERAGE_SCHEMA`)."""

    def halts(self) -> pl.DataFrame:
        """Return ``lake.trading_halts``."""

    def gaps(self) -> pl.DataFrame | None:
        """Return the mart's gaps (:data:`GAP_SCHEMA`), or ``None`` if there is no mart."""

    def gaps_known_through(self) -> datetime | None:
        """Return the ``ingested_at`` up to which batches were seen by the newest build of the gaps; ``None`` without one."""

    def indicator_columns(self, mart: IndicatorMart) -> set[str] | None:
        """Return the columns of a mart of indicators, or ``None`` if there is no such mart."""

    def indicator_series(self, mart: IndicatorMart) -> list[Series]:
        """Return the series that have bars, or rows in the mart."""

    def pending_sessions(self, mart: IndicatorMart) -> Mapping[str, date]:
        """Return since which session of each symbol the mart has yet to take changes up."""

    def indicator_bars(self, mart: IndicatorMart, series: Series) -> pl.DataFrame:
        """Return the bars that belong to a series, with the mart's names (:attr:`IndicatorMart.schema`), in order."""

    def indicator_rows(self, mart: IndicatorMart, series: Series, values: Sequence[str]) -> pl.DataFrame:
        """Return the mart's rows of a series: the same columns, ``bar_number``, ``is_stable``, and ``values`` as doubles."""
