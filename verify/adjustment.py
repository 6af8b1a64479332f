"""By what the prices of a day are multiplied, worked out action by action in exact fractions.

What belongs here: what follows from corporate actions and raw days. What does not: what the mart holds, which
:mod:`verify.adjusted` compares with it. The rules are those of ``docs/corporate-actions.md``.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, Final, NamedTuple

from warehouse.dbt import dbt_variables

_FAR_OFF: Final = math.log(1.5)
_OFF: Final = math.log(1.1)
_NEAR: Final = timedelta(days=10)
"""Prices that are further apart say nothing of a split, and an older one nothing of a dividend."""
_LARGEST_SPLIT: Final = 10_000
"""No share had a larger one, either way."""
USER: Final = "user"
"""The source of what a person confirmed."""


class Action(NamedTuple):
    """What a source says, and its values: shares and cash in millionths.

    ``same_dates`` are those under which better sources have the same one: only if prices contradict all of these it counts.
    ``preference`` orders the sources, the better one first.
    """

    source: str
    new_shares: int | None
    old_shares: int | None
    cash: int | None
    new_symbol: str | None
    same_dates: frozenset[date] = frozenset()
    preference: tuple[Any, ...] = ()


Key = tuple[str, str, date]
"""Symbol, kind and effective date."""


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a symbol that have a price: dates in order, with raw open and close in millionths.

    ``listed`` are the first and the last of a source that lists all of a company's past under its newest symbol.
    """

    dates: Sequence[date] = ()
    opens: Sequence[int] = ()
    closes: Sequence[int] = ()
    listed: tuple[date, date] | None = None


class _Price(NamedTuple):
    """A price in millionths, its day, and of what it is the price."""

    day: date
    price: int
    place: "_Tenure"


class _Tenure(NamedTuple):
    """From when to when something trades under a symbol, what it was called before, and under which symbol it goes on."""

    symbol: str
    starts: date
    ends: date
    before: str | None
    after: str | None


class Factors(NamedTuple):
    """What a day is adjusted by, and the symbol under which it goes on."""

    split: Fraction
    total_return: Fraction
    current_symbol: str | None


@dataclass(slots=True)
class Adjustment:
    """The factors of any day.

    Parameters
    ----------
    actions
        What is believed of each action.
    days
        The raw days by symbol.
    newest
        The newest session of all days.
    """

    actions: Mapping[Key, Action]
    days: Mapping[str, Days]
    newest: date
    _given_up: dict[str, list[tuple[date, str]]] = field(init=False)
    _taken: dict[str, list[tuple[date, str]]] = field(init=False)
    _own: dict[str, list[tuple[date, bool, Fraction, Fraction]]] = field(init=False)
    _splits: dict[str, list[date]] = field(init=False)

    def __post_init__(self) -> None:
        self._given_up, self._taken, self._own, self._splits = {}, {}, {}, {}
        for (symbol, kind, day), action in sorted(self.actions.items()):
            if kind == "split":
                self._splits.setdefault(symbol, []).append(day)
            if kind != "symbol_change" or self._is_contradicted(symbol, day, action):
                continue
            if action.new_symbol is not None and day <= self.newest:
                self._given_up.setdefault(symbol, []).append((day, action.new_symbol))
                self._taken.setdefault(action.new_symbol, []).append((day, symbol))
        for taken in self._taken.values():
            taken.sort()
        for (symbol, kind, day), action in sorted(self.actions.items()):
            factor = self._factor(symbol, kind, day, action)
            if factor is not None:
                split = factor if kind == "split" else Fraction(1)
                is_at_the_end = self._place(symbol, day).ends == day
                self._own.setdefault(symbol, []).append((day, is_at_the_end, split, factor))

    def concerned(self) -> set[str]:
        """Return the symbols that ever had an action."""
        return {symbol for symbol, _, _ in self.actions} | set(self._taken)

    def spans(self, symbol: str) -> list[tuple[date, Factors]]:
        """Return from which date on a symbol's days have which factors, in order; the first date is the earliest there is."""
        reachable, left = {symbol}, [symbol]
        while left:
            for _, later in self._given_up.get(left.pop(), ()):
                if later not in reachable:
                    reachable.add(later)
                    left.append(later)
        dates = {day for (own, _, day) in self.actions if own in reachable}
        dates |= {day for own in reachable for day, _ in self._taken.get(own, ())}
        return [(day, self.factors(symbol, day)) for day in (date.min, *sorted(dates))]

    def factors(self, symbol: str, day: date) -> Factors:
        """Return what a day is adjusted by: all actions from the day after on, through all later symbols."""
        split = total_return = Fraction(1)
        since, is_first = day, True
        while True:
            given_up = _first_after(self._given_up.get(symbol, ()), since)
            taken = _first_after(self._taken.get(symbol, ()), since)
            until = min((found[0] for found in (given_up, taken) if found is not None), default=date.max)
            for effective, is_at_the_end, own_split, own in self._own.get(symbol, ()):
                is_later = effective > since if is_first or is_at_the_end else effective >= since
                if is_later and (effective == until if is_at_the_end else effective < until):
                    split *= own_split
                    total_return *= own
            if given_up is None or given_up[0] != until:
                return Factors(split, total_return, symbol if until == date.max else None)
            (since, symbol), is_first = given_up, False

    def _factor(self, symbol: str, kind: str, day: date, action: Action) -> Fraction | None:
        """Return the factor of a split or a dividend; ``None`` if it is not applied."""
        before, after = self._before(symbol, day), self._after(symbol, day)
        better = ((other, self.actions[symbol, kind, other]) for other in action.same_dates)
        is_duplicate = any(not self._is_doubted(symbol, kind, other, said) for other, said in better)
        is_duplicate |= self._counts_under_other_symbol(symbol, kind, day, action)
        if is_duplicate or before is None or after is None or day > self.newest:
            return None
        if self._is_doubted(symbol, kind, day, action):
            return None
        if kind == "dividend" and action.cash is not None:
            return 1 - action.cash / self._paid_on(before, symbol, day)
        if kind == "split" and action.new_shares and action.old_shares:
            return Fraction(action.old_shares, action.new_shares)
        return None

    def _is_doubted(self, symbol: str, kind: str, day: date, action: Action) -> bool:
        """Return whether the prices before and after a split or a dividend contradict it; without prices nothing is."""
        if self._is_under_no_symbol(symbol, day):
            return day <= self.newest
        if kind == "split" and is_split_absurd(action):
            return True
        before, after = self._before(symbol, day), self._after(symbol, day)
        if before is None or after is None:
            return False
        if kind == "dividend" and action.cash is not None:
            price = self._paid_on(before, symbol, day)
            is_odd = day - before.day > _NEAR or 2 * action.cash > price
            return action.cash >= price or (action.source != USER and is_odd)
        is_near = after.day - before.day <= _NEAR
        return kind == "split" and is_near and is_split_doubted(action, Fraction(after.price, before.price))

    def _paid_on(self, before: _Price, symbol: str, day: date) -> Fraction:
        """Return the price before a dividend in shares of the day before it: those of its own day are often fewer or more.

        Walks from the day of the price to the day of the dividend, under the symbol of the price and then under the dividend's.
        """
        price = Fraction(before.price)
        for held in dict.fromkeys((before.place, self._place(symbol, day))):
            splits = self._splits.get(held.symbol, ())
            for split_day in splits[bisect_right(splits, before.day) : bisect_left(splits, day)]:
                if self._place(held.symbol, split_day) == held:
                    key = (held.symbol, "split", split_day)
                    price *= self._factor(*key, self.actions[key]) or 1
        return price

    def _is_contradicted(self, symbol: str, day: date, change: Action) -> bool:
        """Return whether days that are listed under the newest symbol contradict a change; what a person confirmed stands."""
        if change.source == USER:
            return False
        old, new = (self.days.get(name or "", Days()).listed for name in (symbol, change.new_symbol))
        return (new is not None and new[0] < day) or (old is not None and old[0] < day <= old[1])

    def _counts_under_other_symbol(self, symbol: str, kind: str, day: date, action: Action) -> bool:
        """Return whether the same action counts that is given under the symbol before, or the one after, of the same thing."""
        own = self._place(symbol, day)
        older = {old for changed, old in self._taken.get(symbol, ()) if changed == own.starts}
        for other in older | ({own.after} if own.after is not None else set()):
            for apart in range(-_same_days(), _same_days() + 1):
                other_day = day + timedelta(days=apart)
                said = self.actions.get((other, kind, other_day))
                if said is None:
                    continue
                place = self._place(other, other_day)
                is_newer = other == own.after and place.starts == own.ends
                is_older = other in older and place.after == symbol and place.ends == own.starts
                if not (is_newer or is_older) or not _is_same(said, action, apart):
                    continue
                # Of one source the one under the newer symbol counts.
                is_better = said.preference < action.preference or (said.source == action.source and is_newer)
                if is_better and not self._is_doubted(other, kind, other_day, said):
                    return True
        return False

    def _before(self, symbol: str, day: date) -> _Price | None:
        place = self._place(symbol, day)
        own = self.days.get(symbol, Days())
        at = bisect_left(own.dates, day) - 1
        if at >= 0 and own.dates[at] >= place.starts:
            return _Price(own.dates[at], own.closes[at], place)
        if place.before is None:
            return None
        earlier = self.days.get(place.before, Days())
        at = bisect_left(earlier.dates, place.starts) - 1
        held = self._tenure(place.before, place.starts - timedelta(days=1))
        return _Price(earlier.dates[at], earlier.closes[at], held) if at >= 0 else None

    def _after(self, symbol: str, day: date) -> _Price | None:
        place = self._place(symbol, day)
        if place.ends == day:
            place = self._tenure(place.after or "", day)
        own = self.days.get(place.symbol, Days())
        at = bisect_left(own.dates, day)
        has_one = at < len(own.dates) and own.dates[at] < place.ends
        return _Price(own.dates[at], own.opens[at], place) if has_one else None

    def _place(self, symbol: str, day: date) -> _Tenure:
        """Return of what an action is: on the day of a change, under the old symbol, it is of what goes on under the next."""
        found = self._tenure(symbol, day)
        is_last_day = self._is_held_by_nobody(found, day) and found.starts == day
        return self._tenure(symbol, day - timedelta(days=1)) if is_last_day else found

    def _is_under_no_symbol(self, symbol: str, day: date) -> bool:
        """Return whether an action is given under a symbol that was given up before and that nobody has taken since."""
        found = self._tenure(symbol, day)
        return self._is_held_by_nobody(found, day) and found.starts < day

    def _is_held_by_nobody(self, tenure: _Tenure, day: date) -> bool:
        """Return whether a symbol was given up and until a day neither taken by a change nor traded."""
        dates = self.days.get(tenure.symbol, Days()).dates
        is_traded = bisect_left(dates, tenure.starts) < bisect_right(dates, day)
        return tenure.starts != date.min and tenure.before is None and not is_traded

    def _tenure(self, symbol: str, day: date) -> _Tenure:
        given_up, taken = self._given_up.get(symbol, ()), self._taken.get(symbol, ())
        dates = [changed for changed, _ in (*given_up, *taken)]
        starts = max((changed for changed in dates if changed <= day), default=date.min)
        ends = min((changed for changed in dates if changed > day), default=date.max)
        before = min((old for changed, old in taken if changed == starts), default=None)
        return _Tenure(symbol, starts, ends, before, dict(given_up).get(ends))


def is_split_doubted(action: Action, observed: Fraction) -> bool:
    """Return whether the ratio of a price after to one before contradicts a split; what a person confirmed is not doubted."""
    unexplained = _unexplained(action, observed)
    is_far = unexplained > _FAR_OFF or (unexplained > _OFF and is_split_unseen(action, observed))
    return action.source != USER and is_far


def is_split_absurd(action: Action) -> bool:
    """Return whether no share ever had such a split, whoever says it."""
    if not action.new_shares or not action.old_shares:
        return False
    return not Fraction(1, _LARGEST_SPLIT) <= size_of(action) <= _LARGEST_SPLIT


def is_split_unseen(action: Action, observed: Fraction) -> bool:
    """Return whether prices look more like no split at all."""
    return _unexplained(action, observed) > abs(math.log(observed))


def _unexplained(action: Action, observed: Fraction) -> float:
    if not action.new_shares or not action.old_shares:
        return 0.0
    return abs(math.log(observed) - math.log(Fraction(action.old_shares, action.new_shares)))


def size_of(action: Action) -> Fraction:
    """Return by how much a split or a dividend is large."""
    if action.new_shares and action.old_shares:
        return Fraction(action.new_shares, action.old_shares)
    return Fraction(action.cash or 0)


def _same_days() -> int:
    """Return how many days apart different sources date one action at the most."""
    return int(dbt_variables()["same_action_days"])


def _is_same(better: Action, action: Action, days_apart: int) -> bool:
    if days_apart == 0:
        return True
    percent, size = Fraction(str(dbt_variables()["same_action_percent"])), size_of(better)
    return better.source != action.source and abs(size - size_of(action)) * 100 <= percent * size


def _first_after(changes: Sequence[tuple[date, str]], day: date) -> tuple[date, str] | None:
    place = bisect_right([changed for changed, _ in changes], day)
    return changes[place] if place < len(changes) else None
