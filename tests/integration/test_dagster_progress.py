"""What Dagster reads of the stream's progress, from a real PostgreSQL that the test fills like the stream does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from alerts.rules.rule import Rule
from alerts.store import ACTIVE, PAUSED, add_rules, change_status
from market.settings import Settings
from orchestration.progress import (
    _CHANGES,
    LONGEST_TRANSACTION,
    advance_after,
    are_built,
    has_bars_for_rules,
    has_intraday_rules,
    newest_changes,
    queued_for_rules,
)
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

NOON = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
TRADES_QUERY, QUOTES_QUERY = "aaaaaaaa-0000", "bbbbbbbb-0000"
INSERT = """
insert into lake.stream_batches
(query_id, batch_id, ingested_at, published_at, duration_ms,
 messages, trades, amendments, statuses, quotes, vendor_bars, corporate_actions, quarantined, duplicates, bars)
values (%s, %s, %s, %s, %s, %s, %s, 0, 0, %s, 0, 0, 0, 0, %s)
"""


@pytest.fixture(scope="module")
def migrated(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture
def connection(migrated: Settings) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(migrated.require_database(), autocommit=True) as opened:
        opened.execute("truncate lake.stream_batches, lake.stream_offsets")
        yield opened


def publish_trades(connection: psycopg.Connection[tuple[Any, ...]], number: int, at: datetime, bars: int = 1) -> None:
    connection.execute(INSERT, [TRADES_QUERY, number, at, at, 700, 10, 10, 0, bars])


def publish_quotes(connection: psycopg.Connection[tuple[Any, ...]], number: int, at: datetime) -> None:
    connection.execute(INSERT, [QUOTES_QUERY, number, at, at, 900, 4, 0, 4, 0])


def test_an_empty_lake_has_no_progress(migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    assert connection.execute("select 1").fetchone() == (1,)
    assert advance_after(migrated, None) is None
    assert newest_changes(migrated) is None


def test_models_are_built_once_each_has_its_table(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    models = ["some_mart", "int_some_rows"]
    assert not are_built(migrated, models)
    connection.execute("create table marts.some_mart (number integer)")
    assert not are_built(migrated, models)
    connection.execute("create table staging.int_some_rows (number integer)")
    assert are_built(migrated, models)
    connection.execute("drop table marts.some_mart, staging.int_some_rows")


def test_each_batch_counts_once_even_if_it_shows_after_a_later_one(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    publish_trades(connection, 0, NOON)
    publish_trades(connection, 1, NOON + timedelta(seconds=1))
    connection.execute("insert into lake.stream_offsets values ('market.trades.v1', 0, 15), ('market.trades.v1', 1, 5)")
    first = advance_after(migrated, None)
    assert first is not None
    assert (first.batch_count, first.rows["trades"], first.longest_batch_ms) == (2, 20, 700)
    assert first.messages == {"market.trades.v1": 20}
    assert first.new_batches == "aaaaaaaa/1"
    assert advance_after(migrated, first.mark) is None

    publish_quotes(connection, 0, NOON - timedelta(seconds=5))  # began before, committed after
    connection.execute("insert into lake.stream_offsets values ('market.quotes.v1', 0, 4)")
    second = advance_after(migrated, first.mark)
    assert second is not None
    assert (second.batch_count, second.rows["quotes"], second.rows["trades"]) == (1, 4, 0)
    assert second.messages == {"market.quotes.v1": 4, "market.trades.v1": 0}
    assert second.mark.published_at == NOON + timedelta(seconds=1)
    assert advance_after(migrated, second.mark) is None


def test_a_new_checkpoint_starts_its_numbers_again_and_is_counted(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    publish_trades(connection, 50, NOON)
    first = advance_after(migrated, None)
    assert first is not None
    connection.execute(INSERT, ["cccccccc-0000", 0, NOON, NOON, 500, 3, 3, 0, 1])
    second = advance_after(migrated, first.mark)
    assert second is not None
    assert second.rows["trades"] == 3
    assert dict(second.mark.batches) == {TRADES_QUERY: 50, "cccccccc-0000": 0}


def test_every_change_of_what_the_marts_read_shows_and_nothing_else(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    publish_trades(connection, 0, NOON)
    assert newest_changes(migrated) == "aaaaaaaa/0"

    publish_trades(connection, 1, NOON + timedelta(seconds=1), bars=0)
    assert newest_changes(migrated) == "aaaaaaaa/0"

    publish_quotes(connection, 0, NOON - timedelta(seconds=5))
    assert newest_changes(migrated) == "aaaaaaaa/0 bbbbbbbb/0"

    publish_trades(connection, 2, NOON + timedelta(seconds=2))
    assert newest_changes(migrated) == "aaaaaaaa/2 bbbbbbbb/0"

    publish_trades(connection, 3, NOON + timedelta(seconds=3), bars=0)
    connection.execute("update lake.stream_batches set statuses = 1 where batch_id = 3")
    assert newest_changes(migrated) == "aaaaaaaa/3 bbbbbbbb/0"

    publish_trades(connection, 4, NOON + timedelta(seconds=4), bars=0)
    connection.execute("update lake.stream_batches set corporate_actions = 1 where batch_id = 4")
    assert newest_changes(migrated) == "aaaaaaaa/4 bbbbbbbb/0"


def test_a_repair_of_bars_is_a_change_though_it_is_no_batch(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    publish_trades(connection, 0, NOON)
    connection.execute("insert into lake.bar_sessions values ('lean', 'SPY', '2013-10-07', 1, null, null, 7)")
    try:
        assert newest_changes(migrated) == "aaaaaaaa/0 bars/7"
        connection.execute(
            "insert into lake.vendor_bar_sessions values ('yahoo', 'SPY', '5m', '2013-10-07', 1, null, 8)"
        )
        assert newest_changes(migrated) == "aaaaaaaa/0 bars/7 vendors/8"
    finally:
        connection.execute("truncate lake.bar_sessions, lake.vendor_bar_sessions")
    assert newest_changes(migrated) == "aaaaaaaa/0"


def test_the_newest_changes_are_found_without_reading_all_batches(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    connection.execute(
        "insert into lake.stream_batches (query_id, batch_id, ingested_at, published_at, duration_ms, "
        "messages, trades, amendments, statuses, quotes, vendor_bars, corporate_actions, quarantined, duplicates, bars) "
        "select %s, n, %s, %s + n * interval '1 second', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1 from generate_series(1, 100000) as n",
        [TRADES_QUERY, NOON, NOON],
    )
    connection.execute("analyze lake.stream_batches")
    plan = connection.execute(f"explain {_CHANGES}", {"margin": LONGEST_TRANSACTION}).fetchall()
    assert not any("Seq Scan" in line for (line,) in plan), plan
    assert newest_changes(migrated) == "aaaaaaaa/100000"


QUEUE_ALERT = """
insert into app.pending_evaluations
select 'intraday_analytics', symbol, interval, alert_id::text, bar_at from app.alerts
"""
ALERT = """
insert into app.alerts values (
    gen_random_uuid(), 1, 'r', 1, 'IBM', '1m', %(at)s, %(at)s::date, 1, 'alert', null, false, '',
    '{"fired_by": {"topic": "market.trades.v1", "partition": 1, "offset": 20}}', %(at)s, %(at)s
)
"""


def test_what_is_queued_for_rules_shows_when_it_can_be_looked_at_and_as_another_when_it_is_queued_again(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    connection.execute("truncate app.pending_evaluations")
    add_rules(migrated, [Rule("queued", "close above 1", "IBM", interval="5m")], NOON)
    assert queued_for_rules(migrated) is None, "there is no mart yet"
    connection.execute("create schema if not exists marts")
    connection.execute("create table marts.intraday_analytics ()")
    try:
        of_rule = queued_for_rules(migrated)
        assert of_rule is not None
        assert of_rule == queued_for_rules(migrated)
        connection.execute("update app.pending_evaluations set from_at = from_at")
        assert queued_for_rules(migrated) not in {None, of_rule}, "it was queued again"

        connection.execute("truncate app.pending_evaluations")
        connection.execute(ALERT, {"at": NOON})
        connection.execute(QUEUE_ALERT)
        connection.execute(
            "insert into lake.stream_offsets values ('market.trades.v1', 0, 90), ('market.trades.v1', 1, 20)"
        )
        assert queued_for_rules(migrated) is None, "the marts cannot have the trade"
        connection.execute("update lake.stream_offsets set next_offset = 21 where partition = 1")
        of_alert = queued_for_rules(migrated)
        assert of_alert is not None
        connection.execute("truncate app.pending_evaluations")
        connection.execute(QUEUE_ALERT)
        assert queued_for_rules(migrated) == of_alert, "an evaluation that waits queues it anew"
    finally:
        connection.execute("drop table marts.intraday_analytics")
        connection.execute(
            "truncate app.pending_evaluations, app.alerts, app.alert_rules, app.alert_rule_versions, app.alert_clauses"
        )


def test_rules_wait_for_a_bar_once_a_trade_or_a_heartbeat_has_passed_its_end(
    migrated: Settings, connection: psycopg.Connection[tuple[Any, ...]]
) -> None:
    connection.execute("truncate lake.bar_sessions, lake.feed_coverage")

    def newest_bar(at: datetime) -> None:
        connection.execute("truncate lake.bar_sessions")
        connection.execute(
            "insert into lake.bar_sessions (source, symbol, session_date, bar_count, newest_bar_at, change_number, revised_at) "
            "values ('sim', 'SPY', %s, 1, %s, 1, now())",
            [at.date(), at],
        )

    connection.execute("insert into staging.built_tapes values ('intraday_ohlcv', 'sim', %s)", [NOON])
    newest_bar(NOON + timedelta(minutes=1))
    assert not has_bars_for_rules(migrated), "there is no rule"
    add_rules(migrated, [Rule("days", "close above 1", interval="1d")], NOON)
    assert not has_intraday_rules(migrated)
    assert not has_bars_for_rules(migrated), "a rule about days"
    add_rules(migrated, [Rule("minutes", "close above 1", interval="5m")], NOON)
    change_status(migrated, "minutes", PAUSED, NOON)
    assert not has_intraday_rules(migrated)
    assert not has_bars_for_rules(migrated), "a rule that is paused"
    change_status(migrated, "minutes", ACTIVE, NOON)
    assert has_intraday_rules(migrated)
    assert has_bars_for_rules(migrated), "a trade of the next minute"
    newest_bar(NOON)
    assert not has_bars_for_rules(migrated), "a trade of the same minute"

    cover = (
        "insert into lake.feed_coverage (source, symbol, session_date, covered) "
        "values ('sim', '*', %s, tstzmultirange(tstzrange(%s, %s)))"
    )
    connection.execute(cover, [NOON.date(), NOON, NOON + timedelta(seconds=59)])
    assert not has_bars_for_rules(migrated), "a heartbeat within the minute"
    connection.execute("truncate lake.feed_coverage")
    connection.execute(cover, [NOON.date(), NOON, NOON + timedelta(seconds=60)])
    assert has_bars_for_rules(migrated), "a heartbeat at its end"
