"""Which of several feeds a session's minutes are taken of, in every mart, when one stops and another goes on."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.integration.dbt_runs import Dbt
from tests.integration.indicator_rows import INTRADAY
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import HALF_DAY, SYMBOLS, assert_marts_as_expected, put_bar, put_vendor_bar
from tests.integration.test_dbt_marts import OHLCV, RUN_MARTS

pytestmark = pytest.mark.integration


def test_a_feed_that_went_on_is_shown_for_the_whole_session_in_place_of_one_that_stopped(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """Two feeds of one rank, of which the alphabet prefers the one that stopped; a vendor has bars of one symbol, too."""
    session = session_of(HALF_DAY)
    marts = ("intraday_analytics", "intraday_ohlcv", "historical_ohlcv", "realtime_prices", "data_quality")

    def fill(source: str, *minutes: int) -> None:
        for symbol in SYMBOLS:
            for minute in minutes:
                price = Decimal(minute + (27 if source == "alpaca" else 29))
                put_bar(connection, source, symbol, session.open_at + minute * timedelta(minutes=1), (price,) * 4)

    def shown() -> set[str]:
        dbt(*RUN_MARTS, "intraday_analytics", touched=True)
        assert_marts_as_expected(connection, "a feed that stopped")
        return {row[0] for mart in marts for row in connection.execute(f"select distinct origin from marts.{mart}")}

    put_vendor_bar(connection, "sample", "SPY", HALF_DAY, Decimal(9), interval="5m", bar_at=session.open_at)
    fill("alpaca", *range(18))
    assert shown() == {"alpaca"}
    fill("yahoo", *range(20))
    assert shown() == {"alpaca"}, "90 % of the minutes of another are enough"
    fill("yahoo", 20)
    assert shown() == {"yahoo"}
    fill("yahoo", *range(21, 40))
    assert shown() == {"yahoo"}
    fill("alpaca", *range(20, 37))
    assert shown() == {"yahoo"}, "35 of 40"
    fill("alpaca", 37)
    assert shown() == {"alpaca"}
    connection.execute("delete from lake.bars_1m where source = 'alpaca' and bar_at >= %s", [session.open_at])
    assert shown() == {"yahoo"}
    fill("alpaca", 39)
    fill("lean", 3)
    assert shown() == {"lean"}, "a feed that source_priority names goes before, whatever it has"
    connection.execute("delete from lake.bars_1m where source = 'lean'")
    assert shown() == {"yahoo"}
    connection.execute("delete from lake.bars_1m where source = 'yahoo'")
    connection.execute("delete from lake.vendor_bars")
    before_the_open = range(-16, 0)
    fill("alpaca", *before_the_open)
    assert shown() == {"alpaca"}
    fill("yahoo", *before_the_open[:14])
    assert shown() == {"alpaca"}, "14 of 16, and alpaca's minute 39 is the only one of regular hours"
    connection.execute("delete from lake.bars_1m where source = 'alpaca' and bar_at >= %s", [session.open_at])
    assert shown() == {"alpaca"}, "before the open all minutes count, and 14 are not nine tenths more"
    fill("yahoo", 0)
    assert shown() == {"yahoo"}, "of a feed that stopped before the open none counts"
    fill("alpaca", 0)
    assert shown() == {"alpaca"}
    fill("yahoo", 1)
    assert shown() == {"yahoo"}, "one of two"
    incremental = [read(connection, query) for query in (OHLCV, INTRADAY)]
    dbt("run", "--full-refresh")
    assert [read(connection, query) for query in (OHLCV, INTRADAY)] == incremental
