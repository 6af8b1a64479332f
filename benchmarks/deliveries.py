"""How long the relay takes over what waits for a webhook, and over one alert when nothing waits.

The receiver is a server on this machine, in this process, that says 200; limits are lifted, so that each alert is one request.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import quantiles
from time import monotonic
from typing import Final

import structlog

from alerts.delivery.relay import Outside, Relay, utc_now
from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone, spread
from benchmarks.receiver import Receiver, receiving
from market.settings import Settings
from warehouse.connection import connect
from warehouse.schema import migrate

SINGLE: Final = 300
SINGLE_MS: Final = 1000.0
BACKLOGS: Final = (1_000, 10_000)
REPEATS: Final = 3
GROWTH: Final = 1.2

_AT: Final = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)
_ALERTS: Final = """
with made as (
    insert into app.alerts
    select
        gen_random_uuid(), number, 'rule ' || number, 1, 'IBM', '1m', %(at)s, '2026-01-05', %(first)s + number, 'alert', null,
        false, 'IBM 1m: close above 100', '{"values": {"close": {"now": 101.5, "before": 99.5}}}', %(at)s, now()
    from generate_series(1, %(number)s) as number
    returning alert_id, triggered_at
)
insert into app.alert_outbox (
    delivery_id, alert_id, channel, kind, triggered_at, status, attempts, next_attempt_at, created_at
)
select gen_random_uuid(), alert_id, 'bench', 'alert', triggered_at, 'pending', 0, clock_timestamp(), clock_timestamp()
from made;
"""

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures."""
    with scratch_engines(settings, broker=False) as engines, receiving() as receiver:
        migrate(engines)
        _add_channel(engines, receiver.url)
        with _relaying(engines):
            single = [1000 * _seconds_of(engines, receiver, 1) for _ in range(SINGLE)]
            p99 = quantiles(single, n=100)[98]
            yield alone(f"one alert from its commit to the receiver; p99 of {SINGLE}", p99, "ms", SINGLE_MS, single)
            few, many = ([_of_each(engines, receiver, number) for _ in range(REPEATS)] for number in BACKLOGS)
        ratio = min(many) / min(few)
        yield Figure(
            figure=f"a delivery of {BACKLOGS[1]} that wait",
            value=min(many),
            unit="ms",
            peer=f"a delivery of {BACKLOGS[0]} that wait",
            peer_value=min(few),
            ratio=ratio,
            goal=f"ratio <= {GROWTH:g}",
            holds=ratio <= GROWTH,
            spread=spread(many),
        )


@contextmanager
def _relaying(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    relay = Relay(settings, Outside(utc_now, lambda: 1.0))
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _add_channel(settings: Settings, url: str) -> None:
    with connect(settings) as owner:
        owner.execute(
            "insert into app.alert_channels values ('bench', %s, null, true, 0, 0, 900, 10, false, false, now())", [url]
        )


def _seconds_of(settings: Settings, receiver: Receiver, number: int) -> float:
    """Return how long it takes from the commit of so many alerts until the receiver has them all."""
    before = receiver.count
    with connect(settings) as owner:
        owner.execute(_ALERTS, {"number": number, "first": before, "at": _AT})
        owner.execute("select pg_notify('alert_outbox', '')")
        owner.commit()
        begun = monotonic()
        receiver.wait_for(before + number)
        return monotonic() - begun


def _of_each(settings: Settings, receiver: Receiver, number: int) -> float:
    seconds = _seconds_of(settings, receiver, number)
    _log.info("delivered", alerts=number, seconds=round(seconds, 2))
    return 1000 * seconds / number
