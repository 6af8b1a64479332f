"""What a proof says: whether a law holds, what was counted, and the rows that break it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SHOWN_OFFENCES: Final = 10
"""How many offending rows of a problem a result carries; all of them are counted."""

Offence = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LawResult:
    """The outcome of one law.

    Attributes
    ----------
    law, title
        The number of the law and what it says, in a few words.
    holds
        Whether nothing breaks it.
    counts
        What was looked at, by name.
    offending
        The first rows of each problem, which ``problem`` names.
    problems
        How many rows break it in which way.
    note
        A remark for the reader that is no break: nothing taken in yet, a mart that is behind.
    """

    law: int
    title: str
    holds: bool
    counts: dict[str, int]
    offending: list[Offence]
    problems: dict[str, int]
    note: str = ""

    @property
    def total_offending(self) -> int:
        """How many rows break it in all."""
        return sum(self.problems.values())


@dataclass(slots=True)
class Findings:
    """Collects what a proof counts and what it finds broken."""

    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _offending: dict[str, list[Offence]] = field(default_factory=dict)
    _problems: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, number: int) -> None:
        """Add ``number`` to the count called ``name``."""
        self.counts[name] = self.counts.get(name, 0) + number

    def break_law(self, problem: str, rows: Iterable[Mapping[str, object]] = ({},), total: int | None = None) -> None:
        """Record rows that break the law; ``total`` is their number when ``rows`` holds only the first of them."""
        added = 0
        shown = self._offending.get(problem, [])
        for row in rows:
            added += 1
            if len(shown) < SHOWN_OFFENCES:
                shown.append({"problem": problem, **row})
        if number := added if total is None else total:
            self._offending[problem] = shown
            self._problems[problem] = self._problems.get(problem, 0) + number

    @property
    def total_offending(self) -> int:
        """How many rows break it so far."""
        return sum(self._problems.values())

    def result(self, law: int, title: str) -> LawResult:
        """Return the outcome."""
        return LawResult(
            law=law,
            title=title,
            holds=not self._problems,
            counts=dict(self.counts),
            offending=[row for rows in self._offending.values() for row in rows],
            problems=dict(self._problems),
            note=" ".join(self.notes),
        )
