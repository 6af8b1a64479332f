"""The process that watches prices, to be killed: while trades come, and around the commit of what it records.

It is a fork as relays and runs are; what runs is its ``main``. Nothing starts it again by itself: so it is known which bars it
began with, and from which message on it reads.
"""

import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final, Self

import psycopg
import pytest

from alerts.at_once.process import APPLICATION
from market.settings import Settings
from tests.faults.alert_at_once import Lifetime, missing, rows
from tests.faults.alert_processes import CONTEXT, Processes, become
from tests.faults.alert_rules import SURE
from tests.faults.alert_tape import Tape

READS: Final = "reads"

_TABLES: Final = ("app.alerts", "app.alert_outbox", "app.pending_evaluations")
"""What it writes into, in this order, in one transaction."""
_SOON_SECONDS: Final = 0.1
_COMMIT_SECONDS: Final = 0.02
_WAITING: Final = "select count(*) from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"


def watch(settings: Settings, log: Path, bug: str | None, day_is_over_at: datetime, tell: Connection) -> None:
    """Be the process of the watch, for which it is evening: trades of a session that goes on yet are none of the future."""
    from alerts.at_once.minutes import micros
    from alerts.at_once.watcher import Watcher
    from ingest.tail import Tail
    from orchestration import price_alerts

    become(settings, log, bug)
    take, begin, evening = Watcher.take, Tail.open, micros(day_is_over_at)

    def begin_and_tell(self: Tail) -> Tail:
        begin(self)
        tell.send(READS)
        return self

    patch = pytest.MonkeyPatch()
    patch.setattr(Watcher, "take", lambda self, messages, now: take(self, messages, max(now, evening)))
    patch.setattr(Tail, "open", begin_and_tell)
    sys.exit(price_alerts.main())


@dataclass
class _Watch:
    process: ForkServerProcess
    told: Connection
    lifetime: Lifetime

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


@dataclass
class Watches:
    """The watch under way, and all that there were.

    Attributes
    ----------
    settings, folder, bug
        As of the other processes, with a broker.
    tape
        What is watched.
    processes
        The other processes, which go on while somebody waits.
    lifetimes
        Those of all watches so far.
    """

    settings: Settings
    folder: Path
    tape: Tape
    processes: Processes
    bug: str | None = None
    lifetimes: list[Lifetime] = field(default_factory=list)
    _under_way: list[_Watch] = field(default_factory=list)

    def start(self) -> Self:
        """Start a watch, and wait until it reads; no bars may be published meanwhile."""
        told, tell = CONTEXT.Pipe(duplex=False)
        arguments = (self.settings, self.folder / "watch.log", self.bug, self.tape.session.post_close_at, tell)
        process = CONTEXT.Process(target=watch, args=arguments)
        process.start()
        tell.close()
        started = _Watch(process, told, Lifetime(self.tape.landings[-1]))
        self._under_way.append(started)
        self.lifetimes.append(started.lifetime)
        self.processes.wait_until(told.poll, "the beginning of a watch")
        return self

    def kill(self) -> None:
        """Kill the watch."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the watch to stop, or the older one of two, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill_around_commit(self, chance: random.Random, *, is_blocked: bool) -> None:
        """Kill the watch while it records: at one of its statements, or just as the transaction goes on to its end."""
        info = self.tape.connection.info
        table = chance.choice(_TABLES)
        with psycopg.connect(info.dsn, password=info.password) as connection:
            connection.execute(f"lock table {table} in share mode".encode())
            self.tape.trade_surely()
            self.processes.wait_until(self._waits, "the recording of an alert")
            if is_blocked:
                self.kill()
            connection.commit()
        if not is_blocked:
            time.sleep(chance.random() * _COMMIT_SECONDS)
            self.kill()

    def kill_soon(self, chance: random.Random) -> None:
        """Kill the watch at some moment while it reads what has just come."""
        self._trade(chance)
        time.sleep(chance.random() * _SOON_SECONDS)
        self.kill()

    def replace(self, chance: random.Random) -> None:
        """Have another watch beside this one for a while, and then this one stop."""
        self.start()
        self._trade(chance)
        time.sleep(chance.random() * _SOON_SECONDS)
        self.terminate()

    def missed(self) -> list[str]:
        """Return what the watch under way ought to have recorded of what is in the topic, once it has read all of that."""
        minute = self.tape.trade_surely()
        sure = {(SURE, symbol, minute) for symbol in self.tape.symbols}

        def is_there() -> bool:
            found = {(row.rule, row.symbol, self.tape.minute_of(row.bar_at)) for row in rows(self.tape)}
            return sure <= found

        self.processes.wait_until(is_there, "the recording of what was sure to fire")
        return missing(self.tape, self._under_way[-1].lifetime)

    def stop(self) -> None:
        for one in self._under_way:
            one.process.kill()
            one.process.join()

    def _trade(self, chance: random.Random) -> None:
        self.tape.trade_surely()
        for _ in range(chance.randrange(4)):
            self.tape.trade()

    def _waits(self) -> bool:
        ((number,),) = self.tape.connection.execute(_WAITING, [APPLICATION]).fetchall()
        return bool(number)

    def _end(self, how: signal.Signals) -> None:
        one = self._under_way.pop(0)
        os.kill(one.pid, how)
        self.processes.wait_until(lambda: not one.process.is_alive(), "the end of a watch", 20)
        one.told.close()
        one.lifetime.ended = {symbol: len(messages) for symbol, messages in self.tape.messages.items()}
