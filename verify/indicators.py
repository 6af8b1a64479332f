"""Law 3: every row of the marts of indicators has the values that its series comes to, by definition.

What belongs here: the rows that there have to be, what is behind, and the comparison. What does not: the definitions, which are
:mod:`verify.textbook`; how rows are read, which is :mod:`verify.indicator_marts`.

A row depends on its own bar and on those before it in its series, on nothing else. So where a session of a symbol is queued for a
mart, the rows of its series from that session on are behind, which is no break, and those before it have to be right. Since the
textbook begins with the first bar, a mart that was built piece by piece equals one that was built from nothing.

Two values are the same if they differ by no more than :data:`TOLERANCE` times the greater of the value's size and the scale that
the textbook gives with it: for prices a millionth, the last decimal that a price has; for fractions a hundredth, for percentages
and shares 1; for an average that is carried on, its value at the bar before; for the difference of two averages, their size; for
%b, where the bands are narrower than a hundred-thousandth of the price, what is left of the digits of a double.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market import tables
from market.indicators import indicators
from market.records import INTERVALS
from verify.comparison import compare
from verify.indicator_marts import EVERY_SYMBOL, IndicatorMart, bars_per_year, first_pending, indicator_marts
from verify.questions import Published
from verify.results import SHOWN_OFFENCES, Findings, LawResult, Offence
from verify.textbook import Bars, Values, textbook
from warehouse.dbt import dbt_variables

TITLE: Final = "The indicators equal a full refresh and the textbook"
TOLERANCE: Final = 1e-9

_ORDER: Final = ["bar_at", "symbol"]
_SHOWN_COLUMNS: Final = 4


def prove_indicators(published: Published) -> LawResult:
    """Prove law 3.

    Parameters
    ----------
    published
        PostgreSQL.
    """
    findings = Findings()
    chosen = dbt_variables()["indicators"]
    for mart in indicator_marts():
        prove_mart(findings, published, mart, chosen)
    return findings.result(3, TITLE)


def prove_mart(findings: Findings, published: Published, mart: IndicatorMart, chosen: Mapping[str, Any]) -> None:
    """Check every series of a mart; one that is not built yet breaks nothing.

    Parameters
    ----------
    findings
        Where to record what breaks the law.
    published
        PostgreSQL.
    mart
        The mart.
    chosen
        The variable ``indicators`` of the dbt project.

    Raises
    ------
    SettingsError
        If the periods cannot be used.
    """
    columns = published.indicator_columns(mart)
    if columns is None:
        return
    listed = indicators(chosen, daily=mart.daily)
    missing = [indicator.name for indicator in listed if indicator.name not in columns]
    findings.break_law(f"column is missing in {mart.name}", ({"column": name} for name in missing))
    names = [indicator.name for indicator in listed if indicator.name in columns]
    stable_from = max(indicator.stable_from or 0 for indicator in listed)
    pending = published.pending_sessions(mart)
    behind = 0
    for series in published.indicator_series(mart):
        if EVERY_SYMBOL in pending:
            behind += series.bars
            continue
        since = first_pending(series, pending)
        expected = published.indicator_bars(mart, series)
        found = published.indicator_rows(mart, series, names)
        if since is not None:
            behind += expected.filter(pl.col("session_date") >= since).height
            expected, found = (rows.filter(pl.col("session_date") < since) for rows in (expected, found))
        findings.count("mart_indicator_rows", expected.height)
        _compare_bars(findings, mart, expected, found)
        values = textbook(
            _bars_of(expected), chosen, bars_per_year=bars_per_year(series.interval, INTERVALS), daily=mart.daily
        )
        own = {name: values[name] for name in names}
        _compare_values(findings, mart, expected, found, values=own, stable_from=stable_from)
    if behind:
        findings.count("mart_indicator_rows_behind", behind)
        findings.notes.append(f"{mart.name} is behind by {behind:,} bars; the next run of the models brings them.")


def _compare_bars(findings: Findings, mart: IndicatorMart, expected: pl.DataFrame, found: pl.DataFrame) -> None:
    """Check that the rows are those of the bars, and what is copied of them."""
    compare(
        findings,
        what="bar",
        where=mart.name,
        expected=expected,
        found=found.select(expected.columns),
        table=tables.PG_BARS,
        key=mart.key,
        also_prices=("bar_vwap",),
    )


def _bars_of(rows: pl.DataFrame) -> Bars:
    """Return bars as the textbook takes them. What is no number is compared elsewhere; here it counts as 0."""
    numbers = rows.with_columns(pl.col("high", "low", "close", "volume").fill_null(0))
    highs, lows, closes, volumes = (numbers[name].to_list() for name in ("high", "low", "close", "volume"))
    days = rows["session_date"].to_physical().fill_null(0).to_list()
    return Bars(days, highs, lows, closes, volumes, rows["bar_vwap"].to_list())


def _compare_values(
    findings: Findings,
    mart: IndicatorMart,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    *,
    values: Mapping[str, Values],
    stable_from: int,
) -> None:
    """Check the number, the stability and the indicators of each row that is there."""
    numbers = np.arange(1, expected.height + 1)
    numbered = expected.select(
        *mart.key, pl.Series("right_bar_number", numbers), pl.Series("right_is_stable", numbers >= stable_from)
    )
    rows = found.unique(_ORDER, keep="first").select(*_ORDER, "bar_number", "is_stable", *values)
    both = numbered.join(rows, on=_ORDER, how="inner", maintain_order="left")
    if both.is_empty():
        return
    at = both["right_bar_number"].to_numpy() - 1
    wrong = {
        **{name: both[name].ne_missing(both[f"right_{name}"]).to_numpy() for name in ("bar_number", "is_stable")},
        **{name: _differ(own, both[name], at) for name, own in values.items()},
    }
    is_wrong = np.any(list(wrong.values()), axis=0)
    shown = np.flatnonzero(is_wrong)[:SHOWN_OFFENCES].tolist()
    right = both.with_columns(pl.Series(f"right_{name}", own.values[at]) for name, own in values.items())
    offences = (
        _offence(mart, right.row(row, named=True), [name for name in wrong if wrong[name][row]]) for row in shown
    )
    findings.break_law(f"indicators differ in {mart.name}", offences, total=int(is_wrong.sum()))


def _offence(mart: IndicatorMart, row: Mapping[str, Any], columns: Sequence[str]) -> Offence:
    """Return where a row is, and what is right and what is found in the first of the columns in which it is wrong."""
    differs = {
        name: {"expected": _readable(row[f"right_{name}"]), "found": row[name]} for name in columns[:_SHOWN_COLUMNS]
    }
    more = {"more_columns": len(columns) - _SHOWN_COLUMNS} if len(columns) > _SHOWN_COLUMNS else {}
    return {**{name: row[name] for name in mart.key}, "differs": differs, **more}


def _differ(own: Values, found: pl.Series, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which values are not those of the textbook; NaN stands for no value there, and for nothing here."""
    expected = own.values[at]
    scale = np.broadcast_to(own.scale, len(own.values))[at]
    is_null = found.is_null().to_numpy()
    held = found.fill_null(0.0).to_numpy()
    with np.errstate(invalid="ignore"):
        is_near = np.abs(held - expected) <= TOLERANCE * np.fmax(np.abs(expected), scale)
    return np.asarray(np.where(np.isnan(expected), ~is_null, is_null | ~is_near), np.bool_)


def _readable(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
