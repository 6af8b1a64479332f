"""What operators are told: each incident once, its end once, by the outbox, on a real PostgreSQL and Dagster's own instance."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from alerts.notices import Incident, Report, announce_report, incidents, settle_incidents
from ingest.live.notice import FeedState, NoticeBoard, clear_notice
from market.sessions import find_session
from market.settings import Settings
from orchestration.health import check_health, feed_health, marts_health, run_health, stream_health
from orchestration.operators import Operators
from tests.integration.outbox_rows import Outbox
from tests.integration.relays import relaying, wait_until
from tests.receivers import receiving

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 6, 18, 0, tzinfo=UTC)
"""A Tuesday, at one o'clock in New York."""
FEED = Incident("feed:alpaca", "The feed is down", "Mend it.", NOW, {"since": "noon"})
CHECK = Incident("check:marts/x/y", "A check is broken", "Look.", NOW)
BATCH = """
insert into lake.stream_batches
(query_id, batch_id, ingested_at, published_at, duration_ms,
 messages, trades, amendments, statuses, quotes, vendor_bars, corporate_actions, quarantined, duplicates, bars)
values ('query', %s, %s, %s, 800, 5, 5, 0, 0, 0, 0, 0, 0, 0, %s)
"""


@pytest.fixture
def outbox(settings: Settings) -> Iterator[Outbox]:
    clear_notice(settings.home)
    made = Outbox(settings)
    made.connection.execute("truncate lake.stream_batches, lake.stream_offsets, lake.feed_coverage")
    yield made
    made.connection.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_an_incident_is_told_once_and_so_is_its_end(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, receiving() as other, relaying(settings):
        outbox.channel("ops", receiver.url, is_for_operators=True)
        outbox.channel("desk", other.url)
        for minute in range(3):
            settle_incidents(settings, NOW + timedelta(minutes=minute), [FEED, CHECK], families={"feed"})
        settled = settle_incidents(settings, NOW + timedelta(minutes=4), [CHECK], families={"feed"})
        assert (settled.opened, settled.resolved, settled.open) == ((), ("feed:alpaca",), ("check:marts/x/y",))
        settle_incidents(settings, NOW + timedelta(minutes=5), [FEED, CHECK], families={"feed"})
        wait_until(lambda: len(receiver.requests) == 4)
        sent = [json.loads(request.body) for request in receiver.requests]
    assert [one["kind"] for one in sent] == ["incident", "incident", "resolved", "incident"]
    assert sent[2]["notice"]["refers_to"] == next(
        one["notice"]["notice_id"] for one in sent if one["notice"]["subject"] == "feed:alpaca"
    )
    assert len({one["notice"]["notice_id"] for one in sent}) == 4
    assert sent[0]["notice"]["message"] in {"Mend it.", "Look."}
    assert other.requests == [], "only channels that ask for it are told"


def test_what_was_not_looked_at_stays_as_it_is(settings: Settings, outbox: Outbox) -> None:
    settle_incidents(settings, NOW, [FEED, CHECK])
    assert settle_incidents(settings, NOW, [], families={"run"}, well={"check:marts/other/y"}).open == (
        "check:marts/x/y",
        "feed:alpaca",
    )
    assert settle_incidents(settings, NOW, [], well={"check:marts/x/y"}).open == ("feed:alpaca",)
    assert [one["subject"] for one in incidents(settings, with_resolved=False, limit=9)] == ["feed:alpaca"]
    assert len(incidents(settings, with_resolved=True, limit=9)) == 2
    assert outbox.connection.execute("select count(*) from app.alert_outbox where channel = 'log'").fetchone() == (3,)


def test_of_looks_at_the_same_time_one_records(settings: Settings, outbox: Outbox) -> None:
    looks = [
        threading.Thread(target=settle_incidents, args=(settings, NOW + timedelta(seconds=number), [FEED, CHECK]))
        for number in range(6)
    ]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    assert outbox.connection.execute("select kind, count(*) from app.notices group by kind").fetchall() == [
        ("incident", 2)
    ]


def test_a_storm_of_incidents_is_held_back_at_the_channels_limit_and_counted(
    settings: Settings, outbox: Outbox
) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("ops", receiver.url, is_for_operators=True, channel_limit=3)
        settle_incidents(settings, NOW, [Incident(f"check:c{n}", f"Check {n}", "Look.", NOW) for n in range(10)])
        held = "select count(*) from app.alert_outbox where channel = 'ops' and status = 'held'"
        wait_until(lambda: outbox.connection.execute(held).fetchone() == (7,))
        assert len(receiver.requests) == 3


def test_a_report_is_announced_once_to_those_who_want_it(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("post", receiver.url, is_for_reports=True)
        report = Report(
            "report:session/2026-01-05/1", "Session of 2026-01-05", "500 symbols", Path("/somewhere/report.html"), NOW
        )
        assert announce_report(outbox.connection, NOW, report)
        assert not announce_report(outbox.connection, NOW, report)
        wait_until(lambda: len(receiver.requests) == 1)
    sent = json.loads(receiver.requests[0].body)
    assert (sent["kind"], sent["notice"]["path"]) == ("report", "/somewhere/report.html")


def test_a_live_feed_is_down_when_it_says_nothing_while_the_market_is_open(settings: Settings, outbox: Outbox) -> None:
    session = find_session(NOW.date())
    assert session is not None
    row = "insert into lake.feed_coverage values (%s, 'IBM', %s, tstzmultirange(tstzrange(%s, %s)))"
    for source, until in (("alpaca", NOW - timedelta(minutes=7)), ("simulated", NOW - timedelta(minutes=90))):
        outbox.connection.execute(row, [source, session.session_date, session.open_at, until])
    health = feed_health(settings, NOW)
    assert [one.subject for one in health.broken] == ["feed:alpaca"]
    assert "nothing for 7 minutes" in health.broken[0].title
    assert "feed:alpaca" not in health.well
    assert "feed:alpaca" in feed_health(settings, NOW - timedelta(minutes=4)).well
    after_close = feed_health(settings, session.close_at + timedelta(minutes=1))
    assert (after_close.broken, after_close.well) == ((), frozenset())


@pytest.mark.usefixtures("outbox")
def test_a_refused_feed_is_down_at_any_time(settings: Settings) -> None:
    board = NoticeBoard(settings.home, lambda: NOW)
    board.tell("alpaca", FeedState.REFUSED, "The key is not known.")
    (incident,) = feed_health(settings, NOW.replace(hour=3)).broken
    assert "The key is not known." in incident.text
    board.tell("alpaca", FeedState.LIVE)
    (incident,) = feed_health(settings, NOW).broken
    assert incident.evidence["session"] == "2026-01-06", "it never said what it covers"


def test_the_stream_stands_still_if_messages_wait_and_no_batch_comes(
    settings: Settings, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    outbox.connection.execute(BATCH, [1, NOW, NOW, 0])
    outbox.connection.execute("insert into lake.stream_offsets values ('market.trades.v1', 0, 10)")
    for end, is_broken in ((10, False), (12, True)):
        monkeypatch.setattr("orchestration.health.end_offsets", lambda _, end=end: {("market.trades.v1", 0): end})
        assert bool(stream_health(known, NOW + timedelta(minutes=4)).broken) is is_broken
    assert stream_health(known, NOW + timedelta(minutes=2)).broken == ()


def test_the_marts_are_behind_if_no_run_began_since_the_bars_came(
    settings: Settings, outbox: Outbox, instance: dg.DagsterInstance
) -> None:
    outbox.connection.execute(BATCH, [1, NOW, NOW, 3])
    assert marts_health(settings, instance, NOW + timedelta(minutes=19)).broken == ()
    (incident,) = marts_health(settings, instance, NOW + timedelta(minutes=21)).broken
    assert incident.subject == "marts:behind"
    ran(instance, "touched_marts", is_well=True)  # by the wall clock, which is later
    assert marts_health(settings, instance, NOW + timedelta(minutes=21)).broken == ()


@dg.asset_check(asset="bars", name="sound")
def sound(config: dict[str, bool]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=config["is_well"], description="2 rows have low above high")


@dg.asset_check(asset="bars", name="usual")
def usual(config: dict[str, bool]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=config["is_well"], severity=dg.AssetCheckSeverity.WARN)


def ran(instance: dg.DagsterInstance, name: str, *, is_well: bool) -> None:
    @dg.op
    def work() -> None:
        if not is_well:
            msg = "the disk is full"
            raise RuntimeError(msg)

    @dg.job(name=name)
    def job() -> None:
        work()

    job.execute_in_process(instance=instance, raise_on_error=False)


def checked(instance: dg.DagsterInstance, *, is_well: bool) -> dg.Definitions:
    definitions = dg.Definitions(assets=[dg.AssetSpec("bars")], asset_checks=[sound, usual])
    config = {"ops": {f"bars_{name}": {"config": {"is_well": is_well}} for name in ("sound", "usual")}}
    job = definitions.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, run_config=config)
    return definitions


def test_of_each_job_the_last_run_says_how_it_is(instance: dg.DagsterInstance) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    ran(instance, "marts", is_well=False)
    ran(instance, "verify", is_well=True)
    health, until = run_health(instance, start, "http://127.0.0.1:3000")
    assert [one.subject for one in health.broken] == ["run:marts"]
    assert "http://127.0.0.1:3000/runs/" in health.broken[0].text
    assert health.well == {"run:verify"}
    ran(instance, "marts", is_well=True)
    health, _ = run_health(instance, until, None)
    assert (health.broken, health.well >= {"run:marts"}) == ((), True)


def test_the_last_outcome_of_each_check_counts_and_a_warning_is_none(instance: dg.DagsterInstance) -> None:
    keys = checked(instance, is_well=False).resolve_asset_graph().asset_check_keys
    health = check_health(instance, keys, None)
    assert [one.subject for one in health.broken] == ["check:bars/sound"]
    assert "2 rows have low above high" in health.broken[0].text
    assert health.well == {"check:bars/usual"}
    checked(instance, is_well=True)
    assert check_health(instance, keys, None).well == {"check:bars/sound", "check:bars/usual"}


@pytest.mark.usefixtures("outbox")
def test_a_look_that_is_repeated_changes_nothing(settings: Settings, instance: dg.DagsterInstance) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    ran(instance, "marts", is_well=False)
    look = Operators(settings).look
    first, until = look(instance, (), start, NOW)
    again, _ = look(instance, (), start, NOW + timedelta(minutes=1))
    assert (first.opened, again.opened, again.open) == (("run:marts",), (), ("run:marts",))
    ran(instance, "marts", is_well=True)
    assert look(instance, (), until, NOW + timedelta(minutes=2))[0].resolved == ("run:marts",)
