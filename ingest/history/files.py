"""Sources that read files: every run reads them, and what the lake has with the same values is not published again.

Reading costs no vendor's request, and a file may have changed since: so nothing is remembered of what one was asked for, or
of what it did not have.

What belongs here: rows against the lake. What does not: how a file is read (``ingest/feeds/<name>/history.py``).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Protocol, runtime_checkable

import numpy as np
import polars as pl

from ingest.history.check import closed_that_day
from ingest.history.frames import PRICES, BarFrames, records
from ingest.history.hours import DAY, EASTERN_STANDARD, hours, number_of_day
from ingest.history.source import Answer, Ask, HistorySource, Limit, Offer, Problem, Read
from market.sessions import FIRST_SESSION, all_sessions
from market.settings import Settings
from warehouse.stored_values import stored_values

OUTSIDE_HOURS: Final = "outside regular hours"
NOT_OVER: Final = "of sessions that are not over"
DAMAGED: Final = "damaged_file"
BEFORE_THE_CALENDAR: Final = f"before {FIRST_SESSION}, where the calendar begins"

_VALUES: Final = (*PRICES, "volume")
_AT_ONCE: Final = 2


@runtime_checkable
class FileSource(HistorySource, Protocol):
    """A source of history that reads files."""

    def symbols(self) -> tuple[str, ...] | None:
        """Return the symbols that are meant if none is named; ``None`` if these are the watchlist's."""
        ...

    def misnamed(self) -> tuple[Problem, ...]:
        """Return what of the files cannot be a symbol, and those (:data:`DAMAGED`) that cannot be read at all."""
        ...

    def read(self, ask: Ask) -> BarFrames:
        """Return the rows of the files for an ask, and more if that is easier."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first and the last day that was asked for, as far as they were given: without them a file is taken whole."""

    start: date | None = None
    end: date | None = None


class UnstoredRows:
    """A source of files without the bars that the lake has with the same values.

    Parameters
    ----------
    source
        The files.
    stored
        Returns what the lake has of an ask, with :data:`warehouse.stored_values.STORED_SCHEMA`.
    bounds
        What was asked for.
    """

    limit: Limit | None = None
    at_once = _AT_ONCE

    def __init__(self, source: FileSource, stored: Callable[[Ask], pl.DataFrame], bounds: Bounds) -> None:
        self._source = source
        self._stored = stored
        self._bounds = bounds

    @property
    def name(self) -> str:
        """The name of the feed."""
        return self._source.name

    @property
    def offers(self) -> Mapping[str, Offer]:
        """What the files may have."""
        return self._source.offers

    def check(self) -> None:
        """Look whether the files can be read."""
        self._source.check()

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Return the rows of the symbols that have a bar which the lake has not, and what was read of all."""
        del pace  # nobody is asked
        frames = self._source.read(ask)
        stored = self._stored(ask) if frames.by_symbol else None
        return compared(frames, ask, stored, self._bounds)


def stored_of(settings: Settings, source: str) -> Callable[[Ask], pl.DataFrame]:
    """Return what returns the bars that the lake has of an ask."""

    def stored(ask: Ask) -> pl.DataFrame:
        start, end = ask.sessions[0].pre_open_at, ask.sessions[-1].post_close_at
        return stored_values(settings, source, ask.interval, ask.symbols, start=start, end=end)

    return stored


def compared(frames: BarFrames, ask: Ask, stored: pl.DataFrame | None, bounds: Bounds) -> Answer:
    """Return what was read, and the bars of those symbols of which the lake lacks one, or has it with other values.

    All bars of such a symbol are returned, so that they are judged together; ``there`` says which of them the lake has.

    Parameters
    ----------
    frames
        The rows of the files.
    ask
        What was asked for.
    stored
        What the lake has of it; ``None`` for nothing.
    bounds
        The days that were asked for: rows beyond them are not spoken of.
    """
    whole = frames.answer(ask, with_bars=False)
    own = [frames.by_symbol[symbol] for symbol in ask.symbols if symbol in frames.by_symbol]
    if not own:
        return replace(whole, read={})
    rows = _with_place(pl.concat(own).filter(pl.col("fault").is_null()), ask)
    rows = _with_there(rows, stored)
    is_new = (pl.col("place") == _REGULAR) & ~pl.col("there")
    is_asked_for = pl.col("place").is_in([_REGULAR, _OUTSIDE, _CLOSED])
    fresh = rows.filter(is_asked_for, pl.col("symbol").is_in(rows.filter(is_new)["symbol"].unique().to_list()))
    there = fresh.filter("there").select("symbol", "ts").iter_rows()
    passed_over, strays = _not_of_a_session(rows, bounds)
    return Answer(
        list(records(frames.source, ask.interval, fresh)),
        [*whole.problems, *strays],
        whole.unknown,
        read={symbol: _read(of, passed_over[symbol]) for (symbol,), of in rows.group_by("symbol")},
        there=frozenset((symbol, ts) for symbol, ts in there),
    )


_REGULAR, _OUTSIDE, _CLOSED, _BEFORE, _AFTER = range(5)
"""Where a row lies: in regular hours, beside them, on a day without a session; before and after the sessions of the ask."""


def _with_place(rows: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    """Return rows with their ``day``, the ``number`` of their session among all, or of the next one, and their ``place``."""
    calendar = hours()
    days = calendar.days
    ts = rows["ts"].to_numpy()
    day = (ts - EASTERN_STANDARD) // DAY
    number = np.minimum(np.searchsorted(days, day), len(days) - 1)
    is_session = days[number] == day
    is_regular = is_session & (calendar.opens[number] <= ts) & (ts < calendar.closes[number])
    first, last = (number_of_day(session.session_date) for session in (ask.sessions[0], ask.sessions[-1]))
    place = np.select(
        [day < first, day > last, ~is_session, is_regular], [_BEFORE, _AFTER, _CLOSED, _REGULAR], default=_OUTSIDE
    )
    return rows.with_columns(
        pl.Series("day", day),
        pl.Series("number", number),
        pl.Series("place", place),
        pl.Series("is_session", is_session),
    )


def _with_there(rows: pl.DataFrame, stored: pl.DataFrame | None) -> pl.DataFrame:
    """Return rows with whether the lake has the bar ``there`` with the same values."""
    if stored is None or stored.is_empty():
        return rows.with_columns(pl.lit(value=False).alias("there"))
    theirs = {name: f"stored_{name}" for name in _VALUES}
    is_same = pl.all_horizontal(pl.col(ours) == pl.col(other) for ours, other in theirs.items())
    return (
        rows.join(stored.rename(theirs), on=("symbol", "ts"), how="left", maintain_order="left")
        .with_columns(is_same.fill_null(value=False).alias("there"))
        .drop(theirs.values())
    )


def _not_of_a_session(rows: pl.DataFrame, bounds: Bounds) -> tuple[Mapping[str, Counter[str]], list[Problem]]:
    """Return by symbol how many rows are passed over for what reason, and the bars of days on which the exchange was closed."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    if bounds.start is not None:
        rows = rows.filter((pl.col("place") != _BEFORE) | (pl.col("day") >= number_of_day(bounds.start)))
    if bounds.end is not None:
        rows = rows.filter((pl.col("place") != _AFTER) | (pl.col("day") <= number_of_day(bounds.end)))
    last = number_of_day(all_sessions()[-1].session_date)
    reason = (
        pl.when(pl.col("place") == _OUTSIDE)
        .then(pl.lit(OUTSIDE_HOURS))
        .when((pl.col("place") == _AFTER) & (pl.col("is_session") | (pl.col("day") > last)))
        .then(pl.lit(NOT_OVER))
        .when(pl.col("day") < number_of_day(FIRST_SESSION))
        .then(pl.lit(BEFORE_THE_CALENDAR))
    )
    others = rows.filter(pl.col("place") != _REGULAR).with_columns(reason.alias("reason"))
    said = others.filter(pl.col("reason").is_not_null()).group_by("symbol", "reason", maintain_order=True).len()
    for symbol, why, number in said.iter_rows():
        counts[symbol][why] = number
    closed = others.filter(pl.col("reason").is_null()).select("symbol", "ts").iter_rows()
    return counts, [closed_that_day(symbol, ts) for symbol, ts in closed]


def _read(rows: pl.DataFrame, passed_over: Counter[str]) -> Read:
    """Return what was read of a symbol."""
    regular = rows.filter(pl.col("place") == _REGULAR)
    had = set(regular["number"].unique().to_list())
    sessions = all_sessions()
    between = range(min(had), max(had)) if had else range(0)
    return Read(
        bars=regular.height,
        there=int(regular["there"].sum()),
        sessions=tuple(sessions[number] for number in sorted(had)),
        without_bars=tuple(sessions[number].session_date for number in between if number not in had),
        passed_over=passed_over,
    )
