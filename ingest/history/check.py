"""What of an answer is believed: bars of what was asked for, each once, with prices that can be.

What belongs here: pure checks of a vendor's bars before they are published. What does not: the rules of the wire format, by
which the stream judges every message (``docs/wire-format.md``).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from ingest.history.source import Ask, Problem
from market.records import DAILY, INTERVALS, Bar
from market.sessions import Session

OFF_BY: Final = Decimal(50)
"""A bar whose close is so many times that of the bar before, or a fraction of it, and comes back to it later, is not believed.
No share does that; a vendor that mixes dollars and cents does, by a factor of 100."""

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Believed:
    """The bars to publish, in order of time and symbol, and what is wrong with the others."""

    bars: Sequence[Bar]
    problems: Sequence[Problem]


def believe(ask: Ask, bars: Iterable[Bar]) -> Believed:
    """Return the bars of an answer that are believed.

    Bars of sessions or symbols that were not asked for, and of the hours before the open and after the close, are passed over:
    some vendors give more than they were asked for. A bar that is there twice is taken once if it says the same.
    """
    problems: list[Problem] = []
    by_symbol: defaultdict[str, dict[int, Bar]] = defaultdict(dict)
    starts = _Starts(ask)
    contradicted: set[tuple[str, int]] = set()
    for bar in bars:
        if bar.symbol not in ask.symbols or bar.interval != ask.interval or not starts.is_asked_for(bar.ts):
            continue
        if not starts.is_start(bar.ts):
            problems.append(
                Problem(bar.symbol, "wrong_time", f"a bar at {_at(bar.ts)}, where no {ask.interval} bar begins")
            )
        elif by_symbol[bar.symbol].setdefault(bar.ts, bar) != bar:
            contradicted.add((bar.symbol, bar.ts))
    for symbol, ts in sorted(contradicted):
        del by_symbol[symbol][ts]
        problems.append(Problem(symbol, "contradicts_itself", f"two different bars at {_at(ts)}"))
    believed: list[Bar] = []
    for symbol in sorted(by_symbol):
        found = [by_symbol[symbol][ts] for ts in sorted(by_symbol[symbol])]
        in_order = []
        for bar in found:
            if bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high:
                in_order.append(bar)
            else:
                prices = f"open {bar.open}, high {bar.high}, low {bar.low}, close {bar.close}"
                problems.append(Problem(symbol, "prices_out_of_order", f"{prices} at {_at(bar.ts)}"))
        kept, off = _without_jumps(in_order)
        believed += kept
        problems += off
    return Believed(sorted(believed, key=lambda bar: (bar.ts, bar.symbol)), problems)


def _without_jumps(bars: Sequence[Bar]) -> tuple[list[Bar], list[Problem]]:
    """Return the bars but for those that jump away and back, as where a vendor mixes dollars and cents."""
    kept: list[Bar] = []
    problems: list[Problem] = []
    for number, bar in enumerate(bars):
        before = kept[-1] if kept else None
        if (
            before is not None
            and _is_far(bar, before)
            and any(not _is_far(later, before) for later in bars[number + 1 :])
        ):
            detail = (
                f"close {bar.close} at {_at(bar.ts)}, after {before.close}; later bars are near {before.close} again"
            )
            problems.append(Problem(bar.symbol, "off_by_far", detail))
        else:
            kept.append(bar)
    return kept, problems


def _is_far(bar: Bar, other: Bar) -> bool:
    return not other.close / OFF_BY < bar.close < other.close * OFF_BY


class _Starts:
    """When the bars of an ask may begin."""

    def __init__(self, ask: Ask) -> None:
        self._seconds = None if ask.interval == DAILY else INTERVALS[ask.interval]
        self._sessions = {_day(session.open_at.timestamp()): session for session in ask.sessions}

    def is_asked_for(self, ts: int) -> bool:
        session = self._session(ts)
        return session is not None and (
            self._seconds is None or session.open_at.timestamp() <= ts / _SECOND < session.close_at.timestamp()
        )

    def is_start(self, ts: int) -> bool:
        session = self._session(ts)
        if session is None:
            return False
        since_open = ts - round(session.open_at.timestamp()) * _SECOND
        return since_open == 0 if self._seconds is None else since_open % (self._seconds * _SECOND) == 0

    def _session(self, ts: int) -> Session | None:
        return self._sessions.get(_day(ts / _SECOND))


def _day(seconds: float) -> int:
    """Return the number of the day of New York's standard time: no session crosses its midnight."""
    return int((seconds - 5 * 3600) // 86_400)


def _at(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts / _SECOND, UTC):%Y-%m-%d %H:%M:%SZ}"
