"""The marts of analytics: equal to numpy on the same days, through splits, dividends, changes of symbol and bad input."""

import random
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest

from market.sessions import sessions_between
from market.settings import Settings
from tests.integration.action_rows import Lake
from tests.integration.analytics_oracle import (
    Day,
    expected_anomalies,
    expected_breadth,
    expected_correlation,
    follow,
)
from tests.integration.analytics_rows import put_days, walk
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.mart_oracle import read
from tests.integration.mart_rows import emptied_lake
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

BUILT = ("market_breadth", "int_robust_scores", "int_correlations")
VIEWS = ("int_finished_sessions", "int_daily_moves", "top_movers", "anomalies", "correlations")
"""They stand on the tables: a full refresh makes those anew, and these with them."""
RUN = ("run", "--select", "int_daily_bars", "historical_ohlcv", "daily_analytics", *BUILT)
SESSIONS = [session.session_date for session in sessions_between(date(2012, 1, 3), date(2013, 6, 28))]
"""More than a year, with half-days."""
TABLES = (
    "select * from marts.market_breadth order by is_simulated, session_date",
    "select * from staging.int_robust_scores order by symbol, session_date",
    "select * from staging.int_correlations order by symbol, other_symbol",
)
PARTS: dict[str, Callable[[date], tuple[int, ...]]] = {
    "week": lambda day: day.isocalendar()[:2],
    "month": lambda day: (day.year, day.month),
    "quarter": lambda day: (day.year, (day.month - 1) // 3),
    "year": lambda day: (day.year,),
}


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings) as run:
        run("build", "--exclude-resource-type", "unit_test")
        yield run


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with emptied_lake(settings) as connection:
        yield connection


def split(lake: Lake, days: list[Day], number: int, new: int, old: int = 1) -> None:
    """Split the shares on a day: its prices and those after it are divided."""
    days[number].split = Fraction(new, old)
    for day in days[number:]:
        day.open = (day.open * old / new).quantize(Decimal("0.000001"))
        day.close = (day.close * old / new).quantize(Decimal("0.000001"))
        day.volume = day.volume * new // old
    lake.split(days[number].symbol, SESSIONS.index(days[number].session_date), str(new), str(old))


@pytest.fixture
def lake(connection: psycopg.Connection[Any]) -> Lake:
    lake = Lake(connection)
    lake.days = SESSIONS
    return lake


@pytest.fixture
def market(lake: Lake, connection: psycopg.Connection[Any]) -> dict[str, list[Day]]:
    """Companies by their current symbol, with whatever may happen to one."""
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    companies = {
        "PLAIN": walk(chance, "PLAIN", "50", SESSIONS),
        "SPLIT": walk(chance, "SPLIT", "700", SESSIONS),
        "THIRD": walk(chance, "THIRD", "30", SESSIONS),
        "HUGE": walk(chance, "HUGE", "600000", SESSIONS),
        "TINY": walk(chance, "TINY", "0.000900", SESSIONS),
        "PAYS": walk(chance, "PAYS", "40", SESSIONS),
        "META": walk(chance, "META", "90", SESSIONS),
        "GAPS": walk(chance, "GAPS", "20", [day for day in SESSIONS if chance.random() > 0.1]),
        "YOUNG": walk(chance, "YOUNG", "20", SESSIONS[-30:]),
        "ONCE": walk(chance, "ONCE", "20", SESSIONS[-1:]),
        "STILL": [Day("STILL", day, Decimal(10), Decimal(10), 0) for day in SESSIONS],
        "WAKES": [Day("WAKES", day, Decimal(10), Decimal(10), 500) for day in SESSIONS[:-2]],
    }
    companies["WAKES"] += [Day("WAKES", day, Decimal(11), Decimal(12), 900) for day in SESSIONS[-2:]]
    split(lake, companies["SPLIT"], 100, 7)
    split(lake, companies["SPLIT"], 300, 1, 10)
    split(lake, companies["THIRD"], 200, 3)
    for day in companies["META"][:150]:
        day.symbol = "FB"
    for number in (50, 113, 177, 300):
        day = companies["PAYS"][number]
        day.dividend = Decimal("0.5")
        lake.dividend("PAYS", number, "0.5")
    lake.change("FB", 150, "META")
    for days in companies.values():
        put_days(connection, days)
    return companies


def assert_as_expected(connection: psycopg.Connection[Any], companies: dict[str, list[Day]]) -> None:
    companies = follow(companies)
    breadth = read(connection, "select * from marts.market_breadth where not is_simulated order by session_date")
    expected = expected_breadth(companies.values())
    assert [{name: row[name] for name in expected[0]} for row in breadth] == expected
    assert_anomalies_as_expected(connection, companies)
    assert_correlations_as_expected(connection, companies)


def assert_anomalies_as_expected(connection: psycopg.Connection[Any], companies: dict[str, list[Day]]) -> None:
    rows = read(connection, "select * from marts.anomalies")
    found = {(row["symbol"], row["session_date"], row["kind"]): row for row in rows}
    anomalies = expected_anomalies(companies.values())
    assert found.keys() == anomalies.keys()
    for key, (z, used) in anomalies.items():
        row = found[key]
        assert (row["z"], row["sessions_used"]) == (pytest.approx(z, rel=1e-6) if z is not None else None, used), key
        assert (row["spread_from"] == "constant") == (z is None)


def assert_correlations_as_expected(connection: psycopg.Connection[Any], companies: dict[str, list[Day]]) -> None:
    until = max(days[-1].session_date for days in companies.values())
    found = {(row["symbol"], row["other_symbol"]): row for row in read(connection, "select * from marts.correlations")}
    expected = {
        (symbol, other_symbol): expected_correlation(days, others, until, 60)
        for symbol, days in companies.items()
        for other_symbol, others in companies.items()
        if symbol != other_symbol
    }
    assert found.keys() == {pair for pair, (_, used) in expected.items() if used >= 48}
    for pair, row in found.items():
        correlation, used = expected[pair]
        assert (row["session_date"], row["sessions_used"]) == (until, used)
        assert row["correlation"] == (correlation and pytest.approx(correlation, rel=1e-9, abs=1e-12)), pair


def test_every_figure_is_that_of_numpy_whatever_happens_to_a_company(
    connection: psycopg.Connection[Any], dbt: Dbt, market: dict[str, list[Day]]
) -> None:
    dbt(*RUN)
    assert_as_expected(connection, market)
    dbt("test", "--select", "test_type:generic")


def test_a_repair_far_back_a_lost_day_a_late_split_and_a_late_change_of_symbol_build_what_follows_from_them(
    connection: psycopg.Connection[Any], dbt: Dbt, lake: Lake, market: dict[str, list[Day]]
) -> None:
    """Each by an incremental run; at the end a full one gives the same."""
    dbt(*RUN)
    gone = market["PLAIN"].pop(210)
    connection.execute("delete from lake.vendor_bars where symbol = 'PLAIN' and session_date = %s", [gone.session_date])
    dbt(*RUN)
    assert_as_expected(connection, market)
    market["PLAIN"].append(gone)
    market["GAPS"].insert(0, Day("GAPS", date(2012, 1, 4), Decimal(21), Decimal(22), 1234))
    market["GAPS"] = list({day.session_date: day for day in reversed(market["GAPS"])}.values())
    put_days(connection, [gone, *market["GAPS"]])
    dbt(*RUN)
    assert_as_expected(connection, market)
    connection.execute("delete from lake.vendor_bars where symbol = 'PLAIN' and session_date = %s", [SESSIONS[77]])
    market["PLAIN"] = [day for day in market["PLAIN"] if day.session_date != SESSIONS[77]]
    split(lake, market["HUGE"], 333, 3, 2)
    put_days(connection, market["HUGE"])
    lake.change("OLD", 40, "YOUNG")
    market["YOUNG"] += walk(random.Random(1), "OLD", "20", SESSIONS[:40])
    put_days(connection, market["YOUNG"])
    dbt(*RUN)
    assert_as_expected(connection, market)
    connection.execute("update marts.market_breadth set advancing = 0 where session_date = '2012-06-01'")
    connection.execute("delete from staging.int_robust_scores where symbol = 'META'")
    connection.execute("update staging.int_correlations set correlation = 0 where other_symbol = 'PAYS'")
    dbt(*RUN)
    assert_as_expected(connection, market)
    incremental = [read(connection, query) for query in TABLES]
    dbt("run", "--full-refresh", "--select", *BUILT, *VIEWS)
    assert [read(connection, query) for query in TABLES] == incremental
    assert all(incremental)


def test_a_run_without_news_writes_nothing_and_a_new_session_leaves_those_before_it_alone(
    connection: psycopg.Connection[Any], dbt: Dbt, market: dict[str, list[Day]]
) -> None:
    newest = [days.pop() for days in market.values() if days[-1].session_date == SESSIONS[-1]]
    connection.execute("delete from lake.vendor_bars where session_date = %s", [SESSIONS[-1]])
    dbt(*RUN)
    written = "select xmin::text, * from {} order by 3, 2".format
    queries = [written(f"{schema}.{name}") for schema, name in zip(("marts", "staging", "staging"), BUILT, strict=True)]
    before = [read(connection, query) for query in queries]
    assert all(before)
    dbt(*RUN)
    assert [read(connection, query) for query in queries] == before
    put_days(connection, newest)
    dbt(*RUN)
    breadth, scores, pairs = (read(connection, query) for query in queries)
    assert [row for row in breadth if row["session_date"] < SESSIONS[-1]] == before[0]
    kept = [row for row in before[1] if row["session_date"] >= SESSIONS[-20]]
    assert [row for row in scores if row["session_date"] < SESSIONS[-1]] == kept
    assert {row["session_date"] for row in pairs} == {SESSIONS[-1]}


def test_what_is_simulated_is_counted_and_compared_apart(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    chance = random.Random(7)
    for symbol, source in (("REAL", "lean"), ("ALSO", "lean"), ("FAKE", "simulated"), ("SHAM", "simulated")):
        put_days(connection, walk(chance, symbol, "50", SESSIONS[:70]), source=source)
    dbt(*RUN)
    counted = read(
        connection, "select is_simulated, max(symbols) as most from marts.market_breadth group by 1 order by 1"
    )
    assert [(row["is_simulated"], row["most"]) for row in counted] == [(False, 2), (True, 2)]
    pairs = read(connection, "select symbol, other_symbol, is_simulated from marts.correlations order by 1")
    assert [tuple(row.values()) for row in pairs] == [
        ("ALSO", "REAL", False),
        ("FAKE", "SHAM", True),
        ("REAL", "ALSO", False),
        ("SHAM", "FAKE", True),
    ]
    assert read(connection, "select * from marts.rolling_correlation('REAL', 'FAKE', 20)") == []


def test_the_history_of_a_pair_ends_with_its_newest_correlation(
    connection: psycopg.Connection[Any], dbt: Dbt, market: dict[str, list[Day]]
) -> None:
    dbt(*RUN)
    companies = follow(market)
    for window, other_symbol in ((20, "GAPS"), (60, "META"), (250, "SPLIT")):
        rows = read(connection, f"select * from marts.rolling_correlation('plain', '{other_symbol}', {window})")
        assert len(rows) > 200
        for row in rows[::13]:
            expected = expected_correlation(companies["PLAIN"], companies[other_symbol], row["session_date"], window)
            assert (row["correlation"], row["sessions_used"]) == (
                None if expected[0] is None else pytest.approx(expected[0], rel=1e-9, abs=1e-12),
                expected[1],
            )
    (newest,) = read(connection, "select * from marts.correlations where symbol = 'PLAIN' and other_symbol = 'META'")
    last = read(connection, "select * from marts.rolling_correlation('PLAIN', 'META')")[-1]
    assert newest["correlation"] == pytest.approx(last["correlation"], rel=1e-12)
    assert newest["session_date"] == last["session_date"]


@pytest.mark.parametrize("sessions", ["0", "-1", "1", "10001", "2147483647", "null"])
def test_the_history_of_a_pair_over_a_window_that_is_none_is_refused(
    connection: psycopg.Connection[Any], dbt: Dbt, sessions: str
) -> None:
    dbt("run", "--select", "correlations")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"sessions is {sessions}: .* from 2 to 10000"):
        read(connection, f"select * from marts.rolling_correlation('PLAIN', 'META', {sessions})")
    for widest in (2, 10000):
        read(connection, f"select * from marts.rolling_correlation('PLAIN', 'META', {widest})")


def test_a_changed_threshold_needs_no_new_build(
    connection: psycopg.Connection[Any], dbt: Dbt, market: dict[str, list[Day]]
) -> None:
    dbt(*RUN)
    expected = expected_anomalies(follow(market).values())
    sizes = sorted(abs(z) for z, _ in expected.values() if z is not None)
    threshold = (sizes[0] + sizes[-1]) / 2
    dbt("run", "--select", "anomalies", variables={"anomaly_threshold": threshold})
    found = read(connection, "select * from marts.anomalies")
    assert {(row["symbol"], row["session_date"], row["kind"]) for row in found} == {
        key for key, (z, _) in expected.items() if z is None or abs(z) >= threshold
    }
    assert 0 < len(found) < len(expected)
    dbt("run", "--select", "anomalies")


def test_anomalies_are_none_where_everything_stands_still(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    days = [Day("STILL", day, Decimal(10), Decimal(10), 0) for day in SESSIONS]
    put_days(connection, days)
    put_days(connection, [Day("ONCE", SESSIONS[-1], Decimal(10), Decimal(10), 5)])
    dbt(*RUN)
    assert read(connection, "select * from marts.anomalies") == []
    (newest,) = read(connection, "select * from marts.market_breadth order by session_date desc limit 1")
    assert (newest["unchanged"], newest["not_compared"], newest["new_highs"], newest["share_above_average_50"]) == (
        1,
        1,
        0,
        0,
    )
    assert read(connection, "select * from marts.correlations") == []


@pytest.mark.usefixtures("dbt")
def test_every_session_of_the_calendar_has_its_place_in_week_month_quarter_and_year(
    connection: psycopg.Connection[Any],
) -> None:
    rows = read(connection, "select * from marts.dim_session order by session_date")
    sessions = list(sessions_between(rows[0]["session_date"], rows[-1]["session_date"]))
    assert [row["session_date"] for row in rows] == [session.session_date for session in sessions]
    for number in range(1, len(rows) - 1):
        row, session = rows[number], sessions[number]
        before, after = sessions[number - 1].session_date, sessions[number + 1].session_date
        assert (row["session_number"], row["previous_session_date"], row["next_session_date"]) == (
            number + 1,
            before,
            after,
        )
        assert (row["is_half_day"], row["open_at"], row["close_at"]) == (
            session.is_half_day,
            session.open_at,
            session.close_at,
        )
        assert row["regular_minutes"] == (session.close_at - session.open_at).total_seconds() / 60
        for unit, part in PARTS.items():
            now = part(session.session_date)
            assert row[f"is_first_of_{unit}"] == (part(before) != now), (unit, session)
            assert row[f"is_last_of_{unit}"] == (part(after) != now), (unit, session)
    assert not rows[0]["is_first_of_week"]
    assert not rows[-1]["is_last_of_year"]
