"""From trades to the rules that have come true: the minutes under way, held against what is watched.

What belongs here: whose trades of a symbol count, and what fires. What does not: where trades come from, and what is recorded.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Final

from alerts.at_once.levels import Book, Reach, Watch
from alerts.at_once.minutes import Minute, Minutes, micros
from market.records import Cancel, Correction, Received, Trade
from market.sessions import all_sessions

_AMENDMENTS: Final = frozenset({Cancel, Correction})


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that came true on a minute, with the trade that went past its number, and what the minute was by then.

    ``trade`` is ``None`` where a bar that was published before went past it. ``by`` is the message with which it came true: the
    minute has nothing that is behind it in its partition.
    """

    watch: Watch
    trade: Trade | None
    minute: Minute
    by: Received


@dataclass(frozen=True, slots=True)
class Preference:
    """Which source's bars the marts show of a symbol, as far as that can be said before they are built.

    Attributes
    ----------
    order
        The sources in the order of preference; ``*`` stands for those that are not named.
    real
        Symbols that are known to have bars of sources that are no last resort: those after ``*``.
    counts
        By symbol and session, how many minutes with a price are known of each source: from the open on, once one of its place
        has any.
    without_price
        Symbol, session and source where another has bars too, and no bar of this one has a price: its trades were all cancelled.
    completeness_percent, margin_minutes
        A source is passed over where it has fewer minutes than so many percent of what another one of its place has, and so many
        minutes less.
    """

    order: Sequence[str]
    real: Collection[str] = frozenset()
    counts: Mapping[tuple[str, date], Mapping[str, int]] = field(default_factory=dict)
    without_price: Collection[tuple[str, date, str]] = frozenset()
    completeness_percent: int = 90
    margin_minutes: int = 5

    def rank(self, source: str) -> tuple[int, str]:
        """Return the place of a source, and its name; the least is preferred."""
        return self._place(source), source

    def is_passed_over(self, source: str, symbol: str, session_date: date) -> bool:
        """Return whether another source is known to have minutes and this one none, or one of its place markedly more."""
        counts = self.counts.get((symbol, session_date), {})
        if (symbol, session_date, source) in self.without_price:
            return any(count and not self.is_last_resort(other) for other, count in counts.items() if other != source)
        most = max((count for other, count in counts.items() if self._place(other) == self._place(source)), default=0)
        count = counts.get(source, 0)
        return count * 100 < most * self.completeness_percent and count + self.margin_minutes <= most

    def is_last_resort(self, source: str) -> bool:
        """Return whether a source counts only where there is no other."""
        return self._place(source) > self.order.index("*")

    def _place(self, source: str) -> int:
        return self.order.index(source if source in self.order else "*")


class Watcher:
    """Takes trades in the order of the topic, and says what fires.

    Parameters
    ----------
    minutes
        The minutes under way.
    preference
        Which source counts of a symbol.
    book
        What is watched.
    """

    def __init__(self, minutes: Minutes, preference: Preference, book: Book) -> None:
        self._minutes = minutes
        self._preference = preference
        self._book = book
        self._real = set(preference.real)
        self._chosen: dict[str, tuple[date, str]] = {}
        # What was chosen before the watch began goes on: the bars that there are say so.
        for minute in sorted(minutes.under_way(), key=lambda minute: minute.session_date):
            if minute.last is not None:
                self._counts(minute)

    def watch(self, book: Book) -> None:
        """Watch something else from now on."""
        self._book = book
        self._minutes.look_again()

    def prefer(self, preference: Preference) -> None:
        """Choose sources by what is known by now."""
        self._preference = preference
        self._real.update(preference.real)

    def take(self, messages: Iterable[Received], now: int) -> list[Fired]:
        """Return what fires with these messages, which are all there is until ``now``, the wall clock in microseconds."""
        begun = newest_begun(now)
        fired: list[Fired] = []
        for message in messages:
            record = message.record
            if type(record) is not Trade:
                if type(record) in _AMENDMENTS and record.ts >= begun:  # what was amended before is in the bars by now
                    self._minutes.doubt(record.source, record.symbol)
                continue
            minute = self._minutes.take(record, now=now, begun=begun)
            if minute is not None and minute.has_news and self._counts(minute):
                fired += self._fired(minute, message)
        return fired

    def _fired(self, minute: Minute, by: Received) -> list[Fired]:
        assert minute.high is not None
        assert minute.low is not None
        reach = Reach(minute.high, minute.low, minute.seen_high, minute.seen_low, minute.before)
        minute.seen_high, minute.seen_low = minute.high, minute.low
        found, by_then = [], minute.copy()
        for levels in self._book.levels(minute.symbol):
            for watch, is_up in levels.passed(reach):
                if watch.rule_id not in minute.fired and _looks_at(watch, minute):
                    minute.fired.add(watch.rule_id)
                    found.append(Fired(watch, minute.high_by if is_up else minute.low_by, by_then, by))
        return found

    def _counts(self, minute: Minute) -> bool:
        """Return whether the source of a minute is the one whose bars count of its symbol: in a session the most preferred."""
        if not self._preference.is_last_resort(minute.source):
            self._real.add(minute.symbol)
        elif minute.symbol in self._real:
            return False
        session = minute.symbol, minute.session_date
        if self._preference.is_passed_over(minute.source, *session):
            return False
        session_date, chosen = self._chosen.get(minute.symbol, (None, minute.source))
        if session_date == minute.session_date and chosen == minute.source:
            return True
        rank = self._preference.rank
        is_worse = session_date == minute.session_date and rank(chosen) <= rank(minute.source)
        if is_worse and not self._preference.is_passed_over(chosen, *session):
            return False
        self._chosen[minute.symbol] = (minute.session_date, minute.source)
        return True


def _looks_at(watch: Watch, minute: Minute) -> bool:
    end = minute.bar_end
    is_of_its_time = watch.since < end and (watch.until is None or end <= watch.until)
    return is_of_its_time and minute.segment in watch.segments


def newest_begun(now: int) -> int:
    """Return when the newest session began that has by a moment, both in UTC epoch microseconds."""
    begun = _beginnings()
    place = bisect_right(begun, now)
    return begun[place - 1] if place else begun[0]


@cache
def _beginnings() -> list[int]:
    return [micros(session.pre_open_at) for session in all_sessions()]
