"""Sessions and segments for whole columns of moments, looked up in the published calendar."""

import functools
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market.sessions import Segment, all_sessions

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SEGMENTS: Final = (Segment.PRE.value, Segment.REGULAR.value, Segment.POST.value)

Moments = NDArray[np.int64]


def epoch_micros(moment: datetime) -> int:
    """Return the UTC epoch microseconds of a moment."""
    return (moment - _EPOCH) // _MICROSECOND


@functools.cache
def _bounds() -> tuple[Moments, Moments, Moments, Moments, Moments]:
    sessions = all_sessions()
    epoch_day = _EPOCH.date()
    return (
        np.array([epoch_micros(session.pre_open_at) for session in sessions], dtype=np.int64),
        np.array([epoch_micros(session.open_at) for session in sessions], dtype=np.int64),
        np.array([epoch_micros(session.close_at) for session in sessions], dtype=np.int64),
        np.array([epoch_micros(session.post_close_at) for session in sessions], dtype=np.int64),
        np.array([(session.session_date - epoch_day).days for session in sessions], dtype=np.int64),
    )


@functools.cache
def _dates() -> frozenset[date]:
    return frozenset(session.session_date for session in all_sessions())


def is_session(day: date) -> bool:
    """Return whether there is a session on a day."""
    return day in _dates()


def closes_of(session_dates: pl.Series) -> pl.Series:
    """Return the end of the regular segment of sessions, in UTC epoch microseconds."""
    _, _, closes, _, days = _bounds()
    return pl.Series(closes[np.searchsorted(days, session_dates.to_physical().to_numpy())])


def in_sessions(moments: pl.Series) -> pl.DataFrame:
    """Return ``session_date`` and ``segment`` for UTC epoch microseconds; both are null outside every session."""
    pre_opens, opens, closes, post_closes, days = _bounds()
    at = moments.to_numpy().astype(np.int64, copy=False)
    index = np.searchsorted(pre_opens, at, side="right") - 1
    known = np.maximum(index, 0)
    inside = pl.Series((index >= 0) & (at < post_closes[known]))
    segment = (at >= opens[known]).astype(np.int8) + (at >= closes[known]).astype(np.int8)
    names = pl.Series(segment).replace_strict(list(range(len(_SEGMENTS))), list(_SEGMENTS), return_dtype=pl.String)
    frame = pl.DataFrame({"session_date": pl.Series(days[known]).cast(pl.Int32).cast(pl.Date), "segment": names})
    return frame.select(pl.when(inside).then(pl.all()).otherwise(None))
