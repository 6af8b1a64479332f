"""What the lake lacks of what a source lists: pure, no I/O in here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec

from ingest.actions.source import Key, Listed, Range, key_of, kind_of, start_of
from ingest.history.source import Problem
from market.records import CorporateAction, Dividend, Withdrawal
from market.sessions import find_session

_NOT_STATED: Final = frozenset({"ts"})


@dataclass(frozen=True, slots=True)
class Missing:
    """What is to be published, and what is not.

    Attributes
    ----------
    actions
        The new actions and the new versions of known ones, in the order of their effective dates.
    known
        How many of the listed ones the lake has already.
    not_listed
        What the lake has of the source in the range that was asked for, and the source does not list any more.
    problems
        What of the listing is not believed.
    """

    actions: Sequence[CorporateAction]
    known: int = 0
    not_listed: Sequence[CorporateAction] = ()
    problems: Sequence[Problem] = field(default=())


def missing_of(
    listed: Sequence[Listed],
    stored: Mapping[Key, Sequence[CorporateAction]],
    *,
    asked: Collection[str],
    within: Range,
    today: date,
) -> Missing:
    """Return what the lake lacks.

    Where a source states when its versions became known, each is known already if a stored one of that moment says the same,
    whatever was known before or after it. Where it does not, it says what holds now: that is known already if the newest stored
    version says the same, within the rounding of the source; if not, a first version was known on its effective date, or today
    if that is to come, and a later one since today: nobody could have seen it before.

    Parameters
    ----------
    listed
        What the source lists.
    stored
        The versions of each action that the lake has of the source, in the order in which they became known, of one moment in
        that in which they came in; a withdrawal stands for an action taken back.
    asked
        The symbols that the source was asked for.
    within
        The range that it was asked for.
    today
        The date in New York.
    """
    believed, problems = _believed(listed, within)
    actions: list[CorporateAction] = []
    known = 0
    for key, versions in believed.items():
        new = _new_versions(versions, stored.get(key, ()), key[2], today)
        actions += new
        known += max(len(versions) - len(new), 0)
    not_listed = [
        before[-1]
        for key, before in stored.items()
        if key[0] in asked and key[2] in within and key not in believed and not isinstance(before[-1], Withdrawal)
    ]
    return Missing(
        actions=sorted(actions, key=lambda action: (action.effective_date, action.symbol, kind_of(action), action.ts)),
        known=known,
        not_listed=sorted(not_listed, key=lambda action: (action.effective_date, action.symbol)),
        problems=problems,
    )


def withdrawal_of(action: CorporateAction, today: date) -> Withdrawal:
    """Return the statement that a source has taken an action back, as of today."""
    return Withdrawal(action.source, action.symbol, start_of(today), action.effective_date, kind_of(action))


def _new_versions(
    versions: Sequence[Listed], stored: Sequence[CorporateAction], effective: date, today: date
) -> list[CorporateAction]:
    """Return what is new of the versions of an action that a source lists, oldest first, beside the stored ones."""
    newest, before = versions[-1], stored[-1] if stored else None
    if not newest.is_known_stated:
        if before is not None and _says_the_same(newest, before):
            return []
        known_on = min(effective, today) if before is None else today
        return [msgspec.structs.replace(newest.action, ts=start_of(known_on))]
    at_moment = {action.ts: action for action in stored}  # of one moment the last that came in counts
    new = [
        item.action
        for item in versions
        if item.action.ts not in at_moment or not _says_the_same(item, at_moment[item.action.ts])
    ]
    is_taken_back = isinstance(before, Withdrawal) and not isinstance(newest.action, Withdrawal)
    if before is not None and is_taken_back and newest.action.ts < before.ts:
        # All that is listed was known before it was taken back: that it is listed again is news of today.
        new.append(msgspec.structs.replace(newest.action, ts=start_of(today)))
    return new


def _believed(listed: Sequence[Listed], within: Range) -> tuple[dict[Key, list[Listed]], list[Problem]]:
    """Return the versions of each listed action of the range, oldest first, and why others are left out.

    A source may list several versions of an action if it says when each became known, at different times.
    """
    found: dict[Key, list[Listed]] = {}
    problems: list[Problem] = []
    for item in listed:
        key = key_of(item.action)
        symbol, kind, day = key
        if day not in within:
            continue
        if find_session(day) is None:
            problems.append(Problem(symbol, "no_session", f"{kind} of {day}: the exchange has no session on that day"))
        elif item not in found.setdefault(key, []):
            found[key].append(item)
    for key, versions in list(found.items()):
        versions.sort(key=lambda item: item.action.ts)
        are_dated = all(item.is_known_stated for item in versions)
        if len(versions) > 1 and not (are_dated and len({item.action.ts for item in versions}) == len(versions)):
            symbol, kind, day = key
            problems.append(Problem(symbol, "contradicts_itself", f"there are two different {kind}s of {day}"))
            del found[key]
    return found, problems


def _says_the_same(listed: Listed, before: CorporateAction) -> bool:
    """Return whether a source says of an action what it said before, but for how it rounds."""
    action = listed.action
    if isinstance(action, Dividend) and isinstance(before, Dividend):
        return abs(action.cash - before.cash) <= listed.cash_margin
    return _says(action) == _says(before)


def _says(action: CorporateAction) -> dict[str, object]:
    said = msgspec.structs.asdict(action)
    return {"type": type(action).__name__, **{name: value for name, value in said.items() if name not in _NOT_STATED}}
