"""What a check found: how many rows were looked at, and which of them have a value that is not possible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from market.domains import GREATEST

SHOWN: Final = 10
"""How many rows of each broken expectation are shown."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An expectation that rows do not meet.

    Attributes
    ----------
    says
        What was expected, in words.
    rows
        How many rows do not meet it.
    examples
        Some of them: their keys and the value.
    """

    says: str
    rows: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check of a table found.

    Attributes
    ----------
    table
        Qualified name.
    rows
        How many rows were looked at.
    expectations
        How many expectations they were held against.
    broken
        Those that rows do not meet.
    """

    table: str
    rows: int
    expectations: int
    broken: tuple[Broken, ...]

    @property
    def holds(self) -> bool:
        """Whether every row looked at meets every expectation."""
        return not self.broken


def read_outcome(table: str, rows: int, result: Any) -> Outcome:  # noqa: ANN401 - the library's own types follow its releases
    """Return what a validation of Great Expectations found in so many rows."""
    broken = [_broken(one) for one in result.results if not one.success]
    return Outcome(table, rows, len(result.results), tuple(broken))


def joined(outcomes: list[Outcome]) -> Outcome:
    """Return the outcome of several parts of a table, of which there is one at least, as one."""
    by_words: dict[str, list[Broken]] = {}
    for outcome in outcomes:
        for one in outcome.broken:
            by_words.setdefault(one.says, []).append(one)
    broken = tuple(
        Broken(says, sum(one.rows for one in parts), tuple(row for one in parts for row in one.examples)[:SHOWN])
        for says, parts in by_words.items()
    )
    return Outcome(outcomes[0].table, sum(one.rows for one in outcomes), outcomes[0].expectations, broken)


def _broken(result: Any) -> Broken:  # noqa: ANN401
    found = result.result
    says = _words(result.expectation_config.type, result.expectation_config.kwargs)
    if result.exception_info and result.exception_info.get("raised_exception", False):
        return Broken(f"{says} (could not be looked at: {result.exception_info.get('exception_message')})", 0, ())
    examples = found.get("partial_unexpected_index_list") or []
    return Broken(says, int(found.get("unexpected_count") or 0), tuple(dict(row) for row in examples[:SHOWN]))


def _words(kind: str, arguments: Mapping[str, Any]) -> str:
    if kind == "expect_column_pair_values_a_to_be_greater_than_b":
        return f"{arguments['column_B']} is not above {arguments['column_A']}"
    column = arguments["column"]
    if kind == "expect_column_values_to_be_in_set":
        return f"{column} is one of {', '.join(arguments['value_set'])}"
    if kind == "expect_column_values_to_match_regex":
        return f"{column} matches {arguments['regex']}"
    least, most = arguments.get("min_value"), arguments.get("max_value")
    bounds = []
    if least == -GREATEST:
        return f"{column} is a finite number"
    if least is not None:
        bounds.append(f"above {least:g}" if arguments.get("strict_min") else f"{least:g} or more")
    if most is not None and most != GREATEST:
        bounds.append(f"{most:g} or less")
    return f"{column} is {' and '.join(bounds)}"


def refusal_of(outcomes: Sequence[Outcome]) -> str | None:
    """Return why the marts are not built from what was looked at, or ``None`` if every value is possible."""
    broken = [(outcome.table, one) for outcome in outcomes for one in outcome.broken]
    if not broken:
        return None
    lines = [f"{table}: {one.says}; not so in {one.rows:,} row{'s' * (one.rows != 1)}" for table, one in broken]
    first = "The marts are not built from values that are not possible: ./run quality --all shows the rows."
    return "\n".join((first, *lines))
