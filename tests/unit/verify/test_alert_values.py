"""The values of bars as law 4 reads them, written out by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from verify.alert_snapshot import INTRADAY, Clause, Side, Version
from verify.alert_values import Values, gone_back, holds
from verify.alert_walk import Bars, Walks, alerts_of, is_known

OPEN = datetime(2013, 12, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOTHING = Side(None, None)


def values(closes: list[float], stable_from: Mapping[str, int | None] | None = None) -> Values:
    columns = {name: np.array(closes, dtype=float) for name in ("close", "open", "mean")}
    return Values(columns, np.arange(1, len(closes) + 1, dtype=float), stable_from or {})


def above(limit: float, field: str = "close", factor: float = 1.0) -> Clause:
    return Clause("above", Side(field, factor), Side(None, limit), NOTHING)


PLAIN = Version(
    rule_id=1,
    version=1,
    interval="1m",
    trigger="once_per_bar_close",
    is_edge=False,
    cooldown_seconds=0,
    hysteresis=0.0,
    is_hysteresis_percent=False,
    segments=("regular",),
    channels=("log",),
    tickers=("IBM",),
    watchlist_group=None,
    has_event=False,
    created_at=OPEN - MINUTE,
    since_at=OPEN - MINUTE,
    until_at=None,
    is_newest=True,
    clauses=(above(100),),
)


def bars(closes: list[float], *, ended: int | None = None, stable_from: Mapping[str, int | None] | None = None) -> Bars:
    number = len(closes)
    starts = [OPEN + place * MINUTE for place in range(number)]
    return Bars(
        mart=INTRADAY,
        interval="1m",
        symbols=["IBM"] * number,
        starts=starts,
        ends=[start + MINUTE for start in starts],
        segments=["regular"] * number,
        is_closed=np.arange(number) < (number if ended is None else ended),
        is_quoted=np.ones(number, dtype=bool),
        revised=starts,
        values=values(closes, stable_from),
    )


def minutes(one: Version, on: Bars, told: tuple[int, ...] = (), walks: Walks | None = None) -> list[int]:
    return [(at - OPEN) // MINUTE for _, at in alerts_of(one, on, {"IBM": one.since_at}, told, walks)]


def test_a_change_of_a_value_below_zero_goes_the_way_of_the_value() -> None:
    found = values([-1, -1.5, -0.75, 0.75, 0, 3, 1e-200, 3]).field("change(close, 1)")
    np.testing.assert_allclose(found, [np.nan, -50, 50, 200, -100, np.nan, -100, np.nan])


def test_what_no_number_can_hold_counts_as_the_largest() -> None:
    huge = Clause("above", Side("close", 1.7e308), Side("close", -1.7e308), NOTHING)
    assert holds(huge, values([99, -99])).yes.tolist() == [True, False]
    assert gone_back(above(100), values([99]), 1.7e308, is_percent=True).tolist() == [False]
    assert minutes(replace(PLAIN, cooldown_seconds=2**63 - 1), bars([101, 102])) == [0]


@pytest.mark.parametrize(
    ("field", "stable_from", "known"),
    [
        ("close", {}, [False, True, True, True]),
        ("mean", {"mean": 3}, [False, False, False, True]),
        ("average(close, 2)", {}, [False, False, False, True]),
    ],
)
def test_only_the_first_values_of_a_series_may_be_cut_off(
    field: str, stable_from: Mapping[str, int | None], known: list[bool]
) -> None:
    on = bars([float("nan")] * 4, stable_from=stable_from)
    assert [is_known(replace(PLAIN, clauses=(above(100, field),)), on, place) for place in range(4)] == known


def test_what_was_told_of_a_bar_stands_until_it_has_ended() -> None:
    forming = replace(PLAIN, trigger="once_per_bar", cooldown_seconds=120)
    assert minutes(forming, bars([99, 99, 101], ended=1)) == [2]
    assert minutes(forming, bars([99, 99, 101], ended=1), told=(1,)) == [1], "and keeps the rule silent"
    assert minutes(forming, bars([99, 99, 101], ended=2), told=(1,)) == [2]
    assert minutes(PLAIN, bars([99, 99, 101], ended=1), told=(1,)) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (replace(PLAIN, trigger="once"), []),
        (replace(PLAIN, cooldown_seconds=240), []),
        (replace(PLAIN, cooldown_seconds=180), [3]),
        (replace(PLAIN, hysteresis=5.0), [3]),
    ],
)
def test_versions_go_on_with_what_those_before_have_told(rule: Version, expected: list[int]) -> None:
    on, walks = bars([101, 99, 99, 101]), Walks()
    assert minutes(replace(rule, until_at=OPEN + MINUTE, is_newest=False), on, walks=walks) == [0]
    assert minutes(replace(rule, version=2, since_at=OPEN + 2 * MINUTE), on, walks=walks) == expected
