"""Law 2 for adjusted prices: every day of ``historical_ohlcv`` is adjusted as the corporate actions say.

What belongs here: factors, current symbols and adjusted columns. What does not: raw days, which are :mod:`verify.days`; how
factors follow from actions, which is :mod:`verify.adjustment`.

The mart is built at some moment: a symbol whose factors are those of an earlier state of the actions is behind, and no break.
Which source of an action the marts believe is a view, and compared as of now.
"""

from collections.abc import Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Final

import polars as pl

from market.tables import CORPORATE_ACTIONS
from verify.adjusted_schemas import BELIEVED, BELIEVED_SCHEMA
from verify.adjustment import Adjustment, Days
from verify.believed import believed_of
from verify.comparison import compare
from verify.mart_schemas import HISTORICAL
from verify.questions import Published
from verify.results import SHOWN_OFFENCES, Findings
from warehouse.dbt import dbt_variables

FACTOR_DECIMALS: Final = 18
_ONE: Final = 10**FACTOR_DECIMALS
_LARGEST: Final = 10**38 - 1
"""A factor has 38 digits; what has no room is the nearest that has."""
_TOLERANCE: Final = 10
"""In units of the last decimal: the mart rounds each product to 24 decimals, then to 18."""
_PRICES: Final = ("open", "high", "low", "close")
_FACTORS: Final = ("split_factor", "total_return_factor")
_PREFIXES: Final = (("split_factor", "split_adjusted"), ("total_return_factor", "total_return"))
_FITS: Final = 0.5e38
"""Twice that and a half still have room in 128 bits."""
_SPANS: Final = {
    "symbol": pl.String(),
    "session_date": pl.Date(),
    **{f"right_{name}": pl.Int128() for name in _FACTORS},
    "right_symbol": pl.String(),
}


def prove_adjusted(findings: Findings, published: Published, actions: pl.DataFrame) -> None:
    """Check every day of the mart.

    Parameters
    ----------
    findings
        Where to record what breaks the law.
    published
        PostgreSQL.
    actions
        Every version of the corporate actions, with the columns of ``silver/corporate_actions``.
    """
    days = published.adjusted_days()
    if days is None:
        return
    findings.count("mart_days_adjusted", days.height)
    _check_products(findings, days)
    _check_believed(findings, published, actions)
    wrong = _wrong(days, adjustment_of(days, actions))
    stamps = sorted(set(actions["ingested_at"]), reverse=True)[1:]
    behind = 0
    for symbol, rows in wrong.partition_by("symbol", as_dict=True).items():
        own = days.filter(pl.col("symbol") == symbol[0])
        if any(_was_right(days, own, actions, stamp) for stamp in [*stamps, None]):
            behind += rows.height
            wrong = wrong.filter(pl.col("symbol") != symbol[0])
    if behind:
        findings.count("mart_days_adjusted_behind", behind)
        findings.notes.append(
            f"{HISTORICAL} is adjusted as of earlier for {behind:,} days; ./run marts builds what changed."
        )
    findings.break_law(
        f"factors differ in {HISTORICAL}",
        wrong.sort("symbol", "session_date").head(SHOWN_OFFENCES).iter_rows(named=True),
        total=wrong.height,
    )


def _check_products(findings: Findings, days: pl.DataFrame) -> None:
    """Check that each adjusted value is the raw one times or over the factor beside it, rounded half up."""
    price, factor = (pl.max_horizontal(names).cast(pl.Float64) for names in (_PRICES, _FACTORS))
    is_far = (price * factor > _FITS).fill_null(value=False) | (factor > _FITS)
    far = days.filter(is_far)
    is_wrong = pl.Series([_has_wrong_product(row) for row in far.iter_rows(named=True)], dtype=pl.Boolean)
    found = pl.lit(value=False)
    for by, prefix in _PREFIXES:
        for name in _PRICES:
            product = (pl.col(name).cast(pl.Int128) * pl.col(by) + _ONE // 2) // _ONE
            found |= product.ne_missing(pl.col(f"{prefix}_{name}"))
    volume = (2 * pl.col("volume").cast(pl.Int128) * _ONE + pl.col("split_factor")) // (2 * pl.col("split_factor"))
    found |= volume.ne_missing(pl.col("split_adjusted_volume"))
    wrong = pl.concat([days.filter(~is_far & found), far.filter(is_wrong)]).sort("symbol", "session_date")
    shown = wrong.head(SHOWN_OFFENCES).select("symbol", "session_date", *_FACTORS)
    findings.break_law(
        f"adjusted values are not the raw ones by the factors in {HISTORICAL}",
        shown.iter_rows(named=True),
        total=wrong.height,
    )


def _has_wrong_product(row: Mapping[str, Any]) -> bool:
    """Return the same of one day, in numbers of any size: 128 bits hold a price times a factor up to some 10^14 dollars."""
    for factor, prefix in _PREFIXES:
        for name in _PRICES:
            raw = row[name]
            product = None if raw is None else (raw * row[factor] + _ONE // 2) // _ONE
            if product != row[f"{prefix}_{name}"]:
                return True
    volume = (
        None if row["volume"] is None else (2 * row["volume"] * _ONE + row["split_factor"]) // (2 * row["split_factor"])
    )
    return bool(volume != row["split_adjusted_volume"])


def _check_believed(findings: Findings, published: Published, actions: pl.DataFrame) -> None:
    """Check which source of each action the marts believe."""
    found = published.believed_actions()
    if found is None:
        return
    rows = [(*key, action.source) for key, action in believed_of(actions).items()]
    compare(
        findings,
        what="believed action",
        where=BELIEVED,
        expected=pl.DataFrame(rows, schema=BELIEVED_SCHEMA, orient="row"),
        found=found,
        table=CORPORATE_ACTIONS,
        key=["symbol", "action", "session_date"],
    )


def _was_right(days: pl.DataFrame, own: pl.DataFrame, actions: pl.DataFrame, stamp: datetime | None) -> bool:
    """Return whether the days of a symbol are adjusted by the actions up to a moment; ``None`` is before all."""
    known = actions.clear() if stamp is None else actions.filter(pl.col("ingested_at") <= stamp)
    return not _wrong(own, adjustment_of(days, known)).height


def _wrong(days: pl.DataFrame, adjustment: Adjustment) -> pl.DataFrame:
    """Return the days that have other factors, or another current symbol."""
    rows = [
        (symbol, since, _scaled(factors.split), _scaled(factors.total_return), factors.current_symbol)
        for symbol in sorted(adjustment.concerned())
        for since, factors in adjustment.spans(symbol)
    ]
    spans = pl.DataFrame(rows, schema=_SPANS, orient="row").sort("session_date")
    joined = days.sort("session_date").join_asof(
        spans.with_columns(pl.lit(value=True).alias("has_actions")),
        on="session_date",
        by="symbol",
        check_sortedness=False,
    )
    is_known = pl.col("has_actions").fill_null(value=False)
    right = {name: pl.when(is_known).then(f"right_{name}").otherwise(pl.lit(_ONE, pl.Int128)) for name in _FACTORS}
    symbol = pl.when(is_known).then("right_symbol").otherwise("symbol")
    is_off = [(pl.col(name) - right[name]).abs().fill_null(_ONE) > _TOLERANCE for name in _FACTORS]
    differs = pl.any_horizontal(*is_off, symbol.ne_missing(pl.col("current_symbol")))
    shown = ["symbol", "session_date", *_FACTORS, "current_symbol"]
    return joined.filter(differs).select(
        *shown, *(right[name].alias(f"right_{name}") for name in _FACTORS), symbol.alias("right_symbol")
    )


def _scaled(factor: Fraction) -> int:
    return min(max(round(factor * _ONE), 1), _LARGEST)


def adjustment_of(days: pl.DataFrame, actions: pl.DataFrame) -> Adjustment:
    """Return what follows from the actions and the raw days.

    Parameters
    ----------
    days
        ``symbol``, ``session_date``, ``open``, ``close``, ``origin`` and ``is_vendor_bar`` of all days.
    actions
        The versions that are known, with the columns of ``silver/corporate_actions``.
    """
    with_prices = days.filter(pl.col("close").is_not_null()).sort("session_date")
    concerned = actions.select(pl.concat([pl.col("symbol"), pl.col("new_symbol").drop_nulls()]).unique())["symbol"]
    by_symbol = with_prices.filter(pl.col("symbol").is_in(concerned.implode())).partition_by("symbol", as_dict=True)
    return Adjustment(
        actions=believed_of(actions),
        days={
            str(symbol): Days(
                rows["session_date"].to_list(), rows["open"].to_list(), rows["close"].to_list(), _listed_days(rows)
            )
            for (symbol,), rows in by_symbol.items()
        },
        newest=_newest(days),
    )


def _listed_days(days: pl.DataFrame) -> tuple[date, date] | None:
    """Return the first and the last day of sources that list a company's past under its newest symbol."""
    sources = dbt_variables()["newest_symbol_sources"]
    found = days.filter(pl.col("is_vendor_bar") & pl.col("origin").is_in(sources))["session_date"].to_list()
    return (min(found), max(found)) if found else None


def _newest(days: pl.DataFrame) -> date:
    newest = days["session_date"].max()
    return newest if isinstance(newest, date) else date.min
