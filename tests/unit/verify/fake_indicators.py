"""Marts of indicators as a test wants them: frames by mart, of one series each."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import polars as pl

from verify.indicator_marts import IndicatorMart, Series

SYMBOL: Final = "SPY"


class FakeIndicators:
    """Answers of the marts that it is given; of others, as before their first build."""

    def __init__(self) -> None:
        self.bars_of: dict[str, pl.DataFrame] = {}
        self.rows_of: dict[str, pl.DataFrame] = {}
        self.pending: dict[str, date] = {}

    def indicator_columns(self, mart: IndicatorMart) -> set[str] | None:
        return set(self.rows_of[mart.name].columns) if mart.name in self.rows_of else None

    def indicator_series(self, mart: IndicatorMart) -> list[Series]:
        return [Series(SYMBOL, "1d" if mart.daily else "5m", (SYMBOL,), self.bars_of[mart.name].height)]

    def pending_sessions(self, mart: IndicatorMart) -> Mapping[str, date]:
        return self.pending if mart.name in self.rows_of else {}

    def indicator_bars(self, mart: IndicatorMart, series: Series) -> pl.DataFrame:
        assert series in self.indicator_series(mart)
        return self.bars_of[mart.name]

    def indicator_rows(self, mart: IndicatorMart, series: Series, values: Sequence[str]) -> pl.DataFrame:
        assert series in self.indicator_series(mart)
        return self.rows_of[mart.name].select(*mart.schema, "bar_number", "is_stable", *values)
