"""What a backfill came to: by symbol what was asked for, what came, what was wrong, and how that is said.

What belongs here: results, without any I/O. What does not: how bars are asked for and published, which is
:mod:`ingest.history.backfill`.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from ingest.history.source import Problem, QuotaUsedUpError

NOT_KNOWN_TEXT: Final = "the source does not know it; --again asks once more"
_IN_NO_FILE_TEXT: Final = "no file has it; a run reads them anew: see --symbols and --path, or the mapping of columns"
_WAS_UNKNOWN: Final = "the source did not know it before, and does now: the next backfill asks for what was missed"


@dataclass(slots=True)
class SymbolResult:
    """What became of a symbol.

    Attributes
    ----------
    asked
        How many sessions were missing and the source was asked for.
    collected
        Of how many of these everything that the source has is in the lake.
    bars
        How many bars were published.
    too_old
        How many missing sessions lie before what the source has.
    withheld
        How many missing sessions the source has for other plans only, as it said now or before.
    is_unknown
        Whether the source does not know it, by its last answer.
    was_unknown
        Whether it did not know it before and does now: what was remembered of that time is missing again.
    without_bars
        Sessions that were answered without any bar, in order, but for those before the first bar of this backfill: the share was
        not listed then, as far as that is known.
    problems
        The first problems; ``problem_counts`` has all of them by code.
    reason
        Why the source did not answer, if it did not.
    is_read, read, there, passed_over
        Of files: whether the symbol was looked for in them, how many bars, how many of these the lake had with the same
        values, and how many rows were passed over for what reason. ``asked`` are then the sessions with a bar,
        ``without_bars`` those between.
    """

    asked: int = 0
    collected: int = 0
    bars: int = 0
    too_old: int = 0
    withheld: int = 0
    is_unknown: bool = False
    was_unknown: bool = False
    without_bars: list[date] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problem_counts: Counter[str] = field(default_factory=Counter)
    reason: str = ""
    is_read: bool = False
    read: int = 0
    there: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def is_done(self) -> bool:
        """Whether everything that was asked for is collected, and nothing was wrong with it."""
        return self.collected == self.asked and not (self.problem_counts or self.is_unknown or self.was_unknown)

    def remarks(self, most_problems: int) -> list[str]:
        """Return what is to be said of it in sentences, with as many problems at most."""
        found = [_IN_NO_FILE_TEXT if self.is_read else NOT_KNOWN_TEXT] if self.is_unknown else []
        found += [_WAS_UNKNOWN] if self.was_unknown else []
        found += [self.reason] if self.reason else []
        found += [
            f"{'once' if number == 1 else f'{number:,} times'} {code}" for code, number in self.problem_counts.items()
        ]
        found += [problem.detail for problem in self.problems[:most_problems]]
        if days := self.without_bars:
            found.append((no_row_text if self.is_read else no_bar_text)(len(days), days[0], days[-1]))
        found += [
            f"{'1 row' if number == 1 else f'{number:,} rows'} passed over: {reason}"
            for reason, number in self.passed_over.items()
        ]
        found += [f"{self.too_old:,} sessions are too old for the source"] if self.too_old else []
        found += [withheld_text(self.withheld)] if self.withheld else []
        return found


def withheld_text(sessions: int) -> str:
    """Return that a source has so many sessions for other plans only, and what to do."""
    return f"{sessions:,} sessions are for other plans of the source only; --again asks once more"


def no_bar_text(sessions: int, first: date, last: date) -> str:
    """Return that a source had no bar of so many sessions, and what to do."""
    return f"no bar of {_span(sessions, first, last)}; --again asks once more"


def no_row_text(sessions: int, first: date, last: date) -> str:
    """Return that a file has no bar of so many sessions between others."""
    return f"no bar of {_span(sessions, first, last)} between others"


def _span(sessions: int, first: date, last: date) -> str:
    return f"1 session ({first})" if sessions == 1 else f"{sessions:,} sessions ({first} … {last})"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backfill did; ``symbols`` has a result for each symbol that was asked for.

    ``quota`` is why the source was not asked for all of it, if its quota was used up.
    """

    symbols: Mapping[str, SymbolResult]
    requests: int
    seconds: float
    stopped: bool
    quota: QuotaUsedUpError | None = None

    @property
    def bars(self) -> int:
        """How many bars were published."""
        return sum(result.bars for result in self.symbols.values())

    @property
    def is_done(self) -> bool:
        """Whether every symbol has what was asked for."""
        return not self.stopped and all(result.is_done for result in self.symbols.values())

    def with_refused(self, problems: Collection[Problem]) -> "Summary":
        """Return it with what could not even be asked for, such as what is no symbol."""
        others: dict[str, SymbolResult] = {}
        for problem in problems:
            result = others.setdefault(problem.symbol, SymbolResult())
            result.problems.append(problem)
            result.problem_counts[problem.code] += 1
        return replace(self, symbols={**self.symbols, **others})
