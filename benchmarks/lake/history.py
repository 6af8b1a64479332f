"""What the past costs: the time of a batch with one day in the lake, and of one of the same shape with thirty days.

Days of modest trading are published and taken in at once. Before and after, a new stream takes 5,000 trades a second.
"""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from statistics import median
from typing import Final

import msgspec
import structlog

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone, spread
from benchmarks.lake.live import publish, wait_for_all
from benchmarks.lake.running import MEMORY_GOAL_GIB, Watch, stream, wait_until
from benchmarks.lake.tape import disturbed, live_tape, request
from ingest.feeds import get_feed
from ingest.publisher import Publisher
from ingest.topics import ensure_topics
from market.records import Record, Trade
from market.sessions import Session, sessions_between
from market.settings import Settings
from warehouse.schema import migrate

FIRST_DAY: Final = date(2024, 4, 1)
DAYS: Final = 30
TRADES_PER_SYMBOL_AND_DAY: Final = 150
LATE_BY: Final = 20_000
RATE: Final = 5_000
WARM_SECONDS: Final = 15
MEASURED_SECONDS: Final = 30
GOAL: Final = 1.2
_QUARTERS: Final = 4

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the time of a batch with thirty days in the lake against that with one, and the memory."""
    first, *later, last = _sessions()
    with scratch_engines(settings) as engines:
        migrate(engines)
        ensure_topics(engines.require_kafka())
        _log.info("history", step="batches with one day")
        before, _ = _batches(engines, settings, first)
        _log.info("history", step=f"{len(later)} days more")
        with Publisher(engines.require_kafka()) as publisher:
            publisher.publish_all(disturbed(_days(settings, later), settings.seed, LATE_BY))
        with stream(engines, to_the_end=True) as filling:
            pass
        _log.info("history", step="batches with all of them")
        after, watch = _batches(engines, settings, last)
    value, peer_value = median(after), median(before)
    most_gib = max(filling.most_gib, watch.most_gib)
    yield Figure(
        figure=f"time of a batch at {RATE} trades/s with {DAYS} days in the lake",
        value=value,
        unit="ms",
        peer="the same with one day",
        peer_value=peer_value,
        ratio=value / peer_value,
        goal=f"ratio <= {GOAL}",
        holds=value <= GOAL * peer_value,
        spread=spread([median(after[start::_QUARTERS]) for start in range(_QUARTERS)]),
    )
    yield alone(f"memory of the stream with {DAYS} days in the lake", most_gib, "GiB", MEMORY_GOAL_GIB)


def _sessions() -> list[Session]:
    """Return thirty sessions and one more; none of them a half-day, all in the same half of the year."""
    sessions = sessions_between(FIRST_DAY, FIRST_DAY + timedelta(days=2 * DAYS))
    whole = [session for session in sessions if session.close_at - session.open_at == timedelta(hours=6.5)]
    return whole[: DAYS + 1]


def _days(settings: Settings, sessions: list[Session]) -> Iterator[Record]:
    """Yield the same day again and again, each time as of another session."""
    origin = sessions[0]
    source = get_feed("simulated").read(request(settings, origin.session_date, TRADES_PER_SYMBOL_AND_DAY))
    day = [record for record in source if isinstance(record, Trade)]
    for session in sessions:
        shift = int((session.open_at - origin.open_at).total_seconds()) * 1_000_000
        for trade in day:
            own = f"{session.session_date:%Y%m%d}:{trade.trade_id}"
            yield msgspec.structs.replace(trade, ts=trade.ts + shift, trade_id=own)


def _batches(engines: Settings, settings: Settings, session: Session) -> tuple[list[float], Watch]:
    """Run a new stream at the steady rate; return how many milliseconds each of its batches took from plan to PostgreSQL."""
    count = RATE * (WARM_SECONDS + MEASURED_SECONDS)
    name = f"{session.session_date:%Y%m%d}live"
    tape = iter(live_tape(settings, session, ((RATE, RATE), (count, RATE)), name))
    with stream(engines) as watch:
        publish(engines, tape, RATE, most=RATE // 10)
        wait_until(lambda: bool(watch.seen_at), "the first batch")
        warm = time.time() + WARM_SECONDS
        publish(engines, tape, RATE)
        wait_for_all(engines)
    batches = sorted((at.timestamp(), seen) for at, seen in watch.seen_at.items())
    return [(seen - planned) * 1000 for planned, seen in batches if planned >= warm], watch
