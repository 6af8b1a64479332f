"""Law 3 over what dbt builds of bars: it holds, and every way to break it is seen."""

import random
from collections.abc import Callable, Iterator

import pytest

from market.settings import Settings
from tests.integration.dbt_runs import dbt_runs
from tests.integration.indicator_rows import (
    ALL_PRICES,
    DAILY,
    fill,
    put_action,
    put_days,
    sample_days,
)
from tests.integration.mart_rows import emptied_lake
from verify.laws import verify_indicators
from verify.results import LawResult
from warehouse.connection import connect
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

INTRADAY = "marts.intraday_analytics"
ROWS = "mart_indicator_rows"
BEHIND = "mart_indicator_rows_behind"
MARTS = ("intraday_analytics", *DAILY)


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    """Settings of a database whose marts are built: minutes of two symbols, and days through a split and a change of symbol."""
    migrate(settings_with_database)
    days = sample_days("IBM")[:700]
    wild = [("0.000001", 10**12) if number % 2 else ("99999999.5", 1) for number in range(120)]
    with (
        dbt_runs(settings_with_database, variables=ALL_PRICES) as dbt,
        emptied_lake(settings_with_database) as connection,
    ):
        fill(connection, random.Random(3), "IBM", 0.9)
        fill(connection, random.Random(4), "SPY", 0.2)
        put_days(connection, "FB", days[:300])
        put_days(connection, "META", days[300:])
        put_days(connection, "FLAT", [(day, "5", "5", "5", "5", 0) for day, *_ in days[:300]])
        put_days(connection, "WILD", [(days[at][0], *[price] * 4, volume) for at, (price, volume) in enumerate(wild)])
        put_action(connection, "FB", "symbol_change", days[300][0], new_symbol="META")
        put_action(connection, "META", "split", days[500][0], new_shares=2, old_shares=1)
        dbt("run")
        # A later piece, so that the marts are not of one build.
        put_days(connection, "META", [(days[600][0], *["31.5"] * 4, 77)])
        dbt("run")
    return settings_with_database


def test_the_law_holds_over_what_was_built_piece_by_piece(settings: Settings) -> None:
    result = verify_indicators(settings)
    assert (result.law, result.holds, result.note) == (3, True, ""), result.offending
    with connect(settings) as connection:
        rows = [connection.execute(f"select count(*) from marts.{mart}".encode()).fetchone() for mart in MARTS]
    assert result.counts == {ROWS: sum(row[0] for row in rows if row)}


@pytest.fixture
def damage(settings: Settings) -> Iterator[Callable[..., LawResult]]:
    """Run statements as a build of the models would, past the triggers; give the outcome, and put everything back."""
    with connect(settings) as connection:
        copied = [f"marts.{name}" for name in MARTS]
        for table in copied:
            connection.execute(f"create table kept_{table.partition('.')[2]} as select * from {table}".encode())

    def run(*statements: str) -> LawResult:
        with connect(settings) as connection:
            connection.execute("set local tapehouse.is_building = 'on'")
            for statement in statements:
                assert connection.execute(statement.encode()).rowcount > 0
        return verify_indicators(settings)

    yield run
    with connect(settings) as connection:
        connection.execute("set local tapehouse.is_building = 'on'")
        connection.execute("delete from staging.pending_sessions")
        for table in copied:
            kept = f"kept_{table.partition('.')[2]}"
            connection.execute(f"delete from {table}".encode())
            connection.execute(f"insert into {table} select * from {kept}".encode())
            connection.execute(f"drop table {kept}".encode())


THE_SIXTIETH = f"select bar_at from {INTRADAY} where symbol = 'IBM' and interval = '1m' and bar_number = 60"
A_MINUTE = f"symbol = 'IBM' and interval = '1m' and bar_at = ({THE_SIXTIETH})"


@pytest.mark.parametrize(
    ("mart", "where", "symbol"),
    [
        (INTRADAY, A_MINUTE, "IBM"),
        *((f"marts.{mart}", "symbol = 'FB' and bar_number = 290", "FB") for mart in DAILY),
    ],
)
def test_a_value_that_was_changed_past_the_trigger_is_seen(
    damage: Callable[..., LawResult], mart: str, where: str, symbol: str
) -> None:
    result = damage(f"update {mart} set sma_20 = sma_20 * (1 + 2e-9), rsi_14 = null where {where}")
    assert result.problems == {f"indicators differ in {mart}": 1}
    (row,) = result.offending
    assert (row["symbol"], sorted(row["differs"])) == (symbol, ["rsi_14", "sma_20"])
    assert row["differs"]["sma_20"]["found"] == pytest.approx(row["differs"]["sma_20"]["expected"], rel=1e-8)
    assert row["differs"]["rsi_14"]["found"] is None
    assert row["differs"]["rsi_14"]["expected"] > 0


def test_a_row_that_was_deleted_is_seen_and_those_behind_it_are_right(damage: Callable[..., LawResult]) -> None:
    result = damage(f"delete from {INTRADAY} where {A_MINUTE}")
    assert result.problems == {f"bar is missing in {INTRADAY}": 1}
    assert result.offending[0]["symbol"] == "IBM"


def test_a_row_of_no_bar_is_seen(damage: Callable[..., LawResult]) -> None:
    mart = "marts.daily_analytics_raw"
    result = damage(f"update {mart} set company = 'IBM' where symbol = 'META' and bar_number = 301")
    assert result.problems == {f"bar should not be in {mart}": 1, f"bar is missing in {mart}": 1}


def test_a_flipped_stability_is_seen(damage: Callable[..., LawResult]) -> None:
    mart = "marts.daily_analytics"
    result = damage(f"update {mart} set is_stable = not is_stable where company = 'META' and bar_number in (587, 588)")
    assert result.problems == {f"indicators differ in {mart}": 2}
    assert [row["differs"] for row in result.offending] == [
        {"is_stable": {"expected": False, "found": True}},
        {"is_stable": {"expected": True, "found": False}},
    ]


def test_bars_that_changed_and_were_not_taken_up_are_seen_in_all_that_follows(
    settings: Settings, damage: Callable[..., LawResult]
) -> None:
    change = "update marts.intraday_ohlcv set close = close {} 1 where " + A_MINUTE
    try:
        result = damage(change.format("+"))
    finally:
        with connect(settings) as connection:
            connection.execute("set local tapehouse.is_building = 'on'")
            connection.execute(change.format("-").encode())
    assert result.problems[f"bar differs in {INTRADAY}"] == 1
    assert result.problems[f"indicators differ in {INTRADAY}"] > 300  # until it is forgotten
    first = result.offending[0]
    assert first["differs"]["close"]["expected"] - first["differs"]["close"]["found"] == 1


def test_what_is_queued_is_only_behind(damage: Callable[..., LawResult]) -> None:
    queue = "insert into staging.pending_sessions values ('{}', '{}', '{}', true)"
    result = damage(
        f"update {INTRADAY} set ema_12 = 1 where {A_MINUTE}",
        f"delete from {INTRADAY} where symbol = 'IBM' and interval = '1h' and session_date > '2013-10-07'",
        queue.format("intraday_analytics", "IBM", "2013-10-07"),
        "update marts.daily_analytics set obv = 1 where symbol = 'META' and bar_number > 500",
        queue.format("daily_analytics", "META", "2001-01-01"),
        "update marts.daily_analytics_raw set sma_20 = 1",
        queue.format("daily_analytics_raw", "*", "-infinity"),
    )
    assert result.holds, result.offending
    assert result.counts[BEHIND] > 1500
    assert [note.split(maxsplit=1)[0] for note in result.note.split(". ")] == [
        INTRADAY,
        "marts.daily_analytics",
        "marts.daily_analytics_raw",
    ]
    # What is before the queued sessions, or of another symbol, has to be right all the same.
    result = damage("update marts.daily_analytics set obv = 1 where bar_number = 5 and symbol in ('FB', 'FLAT')")
    assert result.problems == {"indicators differ in marts.daily_analytics": 2}


def test_a_change_by_a_person_is_queued_and_so_behind(settings: Settings, damage: Callable[..., LawResult]) -> None:
    with connect(settings) as connection:
        connection.execute(f"update {INTRADAY} set sma_20 = 1 where {A_MINUTE}".encode())
    result = damage("update staging.pending_sessions set is_whole = true")
    assert result.holds
    assert BEHIND in result.counts


def test_numbers_that_are_none_and_moments_without_end_are_seen(damage: Callable[..., LawResult]) -> None:
    result = damage(
        f"update {INTRADAY} set close = 'NaN', obv = 'NaN', sma_20 = 'NaN', revised_at = 'infinity' where {A_MINUTE}"
    )
    assert result.problems == {f"bar differs in {INTRADAY}": 1, f"indicators differ in {INTRADAY}": 1}
    bar, values = result.offending
    assert sorted(bar["differs"]) == ["close", "revised_at"]
    assert sorted(values["differs"]) == ["obv", "sma_20"]
