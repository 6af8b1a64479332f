"""No silent gap, on the real engines: from the rows of a tape over Kafka, the lake and PostgreSQL to the mart and its proof.

The tests run in the order of this file on one lake.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.kafka import kafka_service
from ingest.feeds import FeedRequest, get_feed
from ingest.replay import replay
from ingest.topics import end_offsets, ensure_topics
from market.settings import CHECKOUT, Settings
from orchestration.dbt import Dbt
from tests.integration.conftest import running_engine
from verify.laws import verify_all
from verify.results import LawResult
from warehouse.connection import connect
from warehouse.schema import migrate

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.timeout(600)]

MINUTE = timedelta(minutes=1)
TUESDAY, WEDNESDAY, FRIDAY = date(2013, 11, 26), date(2013, 11, 27), date(2013, 11, 29)
HEADER = "kind,symbol,ts,price,size,trade_id,since,reason"
SILENT, HALTED, DOWN = [7], range(20, 25), range(60, 90)


def at(day: date, minutes: float) -> datetime:
    """Return a moment by the minutes since 09:30 in New York, in winter."""
    return datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC) + minutes * MINUTE


def trade(day: date, minutes: int) -> str:
    return f"trade,IBM,{at(day, minutes).isoformat()},{100 + minutes},100,{day}-{minutes},,"


def heartbeat(day: date, since: float, until: float) -> str:
    return f"heartbeat,IBM,{at(day, until).isoformat()},,,,{at(day, since).isoformat()},"


def tape() -> Iterator[str]:
    """Yield two sessions: all of Tuesday, in which one trade happened, and the half-day after Thanksgiving with holes in it."""
    yield from (HEADER, trade(TUESDAY, 0), heartbeat(TUESDAY, -10, 390))
    missing = {*SILENT, *HALTED, *DOWN}
    for minutes in range(210):
        if minutes == HALTED[0]:
            yield f"halt,IBM,{at(FRIDAY, minutes).isoformat()},,,,,LUDP"
        if minutes == HALTED[-1] + 1:
            yield f"resume,IBM,{at(FRIDAY, minutes).isoformat()},,,,,"
        if minutes not in missing:
            yield trade(FRIDAY, minutes)
    yield heartbeat(FRIDAY, -330, DOWN[0] + 0.5)
    yield heartbeat(FRIDAY, DOWN[-1] + 0.75, 211)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of this module's own: what other tests published would have to be taken in as well."""
    with running_engine(kafka_service, tmp_path_factory.mktemp("broker")) as servers:
        ensure_topics(servers)
        yield servers


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings, broker: str) -> Settings:
    migrate(settings_with_database)
    return settings_with_database.model_copy(update={"kafka_bootstrap_servers": broker, "spark_memory": "1g"})


def publish(settings: Settings, folder: Path, rows: Iterator[str]) -> None:
    """Publish a tape, and take in what the topics hold."""
    path = folder / "tape.csv"
    path.write_text("\n".join(rows) + "\n")
    replay(settings.require_kafka(), get_feed("csv"), FeedRequest(path=path)).require_complete()
    log = folder / "stream.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "spark_jobs.jobs.stream", "--to-the-end"]
        environment = settings.child_environment()
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=output, stderr=output, check=False)
    assert done.returncode == 0, log.read_text()[-3_000:]


def build_marts(settings: Settings) -> None:
    Dbt(settings).build([], lambda _event: None)


def gaps(settings: Settings) -> list[tuple[Any, ...]]:
    query = "select session_date, gap_at, gap_end_at, missing_bars, reason, symbol, origin from marts.bar_gaps order by gap_at"
    with connect(settings) as connection:
        found = connection.execute(query).fetchall()
    assert {row[5:] for row in found} <= {("IBM", "csv")}
    return [row[:5] for row in found]


def prove(settings: Settings) -> LawResult:
    """Return the outcome of law 5, after making sure that the others hold."""
    *others, law_5 = verify_all(settings, end_offsets(settings.require_kafka()), complete=True)
    assert [(result.title, result.offending) for result in others if not result.holds] == []
    return law_5


def gap(day: date, first: int, last: int, reason: str) -> tuple[Any, ...]:
    return (day, at(day, first), at(day, last + 1), last + 1 - first, reason)


EXPECTED = [
    gap(TUESDAY, 1, 389, "no_trade"),
    gap(WEDNESDAY, 0, 389, "not_collected"),
    gap(FRIDAY, SILENT[0], SILENT[0], "no_trade"),
    gap(FRIDAY, HALTED[0], HALTED[-1], "halted"),
    gap(FRIDAY, DOWN[0], DOWN[-1], "feed_down"),
]


def test_each_missing_bar_of_a_tape_has_its_reason_and_the_law_is_proved(settings: Settings, tmp_path: Path) -> None:
    publish(settings, tmp_path, tape())
    early = prove(settings)
    assert early.holds
    assert "not built yet" in early.note
    build_marts(settings)
    assert gaps(settings) == EXPECTED
    law = prove(settings)
    assert (law.holds, law.offending, law.note) == (True, [], "")
    assert law.counts == {
        "feed_status": 5,
        "expected_bars": 390 + 390 + 210,
        "bars": 1 + 210 - 36,
        "no_trade": 389 + 1,
        "halted": 5,
        "feed_down": 30,
        "not_collected": 390,
    }


def test_a_row_that_is_lost_breaks_the_law_until_the_models_bring_it_back(settings: Settings) -> None:
    with connect(settings) as connection:
        connection.execute("delete from staging.int_session_gaps where session_date = %s", [WEDNESDAY])
    law = prove(settings)
    assert [(row["problem"], row["gap_at"]) for row in law.offending] == [
        ("gap is missing in marts.bar_gaps", at(WEDNESDAY, 0))
    ]
    build_marts(settings)
    assert gaps(settings) == EXPECTED
    assert prove(settings).holds


def test_another_reason_breaks_the_law(settings: Settings) -> None:
    swap = "update staging.int_session_gaps set feed_down = no_trade, no_trade = feed_down where session_date = %s"
    with connect(settings) as connection:
        connection.execute(swap, [FRIDAY])
    law = prove(settings)
    assert {row["problem"] for row in law.offending} == {"gap differs in marts.bar_gaps"}
    with connect(settings) as connection:
        connection.execute(swap, [FRIDAY])
    assert prove(settings).holds


def test_a_late_trade_closes_its_gap_and_a_late_heartbeat_explains_the_silence(
    settings: Settings, tmp_path: Path
) -> None:
    rows = (HEADER, trade(FRIDAY, SILENT[0]), heartbeat(FRIDAY, DOWN[0], DOWN[-1] + 1), heartbeat(FRIDAY, DOWN[0], 91))
    publish(settings, tmp_path, iter(rows))
    behind = prove(settings)
    assert behind.holds
    assert behind.counts["mart_gaps_behind"] == 3  # one is closed, one has another reason
    build_marts(settings)
    assert gaps(settings) == [*EXPECTED[:2], EXPECTED[3], gap(FRIDAY, DOWN[0], DOWN[-1], "no_trade")]
    assert prove(settings).holds
