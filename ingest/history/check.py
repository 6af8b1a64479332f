"""What of an answer is believed: bars of what was asked for, each once, with prices that can be.

What belongs here: pure checks of a vendor's bars before they are published. What does not: the rules of the wire format, by
which the stream judges every message (``docs/wire-format.md``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from ingest.history.source import Ask, Problem
from market.records import DAILY, INTERVALS, Bar
from market.sessions import Session, find_session
from warehouse.history import KnownClose, KnownCloses

OFF_BY: Final = Decimal(50)
"""Two closes are far from each other if one is so many times the other. Hardly a share moves so far from one session to the next;
a vendor that mixes dollars and cents is off by 100."""
NOTHING_KNOWN: Final[Mapping[str, KnownCloses]] = MappingProxyType({})

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Believed:
    """The bars to publish, in order of time and symbol, and what is wrong with the others."""

    bars: Sequence[Bar]
    problems: Sequence[Problem]


def believe(
    ask: Ask,
    bars: Iterable[Bar],
    known: Mapping[str, KnownCloses] = NOTHING_KNOWN,
    *,
    accepts_jumps: bool = False,
) -> Believed:
    """Return the bars of an answer that are believed.

    Bars of sessions or symbols that were not asked for, and of the hours before the open and after the close, are passed over:
    some vendors give more than they were asked for. A bar that is there twice is taken once if it says the same.

    Parameters
    ----------
    ask, bars
        What was asked for, and what was answered, in any order.
    known
        By symbol closes nearby that the lake has, of whichever source.
    accepts_jumps
        Whether prices are believed that are far from all of these, or that only the newest bar has.
    """
    problems: list[Problem] = []
    by_place: dict[tuple[str, int], list[Bar]] = {}
    starts = _Starts(ask)
    for bar in bars:
        if bar.symbol not in ask.symbols or bar.interval != ask.interval:
            continue
        if (wrong := starts.problem(bar)) is not None:
            problems.append(wrong)
        elif starts.is_asked_for(bar.ts):
            by_place.setdefault((bar.symbol, bar.ts), []).append(bar)
    by_symbol: defaultdict[str, list[Bar]] = defaultdict(list)
    for (symbol, _), same in sorted(by_place.items(), key=lambda item: item[0]):
        if (wrong := _contradiction(same) or _disorder(same[0])) is not None:
            problems.append(wrong)
        else:
            by_symbol[symbol].append(same[0])
    believed: list[Bar] = []
    for symbol, found in by_symbol.items():
        kept, off = _without_jumps(found)
        strange = {} if accepts_jumps else _strange(kept, known.get(symbol, KnownCloses()))
        believed += [bar for bar in kept if bar.ts not in strange]
        problems += [*off, *strange.values()]
    return Believed(sorted(believed, key=lambda bar: (bar.ts, bar.symbol)), problems)


def _contradiction(same: Sequence[Bar]) -> Problem | None:
    if all(bar == same[0] for bar in same):
        return None
    return Problem(same[0].symbol, "contradicts_itself", f"{len(same)} bars at {_at(same[0].ts)} that differ")


def _disorder(bar: Bar) -> Problem | None:
    if bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high:
        return None
    prices = f"open {bar.open}, high {bar.high}, low {bar.low}, close {bar.close}"
    return Problem(bar.symbol, "prices_out_of_order", f"{prices} at {_at(bar.ts)}")


def _without_jumps(bars: Sequence[Bar]) -> tuple[list[Bar], list[Problem]]:
    """Return the bars but for those that jump away and back, as where a vendor mixes dollars and cents."""
    kept: list[Bar] = []
    problems: list[Problem] = []
    for number, bar in enumerate(bars):
        before = kept[-1] if kept else None
        if (
            before is not None
            and _is_far(bar.close, before.close)
            and any(not _is_far(later.close, before.close) for later in bars[number + 1 :])
        ):
            detail = (
                f"close {bar.close} at {_at(bar.ts)}, after {before.close}; later bars are near {before.close} again"
            )
            problems.append(Problem(bar.symbol, "off_by_far", detail))
        else:
            kept.append(bar)
    return kept, problems


def _strange(bars: Sequence[Bar], known: KnownCloses) -> dict[int, Problem]:
    """Return by time what is wrong with the bars at a level that nothing confirms.

    Bars that follow each other without a far jump are one level. The first level has to be near what the lake has before it, the
    last near what it has after it, and where there is one only, near either. Where the lake has nothing afterwards, a jump has to
    last for more than one bar.
    """
    levels = _levels(bars)
    if len(levels) == 1:
        return _unlike(levels[0], known.before, known.after)
    found: dict[int, Problem] = {}
    if levels:
        found |= _unlike(levels[0], known.before) | _unlike(levels[-1], known.after)
        newest, before = levels[-1][-1], levels[-2][-1]
        if known.after is None and len(levels[-1]) == 1:
            detail = f"close {newest.close} at {_at(newest.ts)}, after {before.close}; no later bar confirms it yet"
            found[newest.ts] = Problem(newest.symbol, "off_by_far", detail)
    return found


def _unlike(level: Sequence[Bar], *closes: KnownClose | None) -> dict[int, Problem]:
    """Return by time what is wrong with the bars of a level, if it is far from all closes that are known."""
    known = [close for close in closes if close is not None]
    if not known or any(not _is_far(bar.close, close.close) for close in known for bar in level):
        return {}
    theirs = " and ".join(f"{close.close} at {_at(close.ts)} from {close.source}" for close in known)
    return {
        bar.ts: Problem(bar.symbol, "off_by_far", f"close {bar.close} at {_at(bar.ts)}, where the lake has {theirs}")
        for bar in level
    }


def _levels(bars: Sequence[Bar]) -> list[list[Bar]]:
    levels = [[bar] for bar in bars[:1]]
    for before, bar in pairwise(bars):
        if _is_far(bar.close, before.close):
            levels.append([])
        levels[-1].append(bar)
    return levels


def _is_far(close: Decimal, other: Decimal) -> bool:
    return not other / OFF_BY < close < other * OFF_BY


class _Starts:
    """When the bars of an ask may begin."""

    def __init__(self, ask: Ask) -> None:
        self._seconds = None if ask.interval == DAILY else INTERVALS[ask.interval]
        self._bounds = tuple(_day(session.open_at.timestamp()) for session in (ask.sessions[0], ask.sessions[-1]))
        self._sessions = {_day(session.open_at.timestamp()): session for session in ask.sessions}

    def problem(self, bar: Bar) -> Problem | None:
        """Return what is wrong with the time of a bar, if anything."""
        if self._is_stray(bar.ts):
            return Problem(bar.symbol, "no_session", f"a bar at {_at(bar.ts)}: the exchange was closed that day")
        if self.is_asked_for(bar.ts) and not self._is_start(bar):
            return Problem(bar.symbol, "wrong_time", f"a bar at {_at(bar.ts)}, where no {bar.interval} bar begins")
        return None

    def is_asked_for(self, ts: int) -> bool:
        """Return whether a moment lies in a session that was asked for; of intraday bars in its regular hours."""
        session = self._session(ts)
        return session is not None and (
            self._seconds is None or session.open_at.timestamp() <= ts / _SECOND < session.close_at.timestamp()
        )

    def _is_stray(self, ts: int) -> bool:
        """Return whether a moment lies on a day between the sessions on which there was none."""
        return self._bounds[0] < _day(ts / _SECOND) < self._bounds[1] and find_session(_date(ts)) is None

    def _is_start(self, bar: Bar) -> bool:
        session = self._session(bar.ts)
        if session is None:
            return False
        since_open = bar.ts - round(session.open_at.timestamp()) * _SECOND
        return since_open == 0 if self._seconds is None else since_open % (self._seconds * _SECOND) == 0

    def _session(self, ts: int) -> Session | None:
        return self._sessions.get(_day(ts / _SECOND))


def _day(seconds: float) -> int:
    """Return the number of the day of New York's standard time: no session crosses its midnight."""
    return int((seconds - 5 * 3600) // 86_400)


def _date(ts: int) -> date:
    return datetime.fromtimestamp(ts / _SECOND - 5 * 3600, UTC).date()


def _at(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts / _SECOND, UTC):%Y-%m-%d %H:%M:%SZ}"
