"""What the lake lacks of what a source lists: pure, no I/O in here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec

from ingest.actions.source import Key, Listed, Range, key_of, kind_of, start_of
from ingest.history.source import Problem
from market.records import CorporateAction, Withdrawal
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
    stored: Mapping[Key, CorporateAction],
    *,
    asked: Collection[str],
    within: Range,
    today: date,
) -> Missing:
    """Return what the lake lacks.

    A version that says what the stored one says is known already, unless its source states another day on which it became
    known. Where a source does not state that day, a first version was known on its effective date, or today if that is to come,
    and a later one since today: nobody could have seen it before.

    Parameters
    ----------
    listed
        What the source lists.
    stored
        The newest version of each action that the lake has of the source; a withdrawal stands for an action taken back.
    asked
        The symbols that the source was asked for.
    within
        The range that it was asked for.
    today
        The date in New York.
    """
    believed, problems = _believed(listed, within)
    actions: list[CorporateAction] = []
    for key, item in believed.items():
        before = stored.get(key)
        if before is not None and _says(item.action) == _says(before):
            if not item.is_known_stated or item.action.ts == before.ts:
                continue
            actions.append(item.action)
        elif item.is_known_stated:
            actions.append(item.action)
        else:
            known_on = min(key[2], today) if before is None else max(key[2], today) if key[2] <= today else today
            actions.append(msgspec.structs.replace(item.action, ts=start_of(known_on)))
    not_listed = [
        action
        for key, action in stored.items()
        if key[0] in asked and key[2] in within and key not in believed and not isinstance(action, Withdrawal)
    ]
    return Missing(
        actions=sorted(actions, key=lambda action: (action.effective_date, action.symbol, kind_of(action))),
        known=len(believed) - len(actions),
        not_listed=sorted(not_listed, key=lambda action: (action.effective_date, action.symbol)),
        problems=problems,
    )


def withdrawal_of(action: CorporateAction, today: date) -> Withdrawal:
    """Return the statement that a source has taken an action back, as of today."""
    return Withdrawal(action.source, action.symbol, start_of(today), action.effective_date, kind_of(action))


def _believed(listed: Sequence[Listed], within: Range) -> tuple[dict[Key, Listed], list[Problem]]:
    """Return the listed actions of the range by their keys, and why others are left out."""
    found: dict[Key, Listed] = {}
    twice: set[Key] = set()
    problems: list[Problem] = []
    for item in listed:
        key = key_of(item.action)
        symbol, kind, day = key
        if day not in within:
            continue
        if find_session(day) is None:
            problems.append(Problem(symbol, "no_session", f"{kind} of {day}: the exchange has no session on that day"))
        elif key in found and found[key] != item:
            if key not in twice:
                problems.append(Problem(symbol, "contradicts_itself", f"there are two different {kind}s of {day}"))
            twice.add(key)
        else:
            found[key] = item
    return {key: item for key, item in found.items() if key not in twice}, problems


def _says(action: CorporateAction) -> dict[str, object]:
    said = msgspec.structs.asdict(action)
    return {"type": type(action).__name__, **{name: value for name, value in said.items() if name not in _NOT_STATED}}
