"""A platform of alerts on which bars and trades come and change, while its processes are killed one after the other."""

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from alerts.store import add_rules
from market.settings import Settings
from market.tiers import INTRADAY
from tests.faults.alert_dagster import Dagster
from tests.faults.alert_inbox import TIMEOUT_SECONDS, Inbox, inbox
from tests.faults.alert_market import Market, newest_session
from tests.faults.alert_processes import Processes
from tests.faults.alert_rules import HOOK, OTHER, WATCHED
from tests.faults.alert_tape import Tape, Tilt
from tests.faults.alert_verdict import Verdict, judge
from tests.faults.alert_watch import Watches
from tests.integration.outbox_rows import Outbox
from warehouse.tiers import move_tiers

RELAY_KILLS: Final = {
    "relay killed": 25.0,
    "relay terminated": 10.0,
    "relay killed as the receiver answers": 12.0,
    "relay killed after the receiver answered": 12.0,
}
RUN_KILLS: Final = {"run killed": 25.0, "run terminated": 10.0, "all killed at once": 6.0}
WATCH_KILLS: Final = {
    "watch killed": 20.0,
    "watch terminated": 10.0,
    "watch killed as it records": 12.0,
    "watch killed around its commit": 12.0,
}
STALLED: Final = {"watch killed while the stream stands still": 6.0}
"""Needs runs of this process' own."""
DAGSTER_KILLS: Final = {
    "daemon killed": 60.0,
    "daemon terminated": 40.0,
    "code server killed": 40.0,
    "run of the sensor killed": 60.0,
}

_RUN_SECONDS: Final = 1.5
_RACE_SECONDS: Final = 0.003
_AMBUSH_SECONDS: Final = 5.0
_AHEAD_MINUTES: Final = 4
_BATCH: Final = """
insert into lake.stream_batches (
    query_id, batch_id, ingested_at, published_at, duration_ms, messages, trades, amendments, statuses, quotes, vendor_bars,
    corporate_actions, quarantined, duplicates, bars
)
values ('query', 1, now(), now(), 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
"""
_UNSETTLED: Final = "select count(*) from app.alert_outbox where status = 'pending'"
_UNSEEN: Final = """
select (select count(*) from staging.pending_sessions where mart in ('intraday_ohlcv', 'intraday_analytics'))
    + (select count(*) from app.pending_evaluations)
"""
_SENSORS_RUNS: Final = """
select count(*) from dagster.runs where pipeline_name = 'touched_marts' and status = 'SUCCESS'
"""


@dataclass
class Campaign:
    """Kills on one platform, and the verdict at its rests; ``late`` is what was not recorded at once."""

    market: Market
    inboxes: dict[str, Inbox]
    processes: Processes
    watches: Watches
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    late: list[str] = field(default_factory=list)
    tilt: Tilt = field(default_factory=Tilt)
    sensors_runs: int = 0

    def kill(self, kinds: dict[str, float], dagster: Dagster | None = None) -> None:
        """Let bars come and change, and kill something of the kinds given, weighted."""
        for _ in range(self.chance.randrange(1, 4)):
            self.market.step()
        kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
        if kind in RELAY_KILLS:
            kind = self._end_relay(kind)
        elif kind in RUN_KILLS:
            self._end_run(kind)
        elif kind in WATCH_KILLS:
            self._end_watch(kind)
        elif kind in STALLED:
            self._stall()
        elif dagster is not None:
            kind = self._end_dagster(kind, dagster)
        self.kills[kind] += 1

    def rest(self, dagster: Dagster | None = None) -> Verdict:
        """Let everything that is to be done be done, by the sensor where Dagster runs, and judge."""
        for one in self.inboxes.values():
            one.is_moody, one.ambush = False, None
        self.late += self.watches.missed()
        self.market.tape.finish()
        if dagster is None:
            self.processes.run_to_end()
        else:
            self._wait_for_the_sensor(dagster)
        self.processes.wait_until(lambda: not self._count(_UNSETTLED), "the delivery of all messages", 240)
        verdict = judge(self.market, self.inboxes, self.processes.kills, self.watches.lifetimes)
        verdict.missed += self.late
        for one in self.inboxes.values():
            one.is_moody = True
        self.processes.has_runs = dagster is None
        return verdict

    @contextmanager
    def dagster(self) -> Iterator[Dagster]:
        """Leave the runs to Dagster's sensor."""
        self.processes.has_runs = False
        self.processes.wait_until(lambda: not self.processes.is_running, "the end of the runs", 120)
        dagster = Dagster(self.processes.settings)
        try:
            dagster.start(self.processes.wait_until)
            self.processes.beside = dagster.tend
            before = self._count(_SENSORS_RUNS)
            yield dagster
            self.sensors_runs += self._count(_SENSORS_RUNS) - before
        finally:
            self.processes.beside = None
            dagster.stop()
            self.processes.has_runs = True

    def _end_relay(self, kind: str) -> str:
        if kind in {"relay killed", "relay terminated"}:
            self.processes.pause(self.chance.random() * _RUN_SECONDS / 2)
            how = signal.SIGKILL if kind == "relay killed" else signal.SIGTERM
            self.processes.end_relay(self.chance, how)
            return kind
        chosen = self.inboxes[self.chance.choice(sorted(self.inboxes))]
        delay = None if kind == "relay killed as the receiver answers" else self.chance.random() * _RACE_SECONDS
        before = len(self.processes.kills)

        def ambush(port: int, answer: Callable[[], None]) -> None:
            self.processes.kill_around_answer(port, answer, delay)

        chosen.ambush = ambush
        steps = self.processes.every(1.0, self.market.step)
        is_over = self.processes.after(_AMBUSH_SECONDS)
        self.processes.wait_until(lambda: len(self.processes.kills) > before or steps() or is_over(), "an ambush")
        if len(self.processes.kills) > before:
            return kind
        chosen.ambush = None  # nothing came
        self.processes.end_relay(self.chance, signal.SIGKILL)
        return "relay killed"

    def _end_run(self, kind: str) -> None:
        if kind == "all killed at once":
            self.processes.pause(self.chance.random() * _RUN_SECONDS)
            self.processes.kill_all()
            self.watches.kill()
            self._go_on_without_watch()
        else:
            how = signal.SIGKILL if kind == "run killed" else signal.SIGTERM
            self.processes.end_run(self.chance, how, _RUN_SECONDS)

    def _end_watch(self, kind: str) -> None:
        if kind == "watch terminated":
            self.watches.replace(self.chance)
            self.late += self.watches.missed()
            return
        if kind == "watch killed":
            self.watches.kill_soon(self.chance)
        else:
            self.watches.kill_around_commit(self.chance, is_blocked=kind == "watch killed as it records")
        self._go_on_without_watch()

    def _stall(self) -> None:
        """Have the marts look at alerts of which they have not read the messages, though their tape has passed the minutes."""
        self.market.tape.finish(ahead=_AHEAD_MINUTES)
        self.processes.run_once()
        self.watches.kill_soon(self.chance)
        self.watches.start()
        self.late += self.watches.missed()
        self.processes.run_once()

    def _go_on_without_watch(self) -> None:
        """Let trades come, and perhaps their bars, before there is a watch again; it has to make up for what has no bars."""
        for _ in range(self.chance.randrange(3)):
            self.market.tape.trade()
        if self.chance.random() < self.tilt.landed:
            self.market.tape.land(is_whole=self.tilt.landed == 1 or self.chance.random() < 0.5)
        self.watches.start()
        if self.chance.random() < 0.5:
            self.market.tape.trade()
        if self.chance.random() < self.tilt.amended:
            self.market.tape.amend()
        self.late += self.watches.missed()

    def _end_dagster(self, kind: str, dagster: Dagster) -> str:
        steps = self.processes.every(1.0, self.market.step)
        # Many in a row, and now and then time enough for the sensor's next tick and a run.
        is_over = self.processes.after(1 + 45 * self.chance.random() ** 2)
        self.processes.wait_until(lambda: steps() or is_over(), "a pause")
        if kind == "run of the sensor killed":
            is_over = self.processes.after(12)
            self.processes.wait_until(lambda: dagster.runs() or steps() or is_over(), "a run")
            self.processes.pause(self.chance.random() * _RUN_SECONDS)
            if found := dagster.runs():
                self.chance.choice(found).kill()
                return kind
            kind = "code server killed"
        if kind == "code server killed":
            dagster.kill_code_server()
        else:
            dagster.end_daemon(self.chance, signal.SIGKILL if kind == "daemon killed" else signal.SIGTERM)
        return kind

    def _wait_for_the_sensor(self, dagster: Dagster) -> None:
        """Wait until nothing is queued; what was tried too often while runs were killed is tried again with the next change."""
        ticks = self.processes.every(45.0, self.market.tick)
        self.processes.wait_until(
            lambda: (not dagster.runs() and not self._count(_UNSEEN)) or ticks(), "a run of the sensor", 400
        )

    def _count(self, query: str) -> int:
        ((number,),) = self.market.connection.execute(query.encode()).fetchall()
        return int(number)


@contextmanager
def campaign(settings: Settings, servers: str, folder: Path, seed: int, bug: str | None = None) -> Iterator[Campaign]:
    """Yield a platform with its rules, two receivers, two relays, two runs and a watch, on an empty database with its marts."""
    outbox = Outbox(settings)
    connection: psycopg.Connection[Any] = outbox.connection
    chance = random.Random(seed)
    with ExitStack() as stack:
        stack.callback(connection.close)
        session = newest_session(datetime.now(UTC))
        tape = Tape(connection, servers, session, random.Random(seed + 10))
        market = Market(connection, random.Random(seed + 1), tape, session)
        connection.execute(_BATCH)
        # As on a platform that is older than a day: the night has said since when sessions are kept.
        move_tiers(settings, {INTRADAY.name: market.session.open_at - timedelta(days=30)}, datetime.now(UTC))
        add_rules(settings, [watched.rule for watched in WATCHED], market.session.open_at - timedelta(days=1))
        inboxes = {
            name: stack.enter_context(inbox(seed + number)) for number, name in enumerate((HOOK, OTHER), start=2)
        }
        for name, one in inboxes.items():
            outbox.channel(name, one.receiver.url, timeout_seconds=TIMEOUT_SECONDS)
        market.open()
        processes = Processes(settings, folder, bug)
        stack.callback(processes.stop)
        with_broker = settings.model_copy(update={"kafka_bootstrap_servers": servers})
        watches = Watches(with_broker, folder, tape, processes, bug)
        stack.callback(watches.stop)
        yield Campaign(market, inboxes, processes, watches.start(), chance)
