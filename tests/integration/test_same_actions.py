"""Splits and dividends that several sources date some days apart: each is applied once, and who was left out is said."""

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from market.settings import Settings
from tests.integration.action_rows import RUN, Lake
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read
from verify.previous_closes import with_previous_closes
from verify.published import open_snapshot

pytestmark = pytest.mark.integration


@pytest.fixture
def lake(lake: Lake, settings: Settings) -> Iterator[Lake]:
    """At the end, what verify compares prices with has to be what the mart has, too."""
    yield lake
    assert wrong_prices(lake, settings) == []


def wrong_prices(lake: Lake, settings: Settings) -> list[dict[str, Any]]:
    """Return what verify compares prices with, where it is not what the mart has."""
    firsts = "select distinct on (symbol) symbol, open from lake.bars_1m order by symbol, session_date desc, bar_at"
    first = {row["symbol"]: int(row["open"] * 10**6) for row in read(lake.connection, firsts)}
    with open_snapshot(settings) as published:
        found, days, actions = published.prices(), published.days(), published.corporate_actions()
    assert found is not None
    first_price = pl.col("symbol").replace_strict(first, return_dtype=pl.Int64).alias("first_price")
    right = with_previous_closes(found.drop("previous_close", "change").with_columns(first_price), days, actions)
    return right.select(found.columns).join(found, on=found.columns, how="anti", nulls_equal=True).to_dicts()


def of_symbol(lake: Lake, symbol: str) -> list[tuple[int, str, str, str]]:
    query = f"select effective_date, source, status, evidence from marts.corporate_actions where symbol = '{symbol}'"
    rows = read(lake.connection, f"{query} order by effective_date")
    return [(lake.days.index(row["effective_date"]), row["source"], row["status"], row["evidence"]) for row in rows]


def test_a_dividend_that_two_sources_date_a_day_apart_counts_once(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "50", "50", "50", "50")
    lake.dividend("IBM", 2, "1")
    lake.dividend("IBM", 1, "1.004", source="yahoo")
    dbt(*RUN)
    assert of_symbol(lake, "IBM") == [
        (1, "yahoo", "duplicate", f"a better source has the same of {lake.days[2]}"),
        (2, "lean", "applied", None),
    ]
    assert lake.adjusted("IBM", "total_return_close") == ["49", "49", "50", "50"]
    assert lake.as_known(3, "IBM", "total_return_close") == ["49", "49", "50", "50"]
    lake.act("IBM", "dividend", 2, is_withdrawn=True)
    dbt(*RUN)
    assert [status for _, _, status, _ in of_symbol(lake, "IBM")] == ["applied"]


def test_a_split_that_two_sources_date_a_day_apart_is_applied_once_on_the_day_that_prices_show(
    lake: Lake, dbt: Dbt
) -> None:
    lake.closes("AAPL", 0, "700", "700", "100", "100")
    lake.split("AAPL", 1, "7")
    lake.split("AAPL", 2, "7", source="yahoo")
    lake.closes("TINY", 0, "103", "103", "100", "100")
    lake.split("TINY", 1, "1.03")
    lake.split("TINY", 2, "1.03", source="yahoo")
    dbt(*RUN)
    assert [status for _, _, status, _ in of_symbol(lake, "AAPL")] == ["suspicious", "applied"]
    assert lake.adjusted("AAPL") == ["100"] * 4
    assert [status for _, _, status, _ in of_symbol(lake, "TINY")] == ["applied", "duplicate"]
    assert lake.adjusted("TINY") == ["100", "103", "100", "100"]


def test_others_of_another_size_or_further_off_or_of_one_source_are_not_the_same(lake: Lake, dbt: Dbt) -> None:
    lake.closes("SIZE", 0, "50", "50", "50")
    lake.dividend("SIZE", 1, "1")
    lake.dividend("SIZE", 2, "1.1", source="yahoo")
    lake.closes("WEEKLY", 0, *["50"] * 7)
    lake.dividend("WEEKLY", 1, "1")
    lake.dividend("WEEKLY", 6, "1", source="yahoo")
    lake.closes("TWICE", 0, "50", "50", "50")
    lake.dividend("TWICE", 1, "1", source="yahoo")
    lake.dividend("TWICE", 2, "1", source="yahoo")
    lake.closes("BOTH", 0, "50", "50", "50", "50")
    lake.dividend("BOTH", 1, "1")
    lake.dividend("BOTH", 1, "1", source="yahoo")
    lake.dividend("BOTH", 2, "1", source="yahoo")
    dbt(*RUN)
    assert {status for _, _, status in lake.statuses()} == {"applied"}
    assert len(lake.statuses()) == 8


def test_what_a_person_confirmed_stands_for_the_same_of_every_source(lake: Lake, dbt: Dbt) -> None:
    lake.closes("AAPL", 0, "700", "700", "100", "100")
    lake.split("AAPL", 2, "7")
    lake.split("AAPL", 1, "7", source="yahoo")
    lake.split("AAPL", 2, "7", source="user")
    dbt(*RUN)
    assert [(source, status) for _, source, status, _ in of_symbol(lake, "AAPL")] == [
        ("yahoo", "duplicate"),
        ("user", "applied"),
    ]


def test_a_price_is_compared_with_the_close_before_in_shares_of_today(lake: Lake, dbt: Dbt) -> None:
    """Before the open as well as after it, and before the marts have built a day of the split."""
    lake.closes("AAPL", 0, "700")
    lake.split("AAPL", 1, "7")
    lake.dividend("AAPL", 1, "3.5")
    lake.minute("AAPL", 1, "101", before_open=5)
    dbt(*RUN)
    assert lake.previous_close("AAPL") == ("100", "1"), "not less for the dividend"
    lake.minute("AAPL", 1, "99.5")
    assert lake.previous_close("AAPL") == ("100", "-0.5")
    dbt(*RUN)
    assert lake.previous_close("AAPL") == ("100", "-0.5")
    lake.split("AAPL", 1, "3")
    assert lake.previous_close("AAPL") == ("700", "-600.5"), "the prices do not show it"
    lake.split("AAPL", 1, "3", source="user")
    assert lake.previous_close("AAPL") == ("233.333333", "-133.833333")
    dbt(*RUN)


def test_a_price_is_compared_once_with_a_split_that_two_sources_date_apart(lake: Lake, dbt: Dbt) -> None:
    for symbol, old, new, ratio in (("BIG", "700", "100", "7"), ("TINY", "103", "100", "1.03")):
        lake.closes(symbol, 0, old, new)
        lake.split(symbol, 1, ratio)
        lake.split(symbol, 2, ratio, source="yahoo")
        lake.minute(symbol, 2, new)
    lake.closes("LATE", 0, "700", "700")
    lake.split("LATE", 1, "7")
    lake.split("LATE", 2, "7", source="yahoo")
    lake.minute("LATE", 2, "100")
    dbt(*RUN)
    assert [lake.previous_close(symbol)[0] for symbol in ("BIG", "TINY", "LATE")] == ["100"] * 3


def test_the_close_before_a_change_of_symbol_is_that_of_the_same_company(lake: Lake, dbt: Dbt) -> None:
    lake.closes("FB", 0, "300")
    lake.closes("META", 0, "10")
    lake.change("FB", 1, "META")
    lake.split("META", 1, "2")
    lake.change("META", 1, "OTHER")
    lake.minute("META", 1, "151")
    lake.minute("FB", 1, "5")
    lake.minute("OTHER", 1, "11")
    dbt(*RUN)
    assert lake.previous_close("META") == ("150", "1")
    assert lake.previous_close("OTHER") == ("10", "1")
    assert lake.previous_close("FB") == ("None", "None"), "somebody else has it now"


def test_a_simulated_price_is_not_compared_with_a_real_close(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "50")
    lake.minute("IBM", 1, "100", source="simulated")
    lake.minute("SIM", 0, "100", source="simulated")
    lake.minute("SIM", 1, "101", source="simulated")
    dbt(*RUN)
    assert lake.previous_close("IBM") == ("None", "None")
    assert lake.previous_close("SIM") == ("100", "1")
