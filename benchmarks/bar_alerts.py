"""How long it takes from the end of a bar to the receiver of the alert on an indicator of it, through the whole platform.

The platform is that of ``./run up``, processes, Dagster and all, on a home of its own; trades come at 5,000 a second. A bar has
ended when its minute is over by the clock that the trades are stamped by.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import structlog

from alerts.rules.rule import Rule
from alerts.store import add_rules
from benchmarks.figures import Figure, alone
from benchmarks.receiver import Receiver, receiving
from infra.local.home import Home
from infra.local.ports import free_port
from ingest.publisher import Publisher
from market.errors import ServiceError, UsageError
from market.records import Trade
from market.sessions import Session, latest_session, session_at
from market.settings import CHECKOUT, Settings
from warehouse.connection import connect

SYMBOLS: Final = 500
RATE: Final = 5_000
WATCHED: Final = 20
"""Of so many symbols the bars are waited for."""
WARM_MINUTES: Final = 3
MINUTES: Final = 8
LATE_MS: Final = 10_000.0
_PARTS_A_SECOND: Final = 10
_CHANNEL: Final = "bench"
_READY_SECONDS: Final = 300.0
_SETTLE_SECONDS: Final = 60.0

Key = tuple[str, str]
"""Symbol, start of the bar."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Clock:
    """The trades' clock: when a session began by theirs, and by ours, in seconds since 1970."""

    open_at: float
    begun_at: float

    def ended_at(self, bar_at: datetime) -> float:
        """Return when a bar of a minute ended, by our clock."""
        return bar_at.timestamp() + 60 - self.open_at + self.begun_at


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the quantiles, and what is missing."""
    session = newest_session(datetime.now(UTC))
    symbols = [f"S{number:03}" for number in range(1, SYMBOLS + 1)]
    with receiving() as receiver, _platform(settings) as platform:
        with connect(platform) as owner:
            owner.execute(
                f"insert into app.alert_channels values ('{_CHANNEL}', %s, null, true, 0, 0, 900, 10, false, false, now())",  # noqa: S608 - a name of our own
                [receiver.url],
            )
        watched = ",".join(symbols[:WATCHED])
        rule = Rule("bars", "vwap above 0", watched, is_edge=False, warm_up=False, channels=(_CHANNEL,))
        add_rules(platform, [rule], datetime.now(UTC) - timedelta(days=30))
        clock = _publish(platform, session, symbols)
        time.sleep(_SETTLE_SECONDS)
        yield from _figures(receiver, clock, symbols[:WATCHED])


def newest_session(now: datetime) -> Session:
    """Return the session that is the newest to have begun, and has opened: alerts of older ones are history, and never sent.

    Raises
    ------
    UsageError
        Between the beginning of a session and its open.
    """
    session, begun = latest_session(now), session_at(now)
    if begun is not None and begun != session:
        msg = (
            f"The session of {begun.session_date} has begun and opens at {begun.open_at:%H:%M} UTC. Measure after that."
        )
        raise UsageError(msg)
    return session


def _publish(platform: Settings, session: Session, symbols: Sequence[str]) -> _Clock:
    """Publish random walks at the pace of the clock, from the open of the session on, and return that clock.

    It begins with a minute of the wall clock: a market's minutes end with those, and so Dagster's sensors expect it.
    """
    chance = Random(1)
    cents = dict.fromkeys(symbols, 10_000)
    size = RATE // _PARTS_A_SECOND
    clock = _Clock(session.open_at.timestamp(), time.time() // 60 * 60 + 60)
    with Publisher(platform.require_kafka()) as publisher:
        for part in range(60 * (WARM_MINUTES + MINUTES) * _PARTS_A_SECOND + _PARTS_A_SECOND):
            if part % (60 * _PARTS_A_SECOND) == 0:
                _log.info("bar_alerts", step=f"minute {part // (60 * _PARTS_A_SECOND)} of {WARM_MINUTES + MINUTES}")
            first = round((clock.open_at + part / _PARTS_A_SECOND) * 10**6)
            trades = []
            for number in range(size):
                symbol = symbols[number % SYMBOLS]
                cents[symbol] += chance.choice((-1, 0, 1))
                at = first + number * (10**6 // RATE)
                price = Decimal(cents[symbol]).scaleb(-2)
                trades.append(
                    Trade("bench", symbol, at, price, 100, f"t{part}-{number}", sequence=part * size + number)
                )
            due = clock.begun_at + (part + 1) / _PARTS_A_SECOND  # the last of them is stamped by then
            time.sleep(max(0.0, due - time.time()))
            publisher.publish_all(trades)
    return clock


def _figures(receiver: Receiver, clock: _Clock, watched: Sequence[str]) -> Iterator[Figure]:
    open_at = datetime.fromtimestamp(clock.open_at, UTC)
    minutes = [open_at + timedelta(minutes=minute) for minute in range(WARM_MINUTES, WARM_MINUTES + MINUTES)]
    expected = {(symbol, at.isoformat()): at for symbol in watched for at in minutes}
    arrived: dict[Key, float] = {}
    for taken in receiver.taken:
        alert = json.loads(taken.body)["alert"]
        key = alert["symbol"], datetime.fromisoformat(alert["bar_at"]).astimezone(UTC).isoformat()
        arrived.setdefault(key, taken.at)
    late = [(at, 1000 * (arrived[key] - clock.ended_at(at))) for key, at in expected.items() if key in arrived]
    if not late:
        msg = "No alert arrived: nothing can be said of how long they take."
        raise ServiceError(msg)
    milliseconds = np.array([taken for _, taken in late])
    by_minute = [np.array([taken for one, taken in late if one == at]) for at in minutes]
    name = f"the end of a bar to its alert at the receiver, through Dagster at {RATE} trades/s; {{}} of {len(late)}"
    for what, quantile in (("median", 0.5), ("99th percentile", 0.99), ("slowest", 1.0)):
        repeats = [float(np.quantile(part, quantile)) for part in by_minute if len(part)]
        yield alone(name.format(what), float(np.quantile(milliseconds, quantile)), "ms", LATE_MS, repeats)
    yield alone("alerts that are missing", len(expected.keys() - arrived.keys()), "alerts", 0)


@contextmanager
def _platform(settings: Settings) -> Iterator[Settings]:
    """Run ``./run up`` without a feed in a new home until its engines and Dagster are there; yield settings that lead to them."""
    with tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder:
        home = Home(Path(folder))
        unset = {"kafka_bootstrap_servers": None, "database_url": None, "lake_uri": None, "home": home.path}
        own = settings.model_copy(update=unset)
        command = [sys.executable, "-m", "cli", "up", "--feed", "none", "--dagster-port", str(free_port())]
        log = Path(folder) / "up.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command, env=own.child_environment(), cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while "DAGSTER_URL" not in home.addresses():
                if process.poll() is not None or time.monotonic() > deadline:
                    msg = f"The platform did not start: {log.read_text()[-1000:]}"
                    raise ServiceError(msg)
                time.sleep(1)
            yield own.with_addresses(home.addresses())
        finally:
            process.terminate()
            process.wait(timeout=120)
