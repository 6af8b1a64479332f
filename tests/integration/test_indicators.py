"""The marts of indicators: equal to TA-Lib, and incremental equal to full, after any changes."""

import math
import random
import statistics
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest

from market.indicators import indicators
from market.settings import Settings
from market.tables import PG_BARS
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.indicator_oracle import compared
from tests.integration.indicator_rows import (
    ALL_PRICES,
    DAILY,
    INTRADAY,
    RUN,
    RUN_DAYS,
    Day,
    differences,
    fill,
    put_action,
    put_days,
    sample_days,
    some_moment,
    walk,
)
from tests.integration.mart_oracle import Row, read, session_of
from tests.integration.mart_rows import DAYS, put_bar
from verify.laws import verify_indicators
from warehouse.dbt import dbt_variables
from warehouse.marts import Rebuild, forget_builds

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings, variables=ALL_PRICES) as run:
        run("run")
        yield run


def change_bars(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    """Do what a stream, a repair or a person might do to the bars."""
    symbol = chance.choice(("IBM", "SPY"))
    at = some_moment(chance)
    kind = chance.randrange(7)
    if kind == 0:
        connection.execute(
            "delete from lake.bars_1m where symbol = %s and bar_at = (select max(bar_at) from lake.bars_1m where bar_at <= %s)",
            [symbol, at],
        )
    elif kind == 1:
        connection.execute(
            "delete from lake.bars_1m where symbol = %s and session_date = %s",
            [symbol, session_of(at.date()).session_date],
        )
    elif kind == 2:
        put_bar(connection, "lean", symbol, at, None, volume=0, revision=chance.randrange(2, 99))
    elif kind == 3:
        put_bar(
            connection,
            "lean",
            symbol,
            at,
            (Decimal(chance.choice(("0.000001", "9999999.5"))),) * 4,
            revision=chance.randrange(2, 99),
        )
    elif kind == 4:
        connection.execute(
            "update marts.intraday_analytics set ema_12 = 0, rsi_14 = -1 where symbol = %s and bar_at >= %s",
            [symbol, at],
        )
    elif kind == 5:
        connection.execute(
            "delete from marts.intraday_analytics as gone where symbol = %s "
            "and bar_at = (select max(bar_at) from marts.intraday_analytics where bar_at <= %s)",
            [symbol, at],
        )
    else:
        put_bar(connection, "lean", symbol, at, walk(chance, 100.0), revision=chance.randrange(2, 99))


def assert_as_a_full_refresh(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    found = read(connection, INTRADAY)
    assert found
    dbt("run", "--full-refresh", "--select", "intraday_analytics")
    assert differences(read(connection, INTRADAY), found) == []


def test_indicators_after_any_changes_equal_a_full_refresh_to_the_last_bit(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    fill(connection, chance, "IBM", 0.9)
    fill(connection, chance, "SPY", 0.2)
    dbt(*RUN)
    for step in range(15):
        for _ in range(chance.randrange(1, 4)):
            change_bars(connection, chance)
        dbt(*RUN)
        if step % 3 == 2:  # not every time, so that what one build leaves is built upon
            assert_as_a_full_refresh(connection, dbt)


@pytest.mark.parametrize("symbol", ["IBM", "GOOG"])
def test_real_days_have_the_values_of_talib(connection: psycopg.Connection[Any], dbt: Dbt, symbol: str) -> None:
    put_days(connection, symbol, sample_days(symbol))
    dbt(*RUN_DAYS)
    for mart in DAILY:
        rows = read(connection, f"select * from marts.{mart} where symbol = '{symbol}' order by session_date")
        assert len(rows) == len(sample_days(symbol))
        assert_values_of_talib(rows, bars_per_year=252)


def test_intraday_bars_have_the_values_of_talib(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    fill(connection, random.Random(7), "IBM", 0.95)
    dbt(*RUN)
    rows = read(connection, "select * from marts.intraday_analytics where interval = '1m' order by bar_at")
    assert len(rows) > 900
    assert_values_of_talib(rows, bars_per_year=252 * 390)
    for row, so_far in zip(rows, session_averages(rows), strict=True):
        assert row["vwap"] == pytest.approx(so_far, rel=1e-12)


def test_a_row_is_stable_when_all_its_values_are(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    put_days(connection, "IBM", sample_days("IBM")[:700])
    dbt(*RUN_DAYS)
    columns = indicators(dbt_variables()["indicators"], daily=True)
    stable_from = max(column.stable_from or 0 for column in columns)
    rows = read(connection, "select * from marts.daily_analytics order by session_date")
    assert [row["is_stable"] for row in rows] == [row["bar_number"] >= stable_from for row in rows]
    assert stable_from < 700
    for column in columns:
        if column.defined_from is not None:
            defined = [row["bar_number"] for row in rows if row[column.name] is not None]
            assert column.name in {"vwap"} or defined[0] == column.defined_from, column.name


def test_the_start_of_a_series_is_forgotten_where_it_is_stable(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    days = sample_days("IBM")[:1000]
    put_days(connection, "IBM", days)
    put_days(connection, "LATER", days[37:])
    dbt(*RUN_DAYS)
    whole = read(connection, "select * from marts.daily_analytics where symbol = 'IBM' order by session_date offset 37")
    later = read(connection, "select * from marts.daily_analytics where symbol = 'LATER' order by session_date")
    for column in indicators(dbt_variables()["indicators"]):
        if column.stable_from is None or column.name in {"session_volume", "session_notional", "vwap"}:
            continue
        pairs = [(one[column.name], other[column.name]) for one, other in zip(whole, later, strict=True)]
        stable = pairs[column.stable_from - 1 :]
        spread = max(one for one, _ in stable) - min(one for one, _ in stable)
        assert all(abs(one - other) <= 1e-9 * max(spread, abs(one)) for one, other in stable), column.name


def test_a_rebuild_of_years_does_not_take_each_day_with_all_later_ones(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    put_days(connection, "IBM", sample_days("IBM"))
    dbt(*RUN_DAYS)
    query = "select * from marts.daily_analytics order by session_date"
    before = read(connection, query)
    assert len(before) > 3000
    forget_builds(settings, Rebuild(symbols=("IBM",)))
    connection.execute("alter role current_user set statement_timeout = '60s'")
    try:
        dbt(*RUN_DAYS)
    finally:
        connection.execute("alter role current_user reset statement_timeout")
    assert read(connection, query) == before


def assert_values_of_talib(rows: list[Row], bars_per_year: int) -> None:
    for row in rows:
        volatility = row["realised_volatility_20"]
        row["realised_volatility_20"] = None if volatility is None else volatility / math.sqrt(bars_per_year)
    for name, (bars, difference) in compared(rows).items():
        assert bars > len(rows) - 350, name
        assert difference < 1e-9, name


def session_averages(rows: list[Row]) -> Iterator[float]:
    """Return for each bar the volume-weighted average price of its session until then."""
    session, notional, volume = None, Fraction(0), 0
    for row in rows:
        if row["session_date"] != session:
            session, notional, volume = row["session_date"], Fraction(0), 0
        notional += Fraction(row["bar_vwap"]) * row["volume"]
        volume += row["volume"]
        yield float(notional / volume)


def test_highs_and_lows_of_52_weeks_are_of_the_calendar(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    days = [bar for bar in sample_days("IBM") if bar[0].year < 2004]
    del days[300:340]  # a gap: the sessions are not there, the weeks go on
    put_days(connection, "IBM", days)
    dbt(*RUN_DAYS)
    rows = read(connection, "select * from marts.daily_analytics_raw order by session_date")
    for row in rows:
        span = [bar for bar in days if row["session_date"] - timedelta(weeks=52) <= bar[0] <= row["session_date"]]
        known = days[0][0] <= row["session_date"] - timedelta(weeks=52)
        assert row["high_52w"] == (max(float(bar[2]) for bar in span) if known else None)
        assert row["low_52w"] == (min(float(bar[3]) for bar in span) if known else None)


def test_days_that_come_late_are_revised_or_go_leave_what_a_full_refresh_gives(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    days = sample_days("IBM")[:700]
    late = [days.pop(at) for at in (650, 400, 300, 60, 10, 0)]
    put_days(connection, "IBM", days)
    put_days(connection, "GOOG", days[:1])
    dbt(*RUN_DAYS)
    for number, bar in enumerate(late):
        put_days(connection, "IBM", [bar])
        connection.execute(
            "update lake.vendor_bars set close = high, revision = 2 where session_date = %s", [days[600 - number][0]]
        )
        connection.execute(
            "delete from lake.vendor_bars where session_date = %s and symbol = 'IBM'", [days[500 - number][0]]
        )
        connection.execute(
            "update marts.daily_analytics set sma_20 = 1 where session_date = %s", [days[450 - number][0]]
        )
        dbt(*RUN_DAYS)
    found = {mart: read(connection, f"select * from marts.{mart} order by symbol, session_date") for mart in DAILY}
    dbt("run", "--full-refresh", "--select", *DAILY)
    for mart, rows in found.items():
        assert len(rows) == 701 - len(late)
        assert differences(read(connection, f"select * from marts.{mart} order by symbol, session_date"), rows) == []


def test_a_split_that_becomes_known_leaves_the_indicators_of_adjusted_days_without_a_jump(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    days = sample_days("IBM")[:300]
    split = days[200][0]
    put_days(connection, "IBM", [*days[:200], *halved(days[200:])])
    dbt("run")
    unadjusted = read(connection, "select * from marts.daily_analytics order by session_date")
    put_action(connection, "IBM", "split", split, new_shares=2, old_shares=1)
    dbt("run")
    put_days(connection, "GOOG", halved(days))
    dbt("run")
    adjusted = read(connection, "select * from marts.daily_analytics where symbol = 'IBM' order by session_date")
    never_split = read(connection, "select * from marts.daily_analytics where symbol = 'GOOG' order by session_date")
    assert unadjusted[210]["rsi_14"] < 30 < adjusted[210]["rsi_14"]
    for name in ("sma_20", "rsi_14", "macd_hist", "bb_upper", "adx_14", "realised_volatility_20", "obv"):
        assert [row[name] for row in adjusted] == [row[name] for row in never_split]


def halved(days: list[Day]) -> list[Day]:
    return [(day, *(str(Decimal(price) / 2) for price in prices), volume * 2) for day, *prices, volume in days]


def test_a_company_that_changed_its_symbol_has_one_series(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    days = sample_days("IBM")[:120]
    put_days(connection, "FB", days[:60])
    put_days(connection, "META", days[60:])
    put_days(connection, "SPY", days)
    put_action(connection, "FB", "symbol_change", days[60][0], new_symbol="META")
    dbt("run")
    renamed = read(connection, "select * from marts.daily_analytics where company = 'META' order by session_date")
    same = read(connection, "select * from marts.daily_analytics where symbol = 'SPY' order by session_date")
    assert [row["symbol"] for row in renamed] == ["FB"] * 60 + ["META"] * 60
    for name in ("bar_number", "sma_50", "rsi_14", "macd", "obv", "stoch_d"):
        assert [row[name] for row in renamed] == [row[name] for row in same]


def test_two_companies_under_one_name_are_built_step_by_step_as_anew(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """What two changes of one day come to makes no sense, but it is the same whatever changed last."""
    days = sample_days("IBM")[:120]
    for symbol, shift in (("CONS", 0), ("FLAT", 7)):
        moved = [(day, *(str(Decimal(price) + shift) for price in prices), volume) for day, *prices, volume in days]
        put_days(connection, symbol, moved[:-1])
        put_action(connection, symbol, "symbol_change", days[-1][0], new_symbol="MERG")
    put_days(connection, "MERG", days[-1:])
    dbt("run")
    for symbol in ("FLAT", "CONS"):
        day, *prices, volume = days[100]
        put_days(connection, symbol, [(day, *prices, volume + 5)])
        dbt(*RUN_DAYS)
    rows = "select * from marts.daily_analytics order by company, bar_number"
    step_by_step = read(connection, rows)
    assert [row["bar_number"] for row in step_by_step if row["company"] == "MERG"] == list(range(1, 240))
    dbt("run", "--full-refresh")
    assert read(connection, rows) == step_by_step


def test_values_that_cannot_be_are_null_and_nothing_fails(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    days = [bar[0] for bar in sample_days("IBM")[:320]]
    put_days(connection, "ALONE", [(days[0], "1", "1", "1", "1", 1)])
    put_days(connection, "FLAT", [(day, "5", "5", "5", "5", 100) for day in days])
    put_days(connection, "QUIET", [(day, "5", "6", "4", str(5 + number % 2), 0) for number, day in enumerate(days)])
    wild = [("0.000001", 10**15) if number % 2 else ("99999999999.5", 1) for number in range(len(days))]
    put_days(
        connection,
        "WILD",
        [(day, price, price, price, price, volume) for day, (price, volume) in zip(days, wild, strict=True)],
    )
    dbt(*RUN_DAYS)
    last = {
        row["symbol"]: row
        for row in read(
            connection, "select distinct on (symbol) * from marts.daily_analytics order by symbol, session_date desc"
        )
    }
    values = {name for name, value in last["FLAT"].items() if isinstance(value, float)}
    assert all(value is None for name, value in last["ALONE"].items() if name in values - {"vwap"})
    assert last["ALONE"]["bar_number"] == 1
    flat = last["FLAT"]
    assert [flat[name] for name in ("rsi_14", "bb_percent_b", "stoch_fast_k", "stoch_k", "stoch_d", "plus_di_14")] == [
        None
    ] * 6
    assert (flat["sma_200"], flat["bb_bandwidth"], flat["atr_14"], flat["roc_10"], flat["macd"]) == (5, 0, 0, 0, 0)
    assert last["QUIET"]["relative_volume_20"] is None
    assert last["QUIET"]["obv"] == 0
    bars = [Decimal(price) for price, _ in wild]
    assert last["WILD"]["sma_200"] == pytest.approx(float(sum(bars[-200:]) / 200), rel=1e-12)
    deviation = statistics.pstdev(map(Fraction, bars[-20:]))
    assert last["WILD"]["bb_upper"] == pytest.approx(float(sum(bars[-20:]) / 20) + 2 * deviation, rel=1e-12)
    assert all(math.isfinite(value) for row in last.values() for value in row.values() if isinstance(value, float))


def test_a_price_that_stands_still_for_months_fails_nothing(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    chance = random.Random(11)
    for minute in range(60):
        put_bar(
            connection, "lean", "STILL", session_of(DAYS[0]).open_at + timedelta(minutes=minute), walk(chance, 100.0)
        )
    places = (
        "select session_date, minute as bar_at from lake.sessions cross join generate_series(open_at, close_at - interval "
        f"'1 minute', interval '1 minute') as minute where session_date > '{DAYS[0]}' order by minute limit 11000"
    )
    names = PG_BARS.column_names
    others = {"bar_at": "place.bar_at", "session_date": "place.session_date"}
    others |= dict.fromkeys(("open", "high", "low"), "one.close")
    values = ", ".join(others.get(name, f"one.{name}") for name in names)
    connection.execute(
        f"insert into lake.bars_1m ({', '.join(names)}) select {values} "
        f"from (select * from lake.bars_1m limit 1) as one cross join ({places}) as place".encode()
    )
    dbt(*RUN)
    last = read(
        connection, "select * from marts.intraday_analytics where interval = '1m' order by bar_at desc limit 1"
    )[0]
    assert last["bar_number"] == 11_060
    assert [last[name] for name in ("atr_14", "dm_range_14", "avg_loss_14", "rsi_14")] == [0, 0, 0, None]
    assert abs(last["macd_signal"]) < 1e-12
    assert verify_indicators(settings).offending == []
