"""What follows from the configured periods: ``python -m warehouse.dbt_indicators`` writes it after they were changed.

dbt wants every column of a mart named in its page, and readers want the definitions: as a mart, and in ``docs/indicators.md``.
All of it follows from the variable ``indicators`` of ``dbt_project.yml`` and from :mod:`market.indicators`.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog
import yaml

from market.errors import SettingsError
from market.indicators import Indicator, indicators
from market.settings import CHECKOUT
from warehouse.dbt import DBT_PROJECT
from warehouse.dbt_choices import PROJECT_FILE, read_choices
from warehouse.ddl import quote_literal

FOLDER: Final[Path] = DBT_PROJECT / "models" / "marts" / "indicators"
DEFINITIONS: Final[Path] = CHECKOUT / "docs" / "indicators.md"
TABLE_STARTS: Final = "<!-- the table is written by python -m warehouse.dbt_indicators -->\n"

_HEAD: Final = """\
# Generated from the variable indicators by `python -m warehouse.dbt_indicators`: change dbt_project.yml or market/indicators.py.
version: 2

models:
  - name: {name}
    description: >-
      {description}
    data_tests:
      - unique_combination:
          arguments:
            columns: [{key}]
    columns:
"""
_BAR: Final = (
    ("open", "numeric(18,6)", "First price of the bar."),
    ("high", "numeric(18,6)", "Highest price of the bar."),
    ("low", "numeric(18,6)", "Lowest price of the bar."),
    ("close", "numeric(18,6)", "Last price of the bar."),
    ("volume", "bigint", "Shares traded in the bar."),
    (
        "bar_vwap",
        "numeric(18,6)",
        "Volume-weighted average price of the bar, as intraday_ohlcv has it under vwap; null for vendors' bars.",
    ),
    (
        "is_final",
        "boolean",
        "Whether the bar's segment is over, as intraday_ohlcv has it: values of a bar that is not final move with it.",
    ),
    ("revision", "bigint", "Revision of the bar."),
    ("origin", "text", "Source of the bar."),
    ("is_vendor_bar", "boolean", "Whether a vendor published the bar, or those that it is made of."),
    (
        "revised_at",
        "timestamp with time zone",
        "Ingest time of the last change of the bar itself; a change before it revises its values too.",
    ),
)
_PLACE: Final = (
    (
        "bar_number",
        "bigint",
        "Number of the bar in its series, from 1: by it and docs/indicators.md follows which values are past their warm-up.",
    ),
    (
        "is_stable",
        "boolean",
        "Whether no value of the row but obv depends on where the series begins: each start weighs less than a billionth.",
    ),
)
_INTRADAY: Final = (
    ("symbol", "text", "Ticker, upper case."),
    ("interval", "text", "Length of the bar: 1m, 5m, 15m or 1h."),
    ("bar_at", "timestamp with time zone", "Start of the bar, UTC."),
    ("session_date", "date", "Session of the exchange calendar."),
    ("segment", "text", "Part of the session."),
    *_BAR,
    *_PLACE,
)
_INTRADAY_DESCRIPTION: Final = (
    "One row per symbol, interval (1m, 5m, 15m, 1h) and bar of intraday_ohlcv that has a price and lies in one of the segments "
    "of the variable indicator_segments (regular): the bar and its indicators, over all sessions of the symbol in order. A value "
    "is null until it is defined. Where a bar is revised, comes late or goes, it and all that follow of its symbol and interval "
    "are computed again."
)


_DAILY: Final = (
    ("symbol", "text", "Ticker of the day, upper case."),
    ("interval", "text", "1d."),
    ("bar_at", "timestamp with time zone", "Start of the session's regular hours, UTC."),
    ("session_date", "date", "Session of the exchange calendar."),
    ("segment", "text", "regular."),
    (
        "company",
        "text",
        "What the series is of: the symbol under which the company trades now; of one that trades no more its symbol and :gone.",
    ),
    ("current_symbol", "text", "The symbol under which the company trades now; null if it trades no more."),
    *(
        (
            name,
            {"bigint": "numeric(38,0)", "numeric(18,6)": "numeric(38,6)"}.get(type_, type_)
            if name != "revision"
            else type_,
            text,
        )
        for name, type_, text in _BAR
    ),
    *_PLACE,
)
_PRICES: Final = {
    "daily_analytics": "prices and volumes adjusted for splits",
    "daily_analytics_raw": "prices and volumes as they were traded: a split is a jump in them",
    "daily_analytics_total_return": "prices adjusted for splits and dividends, and volumes for splits",
}
_DAILY_DESCRIPTION: Final = (
    "One row per symbol and session of historical_ohlcv that has a price: the day and its indicators, over all sessions of the "
    "company in order, through its changes of symbol; {prices}. A value is null until it is defined. Where a day is revised, "
    "comes late or goes, or an action is new, the day and all that follow are computed again."
)


def render_pages(chosen: Mapping[str, Any]) -> dict[Path, str]:
    """Return the text of each page by its path.

    Parameters
    ----------
    chosen
        The variable ``indicators`` of the dbt project.

    Raises
    ------
    SettingsError
        If the configured periods cannot be used.
    """
    return {
        FOLDER / "intraday_analytics.yml": _page(
            "intraday_analytics", _INTRADAY_DESCRIPTION, "symbol, interval, bar_at", _INTRADAY, indicators(chosen)
        ),
        **{
            FOLDER / f"{name}.yml": _page(
                name,
                _DAILY_DESCRIPTION.format(prices=prices),
                "symbol, session_date",
                _DAILY,
                indicators(chosen, daily=True),
            )
            for name, prices in _PRICES.items()
        },
        FOLDER / "indicator_definitions.sql": _definitions(chosen),
    }


def render_table(chosen: Mapping[str, Any]) -> str:
    """Return the definitions as a table of Markdown: those of days alone at the end.

    Raises
    ------
    SettingsError
        If the configured periods cannot be used.
    """
    intraday = indicators(chosen)
    known = {value.name for value in intraday}
    rows = [*intraday, *(value for value in indicators(chosen, daily=True) if value.name not in known)]
    return "".join(
        [
            "| column | is | first at bar | stable from bar | source |\n| --- | --- | --- | --- | --- |\n",
            *(
                f"| `{value.name}` | {value.description.replace('|', chr(92) + '|')} | {_first(value)} | "
                f"{'never' if value.stable_from is None else f'{value.stable_from:,}'} | {value.source} |\n"
                for value in rows
            ),
        ]
    )


def require_buildable(project: Path = DBT_PROJECT) -> None:
    """See to it that the choices in a dbt project can be built, and that its pages are those that follow from them.

    Raises
    ------
    SettingsError
        If not: the text says which choice there is instead, or which command writes the pages.
    """
    variables = read_choices(project)
    if not variables:
        return
    for path, text in render_pages(variables["indicators"]).items():
        page = project / path.relative_to(DBT_PROJECT)
        if not page.is_file() or page.read_text() != text:
            msg = (
                f"The indicators in {PROJECT_FILE} are not those of {page.relative_to(project.parent)}: they were changed since "
                "it was written. Run .venv/bin/python -m warehouse.dbt_indicators, and then this again."
            )
            raise SettingsError(msg)


def copy_project(chosen: Mapping[str, Any], folder: Path) -> Path:
    """Copy the dbt project into a folder with other periods, and return the copy, where they can be tried.

    Raises
    ------
    SettingsError
        If the periods cannot be used.
    """
    project = folder / DBT_PROJECT.name
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    declared = yaml.safe_load((project / PROJECT_FILE).read_text())
    declared["vars"]["indicators"] = dict(chosen)
    (project / PROJECT_FILE).write_text(yaml.safe_dump(declared))
    for path, text in render_pages(chosen).items():
        (project / path.relative_to(DBT_PROJECT)).write_text(text)
    return project


def main() -> int:
    """Write the pages, and return the exit code: of choices that cannot be built none is written."""
    try:
        chosen = read_choices(DBT_PROJECT)["indicators"]
    except SettingsError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    before, _, _ = DEFINITIONS.read_text().partition(TABLE_STARTS)
    for path, text in {**render_pages(chosen), DEFINITIONS: before + TABLE_STARTS + render_table(chosen)}.items():
        path.write_text(text)
        structlog.get_logger(__name__).info("page_written", path=str(path))
    return 0


def _page(
    name: str, description: str, key: str, columns: tuple[tuple[str, str, str], ...], values: list[Indicator]
) -> str:
    head = _HEAD.format(name=name, description=description, key=key)
    described = [
        *columns,
        *((value.name, value.type, f"{value.description} Source: {value.source}.") for value in values),
    ]
    return head + "".join(
        f'      - name: {column}\n        data_type: {type_}\n        description: "{text}"\n'
        + ("        data_tests:\n          - not_null\n" if column in key.split(", ") else "")
        for column, type_, text in described
    )


def _first(value: Indicator) -> str:
    return "after 52 weeks" if value.defined_from is None else f"{value.defined_from:,}"


def _definitions(chosen: Mapping[str, Any]) -> str:
    rows = [
        ", ".join(
            [
                quote_literal(value.name),
                str(daily).lower(),
                quote_literal(value.description),
                quote_literal(value.source),
                "null" if value.defined_from is None else str(value.defined_from),
                "null" if value.stable_from is None else str(value.stable_from),
            ]
        )
        for daily in (False, True)
        for value in indicators(chosen, daily=daily)
    ]
    columns = "indicator, is_daily, definition, source, defined_from_bar, stable_from_bar"
    listed = ",\n    ".join(f"({row})" for row in rows)
    return (
        "-- Generated from the variable indicators by `python -m warehouse.dbt_indicators`: change dbt_project.yml instead.\n"
        "{{ config(materialized='view') }}\n\n-- noqa: disable=LT05\n"
        "select\n    indicator,\n    is_daily,\n    definition,\n    source,\n    defined_from_bar,\n    stable_from_bar\n"
        f"from (\n    values\n    {listed}\n) as listed ({columns})\n"
    )


if __name__ == "__main__":
    sys.exit(main())
