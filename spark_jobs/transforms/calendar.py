"""Moments to sessions, segments and minutes, for whole columns."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market.sessions import Segment, all_sessions

MICROS: Final = 1_000_000
MAX_TS: Final = 7_258_118_400 * MICROS
"""No time may lie after the start of the year 2200."""

EASTERN_STANDARD: Final = 5 * 3600 * MICROS
"""A moment's session is the UTC date of (moment - 5 h): exact for every moment between 04:00 and 20:00 exchange
time, in standard and in daylight-saving time, and no other moment lies in a session."""

MINUTE: Final = 60 * MICROS
_DAY: Final = 86_400 * MICROS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES: Final = [segment.value for segment in Segment]
_SEGMENTS: Final = pl.Series("segment", _NAMES, dtype=pl.Enum(_NAMES))

Moments = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calendar:
    """The bounds of every day's session in epoch microseconds; all 0 on a day without one.

    Attributes
    ----------
    first_day
        The days since 1970 of the first element.
    pre_open, open, close, post_close
        One element a day.
    """

    first_day: int
    pre_open: Moments
    open: Moments
    close: Moments
    post_close: Moments

    @classmethod
    def load(cls) -> Self:
        """Return the exchange's calendar."""
        sessions = all_sessions()
        first = _day(sessions[0].session_date)
        bounds = np.zeros((4, _day(sessions[-1].session_date) - first + 1), np.int64)
        for session in sessions:
            moments = (session.pre_open_at, session.open_at, session.close_at, session.post_close_at)
            bounds[:, _day(session.session_date) - first] = [_micros(moment) for moment in moments]
        return cls(first, *bounds)

    def place(self, ts: pl.Series) -> pl.DataFrame:
        """Return ``session_date`` and ``segment`` of moments in epoch microseconds; null outside a session.

        A moment that is null or not in the range of the calendar lies outside.
        """
        usable = ts.is_between(0, MAX_TS).fill_null(value=False).to_numpy()
        at = ts.fill_null(0).to_numpy()
        days = (at - EASTERN_STANDARD) // _DAY
        index = days - self.first_day
        usable &= (index >= 0) & (index < len(self.open))
        index = np.where(usable, index, 0)
        usable &= (at >= self.pre_open[index]) & (at < self.post_close[index])
        number = (at >= self.open[index]).astype(np.uint32) + (at >= self.close[index])
        inside = pl.Series(usable)
        dates = pl.Series("session_date", days).cast(pl.Int32).cast(pl.Date)
        placed = pl.DataFrame([dates, _SEGMENTS.gather(pl.Series(number))])
        return placed if inside.all() else placed.select(pl.when(inside).then(pl.all()))

    def sessions(self, days: pl.Series) -> pl.Series:
        """Return the days on which there is a session, as ``session_date``; null for the others and for what is no day."""
        numbers = days.cast(pl.Int32).fill_null(-1).to_numpy()
        index = numbers - self.first_day
        usable = (index >= 0) & (index < len(self.open))
        usable &= self.open[np.where(usable, index, 0)] > 0
        return pl.select(session_date=pl.when(pl.Series(usable)).then(days)).to_series()


def _day(day: date) -> int:
    return (day - _EPOCH.date()).days


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
