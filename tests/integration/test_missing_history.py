"""What of history is missing: the calendar minus what the lake has, minus what sources were asked for."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ingest.actions.door import stored_of
from market.errors import UsageError
from market.records import Split
from market.sessions import Session, sessions_between
from market.settings import Settings
from warehouse.actions import asked_symbols, remember_asked
from warehouse.collected_history import Collected, forget, remember, unknown_symbols, withheld_sessions
from warehouse.connection import connect
from warehouse.history import first_sessions, known_closes, missing_sessions, stored_bars, symbols_to_ask, without_bars
from warehouse.schema import migrate
from warehouse.stored_values import stored_values
from warehouse.watchlist import Changes, parse_group, unwatch, watch, watched, watchlist

pytestmark = pytest.mark.integration

START, END = date(2013, 10, 7), date(2013, 10, 18)
SESSIONS = tuple(sessions_between(START, END))
"""Ten sessions."""
LATER = datetime(2013, 10, 21, tzinfo=UTC)
MONDAY = datetime(2013, 10, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def migrated(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture
def settings(migrated: Settings) -> Iterator[Settings]:
    yield migrated
    with connect(migrated) as connection:
        connection.execute(
            "truncate lake.vendor_bars, lake.corporate_actions, app.collected_history, app.collected_actions, app.watchlist"
        )


def store(
    settings: Settings,
    symbol: str,
    interval: str,
    *sessions: Session,
    bars: int = 1,
    source: str = "yahoo",
    first_minute: int = 0,
) -> None:
    query = (
        "insert into lake.vendor_bars select %s, %s, %s, %s::timestamptz + make_interval(mins => number), %s, 1, 1, 1, 1, 1, "
        "'market.bars.v1', 0, 0, now(), 1 from generate_series(0, %s - 1) as number"
    )
    with connect(settings) as connection:
        for session in sessions:
            first = session.open_at + timedelta(minutes=first_minute)
            connection.execute(query, (source, symbol, interval, first, session.session_date, bars))


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


def test_what_there_is_before_the_open_and_after_the_close_does_not_stand_for_regular_hours(settings: Settings) -> None:
    store(settings, "SPY", "1m", SESSIONS[0], bars=330 + 329, first_minute=-330)
    store(settings, "SPY", "1m", SESSIONS[0], bars=240, first_minute=390)
    assert missing(settings, "SPY", interval="1m") == {"SPY": [(0, 10)]}
    store(settings, "SPY", "1m", SESSIONS[0], bars=61, first_minute=329)
    assert missing(settings, "SPY", interval="1m") == {"SPY": [(1, 10)]}


def test_what_a_source_was_asked_for_is_not_missing_whatever_it_had(settings: Settings) -> None:
    remember(
        settings, "yahoo", "1d", [Collected("SPY", SESSIONS[2:4]), Collected("IBM", SESSIONS[:1], is_unknown=True)]
    )
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS[7:8]), Collected("SPY", SESSIONS[3:5])])
    assert missing(settings, "SPY", "IBM") == {"SPY": [(0, 2), (5, 7), (8, 10)], "IBM": [(1, 10)]}
    assert missing(settings, "SPY", interval="5m") == {"SPY": [(0, 10)]}
    forget(settings, "yahoo", "1d", ["SPY"], SESSIONS[3:9])
    assert missing(settings, "SPY", "IBM") == {"SPY": [(0, 2), (3, 10)], "IBM": [(1, 10)]}
    again = missing_sessions(settings, "yahoo", "1d", ["SPY", "IBM"], start=START, end=END, until=LATER, again=True)
    assert again == {"SPY": [(0, 10)], "IBM": [(0, 10)]}


def test_the_values_of_the_lake_come_back_exactly_and_of_one_source_only(settings: Settings) -> None:
    store(settings, "SPY", "5m", SESSIONS[0], bars=2)
    store(settings, "SPY", "5m", SESSIONS[1], source="csv")
    store(settings, "SPY", "1d", SESSIONS[0])
    store(settings, "IBM", "5m", SESSIONS[0])
    with connect(settings) as connection:
        connection.execute("update lake.vendor_bars set close = 10.509995, volume = 5000000000 where symbol = 'SPY'")
    start, end = SESSIONS[0].pre_open_at, SESSIONS[-1].post_close_at
    found = stored_values(settings, "yahoo", "5m", ["SPY", "NEW"], start=start, end=end)
    opened = round(SESSIONS[0].open_at.timestamp()) * 1_000_000
    prices = (Decimal(1), Decimal(1), Decimal(1), Decimal("10.509995"))
    assert sorted(found.rows()) == [
        ("SPY", opened + minute * 60_000_000, *prices, 5_000_000_000) for minute in range(2)
    ]
    after = SESSIONS[1].pre_open_at
    assert stored_values(settings, "yahoo", "5m", ["SPY"], start=after, end=end).is_empty()


def asked_long_ago(settings: Settings) -> None:
    with connect(settings) as connection:
        connection.execute("update app.collected_history set without_bars_at = without_bars_at - interval '13 hours'")


def test_a_session_without_a_bar_is_asked_for_once_more_the_next_day_and_never_again(settings: Settings) -> None:
    place = (settings, "yahoo", "1d", ["SPY"])
    first = Collected("SPY", SESSIONS, without_bars=(*SESSIONS[2:4], SESSIONS[6]))
    remember(settings, "yahoo", "1d", [first])
    assert missing(settings, "SPY") == {}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == []
    asked_long_ago(settings)
    assert missing(settings, "SPY") == {"SPY": [(2, 4), (6, 7)]}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == ["SPY"]
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS[2:4], without_bars=SESSIONS[2:4])])
    assert missing(settings, "SPY") == {"SPY": [(6, 7)]}
    store(settings, "SPY", "1d", SESSIONS[6])
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS[6:7])])
    asked_long_ago(settings)
    assert missing(settings, "SPY") == {}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == []


def test_what_is_for_other_plans_only_is_missing_a_month_later_and_for_a_report_at_once(settings: Settings) -> None:
    place = (settings, "yahoo", "1d", ["SPY"])
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS, withheld=SESSIONS[:6])])
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS[9:])])
    assert missing(settings, "SPY") == {}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == []
    assert withheld_sessions(*place, start=START, end=END) == {"SPY": 6}
    assert without_bars(*place, start=START, end=END) == {
        "SPY": (4, SESSIONS[6].session_date, SESSIONS[9].session_date)
    }
    assert missing_sessions(*place, start=START, end=END, until=LATER, withheld=True) == {"SPY": [(0, 6)]}
    with connect(settings) as connection:
        connection.execute("update app.collected_history set withheld_at = withheld_at - interval '29 days'")
    assert missing(settings, "SPY") == {}
    with connect(settings) as connection:
        connection.execute("update app.collected_history set withheld_at = withheld_at - interval '1 day'")
    assert missing(settings, "SPY") == {"SPY": [(0, 6)]}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == ["SPY"]
    assert withheld_sessions(*place, start=START, end=END) == {}
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS[:6], withheld=SESSIONS[:2])])
    assert (missing(settings, "SPY"), withheld_sessions(*place, start=START, end=END)) == ({}, {"SPY": 2})
    forget(settings, "yahoo", "1d", ["SPY"], SESSIONS[:1])
    assert (missing(settings, "SPY"), withheld_sessions(*place, start=START, end=END)) == (
        {"SPY": [(0, 1)]},
        {"SPY": 1},
    )


def unknown(symbol: str, sessions: tuple[Session, ...]) -> Collected:
    return Collected(symbol, sessions, sessions, sessions, is_unknown=True)


def test_what_was_asked_for_an_unknown_symbol_is_missing_half_a_day_later(settings: Settings) -> None:
    place = (settings, "yahoo", "1d", ["NOPE"])
    remember(settings, "yahoo", "1d", [unknown("NOPE", SESSIONS)])
    assert missing(settings, "NOPE") == {}
    asked_long_ago(settings)
    assert missing(settings, "NOPE") == {"NOPE": [(0, 10)]}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == ["NOPE"]
    assert remember(settings, "yahoo", "1d", [unknown("NOPE", SESSIONS)]) == set()
    asked_long_ago(settings)
    assert missing(settings, "NOPE") == {}
    assert unknown_symbols(*place, start=START, end=END) == ["NOPE"]
    assert without_bars(*place, start=START, end=END) == {}


def test_a_symbol_that_turns_out_to_be_known_is_missing_for_the_time_when_it_was_not(settings: Settings) -> None:
    place = (settings, "yahoo", "1d", ["FLAP"])
    remember(settings, "yahoo", "1d", [Collected("FLAP", SESSIONS[:2], has_bars=True)])
    remember(settings, "yahoo", "1d", [unknown("FLAP", SESSIONS[2:9])])
    asked_long_ago(settings)
    remember(settings, "yahoo", "1d", [unknown("FLAP", SESSIONS[2:9])])
    assert remember(settings, "yahoo", "1d", [Collected("FLAP", SESSIONS[9:], without_bars=SESSIONS[9:])]) == set()
    assert unknown_symbols(*place, start=START, end=END) == ["FLAP"]
    assert remember(settings, "yahoo", "1d", [Collected("FLAP", SESSIONS[9:], has_bars=True)]) == {"FLAP"}
    assert missing(settings, "FLAP") == {"FLAP": [(2, 9)]}
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == ["FLAP"]
    assert unknown_symbols(*place, start=START, end=END) == []
    remember(settings, "yahoo", "1d", [Collected("FLAP", SESSIONS[2:9], has_bars=True)])
    assert missing(settings, "FLAP") == {}


def test_bars_of_which_one_is_bad_say_that_a_symbol_is_known_too(settings: Settings) -> None:
    remember(settings, "yahoo", "1d", [unknown("FLAP", SESSIONS)])
    assert remember(settings, "yahoo", "1d", [Collected("FLAP", (), has_bars=True)]) == {"FLAP"}
    assert missing(settings, "FLAP") == {"FLAP": [(0, 10)]}


def test_a_symbol_that_was_unknown_before_that_was_noted_is_asked_for_again(settings: Settings) -> None:
    remember(settings, "yahoo", "1d", [Collected("NOPE", SESSIONS, is_unknown=True), Collected("SPY", SESSIONS)])
    with connect(settings) as connection:
        connection.execute("alter table app.collected_history drop column unknown")
        connection.execute("delete from app.schema_migrations where name = 'ask_again_for_unknown_symbols'")
    migrate(settings)
    asked_long_ago(settings)
    assert missing(settings, "NOPE", "SPY") == {"NOPE": [(0, 10)]}
    assert unknown_symbols(settings, "yahoo", "1d", ["NOPE", "SPY"], start=START, end=END) == ["NOPE"]


def test_what_is_asked_for_once_more_is_said_though_it_lies_before_the_first_bar(settings: Settings) -> None:
    store(settings, "NEW", "1d", SESSIONS[8])
    remember(settings, "yahoo", "1d", [Collected("NEW", SESSIONS, without_bars=SESSIONS[:2])])
    days = [session.session_date for session in SESSIONS]
    found = without_bars(settings, "yahoo", "1d", ["NEW"], start=START, end=END)
    assert found == {"NEW": (3, days[0], days[9])}


def test_what_had_no_bar_is_counted_from_the_first_bar_on(settings: Settings) -> None:
    remember(settings, "yahoo", "1d", [Collected(symbol, SESSIONS) for symbol in ("SPY", "IBM", "NEW")])
    store(settings, "SPY", "1d", *SESSIONS[3:5], SESSIONS[7])
    store(settings, "SPY", "1d", SESSIONS[0], source="alpaca")
    store(settings, "IBM", "1d", *SESSIONS)
    days = [session.session_date for session in SESSIONS]
    place = (settings, "yahoo", "1d", ["SPY", "IBM", "NEW", "XX"])
    assert first_sessions(*place) == {"SPY": days[3], "IBM": days[0]}
    assert without_bars(*place, start=START, end=END) == {"NEW": (10, START, END), "SPY": (4, days[5], END)}
    assert without_bars(*place, start=START, end=days[4]) == {"NEW": (5, START, days[4])}


def test_only_symbols_of_which_a_session_was_not_asked_for_need_a_closer_look(settings: Settings) -> None:
    remember(settings, "yahoo", "1d", [Collected("SPY", SESSIONS), Collected("IBM", SESSIONS[:9])])
    place = (settings, "yahoo", "1d", ["SPY", "IBM", "AAPL"])
    assert symbols_to_ask(*place, start=START, end=END, until=LATER) == ["AAPL", "IBM"]
    assert symbols_to_ask(*place, start=START, end=SESSIONS[8].session_date, until=LATER) == ["AAPL"]
    before = SESSIONS[8].post_close_at
    assert symbols_to_ask(*place, start=START, end=END, until=before) == ["AAPL"]
    assert symbols_to_ask(*place, start=date(2013, 10, 12), end=date(2013, 10, 13), until=LATER) == []


def test_the_bars_of_the_lake_are_counted_by_symbol_and_session(settings: Settings) -> None:
    store(settings, "SPY", "5m", SESSIONS[0], bars=78)
    store(settings, "SPY", "5m", SESSIONS[2], bars=3)
    store(settings, "SPY", "5m", SESSIONS[1], source="alpaca")
    found = stored_bars(settings, "yahoo", "5m", ["SPY", "IBM"], start=START, end=END)
    assert found == {("SPY", SESSIONS[0].session_date): 78, ("SPY", SESSIONS[2].session_date): 3}


def test_the_watchlist_has_each_symbol_once(settings: Settings) -> None:
    assert watched(settings) == []
    assert watch(settings, ["SPY", "IBM"]) == Changes(("IBM", "SPY"), ())
    assert watch(settings, ["SPY", "AAPL"]) == Changes(("AAPL",), ())
    assert watched(settings) == ["AAPL", "IBM", "SPY"]
    assert unwatch(settings, ["SPY", "MSFT"]) == ["SPY"]
    assert watched(settings) == ["AAPL", "IBM"]


def test_a_symbol_is_in_one_group_since_it_was_put_there(settings: Settings) -> None:
    watch(settings, ["SPY"])
    watch(settings, ["IBM", "NVDA"], "tech")
    before = {one.symbol: one for one in watchlist(settings)}
    assert [(one.symbol, one.group) for one in watchlist(settings)] == [
        ("SPY", "default"),
        ("IBM", "tech"),
        ("NVDA", "tech"),
    ]
    assert watch(settings, ["IBM", "SPY"]) == Changes((), ())
    assert watch(settings, ["IBM", "SPY"], "tech") == Changes((), ("SPY",))
    after = {one.symbol: one for one in watchlist(settings)}
    assert after["SPY"].group == "tech"
    assert after["SPY"].since > before["SPY"].since
    assert after["IBM"] == before["IBM"]


def test_a_watchlist_from_before_there_were_groups_is_of_the_default_one(settings: Settings) -> None:
    with connect(settings) as connection:
        connection.execute("alter table app.watchlist drop column symbol_group")
        connection.execute("insert into app.watchlist (symbol, added_at) values ('SPY', now())")
        connection.execute("delete from app.schema_migrations where name = 'group_the_watchlist'")
    migrate(settings)
    assert [(one.symbol, one.group) for one in watchlist(settings)] == [("SPY", "default")]


@pytest.mark.parametrize("name", ["", "a|b", "a,b", "two words", "[x]", "x" * 41, "-x"])
def test_a_group_needs_a_name_that_a_partition_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="group cannot be called"):
        parse_group(name)
    assert parse_group(" Semi-Conductors_2 ") == "semi-conductors_2"


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


def store_splits(settings: Settings, *rows: tuple[str, str, Session, int | None, int | None, datetime]) -> None:
    """Store versions of splits: source, symbol, session, new and old shares, when it was known; without shares a withdrawal."""
    names = "source, symbol, action, session_date, new_shares, old_shares, is_withdrawn, known_at, topic, partition"
    with connect(settings) as connection:
        for source, symbol, session, new, old, known_at in rows:
            connection.execute(
                f'insert into lake.corporate_actions ({names}, "offset", ingested_at) '.encode()
                + b"values (%s, %s, 'split', %s, %s, %s, %s, %s, 'market.actions.v1', 0, "
                b"(select count(*) from lake.corporate_actions), now())",
                (source, symbol, session.session_date, new, old, new is None, known_at),
            )


def test_the_splits_near_some_sessions_are_the_newest_word_of_each_source_and_not_withdrawn(settings: Settings) -> None:
    store_splits(
        settings,
        ("yahoo", "SPY", SESSIONS[3], 1, 40, MONDAY),
        ("yahoo", "SPY", SESSIONS[3], 1, 50, MONDAY),
        ("alpaca", "SPY", SESSIONS[4], 2, 1, MONDAY),
        ("alpaca", "SPY", SESSIONS[4], 3, 1, MONDAY - timedelta(days=1)),  # known before, though it came in last
        ("lean", "SPY", SESSIONS[3], 1, 60, MONDAY),
        ("lean", "SPY", SESSIONS[3], None, None, MONDAY),
        ("yahoo", "IBM", SESSIONS[3], 3, 1, MONDAY),
    )
    near = known_closes(settings, "1d", ["SPY"], SESSIONS[2], SESSIONS[6])
    found = [(one.source, datetime.fromtimestamp(one.ts / 1e6, UTC), one.times) for one in near["SPY"].splits]
    assert found == [
        ("alpaca", datetime(2013, 10, 11, 4, tzinfo=UTC), Decimal("0.5")),
        ("yahoo", datetime(2013, 10, 10, 4, tzinfo=UTC), Decimal(50)),
    ]


def test_all_versions_of_an_action_are_there_in_the_order_in_which_they_became_known(settings: Settings) -> None:
    tuesday = MONDAY + timedelta(days=1)
    for source in ("csv", "user"):
        store_splits(
            settings,
            (source, "SPY", SESSIONS[3], 7, 1, tuesday),
            (source, "SPY", SESSIONS[3], 6, 1, MONDAY),
            (source, "SPY", SESSIONS[3], None, None, MONDAY),
            (source, "IBM", SESSIONS[3], 2, 1, MONDAY),
        )
    key = ("SPY", "split", SESSIONS[3].session_date)
    found = {
        source: [
            action.new_shares if isinstance(action, Split) else None for action in stored_of(settings, source)[key]
        ]
        for source in ("csv", "user")
    }
    assert found == {"csv": [6, None, 7], "user": [7, 6, None]}, "what a person said last counts"
    assert len(stored_of(settings, "csv")) == 2


def test_when_a_source_was_asked_for_actions_is_known_by_symbol_and_never_goes_back(settings: Settings) -> None:
    monday, tuesday = datetime(2013, 10, 7, tzinfo=UTC), datetime(2013, 10, 8, tzinfo=UTC)
    remember_asked(settings, "yahoo", {"SPY", "XX"}, {"XX"}, tuesday)
    remember_asked(settings, "yahoo", {"SPY", "IBM"}, set(), monday)
    remember_asked(settings, "alpaca", {"IBM"}, set(), tuesday)
    assert asked_symbols(settings, "yahoo") == {"IBM": monday, "SPY": tuesday, "XX": tuesday}
    with connect(settings, read_only=True) as connection:
        unknown = connection.execute("select source, symbol from app.collected_actions where is_unknown").fetchall()
    assert unknown == [("yahoo", "XX")]
