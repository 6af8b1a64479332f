"""Presets and other rules on real days and minutes, against TA-Lib and plain arithmetic over the raw files."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
import psycopg
import pytest
import talib
from numpy.typing import NDArray

from alerts.evaluation.backtest import backtest
from alerts.evaluation.evaluate import evaluate
from alerts.rules.presets import preset
from alerts.rules.rule import Rule
from alerts.store import add_rules
from market.settings import Settings
from tests.integration.dbt_runs import Dbt
from tests.integration.sample_marts import LEAN, days, load_sample, minutes
from verify.laws import verify_alerts

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not LEAN.is_dir(), reason="needs LEAN's sample data in ../shared/data/lean"),
]

MADE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Before the sample was taken in: what is replayed after a rule was made is of its past."""
NOW: Final = datetime(2026, 1, 3, tzinfo=UTC)
LONG_AGO: Final = datetime(1990, 1, 1, tzinfo=UTC)
STABLE_RSI: Final = 295

Doubles = NDArray[np.float64]
Fires = Callable[[pl.DataFrame], NDArray[np.bool_]]


def before(values: Doubles) -> Doubles:
    return np.concatenate([[np.nan], values[:-1]])


def column(frame: pl.DataFrame, name: str) -> Doubles:
    return frame[name].cast(pl.Float64).to_numpy()


def crossed(one: Doubles, other: Doubles) -> NDArray[np.bool_]:
    """Where one goes above another."""
    return (one > other) & (before(one) <= before(other))


def golden(frame: pl.DataFrame) -> NDArray[np.bool_]:
    close = column(frame, "close")
    return crossed(talib.SMA(close, 50), talib.SMA(close, 200))


def death(frame: pl.DataFrame) -> NDArray[np.bool_]:
    close = column(frame, "close")
    return crossed(talib.SMA(close, 200), talib.SMA(close, 50))


def overbought(frame: pl.DataFrame) -> NDArray[np.bool_]:
    rsi = talib.RSI(column(frame, "close"), 14)
    rsi[: STABLE_RSI - 1] = np.nan
    return (rsi > 70) & (before(rsi) <= 70)


def breakout(frame: pl.DataFrame) -> NDArray[np.bool_]:
    close = column(frame, "close")
    upper, _, lower = talib.BBANDS(close, 20, 2, 2)
    outside = (close > upper) | (close < lower)
    inside = (close <= upper) & (close >= lower)
    return outside & np.concatenate([[False], inside[:-1]])


def spike(frame: pl.DataFrame) -> NDArray[np.bool_]:
    volume = column(frame, "volume")
    fires = np.zeros(len(volume), dtype=bool)
    was: bool | None = None
    for place, shares in enumerate(volume):
        earlier = volume[max(0, place - 20) : place]
        is_spike = None if len(earlier) < 20 else bool(shares > 3 * sum(earlier) / 20)
        fires[place] = is_spike is True and was is False
        was = is_spike
    return fires


def new_high(frame: pl.DataFrame) -> NDArray[np.bool_]:
    high = column(frame, "high")
    return np.array([place >= 60 and value > max(high[place - 60 : place]) for place, value in enumerate(high)])


DAILY_RULES: Final[dict[str, tuple[Rule, Fires]]] = {
    "golden": (Rule("golden", preset("golden-cross").text, "GOOG,IBM,MSFT", "1d"), golden),
    "death": (Rule("death", preset("death-cross").text, "GOOG,IBM,MSFT", "1d"), death),
    "high": (Rule("high", "high new high of 60", "GOOG,IBM,MSFT", "1d", is_edge=False), new_high),
}
MINUTE_RULES: Final[dict[str, tuple[Rule, Fires]]] = {
    "rsi": (Rule("rsi", preset("rsi-high").text, "all", "1m"), overbought),
    "breakout": (Rule("breakout", preset("bollinger-breakout").text, "all", "1m"), breakout),
    "spike": (Rule("spike", preset("volume-spike").text, "all", "1m"), spike),
}


@pytest.fixture(scope="module")
def evaluated(settings: Settings, dbt: Dbt) -> Settings:
    """All rules, evaluated over the sample."""
    add_rules(settings, [rule for rule, _ in (*DAILY_RULES.values(), *MINUTE_RULES.values())], MADE)
    with psycopg.connect(settings.require_database()) as connection:
        load_sample(connection)
    dbt("run")
    evaluate(settings, NOW)
    return settings


def found(settings: Settings, name: str, key: str) -> set[tuple[str, Any]]:
    with psycopg.connect(settings.require_database()) as connection:
        query = f"select symbol, {key} from marts.alerts where rule_name = %s and is_historical"
        return set(connection.execute(query.encode(), [name]).fetchall())


@pytest.mark.parametrize("name", DAILY_RULES)
def test_rules_on_days_fire_where_plain_arithmetic_says(evaluated: Settings, name: str) -> None:
    rule, fires = DAILY_RULES[name]
    expected: set[tuple[str, Any]] = set()
    for symbol in rule.tickers or ():
        frame = days().filter(pl.col("symbol") == symbol).sort("session_date")
        expected |= {(symbol, day) for day in frame.filter(pl.Series(fires(frame)))["session_date"]}
    assert len(expected) > 10
    assert found(evaluated, name, "session_date") == expected
    assert len(backtest(evaluated, rule, start=LONG_AGO)) == len(expected)


@pytest.mark.parametrize("name", MINUTE_RULES)
def test_rules_on_minutes_fire_where_an_independent_evaluation_says(evaluated: Settings, name: str) -> None:
    rule, fires = MINUTE_RULES[name]
    expected: set[tuple[str, Any]] = set()
    regular = minutes().filter((pl.col("segment") == "regular") & pl.col("close").is_not_null())
    for symbol in ("IBM", "SPY"):
        frame = regular.filter(pl.col("symbol") == symbol).sort("bar_at")
        expected |= {(symbol, at) for at in frame.filter(pl.Series(fires(frame)))["bar_at"]}
    assert expected
    assert found(evaluated, name, "bar_at") == expected
    assert {(one.symbol, one.bar_at) for one in backtest(evaluated, rule, start=LONG_AGO)} == expected


def test_nothing_of_a_replay_is_to_be_sent_and_the_law_holds(evaluated: Settings) -> None:
    with psycopg.connect(evaluated.require_database()) as connection:
        assert connection.execute("select count(*) from app.alert_outbox").fetchone() == (0,)
    assert verify_alerts(evaluated).holds
