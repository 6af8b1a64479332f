"""What is believed of corporate actions of several versions and sources, worked out action by action.

What belongs here: which source of an action is believed, and which actions of others are the same one. What does not: what
follows from prices, which is :mod:`verify.adjustment`. The rules are those of ``docs/corporate-actions.md``.
"""

from collections import defaultdict
from datetime import date
from fractions import Fraction
from typing import Any, Final

import polars as pl

from verify.adjustment import USER, Action, Key, size_of
from verify.origins import source_rank
from warehouse.dbt import dbt_variables

_LEDGER: Final = ("ingested_at", "topic", "partition", "offset")
_Said = dict[tuple[str, date], Action]
"""What each source says of the actions of one kind and symbol."""


def believed_of(versions: pl.DataFrame) -> dict[Key, Action]:
    """Return what the versions say that became known last: of several sources a person, else the first by ``source_priority``.

    Parameters
    ----------
    versions
        Versions of corporate actions, with the columns of ``silver/corporate_actions``.
    """
    key = ["source", "symbol", "action", "session_date"]
    known_at = pl.when(pl.col("source") != USER).then("known_at")
    newest = (
        versions.sort(known_at, *_LEDGER).unique(key, keep="last", maintain_order=True).filter(~pl.col("is_withdrawn"))
    )
    of_kind: dict[tuple[str, str], _Said] = defaultdict(dict)
    for row in newest.iter_rows(named=True):
        values = (row[name] for name in ("new_shares", "old_shares", "cash", "new_symbol"))
        of_kind[row["symbol"], row["action"]][row["source"], row["session_date"]] = Action(row["source"], *values)
    believed: dict[Key, Action] = {}
    for (symbol, kind), said in of_kind.items():
        for (source, day), action in sorted(said.items(), key=lambda item: _preference(item[0][0]), reverse=True):
            same = frozenset() if kind == "symbol_change" else _same(said, source, day)
            believed[symbol, kind, day] = action._replace(same_dates=same, preference=_preference(source))
    return believed


def _preference(source: str) -> tuple[Any, ...]:
    return source != USER, source_rank(source), source


def _same(said: _Said, source: str, day: date) -> frozenset[date]:
    """Return the other dates under which better sources have the same action."""
    variables = dbt_variables()
    days, percent = variables["same_action_days"], Fraction(str(variables["same_action_percent"]))
    size = size_of(said[source, day])
    found = set()
    for (other, other_day), action in said.items():
        is_better = _preference(other) < _preference(source)
        is_near = other_day != day and abs((other_day - day).days) <= days
        if is_better and is_near and (source, other_day) not in said:
            theirs = size_of(action)
            if abs(theirs - size) * 100 <= percent * theirs:
                found.add(other_day)
    return frozenset(found)
