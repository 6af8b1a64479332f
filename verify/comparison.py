"""Compares two frames row by row and says, for people, where they differ."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import polars as pl

from market.tables import DataType, Table
from verify.lake import MICROS
from verify.results import SHOWN_OFFENCES, Findings, Offence

NO_PRICE = -(2**63)
NO_NOTIONAL = -(10**37)
"""What stands for a stored value that is no number, or none that a price or a sum of prices can be."""

_FOUND = "__found"
_DECIMAL_TYPES = frozenset({DataType.PRICE, DataType.NOTIONAL})


def compare(
    findings: Findings,
    *,
    what: str,
    where: str,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    table: Table,
    key: Sequence[str],
    also_prices: Sequence[str] = (),
) -> None:
    """Record every row of ``found`` that is doubled, missing, unexpected or different.

    Parameters
    ----------
    findings
        Where to record it.
    what, where
        How a message names a row and the place of ``found``: "bar", "gold/bar_revisions_1m".
    expected, found
        Frames with the same columns, prices in millionths; ``expected`` has each key once.
    table
        Declares which columns are prices.
    key
        The columns that name a row.
    also_prices
        Further columns that are prices.
    """
    doubled = found.filter(pl.struct(key).is_duplicated()).unique(key, maintain_order=True)
    _record(findings, f"{what} is more than once in {where}", doubled.select(key))
    missing = expected.join(found, on=key, how="anti", nulls_equal=True)
    _record(findings, f"{what} is missing in {where}", missing.select(key))
    unexpected = found.join(expected, on=key, how="anti", nulls_equal=True)
    _record(findings, f"{what} should not be in {where}", unexpected.select(key))
    values = [name for name in expected.columns if name not in key]
    if not values:
        return
    both = expected.join(found, on=key, how="inner", suffix=_FOUND, nulls_equal=True)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}{_FOUND}")) for name in values)
    different = both.filter(differs)
    prices = {column.name for column in table.columns if column.type in _DECIMAL_TYPES} | set(also_prices)
    findings.break_law(
        f"{what} differs in {where}",
        _differences(different.head(SHOWN_OFFENCES), key, values, prices),
        total=different.height,
    )


def _record(findings: Findings, problem: str, rows: pl.DataFrame) -> None:
    findings.break_law(problem, rows.head(SHOWN_OFFENCES).iter_rows(named=True), total=rows.height)


def _differences(rows: pl.DataFrame, key: Sequence[str], values: Sequence[str], prices: set[str]) -> Iterator[Offence]:
    for row in rows.iter_rows(named=True):
        differing = {
            name: {
                "expected": _readable(row[name], is_price=name in prices),
                "found": _readable(row[f"{name}{_FOUND}"], is_price=name in prices),
            }
            for name in values
            if row[name] != row[f"{name}{_FOUND}"]
        }
        yield {**{name: row[name] for name in key}, "differs": differing}


def _readable(value: object, *, is_price: bool) -> object:
    if value in {NO_PRICE, NO_NOTIONAL}:
        return "no number"
    return Decimal(value) / MICROS if is_price and isinstance(value, int) else value
