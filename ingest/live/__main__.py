"""``python -m ingest.live [--feed NAME] [--closed simulated|wait] [--symbols A,B] …``: the process of the live feed."""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Final

import structlog

from ingest.history.fetch import Pace
from ingest.history.source import SourceError
from ingest.live.connection import Connection, Request
from ingest.live.covered_file import covered_file
from ingest.live.keeper import Keeper
from ingest.live.market import LiveMarket, LiveOptions
from ingest.live.notice import FeedState, NoticeBoard
from ingest.live.position import position_file
from ingest.live.reach import Reach
from ingest.live.rota import Parts, Rota
from ingest.live.source import LiveSource
from ingest.live.sources import LIVE_SOURCE_NAMES, get_live_source
from ingest.live.wanted import WantedSymbols
from ingest.pacing import SystemClock
from ingest.publisher import Publisher, PublishSummary
from ingest.topics import ensure_topics
from market.errors import ServiceError, SettingsError, TapehouseError, UsageError
from market.instruments import parse_symbols
from market.logs import log_to_standard_error
from market.settings import Settings, load_settings

SIMULATED: Final = "simulated"
AUTO: Final = "auto"
WAIT: Final = "wait"
FEEDS: Final = (SIMULATED, *LIVE_SOURCE_NAMES, AUTO)
CONNECT_SECONDS: Final = 3.0
"""Short, because a stop has to wait for it."""
DELIVERY_SECONDS: Final = 300.0
_NO_KAFKA: Final = (
    "KAFKA_BOOTSTRAP_SERVERS is not set. ./run up sets it for the processes that it starts, this one too: name the feed there "
    "(./run up --feed NAME, after ./run down if the platform runs), or set KAFKA_BOOTSTRAP_SERVERS."
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to feed the platform with: the feed, what to do while the market is closed, and symbols that somebody asked for."""

    feed: str
    closed: str
    given_symbols: tuple[str, ...]
    simulated: LiveOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish until SIGTERM or SIGINT, and return the exit code."""
    stop_event = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_event.set())
    try:
        settings = load_settings()
        _configure_logging(settings)
        choice = _choice(settings, arguments)
        if settings.kafka_bootstrap_servers is None:
            raise SettingsError(_NO_KAFKA)
        servers = settings.require_kafka()
        sources = live_sources(choice.feed, settings)
    except TapehouseError as error:
        _log.error("live_cannot_start", cause=str(error))
        return error.exit_code
    try:
        summary = _run(settings, choice, sources, servers, stop_event)
    except SourceError as error:
        _log.error("live_ends", cause=str(error))
        return error.exit_code
    _log.info(
        "live_stopped",
        sent=summary.sent,
        acknowledged=summary.acknowledged,
        failed=summary.failed,
        unknown=summary.unknown,
    )
    return 0


def live_sources(feed: str, settings: Settings) -> list[LiveSource]:
    """Return the real sources that a feed means, best first: none for the simulated market, for ``auto`` all that can be asked.

    Raises
    ------
    SourceError
        If the feed is one source, and it cannot be asked.
    """
    if feed == SIMULATED:
        return []
    if feed != AUTO:
        source = get_live_source(feed, settings)
        source.check()
        return [source]
    found = []
    for name in LIVE_SOURCE_NAMES:
        source = get_live_source(name, settings)
        try:
            source.check()
        except SourceError as error:
            _log.info("live_source_passed_over", source=name, cause=str(error))
        else:
            found.append(source)
    return found


def _run(
    settings: Settings, choice: Choice, sources: Sequence[LiveSource], servers: str, stop_event: Event
) -> PublishSummary:
    clock = SystemClock(stop_event)
    connect = partial(_connect, servers, stop_event)
    board = NoticeBoard(settings.home)
    if not sources:
        board.tell(SIMULATED, FeedState.LIVE)
        return LiveMarket(choice.simulated, connect, clock, stop_event).run()
    board.tell(choice.feed, FeedState.STARTING)
    paces = {
        source.name: Pace(source.limit, settings.home / "run" / "limits" / f"{source.name}.sqlite", stop_event)
        for source in sources
    }
    wanted = WantedSymbols(settings, choice.given_symbols)

    def keeper(source: LiveSource) -> Keeper:
        reach = Reach(
            connect=partial(Connection, source),
            fill=lambda hole: Request(source, hole, paces[source.name]),
            open_outlet=connect,
            symbols=wanted,
            tell=partial(board.tell, source.name),
            warn=partial(board.warn, f"symbols of {source.name}"),
        )
        return Keeper(source, reach, covered_file(settings.home, source.name), clock, stop_event)

    def simulate(until: Event) -> PublishSummary:
        board.tell(SIMULATED, FeedState.LIVE)
        return LiveMarket(choice.simulated, connect, clock, until).run()

    is_auto = choice.feed == AUTO
    try:
        parts = Parts(
            sources,
            keeper,
            simulate if is_auto and choice.closed == SIMULATED else None,
            ends_when_refused=not is_auto,
            tell=partial(board.tell, choice.feed),
            warn=partial(_warn, board),
        )
        return Rota(parts, clock, stop_event).run()
    finally:
        for pace in paces.values():
            pace.close()


def _warn(board: NoticeBoard, source: str, reason: str) -> None:
    board.warn(source, f"{source} is not asked again before the next session: {reason}" if reason else "")


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


def _choice(settings: Settings, arguments: Sequence[str] | None) -> Choice:
    parser = argparse.ArgumentParser(prog="python -m ingest.live", description="Publish a live market.")
    parser.add_argument("--feed", choices=FEEDS, default=settings.live_feed, help="what is published")
    parser.add_argument(
        "--closed",
        choices=(SIMULATED, WAIT),
        default=settings.closed_market,
        help="what auto does while the market is closed, or every source refuses",
    )
    parser.add_argument("--symbols", help="comma-separated tickers; the watchlist, or TAPEHOUSE_SYMBOLS, if not given")
    parser.add_argument("--speed", type=float, default=1.0, help="times the pace of the market, for the simulated one")
    parser.add_argument("--seed", type=int, default=settings.seed, help="another seed is another simulated market")
    given = parser.parse_args(arguments)
    if not 0 < given.speed < float("inf"):
        msg = f"The speed {given.speed:g} is not above zero. Give a number such as 10."
        raise UsageError(msg)
    symbols = parse_symbols(given.symbols) if given.symbols is not None else ()
    simulated = LiveOptions(
        symbols=symbols or settings.symbol_list,
        seed=given.seed,
        trades_per_day=settings.trades_per_day,
        speed=given.speed,
        position_path=position_file(settings.home),
    )
    return Choice(given.feed, given.closed, symbols, simulated)


def _configure_logging(settings: Settings) -> None:
    log_to_standard_error(settings.log_level)


if __name__ == "__main__":
    sys.exit(main())
