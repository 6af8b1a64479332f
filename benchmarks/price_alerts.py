"""How long it takes from a trade to the receiver of the alert that it makes, at 5,000 trades a second.

Kafka, PostgreSQL, the watch over prices and the relay are processes of their own; the receiver is a server in this one, that says
200. Which trades make which alerts is worked out beforehand, rule by rule: what is missing, wrong or doubled is counted.
"""

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Final

import numpy as np
import structlog

from alerts.at_once.process import PriceWatch, Trades
from alerts.rules.rule import Rule, Trigger
from alerts.store import add_rules
from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone
from benchmarks.receiver import Receiver, receiving
from ingest.publisher import Publisher
from ingest.tail import Tail
from ingest.topics import ensure_topics
from market.errors import ServiceError
from market.records import Trade
from market.sessions import Session, latest_session
from market.settings import CHECKOUT, Settings
from market.topics import TRADES
from orchestration.alert_relay import configure_logging
from warehouse.connection import connect
from warehouse.schema import migrate

SYMBOLS: Final = 500
RULES: Final = 10_000
RATE: Final = 5_000
WARM_SECONDS: Final = 10
SECONDS: Final = 90
LATE_MS: Final = 1_000.0
_PARTS_A_SECOND: Final = 50
_CENTS_APART: Final = 40
_CHANNEL: Final = "bench"
_SETTLE_SECONDS: Final = 5.0
_READY_SECONDS: Final = 60.0
_BAR: Final = """
insert into lake.bars_1m (
    source, symbol, bar_at, session_date, segment, open, high, low, close, volume, notional, vwap, trade_count,
    excluded_trade_count, left_out, cancelled_trade_count, corrected_trade_count, revision, revised_at
)
values ('bench', %s, %s, %s, 'regular', %s, %s, %s, %s, 100, 1, 1, 1, 0, null, 0, 0, 1, now())
"""

Key = tuple[int, str, str]
"""Rule, symbol, start of the bar."""

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the quantiles, and what is not as it should be."""
    market = _Market(_newest_that_is_over())
    with scratch_engines(settings) as engines, receiving() as receiver:
        migrate(engines)
        ensure_topics(engines.require_kafka())
        rules = market.rules()
        with connect(engines) as owner:
            owner.cursor().executemany(_BAR, market.bars_before())
            owner.execute(
                f"insert into app.alert_channels values ('{_CHANNEL}', %s, null, true, 0, 0, 900, 10, false, false, now())",  # noqa: S608 - a name of our own
                [receiver.url],
            )
        numbers = add_rules(engines, rules, market.session.open_at - timedelta(days=1))
        expected = market.alerts(numbers)
        _log.info("price_alerts", step="the tape is made", trades=len(market.tape), alerts=len(expected))
        with _watching(engines, market.session.close_at), _relaying(engines):
            published = _publish(engines, market.tape)
            _wait(receiver, len(expected))
        yield from _figures(receiver, expected, published)


class _Market:
    """Random walks of some hundred symbols by the cent, and rules on them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        chance = random.Random(1)
        self._symbols = [f"S{number:03}" for number in range(1, SYMBOLS + 1)]
        self._first = {symbol: chance.randrange(5_000, 50_000) for symbol in self._symbols}
        cents = dict(self._first)
        self.tape: list[Trade] = []
        begun = round(session.open_at.timestamp() * 10**6)
        for number in range(RATE * (WARM_SECONDS + SECONDS)):
            symbol = chance.choice(self._symbols)
            cents[symbol] += chance.choice((-1, 0, 1))
            at = begun + number * (10**6 // RATE)
            price = Decimal(cents[symbol]).scaleb(-2)
            self.tape.append(Trade("bench", symbol, at, price, 100, f"t{number}", sequence=number))
        self._levels = {
            symbol: [first + 7 + _CENTS_APART * step for step in range(-RULES // SYMBOLS // 2, RULES // SYMBOLS // 2)]
            for symbol, first in self._first.items()
        }

    def rules(self) -> list[Rule]:
        """Return the rules, in the order of symbols and levels."""
        return [
            Rule(
                f"{symbol} {place}", f"price crosses {level / 100:.2f}", symbol,
                trigger=Trigger.AT_ONCE, channels=(_CHANNEL,),
            )
            for symbol, levels in self._levels.items()
            for place, level in enumerate(levels)
        ]  # fmt: skip

    def bars_before(self) -> list[tuple[object, ...]]:
        """Return the bars of the minute before the first."""
        before = latest_session(self.session.open_at - timedelta(hours=1))
        at = before.close_at - timedelta(minutes=1)
        return [
            (symbol, at, before.session_date, *(Decimal(cents).scaleb(-2),) * 4)
            for symbol, cents in self._first.items()
        ]

    def alerts(self, numbers: Sequence[int]) -> dict[Key, int]:
        """Return each alert that there ought to be, with the place in the tape of the trade that makes it.

        By the definition, level by level: a minute went above a level at or above which the one before did not close, or below.
        """
        numbered = iter(numbers)
        rules = {(symbol, level): next(numbered) for symbol, levels in self._levels.items() for level in levels}
        found: dict[Key, int] = {}
        minute: dict[str, int] = {}
        before: dict[str, int] = {}
        last = dict(self._first)
        for place, trade in enumerate(self.tape):
            symbol, cents, bar_at = trade.symbol, int(trade.price * 100), trade.ts // 60_000_000
            if minute.get(symbol) != bar_at:
                minute[symbol], before[symbol] = bar_at, last[symbol]
            last[symbol] = cents
            was = before[symbol]
            for level in self._levels[symbol]:
                if (cents > level and was <= level) or (cents < level and was >= level):
                    at = datetime.fromtimestamp(bar_at * 60, UTC).isoformat()
                    found.setdefault((rules[symbol, level], symbol, at), place)
        return found


def _newest_that_is_over() -> Session:
    session = latest_session(datetime.now(UTC))
    while session.close_at > datetime.now(UTC):
        session = latest_session(session.open_at - timedelta(seconds=1))
    return session


def _publish(engines: Settings, tape: Sequence[Trade]) -> list[float]:
    """Publish the tape at its pace, and return when each part of it was handed to the producer."""
    size, published = RATE // _PARTS_A_SECOND, []
    _log.info("price_alerts", step=f"{RATE} trades/s")
    with Publisher(engines.require_kafka()) as publisher:
        due = time.monotonic()
        for first in range(0, len(tape), size):
            published.append(time.time())
            publisher.publish_all(tape[first : first + size])
            due += 1 / _PARTS_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
    return published


def _wait(receiver: Receiver, count: int) -> None:
    try:
        receiver.wait_for(count, _READY_SECONDS)
    except ServiceError as error:
        _log.warning("price_alerts", step="some are missing", cause=str(error))
    time.sleep(_SETTLE_SECONDS)  # whatever comes twice comes soon


def _figures(receiver: Receiver, expected: dict[Key, int], published: Sequence[float]) -> Iterator[Figure]:
    arrived: dict[Key, float] = {}
    counts: Counter[Key] = Counter()
    for taken in receiver.taken:
        alert = json.loads(taken.body)["alert"]
        key = alert["rule_id"], alert["symbol"], datetime.fromisoformat(alert["bar_at"]).astimezone(UTC).isoformat()
        counts[key] += 1
        arrived.setdefault(key, taken.at)
    size = RATE // _PARTS_A_SECOND
    warm = RATE * WARM_SECONDS
    timed = sorted((place, arrived[key]) for key, place in expected.items() if key in arrived and place >= warm)
    if not timed:
        msg = "No alert arrived: nothing can be said of how long they take."
        raise ServiceError(msg)
    milliseconds = np.array([1000 * (at - published[place // size]) for place, at in timed])
    name = f"a trade to its alert at the receiver at {RATE} trades/s and {RULES} rules; {{}} of {len(timed)}"
    quarters = np.array_split(milliseconds, 4)
    for what, quantile in (("median", 0.5), ("99th percentile", 0.99), ("slowest", 1.0)):
        repeats = [float(np.quantile(part, quantile)) for part in quarters if len(part)]
        yield alone(name.format(what), float(np.quantile(milliseconds, quantile)), "ms", LATE_MS, repeats)
    yield alone("alerts that are missing", len(expected.keys() - arrived.keys()), "alerts", 0)
    yield alone("alerts that ought not to be", len(arrived.keys() - expected.keys()), "alerts", 0)
    yield alone("alerts that came twice", sum(count - 1 for count in counts.values()), "alerts", 0)


@contextmanager
def _watching(settings: Settings, now: datetime) -> Iterator[None]:
    """Run the watch in a process of its own, to which a session is the newest that begins."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_watch, args=(settings, now, ready))
    process.start()
    try:
        if not ready.wait(_READY_SECONDS):
            msg = f"The watch over prices did not begin in {_READY_SECONDS:g} s."
            raise ServiceError(msg)
        yield
    finally:
        process.terminate()
        process.join()


def _watch(settings: Settings, now: datetime, ready: Event) -> None:
    configure_logging(settings)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def open_trades(offsets: Mapping[int, int]) -> Trades:
        tail = Tail(settings.require_kafka(), TRADES, offsets).open()
        ready.set()
        return tail

    PriceWatch(settings, open_trades, lambda: now).run(stop)


@contextmanager
def _relaying(settings: Settings) -> Iterator[None]:
    log = Path(settings.home) / "relay.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.alert_relay"],
            env=settings.child_environment(), cwd=CHECKOUT, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while "relay_listens" not in log.read_text():
                if time.monotonic() > deadline:
                    msg = f"The relay did not begin in {_READY_SECONDS:g} s: {log.read_text()[-500:]}"
                    raise ServiceError(msg)
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait()
