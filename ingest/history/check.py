"""What of an answer is believed: bars of what was asked for, each once, with prices that can be.

What belongs here: pure checks of a vendor's bars before they are published. What does not: the rules of the wire format, by
which the stream judges every message (``docs/wire-format.md``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from ingest.history import jumps
from ingest.history.jumps import at
from ingest.history.lengths import mismeasured
from ingest.history.shifted import Shifted, shifted
from ingest.history.source import WRONG_TIME, Ask, Problem
from market.records import DAILY, INTERVALS, MAX_BAR_VOLUME, MAX_PRICE, PRICE_DECIMALS, Bar
from market.sessions import Session, find_session
from warehouse.history import KnownCloses

NOTHING_KNOWN: Final[Mapping[str, KnownCloses]] = MappingProxyType({})

_SECOND: Final = 1_000_000
_MOST_CHARACTERS: Final = 40


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
        By symbol closes nearby that the lake has, and splits that it knows of, of whichever source.
    accepts_jumps
        Whether prices are believed that are far from all of these, that too few bars confirm, or that are far from each other
        within a bar. Those that jump away and come back are not.
    """
    problems: list[Problem] = []
    by_place: dict[tuple[str, int], list[Bar]] = {}
    starts = _Starts(ask)
    own = [bar for bar in bars if bar.symbol in ask.symbols and bar.interval == ask.interval]
    refused, said = _by_another_measure(own, ask)
    problems += said
    for bar in own:
        if (bar.symbol, bar.ts) in refused:
            continue
        if (wrong := starts.problem(bar)) is not None:
            problems.append(wrong)
        elif starts.is_asked_for(bar.ts):
            by_place.setdefault((bar.symbol, bar.ts), []).append(bar)
    by_symbol: defaultdict[str, list[Bar]] = defaultdict(list)
    for (symbol, _), same in sorted(by_place.items(), key=lambda item: item[0]):
        wrong = _impossible(same) or _contradiction(same) or _disorder(same[0])
        if wrong is None and not accepts_jumps:
            wrong = jumps.torn(same[0])
        if wrong is not None:
            problems.append(wrong)
        else:
            by_symbol[symbol].append(same[0])
    believed: list[Bar] = []
    for symbol, found in by_symbol.items():
        closes = known.get(symbol, KnownCloses())
        wrongs = jumps.returning(found, closes)
        if not accepts_jumps:
            wrongs |= jumps.unconfirmed([bar for bar in found if bar.ts not in wrongs], closes)
        believed += [bar for bar in found if bar.ts not in wrongs]
        problems += [wrongs[ts] for ts in sorted(wrongs)]
    return Believed(sorted(believed, key=lambda bar: (bar.ts, bar.symbol)), problems)


def _by_another_measure(bars: Sequence[Bar], ask: Ask) -> tuple[set[tuple[str, int]], list[Problem]]:
    """Return the symbols and times of the bars of another length or clock, and what is said of them."""
    of_symbols: defaultdict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        of_symbols[bar.symbol].append(bar)
    wrong: set[tuple[str, int]] = set()
    problems: list[Problem] = []
    for symbol, of in of_symbols.items():
        long = mismeasured(of, ask.interval)
        late = Shifted() if long.is_all else shifted(of, ask.interval)
        wrong |= {(symbol, ts) for ts in long.times | late.times}
        problems += (*long.problems, *late.problems)
    return wrong, problems


def closed_that_day(symbol: str, ts: int) -> Problem:
    """Return what is wrong with a bar of a day without a session."""
    return Problem(symbol, "no_session", f"a bar at {at(ts)}: the exchange was closed that day")


def _impossible(same: Sequence[Bar]) -> Problem | None:
    """Return what no message can hold, by the bounds of the wire format: the stream would put the bar into quarantine."""
    for bar in same:
        prices = {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}
        wrong = [f"{name} {_shown(price)}" for name, price in prices.items() if not _is_price(price)]
        if not 0 <= bar.volume <= MAX_BAR_VOLUME:
            wrong.append(f"volume {_shown(bar.volume)}")
        if wrong:
            return Problem(bar.symbol, "impossible_value", f"{', '.join(wrong)} at {at(bar.ts)}", bar.ts)
    return None


def _is_price(price: Decimal) -> bool:
    return price.is_finite() and 0 < price < MAX_PRICE and price == round(price, PRICE_DECIMALS)


def _shown(value: Decimal | int) -> str:
    text = str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _contradiction(same: Sequence[Bar]) -> Problem | None:
    if all(bar == same[0] for bar in same):
        return None
    first = same[0]
    return Problem(first.symbol, "contradicts_itself", f"{len(same)} bars at {at(first.ts)} that differ", first.ts)


def _disorder(bar: Bar) -> Problem | None:
    if bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high:
        return None
    prices = f"open {bar.open}, high {bar.high}, low {bar.low}, close {bar.close}"
    return Problem(bar.symbol, "prices_out_of_order", f"{prices} at {at(bar.ts)}", bar.ts)


class _Starts:
    """When the bars of an ask may begin."""

    def __init__(self, ask: Ask) -> None:
        self._seconds = None if ask.interval == DAILY else INTERVALS[ask.interval]
        self._bounds = tuple(_day(session.open_at.timestamp()) for session in (ask.sessions[0], ask.sessions[-1]))
        self._sessions = {_day(session.open_at.timestamp()): session for session in ask.sessions}

    def problem(self, bar: Bar) -> Problem | None:
        """Return what is wrong with the time of a bar, if anything."""
        if self._is_stray(bar.ts):
            return closed_that_day(bar.symbol, bar.ts)
        if self.is_asked_for(bar.ts) and not self._is_start(bar):
            detail = f"a bar at {at(bar.ts)}, where no {bar.interval} bar begins"
            return Problem(bar.symbol, WRONG_TIME, detail, bar.ts)
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
