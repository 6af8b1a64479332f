"""Splits and dividends that are given under a symbol on the day on which it is given up, or later."""

from typing import Any

import pytest

from market.settings import Settings
from tests.integration.action_rows import RUN, Lake, disagreements
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read
from tests.integration.test_same_actions import wrong_prices

pytestmark = pytest.mark.integration

NO_LONGER = "given under a symbol that it no longer has"


def judged(lake: Lake, action: str) -> list[tuple[Any, ...]]:
    query = "select symbol, source, status, evidence from marts.corporate_actions"
    rows = read(lake.connection, f"{query} where action = '{action}' order by symbol, effective_date")
    return [tuple(row.values()) for row in rows]


def test_an_action_of_the_day_of_a_change_under_the_old_symbol_is_of_what_goes_on(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    """A reverse split with a new symbol, and both of it said of the old one; later the new one pays."""
    lake.closes("SDOL", 0, "1", "1.1")
    lake.closes("SDNW", 2, "22", "22", "20")
    lake.change("SDOL", 2, "SDNW")
    lake.split("SDOL", 2, "1", "20")
    lake.dividend("SDOL", 2, "0.11")
    lake.split("SDNW", 4, "2")
    lake.split("SDNW", 4, "2", source="user")
    lake.minute("SDNW", 2, "22.5")
    dbt(*RUN)
    assert lake.statuses() == [
        ("SDNW", "split", "applied"),
        ("SDOL", "dividend", "applied"),
        ("SDOL", "split", "applied"),
        ("SDOL", "symbol_change", "applied"),
    ]
    assert lake.adjusted("SDOL") == ["10", "11"]
    assert lake.adjusted("SDOL", "total_return_close") == ["9", "9.9"]
    assert lake.adjusted("SDNW") == ["11", "11", "20"]
    assert lake.as_known(2, "SDOL") == ["20", "22"]
    assert lake.previous_close("SDNW") == ("22", "0.5")
    assert read(lake.connection, "select * from marts.unexplained_jumps where session_date < '2013-10-11'") == []
    assert disagreements(settings) == []
    assert wrong_prices(lake, settings) == []


def test_the_price_under_the_new_symbol_judges_a_split_under_the_old_one(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    lake.closes("OLD", 0, "10")
    lake.closes("NEW", 1, "10.5")
    lake.change("OLD", 1, "NEW")
    lake.split("OLD", 1, "2")
    lake.closes("LATE", 0, "10")
    lake.change("LATE", 1, "LATER")
    lake.split("LATE", 1, "2")
    dbt(*RUN)
    assert judged(lake, "split") == [
        ("LATE", "lean", "pending", None),
        ("OLD", "lean", "suspicious", "the price did not move as the split says"),
    ]
    assert lake.adjusted("OLD") == ["10"]
    assert disagreements(settings) == []


def test_an_action_of_a_later_day_under_a_symbol_that_was_given_up_is_suspicious(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    lake.closes("OLD", 0, "100", "100")
    lake.closes("NEW", 2, "100", "50", "50")
    lake.change("OLD", 2, "NEW")
    lake.split("OLD", 3, "2")
    lake.dividend("OLD", 4, "1", source="user")
    lake.dividend("OLD", 9, "1")
    dbt(*RUN)
    assert judged(lake, "split") == [("OLD", "lean", "suspicious", NO_LONGER)]
    assert judged(lake, "dividend") == [("OLD", "user", "suspicious", NO_LONGER), ("OLD", "lean", "pending", None)]
    assert lake.adjusted("OLD") == lake.adjusted("OLD", "total_return_close") == ["100", "100"]
    assert disagreements(settings) == []


def test_an_action_under_a_symbol_that_somebody_else_took_is_theirs(lake: Lake, dbt: Dbt, settings: Settings) -> None:
    """By a change on the same day, or since there are bars of it."""
    lake.closes("GOOG", 0, "100", "100")
    lake.closes("GOOCV", 1, "50")
    lake.closes("GOOGL", 2, "100")
    lake.closes("GOOG", 2, "25")
    lake.change("GOOG", 2, "GOOGL")
    lake.change("GOOCV", 2, "GOOG")
    lake.split("GOOG", 2, "2")
    lake.closes("FB", 0, "300")
    lake.closes("META", 1, "300", "300", "300")
    lake.closes("FB", 2, "10", "5")
    lake.change("FB", 1, "META")
    lake.split("FB", 3, "2")
    lake.minute("GOOGL", 2, "101")
    dbt(*RUN)
    assert [row[:3] for row in judged(lake, "split")] == [("FB", "lean", "applied"), ("GOOG", "lean", "applied")]
    assert (lake.adjusted("GOOCV"), lake.adjusted("GOOG")) == (["25"], ["100", "100", "25"])
    assert lake.adjusted("FB") == ["300", "5", "5"]
    assert lake.adjusted("META") == ["300"] * 3
    assert lake.previous_close("GOOGL") == ("100", "1")
    assert disagreements(settings) == []
    assert wrong_prices(lake, settings) == []


@pytest.mark.parametrize(("old", "new"), [("lean", "yahoo"), ("yahoo", "lean"), ("yahoo", "yahoo")])
def test_what_is_given_under_the_old_and_the_new_symbol_counts_once(
    lake: Lake, dbt: Dbt, settings: Settings, old: str, new: str
) -> None:
    lake.closes("OLD", 0, "100", "100")
    lake.closes("NEW", 2, "50")
    lake.change("OLD", 2, "NEW")
    lake.split("OLD", 2, "2", source=old)
    lake.split("NEW", 2, "2", source=new)
    lake.dividend("OLD", 2, "10", source=old)
    lake.dividend("NEW", 2, "10.1", source=new)
    dbt(*RUN)
    counting, other = ("OLD", "NEW") if old == "lean" else ("NEW", "OLD")
    said = {symbol: (status, evidence) for symbol, _, status, evidence in judged(lake, "split")}
    assert said == {
        counting: ("applied", None),
        other: ("duplicate", f"the same of {lake.days[2]} under {counting} counts"),
    }
    assert {symbol: status for symbol, _, status, _ in judged(lake, "dividend")} == {
        counting: "applied",
        other: "duplicate",
    }
    assert lake.adjusted("OLD") == ["50", "50"]
    assert lake.adjusted("OLD", "total_return_close") == (["45", "45"] if counting == "OLD" else ["44.95", "44.95"])
    assert disagreements(settings) == []


def test_what_two_sources_date_apart_around_a_change_counts_once_and_what_prices_contradict_does_not(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    lake.closes("OLD", 0, "100", "100")
    lake.closes("NEW", 2, "100", "100")
    lake.change("OLD", 2, "NEW")
    lake.dividend("OLD", 1, "10")
    lake.dividend("NEW", 2, "10", source="yahoo")
    lake.dividend("NEW", 3, "5", source="yahoo")
    lake.closes("BAD", 0, "100")
    lake.closes("GOOD", 1, "50")
    lake.change("BAD", 1, "GOOD")
    lake.split("BAD", 1, "9")
    lake.split("GOOD", 1, "2", source="yahoo")
    dbt(*RUN)
    assert [(symbol, status) for symbol, _, status, _ in judged(lake, "dividend")] == [
        ("NEW", "duplicate"),
        ("NEW", "applied"),
        ("OLD", "applied"),
    ]
    assert [(symbol, status) for symbol, _, status, _ in judged(lake, "split")] == [
        ("BAD", "suspicious"),
        ("GOOD", "applied"),
    ]
    assert lake.adjusted("OLD", "total_return_close") == ["85.5", "95"]
    assert lake.adjusted("BAD") == ["50"]
    assert disagreements(settings) == []
