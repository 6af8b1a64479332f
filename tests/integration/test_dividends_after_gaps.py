"""Dividends of which the close before is some days old: what the splits since then make of it, and when it is too old."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from market.settings import Settings
from tests.integration.action_rows import RUN, Lake, disagreements
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import Row, read

pytestmark = pytest.mark.integration

TOO_OLD = "the close before it is more than ten days old"


@pytest.fixture
def built(lake: Lake, dbt: Dbt, settings: Settings) -> Iterator[None]:
    """At the end, days built anew have to be those that were built step by step, and verify's the same."""
    yield
    stepwise = every_day(lake)
    assert disagreements(settings) == []
    dbt("run", "--full-refresh")
    assert every_day(lake) == stepwise


def every_day(lake: Lake) -> list[Row]:
    columns = "symbol, session_date, split_factor, total_return_factor, total_return_close, current_symbol"
    return read(lake.connection, f"select {columns} from marts.historical_ohlcv order by symbol, session_date")


def dividends(lake: Lake, symbol: str) -> list[tuple[str, str | None]]:
    query = "select status, evidence from marts.corporate_actions where action = 'dividend'"
    rows = read(lake.connection, f"{query} and symbol = '{symbol}' order by effective_date")
    return [(row["status"], row["evidence"]) for row in rows]


@pytest.mark.usefixtures("built")
def test_the_close_before_a_dividend_is_in_the_shares_after_the_splits_since_then(lake: Lake, dbt: Dbt) -> None:
    lake.closes("FORWARD", 0, "700", "700")
    lake.split("FORWARD", 2, "7")
    lake.closes("FORWARD", 3, "90")
    lake.dividend("FORWARD", 3, "10")
    lake.closes("REVERSE", 0, "1", "1")
    lake.split("REVERSE", 2, "1", "50")
    lake.closes("REVERSE", 3, "48")
    lake.dividend("REVERSE", 3, "2")
    dbt(*RUN)
    assert {status for _, _, status in lake.statuses()} == {"applied"}
    assert lake.adjusted("FORWARD", "total_return_close") == ["90"] * 3
    assert lake.adjusted("REVERSE", "total_return_close") == ["48"] * 3
    assert lake.as_known(3, "FORWARD", "total_return_close") == ["90"] * 3
    (announced,) = read(
        lake.connection,
        "select announced_ratio from marts.corporate_actions where symbol = 'FORWARD' and action = 'dividend'",
    )
    assert round(announced["announced_ratio"], 9) == Decimal("0.9")


@pytest.mark.usefixtures("built")
def test_a_split_of_the_day_of_the_dividend_or_of_the_close_does_not_convert_it(lake: Lake, dbt: Dbt) -> None:
    lake.closes("SAME", 0, "700")
    lake.closes("SAME", 2, "90")
    lake.split("SAME", 2, "7")
    lake.dividend("SAME", 2, "70")
    lake.closes("EARLIER", 0, "700", "100")
    lake.closes("EARLIER", 3, "90")
    lake.split("EARLIER", 1, "7")
    lake.dividend("EARLIER", 3, "10")
    dbt(*RUN)
    assert lake.adjusted("SAME", "total_return_close") == ["90", "90"]
    assert lake.adjusted("EARLIER", "total_return_close") == ["90"] * 3


@pytest.mark.usefixtures("built")
def test_only_splits_that_are_applied_convert_the_close_as_far_as_they_are_known(lake: Lake, dbt: Dbt) -> None:
    lake.closes("LATE", 0, "100")
    lake.closes("LATE", 2, "50", "50")
    lake.split("LATE", 1, "2", known=3)
    lake.dividend("LATE", 2, "5")
    lake.closes("DOUBTED", 0, "100")
    lake.closes("DOUBTED", 2, "100")
    lake.split("DOUBTED", 1, "2")
    lake.dividend("DOUBTED", 2, "10")
    lake.closes("TWICE", 0, "100")
    lake.closes("TWICE", 3, "50")
    lake.split("TWICE", 1, "2")
    lake.split("TWICE", 2, "2", source="yahoo")
    lake.dividend("TWICE", 3, "5")
    dbt(*RUN)
    assert lake.as_known(2, "LATE", "total_return_close") == ["95", "50"], "nobody knew of the split"
    assert lake.as_known(3, "LATE", "total_return_close") == ["45", "50", "50"]
    assert lake.adjusted("DOUBTED", "total_return_close") == ["90", "100"]
    assert lake.adjusted("TWICE", "total_return_close") == ["45", "50"], "two sources mean one split"
    lake.split("DOUBTED", 1, "2", source="user")
    lake.act("TWICE", "split", 1, is_withdrawn=True)
    lake.act("TWICE", "split", 2, is_withdrawn=True, source="yahoo")
    lake.closes("LATE", 1, "50")
    dbt(*RUN)
    assert lake.adjusted("DOUBTED", "total_return_close") == ["40", "100"]
    assert lake.adjusted("TWICE", "total_return_close") == ["95", "50"]
    assert lake.adjusted("LATE", "total_return_close") == ["45", "45", "50", "50"], "the day between has a bar now"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("split_under", ["OLD", "NEW"])
def test_splits_around_a_change_of_symbol_convert_the_close_under_the_old_one(
    lake: Lake, dbt: Dbt, split_under: str
) -> None:
    lake.closes("OLD", 0, "100")
    lake.change("OLD", 2, "NEW")
    lake.split(split_under, 2, "2")
    lake.dividend("NEW", 3, "5")
    lake.closes("NEW", 3, "45")
    dbt(*RUN)
    assert lake.adjusted("OLD", "total_return_close") == ["45"]


@pytest.mark.usefixtures("built")
def test_a_dividend_with_a_close_of_long_ago_is_suspicious_until_it_is_confirmed(lake: Lake, dbt: Dbt) -> None:
    """The tenth day after the close is near enough; a bar in between makes a dividend near again."""
    (near,) = [number for number, day in enumerate(lake.days) if (day - lake.days[2]).days == 9]
    (far,) = [number for number, day in enumerate(lake.days) if (day - lake.days[2]).days == 12]
    for symbol, ex_day in (("NEAR", near), ("FAR", far)):
        lake.closes(symbol, 0, "10", "10", "10")
        lake.dividend(symbol, ex_day, "4")
        lake.closes(symbol, far + 5, "100")
    dbt(*RUN)
    assert (dividends(lake, "NEAR"), dividends(lake, "FAR")) == ([("applied", None)], [("suspicious", TOO_OLD)])
    assert lake.adjusted("FAR", "total_return_close") == ["10", "10", "10", "100"]
    assert lake.as_known(far + 5, "FAR", "total_return_close") == ["10", "10", "10", "100"]
    lake.dividend("FAR", far, "4", source="user")
    dbt(*RUN)
    assert dividends(lake, "FAR") == [("applied", None)]
    assert lake.adjusted("FAR", "total_return_close") == ["6", "6", "6", "100"]
    lake.act("FAR", "dividend", far, is_withdrawn=True, source="user")
    lake.closes("FAR", far - 1, "40")
    dbt(*RUN)
    assert lake.adjusted("FAR", "total_return_close") == ["9", "9", "9", "36", "100"]
