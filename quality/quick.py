"""Whether rows of PostgreSQL have any value that is not possible, asked in one statement: for looks that others wait for.

The suites (:mod:`quality.suites`) say which rows these are, and are held against them when there are any; both follow from
:mod:`market.domains`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from market.domains import GREATEST, Domain, domain_of, orders_of
from quality.outcomes import Outcome
from quality.stored import Checked
from warehouse.ddl import quote_name

_LOOK: Final = "select count(*), coalesce(bool_or(not ({conditions})), false) from ({query}) as checked"


def look(connection: Any, checked: Checked, since: datetime | None) -> Outcome | None:  # noqa: ANN401 - of :mod:`warehouse`
    """Return the outcome of a table whose rows since a moment, and those that are queued, are all possible, else ``None``."""
    conditions = list(_conditions(checked))
    statement = _LOOK.format(conditions=" and ".join(conditions) or "true", query=checked.query(since))
    ((rows, is_broken),) = connection.execute(statement.encode()).fetchall()
    return None if is_broken else Outcome(checked.name, rows, len(conditions), ())


def _conditions(checked: Checked) -> Iterator[str]:
    """Yield what holds of each row, one for each expectation of the suite; a null holds."""
    for name in checked.columns:
        domain = domain_of(checked.name, name)
        if domain is not None:
            column = quote_name(name)
            yield f"({column} is null or {_within(column, domain)})"
    for lower, upper in orders_of(checked.columns):
        low, high = quote_name(lower), quote_name(upper)
        yield f"({low} is null or {high} is null or {high} >= {low})"


def _within(column: str, domain: Domain) -> str:
    if domain.values:
        return f"{column} in ({', '.join(map(_quoted, domain.values))})"
    if domain.pattern is not None:
        return f"{column} ~ {_quoted(domain.pattern)}"
    most = GREATEST if domain.most is None else domain.most
    upper = f"{column} <= {most!r}"  # to PostgreSQL what is not a number is above every number
    if domain.least is None:
        return upper
    return f"{column} {'>' if domain.excludes_least else '>='} {domain.least!r} and {upper}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
