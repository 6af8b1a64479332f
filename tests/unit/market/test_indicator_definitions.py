"""The columns that configured periods give, and which periods are refused."""

import math
from typing import Any

import pytest

from market.errors import SettingsError
from market.indicators import MOST_BARS, bars_to_forget, indicators

USUAL: dict[str, Any] = {
    "sma": [20],
    "ema": [12],
    "rsi": [14],
    "macd": [[12, 26, 9]],
    "bollinger": [[20, 2]],
    "atr": [14],
    "stochastic": [[14, 3, 3]],
    "adx": [14],
    "roc": [10],
    "realised_volatility": [20],
    "relative_volume": [20],
}


def names(**changed: Any) -> list[str]:
    return [column.name for column in indicators({**USUAL, **changed})]


def test_the_usual_periods_give_the_usual_names() -> None:
    assert {
        *(
            "sma_20",
            "ema_12",
            "ema_26",
            "rsi_14",
            "macd",
            "macd_signal",
            "macd_hist",
            "bb_upper",
            "bb_middle",
            "bb_lower",
        ),
        *(
            "bb_percent_b",
            "bb_bandwidth",
            "atr_14",
            "stoch_k",
            "stoch_d",
            "adx_14",
            "obv",
            "vwap",
            "roc_10",
            "return_1",
        ),
        *("log_return_1", "realised_volatility_20", "relative_volume_20"),
    } <= set(names())


def test_days_have_the_52_weeks_and_no_session_so_far() -> None:
    daily = {column.name for column in indicators(USUAL, daily=True)}
    assert daily - set(names()) == {"high_52w", "low_52w", "high_52w_distance", "low_52w_distance"}
    assert set(names()) - daily == {"session_volume", "session_notional"}


def test_no_name_comes_twice_whatever_the_periods() -> None:
    found = names(ema=[26, 12], macd=[[12, 26, 9], [5, 35, 5], [12, 35, 9]], bollinger=[[20, 2], [20, 2.5]])
    assert sorted(found) == sorted(set(found))
    assert {"ema_5", "ema_35", "macd_5_35_5", "macd_hist_12_35_9", "bb_upper_20_2_5"} <= set(found)


def test_a_family_without_periods_has_no_columns() -> None:
    nothing: dict[str, Any] = {family: [] for family in USUAL}
    found = [column.name for column in indicators(nothing)]
    assert found == ["return_1", "log_return_1", "obv", "vwap", "session_volume", "session_notional"]


def test_a_value_is_defined_before_it_is_stable_and_its_start_is_forgotten_then() -> None:
    for column in indicators(USUAL):
        assert column.stable_from is None or column.defined_from is None or column.stable_from >= column.defined_from
    (average,) = (column for column in indicators(USUAL) if column.name == "ema_12")
    assert (1 - 2 / 13) ** ((average.stable_from or 0) - (average.defined_from or 0)) < 1e-9
    assert (1 - 2 / 13) ** (bars_to_forget(2 / 13) - 1) > 1e-9
    assert bars_to_forget(1.0) == 1
    assert math.isclose(0.5 ** bars_to_forget(0.5), 1e-9, rel_tol=0.5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sma": [0]}, r"indicators\.sma of dbt_project\.yml has 0\. It wants period: whole numbers from 1 to 2,000"),
        ({"sma": [MOST_BARS + 1]}, "has 2001"),
        ({"sma": ["20"]}, "has '20'"),
        ({"sma": [True]}, "has True"),
        ({"sma": 20}, "is 20. Give it a list; an empty one for none"),
        ({"rsi": [14.5]}, "has 14.5"),
        ({"realised_volatility": [1]}, "from 2 to"),
        ({"macd": [[26, 12, 9]]}, "the fast period has to be the shorter one"),
        ({"macd": [12, 26, 9]}, "It wants fast and slow and signal"),
        ({"macd": [[]]}, "It wants fast and slow and signal"),
        (
            {"bollinger": [[20, -2]]},
            r"has \[20, -2\]\. It wants .*: a whole number from 1 to 2,000, and a number above 0\.",
        ),
        ({"bollinger": [[20, math.inf]]}, r"has \[20, inf\]"),
        ({"sma": [20, 50, 20]}, "sma of dbt_project.yml has 20 twice"),
        ({"bollinger": [[20, 2], [10, 2], [10, 2.0]]}, r"has \[10, 2\.0\] twice"),
        ({"hull": [9]}, "has no indicator 'hull'. The indicators are: sma, ema, rsi"),
    ],
)
def test_periods_that_are_none_are_refused_with_the_place_and_the_remedy(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        indicators({**USUAL, **changed})


def test_a_family_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="lacks 'adx'"):
        indicators({family: periods for family, periods in USUAL.items() if family != "adx"})
