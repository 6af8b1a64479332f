"""``python -m ingest.live [--symbols A,B] [--speed N] [--seed N]``: the process of the simulated live market."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from threading import Event
from typing import Final

import structlog

from ingest.live.market import LiveMarket, LiveOptions
from ingest.live.position import position_file
from ingest.pacing import SystemClock
from ingest.publisher import Publisher
from ingest.topics import ensure_topics
from market.errors import ServiceError, TapehouseError, UsageError
from market.instruments import parse_symbols
from market.settings import Settings, load_settings

CONNECT_SECONDS: Final = 3.0
"""Short, because a stop has to wait for it."""
DELIVERY_SECONDS: Final = 300.0

_log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish the simulated market until SIGTERM or SIGINT, and return the exit code."""
    stop_event = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_event.set())
    try:
        settings = load_settings()
        _configure_logging(settings)
        options = _options(settings, arguments)
        servers = settings.require_kafka()
    except TapehouseError as error:
        _log.error("live_cannot_start", cause=str(error))
        return error.exit_code
    market = LiveMarket(options, lambda: _connect(servers, stop_event), SystemClock(stop_event), stop_event)
    summary = market.run()
    _log.info(
        "live_stopped",
        sent=summary.sent,
        acknowledged=summary.acknowledged,
        failed=summary.failed,
        unknown=summary.unknown,
    )
    return 0


def _connect(bootstrap_servers: str, stop_event: Event) -> Publisher:
    publisher = Publisher(
        bootstrap_servers,
        connect_timeout_seconds=CONNECT_SECONDS,
        delivery_timeout_seconds=DELIVERY_SECONDS,
        stop_event=stop_event,
    ).open()
    try:
        ensure_topics(bootstrap_servers, timeout_seconds=CONNECT_SECONDS)
    except ServiceError:
        publisher.close(0)
        raise
    return publisher


def _options(settings: Settings, arguments: Sequence[str] | None) -> LiveOptions:
    parser = argparse.ArgumentParser(prog="python -m ingest.live", description="Publish a simulated live market.")
    parser.add_argument("--symbols", default=settings.symbols, help="comma-separated tickers")
    parser.add_argument("--speed", type=float, default=1.0, help="times the pace of the market")
    parser.add_argument("--seed", type=int, default=settings.seed, help="another seed is another market")
    given = parser.parse_args(arguments)
    if not 0 < given.speed < float("inf"):
        msg = f"The speed {given.speed:g} is not above zero. Give a number such as 10."
        raise UsageError(msg)
    return LiveOptions(
        symbols=parse_symbols(given.symbols),
        seed=given.seed,
        trades_per_day=settings.trades_per_day,
        speed=given.speed,
        position_path=position_file(settings.home),
    )


def _configure_logging(settings: Settings) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
