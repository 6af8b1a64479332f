"""What of history is missing: the calendar minus what the lake has, minus what sources were asked for."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from market.sessions import Session, sessions_between
from market.settings import Settings
from warehouse.connection import connect
from warehouse.history import Collected, forget, known_closes, missing_sessions, remember
from warehouse.schema import migrate
from warehouse.watchlist import unwatch, watch, watched

pytestmark = pytest.mark.integration

START, END = date(2013, 10, 7), date(2013, 10, 18)
SESSIONS = tuple(sessions_between(START, END))
"""Ten sessions."""
LATER = datetime(2013, 10, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def migrated(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture
def settings(migrated: Settings) -> Iterator[Settings]:
    yield migrated
    with connect(migrated) as connection:
        connection.execute("truncate lake.vendor_bars, app.collected_history, app.watchlist")


def store(
    settings: Settings, symbol: str, interval: str, *sessions: Session, bars: int = 1, source: str = "yahoo"
) -> None:
    query = (
        "insert into lake.vendor_bars select %s, %s, %s, %s::timestamptz + make_interval(mins => number), %s, 1, 1, 1, 1, 1, "
        "'market.bars.v1', 0, 0, now(), 1 from generate_series(0, %s - 1) as number"
    )
    with connect(settings) as connection:
        for session in sessions:
            connection.execute(query, (source, symbol, interval, session.open_at, session.session_date, bars))


def missing(
    settings: Settings, *symbols: str, interval: str = "1d", until: datetime = LATER
) -> dict[str, list[tuple[int, int]]]:
    return missing_sessions(settings, "yahoo", interval, symbols, start=START, end=END, until=until)


def test_without_any_bar_every_session_that_is_over_is_missing(settings: Settings) -> None:
    assert missing(settings, "SPY", "IBM") == {"SPY": [(0, 10)], "IBM": [(0, 10)]}
    # On Wednesday evening, before the post segment ends, Wednesday is not over.
    assert missing(settings, "SPY", until=datetime(2013, 10, 9, 23, 59, tzinfo=UTC)) == {"SPY": [(0, 2)]}
    assert missing(settings, "SPY", until=datetime(2013, 10, 10, 0, 0, tzinfo=UTC)) == {"SPY": [(0, 3)]}


def test_what_the_lake_has_is_not_missing(settings: Settings) -> None:
    store(settings, "SPY", "1d", SESSIONS[0], SESSIONS[4], SESSIONS[5])
    store(settings, "IBM", "1d", *SESSIONS)
    store(settings, "SPY", "1d", SESSIONS[1], source="alpaca")
    assert missing(settings, "SPY", "IBM") == {"SPY": [(1, 4), (6, 10)]}


def test_a_session_of_which_a_bar_lacks_is_missing(settings: Settings) -> None:
    store(settings, "SPY", "5m", SESSIONS[0], bars=78)
    store(settings, "SPY", "5m", SESSIONS[1], bars=77)
    assert missing(settings, "SPY", interval="5m") == {"SPY": [(1, 10)]}


def test_what_a_source_was_asked_for_is_not_missing_whatever_it_had(settings: Settings) -> None:
    remember(
        settings, "yahoo", "1d", [Collected("SPY", SESSIONS[2:4]), Collected("IBM", SESSIONS[:1], is_unknown=True)]
    )
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS[7:8]), Collected("SPY", SESSIONS[3:5])])
    assert missing(settings, "SPY", "IBM") == {"SPY": [(0, 2), (5, 7), (8, 10)], "IBM": [(1, 10)]}
    assert missing(settings, "SPY", interval="5m") == {"SPY": [(0, 10)]}
    forget(settings, "yahoo", "1d", ["SPY"])
    assert missing(settings, "SPY", "IBM") == {"SPY": [(0, 10)], "IBM": [(1, 10)]}


def test_the_watchlist_has_each_symbol_once(settings: Settings) -> None:
    assert watched(settings) == []
    assert watch(settings, ["SPY", "IBM"]) == ["IBM", "SPY"]
    assert watch(settings, ["SPY", "AAPL"]) == ["AAPL"]
    assert watched(settings) == ["AAPL", "IBM", "SPY"]
    assert unwatch(settings, ["SPY", "MSFT"]) == ["SPY"]
    assert watched(settings) == ["AAPL", "IBM"]


def test_the_closes_near_some_sessions_are_those_of_any_source_on_both_sides(settings: Settings) -> None:
    store(settings, "SPY", "1d", SESSIONS[0], source="alpaca")
    store(settings, "SPY", "1d", SESSIONS[1], source="csv")
    store(settings, "SPY", "5m", SESSIONS[2])  # of another length than is asked for
    store(settings, "SPY", "1d", SESSIONS[8])
    store(settings, "IBM", "1m", SESSIONS[5])
    near = known_closes(settings, "1m", ["SPY", "IBM", "NEW"], SESSIONS[3], SESSIONS[6])
    assert {symbol: [found and found.source for found in (one.before, one.after)] for symbol, one in near.items()} == {
        "SPY": ["csv", "yahoo"]
    }
    assert near["SPY"].before is not None
    assert (near["SPY"].before.ts, near["SPY"].before.close) == (
        round(SESSIONS[1].open_at.timestamp()) * 1_000_000,
        Decimal(1),
    )
    same = known_closes(settings, "1d", ["SPY"], SESSIONS[1], SESSIONS[1])["SPY"]
    assert same.before == same.after == near["SPY"].before
    assert known_closes(settings, "1d", ["SPY"], SESSIONS[9], SESSIONS[9])["SPY"].after is None
