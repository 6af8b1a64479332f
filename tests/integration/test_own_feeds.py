"""Which of several feeds a session's minutes are taken of, in every mart, when one stops and another goes on."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.integration.dbt_runs import Dbt
from tests.integration.indicator_rows import INTRADAY
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import DAYS, HALF_DAY, SYMBOLS, assert_marts_as_expected, put_bar, put_vendor_bar
from tests.integration.test_dbt_marts import OHLCV, RUN_MARTS

pytestmark = pytest.mark.integration


SESSION = session_of(HALF_DAY)
SHOWN = ("intraday_analytics", "intraday_ohlcv", "historical_ohlcv", "realtime_prices", "data_quality")

Fill = Callable[..., None]
Shown = Callable[[], set[str]]


@pytest.fixture
def fill(connection: psycopg.Connection[Any]) -> Fill:
    def fill(source: str, *minutes: int) -> None:
        for symbol in SYMBOLS:
            for minute in minutes:
                price = Decimal(minute + (27 if source == "alpaca" else 29))
                put_bar(connection, source, symbol, SESSION.open_at + minute * timedelta(minutes=1), (price,) * 4)

    return fill


@pytest.fixture
def shown(connection: psycopg.Connection[Any], dbt: Dbt) -> Shown:
    """Builds what is queued, and says whose bars the marts show."""

    def shown() -> set[str]:
        dbt(*RUN_MARTS, "intraday_analytics", touched=True)
        assert_marts_as_expected(connection, "a feed that stopped")
        return {row[0] for mart in SHOWN for row in connection.execute(f"select distinct origin from marts.{mart}")}

    return shown


def test_a_feed_that_went_on_is_shown_for_the_whole_session_in_place_of_one_that_stopped(
    connection: psycopg.Connection[Any], dbt: Dbt, fill: Fill, shown: Shown
) -> None:
    """Two feeds of one rank, of which the alphabet prefers the one that stopped; a vendor has bars of one symbol, too."""
    put_vendor_bar(connection, "sample", "SPY", HALF_DAY, Decimal(9), interval="5m", bar_at=SESSION.open_at)
    fill("alpaca", *range(45))
    assert shown() == {"alpaca"}
    fill("yahoo", *range(50))
    assert shown() == {"alpaca"}, "90 % of the minutes of another are enough"
    fill("yahoo", 50)
    assert shown() == {"yahoo"}
    fill("yahoo", *range(51, 100))
    assert shown() == {"yahoo"}
    fill("alpaca", *range(50, 94))
    assert shown() == {"yahoo"}, "89 of 100"
    fill("alpaca", 94)
    assert shown() == {"alpaca"}
    connection.execute("delete from lake.bars_1m where source = 'alpaca' and bar_at >= %s", [SESSION.open_at])
    assert shown() == {"yahoo"}
    fill("alpaca", 39)
    fill("lean", 3)
    assert shown() == {"lean"}, "a feed that source_priority names goes before, whatever it has"
    connection.execute("delete from lake.bars_1m where source = 'lean'")
    assert shown() == {"yahoo"}
    incremental = [read(connection, query) for query in (OHLCV, INTRADAY)]
    dbt("run", "--full-refresh")
    assert [read(connection, query) for query in (OHLCV, INTRADAY)] == incremental


def test_what_a_feed_had_before_the_open_does_not_hide_the_one_that_goes_on_after_it(
    connection: psycopg.Connection[Any], fill: Fill, shown: Shown
) -> None:
    before_the_open = range(-16, 0)
    fill("alpaca", *before_the_open)
    assert shown() == {"alpaca"}
    fill("yahoo", *before_the_open[:8])
    connection.execute("delete from lake.bars_1m where source = 'alpaca' and bar_at >= %s", [SESSION.open_at])
    assert shown() == {"alpaca"}, "before the open all minutes count"
    fill("yahoo", *range(4))
    assert shown() == {"alpaca"}, "four minutes more say nothing"
    fill("yahoo", 4)
    assert shown() == {"yahoo"}, "of a feed that stopped before the open none counts"
    fill("alpaca", 0)
    assert shown() == {"alpaca"}
    fill("yahoo", *range(5, 47))
    fill("alpaca", *range(1, 44))
    assert shown() == {"alpaca"}, "44 of 47"
    after_the_close = (SESSION.close_at - SESSION.open_at) // timedelta(minutes=1)
    fill("yahoo", *range(after_the_close, after_the_close + 2))
    assert shown() == {"yahoo"}, "44 of 49: it stopped just before the close"


def test_a_feed_whose_trades_were_all_cancelled_hides_none_that_has_some_and_is_not_there(
    connection: psycopg.Connection[Any], dbt: Dbt, fill: Fill, shown: Shown
) -> None:
    """Bars without a price are no minutes of a feed, whatever its rank; a vendor's bars are shown in their place, too."""
    put_vendor_bar(connection, "sample", "IBM", HALF_DAY, Decimal(9), interval="1m", bar_at=SESSION.open_at)
    fill("alpaca", *range(30))
    fill("yahoo", *range(20))
    assert shown() == {"alpaca"}
    _cancel(connection, "alpaca")
    assert shown() == {"yahoo"}
    fill("lean", *range(25))
    assert shown() == {"lean"}
    _cancel(connection, "lean")
    assert shown() == {"yahoo"}
    connection.execute("delete from lake.bars_1m where source = 'yahoo'")
    assert shown() == {"lean", "sample"}, "alone a feed shows that its trades were cancelled, unless a vendor has bars"
    of_minutes = "select distinct origin from marts.intraday_ohlcv where symbol = 'IBM' and interval = '1m'"
    assert connection.execute(of_minutes).fetchall() == [("sample",)]
    there = "select distinct present_minutes, coverage, no_trade_minutes, expected_minutes from marts.data_quality"
    assert connection.execute(there).fetchall() == [(0, 0.0, 24, 24)]
    dbt("test", "--select", "data_quality,test_type:generic")
    incremental = [read(connection, query) for query in (OHLCV, INTRADAY)]
    dbt("run", "--full-refresh")
    assert [read(connection, query) for query in (OHLCV, INTRADAY)] == incremental


def _cancel(connection: psycopg.Connection[Any], source: str) -> None:
    connection.execute(
        "update lake.bars_1m set open = null, high = null, low = null, close = null, vwap = null, volume = 0, notional = 0, "
        "trade_count = 0, cancelled_trade_count = 3, revision = revision + 1, revised_at = revised_at + interval '1 minute' "
        "where source = %s",
        [source],
    )


def test_what_is_made_up_is_compared_until_a_real_day_of_the_symbol_comes_whichever_it_is(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    compared = "select count(*) from marts.bar_reconciliation where interval = '1d'"
    counted = "select coalesce(sum(prices_differ_bars), 0)::int from marts.data_quality"
    models = ("run", "--select", "+bar_reconciliation", "+data_quality", "+historical_ohlcv")
    for minute in range(30):
        put_bar(connection, "simulated", "SPY", SESSION.open_at + minute * timedelta(minutes=1), (Decimal(5),) * 4)
    put_vendor_bar(connection, "simulated", "SPY", HALF_DAY, Decimal(7))

    def numbers(*options: str) -> tuple[Any, Any]:
        dbt(*models, *options)
        ((bars,), (quality,)) = (connection.execute(query).fetchone() or (None,) for query in (compared, counted))
        return bars, quality

    assert numbers() == (1, 1)
    put_vendor_bar(connection, "lean", "SPY", DAYS[0], Decimal(4))
    assert numbers() == numbers("--full-refresh") == (0, 0)
    connection.execute("delete from lake.vendor_bars where source = 'lean'")
    assert numbers() == numbers("--full-refresh") == (1, 1)
