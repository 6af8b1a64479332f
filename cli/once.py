"""``./run up --once``: a bounded input, taken to the end of every stage and proved."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

import psutil
from rich.console import Console
from rich.table import Table

from cli import services
from cli.replay import parse_day, publishing_progress
from cli.running import Platform, running_platform, say
from ingest.feeds import Feed, FeedRequest, get_feed
from market.errors import FeedError, ServiceError
from market.instruments import parse_symbols
from market.sessions import latest_session

if TYPE_CHECKING:
    from ingest.publisher import PublishSummary
    from market.settings import Settings

COMMAND: Final = "./run up --once"
DEFAULT_FEED: Final = "simulated"
MOST_FAILURES: Final = 4
WAIT_SECONDS: Final = 3600.0
_LONGEST_SESSION: Final = timedelta(hours=10, minutes=30)
"""From the open to the end of the post segment on a whole day."""
_RETRY_SECONDS: Final = 1.0
_LINE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class OnceOptions:
    """What the user asked for, as it was written."""

    feed: str | None
    symbols: str | None
    path: Path | None
    start: str | None
    end: str | None


@dataclass(slots=True)
class Stages:
    """How long each stage took, in seconds of wall time."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time the block as the stage ``name``."""
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def run_once(settings: "Settings", options: OnceOptions) -> bool:
    """Take the input to the end of every stage, print a summary, and return whether everything held.

    Raises
    ------
    UsageError
        If the request cannot be met: nothing was started or published.
    HomeBusyError
        If the platform of this home is running.
    ServiceError
        If an engine could not be started, or a stage failed but for the models and their tests: what they say is printed.
    PublishError
        If a record was not acknowledged.
    """
    stages = Stages()
    with stages.timed("check of the input"):
        feed, request = _request(settings, options)
        total = feed.check(request)
    if total == 0:
        msg = f"The feed {feed.name} has no record for this request. Choose other symbols or days."
        raise FeedError(msg)
    engines_started = time.monotonic()
    with running_platform(settings, COMMAND, most_failures=MOST_FAILURES) as platform:
        platform.started()
        say(f"Taking {total:,} records of the feed {feed.name} to the end of every stage …")
        stages.seconds["start of the engines"] = time.monotonic() - engines_started
        summary = _publish(platform, feed, request, stages)
        _wait_for_lake(platform, stages)
        with stages.timed("history and marts, after the lake"):
            failure = platform.wait_for_task(services.JOBS)
        with stages.timed("proof of the laws"):
            holds = platform.while_supervised(lambda: _laws_hold(platform))
        _show(platform, summary, stages)
        stop_started = time.monotonic()
    say(f"Stopped in {time.monotonic() - stop_started:.1f} s. Everything is kept: ./run up shows it.")
    if failure is not None:
        say(
            "A model or a test of the marts failed, as said above. ./run up shows the run in Dagster, and answers questions."
        )
    say(f"{'Every law holds' if holds else 'A law is broken'}. Wall time {_wall_seconds():.1f} s.")
    return holds and failure is None


def _request(settings: "Settings", options: OnceOptions) -> tuple[Feed, FeedRequest]:
    """Return the feed and what is asked of it: for the simulated one, unless given, the newest whole session."""
    feed = get_feed(options.feed or DEFAULT_FEED)
    start = parse_day(options.start, "--start")
    symbols = parse_symbols(options.symbols) if options.symbols else ()
    if feed.name == DEFAULT_FEED:
        start = start or latest_session(datetime.now(UTC) - _LONGEST_SESSION).session_date
        symbols = symbols or settings.symbol_list
    request = FeedRequest(
        symbols=symbols,
        start=start,
        end=parse_day(options.end, "--end") or start,
        path=options.path,
        seed=settings.seed,
        trades_per_day=settings.trades_per_day,
    )
    return feed, request


def _publish(platform: Platform, feed: Feed, request: FeedRequest, stages: Stages) -> "PublishSummary":
    """Publish everything while the stream starts; then start history and the marts, which wait for the lake."""
    from ingest.replay import replay

    home, settings, supervisor = platform.home, platform.settings, platform.supervisor
    supervisor.start([services.stream_service(home, settings)], wait=False)
    stop = Event()
    try:
        with stages.timed("publishing"), publishing_progress() as on_progress:
            summary = platform.while_supervised(
                lambda: replay(settings.require_kafka(), feed, request, on_progress=on_progress, stop_event=stop)
            )
    finally:
        stop.set()
    summary.require_complete()
    # Not before: the marts wait for what the topics hold when they are asked for, and that must be everything.
    supervisor.start([services.jobs_task(home, settings, timeout_seconds=WAIT_SECONDS)], wait=False)
    return summary


def _wait_for_lake(platform: Platform, stages: Stages) -> None:
    """Wait until everything that is on the broker now is in the lake and in PostgreSQL."""
    from ingest.topics import end_offsets
    from warehouse.progress import wait_for_offsets

    settings = platform.settings
    deadline = time.monotonic() + WAIT_SECONDS
    tell = _Remaining()

    def wait() -> None:
        while True:
            try:
                ends = end_offsets(settings.require_kafka())
                left = max(0.0, deadline - time.monotonic())
                return wait_for_offsets(settings, ends, timeout_seconds=left, on_progress=tell)
            except ServiceError:  # an engine that crashed is started again meanwhile
                if time.monotonic() + _RETRY_SECONDS >= deadline:
                    raise
                time.sleep(_RETRY_SECONDS)

    with stages.timed("lake and PostgreSQL, after publishing"):
        platform.while_supervised(wait)


class _Remaining:
    """Says how many messages the lake still lacks, at most every few seconds."""

    def __init__(self) -> None:
        self._next_line_at = time.monotonic() + _LINE_SECONDS

    def __call__(self, remaining: int) -> None:
        if remaining and time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + _LINE_SECONDS
            say(f"The lake still lacks {remaining:,} messages …")


def _laws_hold(platform: Platform) -> bool:
    from cli.verify import run_verify

    return run_verify(platform.settings, complete=True)


def _show(platform: Platform, summary: "PublishSummary", stages: Stages) -> None:
    """Print what was published, what every table holds, and how long each stage took."""
    from cli.replay import show_summary
    from warehouse.progress import stream_status

    console = Console(soft_wrap=True)
    show_summary(summary)
    status = stream_status(platform.settings)
    rows = Table("what", "rows", title="Now there are")
    rows.columns[1].justify = "right"
    counts = {
        "messages taken in": sum(status.next_offsets.values()),
        "lake.bars_1m": status.bars,
        "lake.vendor_bars": status.vendor_bars,
        "lake.latest_quotes": status.quoted_symbols,
        **{f"marts.{name}": number for name, number in status.marts.items()},
        **{f"missing bars, {reason}": number for reason, number in status.missing_bars.items()},
    }
    for name, number in counts.items():
        rows.add_row(name, f"{number:,}")
    console.print(rows)
    times = Table("stage", "seconds", title="Wall time")
    times.columns[1].justify = "right"
    for stage, seconds in stages.seconds.items():
        times.add_row(stage, f"{seconds:.1f}")
    console.print(times)


def _wall_seconds() -> float:
    """Return the seconds since this process began, the start of ``./run`` included."""
    return time.time() - psutil.Process().create_time()
