"""What a proof says: whether a law holds, what was counted, and the rows that break it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SHOWN_OFFENCES: Final = 20
"""How many offending rows a result carries; all of them are counted."""

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
        The first rows that break it; ``problem`` says how.
    total_offending
        How many rows break it in all.
    note
        A remark for the reader that is no break: nothing taken in yet, a mart that is behind.
    """

    law: int
    title: str
    holds: bool
    counts: dict[str, int]
    offending: list[Offence]
    total_offending: int
    note: str = ""


@dataclass(slots=True)
class Findings:
    """Collects what a proof counts and what it finds broken."""

    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _offending: list[Offence] = field(default_factory=list)
    _total: int = 0

    def count(self, name: str, number: int) -> None:
        """Add ``number`` to the count called ``name``."""
        self.counts[name] = self.counts.get(name, 0) + number

    def break_law(self, problem: str, rows: Iterable[Mapping[str, object]] = ({},), total: int | None = None) -> None:
        """Record rows that break the law; ``total`` is their number when ``rows`` holds only the first of them."""
        added = 0
        for row in rows:
            added += 1
            if len(self._offending) < SHOWN_OFFENCES:
                self._offending.append({"problem": problem, **row})
        self._total += added if total is None else total

    def result(self, law: int, title: str) -> LawResult:
        """Return the outcome."""
        return LawResult(
            law=law,
            title=title,
            holds=self._total == 0,
            counts=dict(self.counts),
            offending=list(self._offending),
            total_offending=self._total,
            note=" ".join(self.notes),
        )
