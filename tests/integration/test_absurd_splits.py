"""Splits that no share ever had: they adjust nothing, whoever says so, and stop no other symbol."""

import pytest

from market.settings import Settings
from tests.integration.action_rows import RUN, Lake, disagreements
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read
from tests.integration.test_same_actions import wrong_prices

pytestmark = pytest.mark.integration

ABSURD = "no share is split beyond 10,000 for 1 or 1 for 10,000"
HUGE = "999999999999"
FAR_LATER = 30
EXACTLY = "trim_scale(split_factor)::text"
LARGEST = "99999999999999999999.999999999999999999"


def splits(lake: Lake, symbol: str) -> list[tuple[str, str, str | None]]:
    query = f"select source, status, evidence from marts.corporate_actions where symbol = '{symbol}'"
    return [tuple(row.values()) for row in read(lake.connection, f"{query} order by effective_date")]


@pytest.mark.parametrize(("new", "old"), [("0.000001", HUGE), (HUGE, "0.000001")])
def test_a_row_of_absurd_splits_in_a_long_gap_stops_neither_the_mart_nor_the_series_of_a_day(
    lake: Lake, dbt: Dbt, settings: Settings, new: str, old: str
) -> None:
    lake.closes("IBM", 0, "50", "25")
    lake.split("IBM", 1, "2")
    lake.closes("OVF", 0, "10")
    lake.closes("OVF", FAR_LATER, "10")
    for day in (1, 2, 3):
        lake.split("OVF", day, new, old)
    dbt(*RUN)
    assert splits(lake, "OVF") == [("lean", "suspicious", ABSURD)] * 3
    assert lake.adjusted("OVF") == ["10", "10"]
    assert lake.adjusted("IBM") == ["25", "25"]
    assert lake.as_known(FAR_LATER, "IBM") == ["25", "25"]
    assert disagreements(settings) == []
    for day in (1, 2, 3):
        lake.split("OVF", day, new, old, source="user")
    dbt(*RUN)
    assert splits(lake, "OVF") == [("user", "suspicious", ABSURD)] * 3
    assert lake.as_known(FAR_LATER, "OVF") == lake.adjusted("OVF") == ["10", "10"]


def test_ten_thousand_for_one_is_no_more_absurd_and_a_source_with_a_true_ratio_is_heard(lake: Lake, dbt: Dbt) -> None:
    lake.closes("EDGE", 0, "0.01", "100", "0.01")
    lake.split("EDGE", 1, "1", "10000")
    lake.split("EDGE", 2, "10000", "1")
    lake.closes("OVER", 0, "0.01", "100")
    lake.split("OVER", 1, "1", "10000.000001")
    dbt(*RUN)
    assert splits(lake, "EDGE") == [("lean", "applied", None)] * 2
    assert lake.adjusted("EDGE") == ["0.01"] * 3
    assert splits(lake, "OVER") == [("lean", "suspicious", ABSURD)]


def test_an_absurd_split_of_the_newest_session_leaves_the_close_before_as_it_is(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    """Whoever says it; and a close of which the right one has no room in its column stays as it is, too."""
    for symbol, source in (("LEAN", "lean"), ("USER", "user")):
        lake.closes(symbol, 0, "10")
        lake.split(symbol, 1, "1", "20000", source=source)
        lake.minute(symbol, 1, "11")
    lake.closes("DEAR", 0, "900000000")
    lake.split("DEAR", 1, "1", "10000", source="user")
    lake.minute("DEAR", 1, "11")
    lake.closes("IBM", 0, "50")
    lake.split("IBM", 1, "2")
    lake.minute("IBM", 1, "26")
    dbt(*RUN)
    assert [lake.previous_close(symbol) for symbol in ("LEAN", "USER", "IBM")] == [
        ("10", "1"),
        ("10", "1"),
        ("25", "1"),
    ]
    assert lake.previous_close("DEAR")[0] == "900000000"
    assert wrong_prices(lake, settings) == []


@pytest.mark.parametrize(("ratio", "factor"), [(("1", "10000"), LARGEST), (("10000", "1"), "0.000000000000000001")])
def test_factors_that_have_no_room_are_the_nearest_that_have(
    lake: Lake, dbt: Dbt, settings: Settings, ratio: tuple[str, str], factor: str
) -> None:
    """Prices that are far apart contradict none of these, and each is one that a share could have."""
    lake.closes("IBM", 0, "50", "25")
    lake.split("IBM", 1, "2")
    lake.closes("CHAIN", 0, "100000000000")
    lake.closes("CHAIN", FAR_LATER, "10", "10")
    for day in range(1, 7):
        lake.split("CHAIN", day, *ratio)
    lake.dividend("CHAIN", 7, "90000000000")
    dbt("run")
    assert lake.adjusted("CHAIN", EXACTLY) == [factor, "1", "1"]
    assert lake.as_known(FAR_LATER, "CHAIN", EXACTLY) == [factor, "1"]
    assert lake.adjusted("IBM") == ["25", "25"]
    assert disagreements(settings) == []
