"""Suites of Great Expectations, from what :mod:`market.domains` says of a table's columns, and rows held against them.

What belongs here: everything that the library is asked. What does not: which rows are looked at. The library takes seconds to
import: whoever may have nothing to check imports this module late.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pandas as pd

from market.domains import GREATEST, Domain, domain_of, orders_of
from market.settings import Settings
from quality.library import gx, gxe
from quality.outcomes import SHOWN, Outcome, read_outcome
from quality.site import build_pages, open_context
from quality.stored import Checked

_DRIVER: Final = "postgresql+psycopg2://"
_MOST_SET_ASIDE: Final = 1_000_000
"""Up to so many rows are set aside before they are looked at: each expectation asks for them again."""


def build_suite(table: str, columns: Mapping[str, str]) -> gx.ExpectationSuite:
    """Return the suite of a table.

    Parameters
    ----------
    table
        Qualified name, as ``lake.bars_1m``: also the suite's.
    columns
        What each column means, by name; it stands beside the outcome on the page.
    """
    expectations = [
        *(
            _expectation_of(name, domain, says)
            for name, says in columns.items()
            if (domain := domain_of(table, name)) is not None
        ),
        *(_never_above(lower, upper) for lower, upper in orders_of(columns)),
    ]
    return gx.ExpectationSuite(name=table, expectations=expectations)


class Suites:
    """Holds rows against suites, and writes the pages at the end.

    Parameters
    ----------
    folder
        Where outcomes and pages are.
    settings
        Says where PostgreSQL is.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._context = open_context(folder)
        self._looked_at = False

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the pages, if there is a new outcome."""
        if self._looked_at and kind is None:
            build_pages(self._context, self._folder)

    def hold_query(self, checked: Checked, query: str, number_of_rows: int) -> Outcome:
        """Hold the rows of a query on PostgreSQL against the suite of a table, and return what was found."""
        # Nothing of the source is written to a file, the password neither; a $ would be taken for a variable's name.
        url = self._settings.require_database().replace("$", "%24")
        address = _DRIVER + url.split("://", 1)[1]
        source = self._context.data_sources.add_or_update_postgres(
            name="postgres", connection_string=address, create_temp_table=number_of_rows <= _MOST_SET_ASIDE
        )
        asset = source.add_query_asset(name=checked.name, query=query)
        return self._hold(checked, asset.add_batch_definition_whole_table("changed"), {}, number_of_rows)

    def hold_frame(self, checked: Checked, rows: pd.DataFrame) -> Outcome:
        """Hold rows of a table of the lake against its suite, and return what was found."""
        source = self._context.data_sources.add_or_update_pandas(name="lake")
        asset = source.add_dataframe_asset(name=checked.name)
        return self._hold(
            checked, asset.add_batch_definition_whole_dataframe("changed"), {"dataframe": rows}, len(rows)
        )

    def _hold(
        self,
        checked: Checked,
        rows: Any,  # noqa: ANN401
        parameters: Mapping[str, Any],
        number_of_rows: int,
    ) -> Outcome:
        suite = self._context.suites.add_or_update(build_suite(checked.name, checked.columns))
        definition = self._context.validation_definitions.add_or_update(
            gx.ValidationDefinition(name=checked.name, data=rows, suite=suite)
        )
        self._looked_at = True
        given = dict(parameters) or None
        counted = definition.run(batch_parameters=given, result_format="BOOLEAN_ONLY")  # one pass over the rows
        if counted.success:
            return Outcome(checked.name, number_of_rows, len(counted.results), ())
        found = definition.run(
            batch_parameters=given,
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": list(checked.key),
                "partial_unexpected_count": SHOWN,
            },
        )
        return read_outcome(checked.name, number_of_rows, found)


def _expectation_of(column: str, domain: Domain, says: str) -> Any:  # noqa: ANN401 - any class of expectation
    if domain.values:
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(domain.values), notes=says)
    if domain.pattern is not None:
        return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=domain.pattern, notes=says)
    # To PostgreSQL what is not a number is above every number, and so passes any lower bound.
    most = GREATEST if domain.most is None else domain.most
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=domain.least, max_value=most, strict_min=domain.excludes_least, notes=says
    )


def _never_above(lower: str, upper: str) -> Any:  # noqa: ANN401
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=upper, column_B=lower, or_equal=True, ignore_row_if="either_value_is_missing"
    )
