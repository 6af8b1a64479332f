"""The figures of ``./run status``: gathered from PostgreSQL, Kafka and the operating system, each on its own.

What belongs here: gathering, with a plain reason for what could not be had. What does not: showing it.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psutil

from infra.local.home import Home, Phase, process_is_alive
from infra.local.supervisor import recorded_processes
from market.errors import TapehouseError
from market.settings import Settings

if TYPE_CHECKING:
    from ingest.live.notice import Notice
    from warehouse.progress import RowCount, StreamStatus

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """One process and everything that it started.

    Attributes
    ----------
    name
        Its name, as that of its log file.
    pid
        Its process id.
    state
        ``running``, ``paused`` or ``stopped``.
    memory_mib
        Resident memory with that of its descendants, in MiB; shared pages are counted in proportion where that is known.
    up_seconds
        Seconds since its start.
    """

    name: str
    pid: int
    state: str
    memory_mib: float
    up_seconds: float


@dataclass(frozen=True, slots=True)
class TopicFigures:
    """How far the stream is in one topic, in messages."""

    topic: str
    end: int
    taken_in: int

    @property
    def lag(self) -> int:
        """Messages that are not in PostgreSQL yet."""
        return max(0, self.end - self.taken_in)


@dataclass(slots=True)
class Figures:
    """Everything that ``./run status`` shows; what could not be had is ``None`` or empty, and ``problems`` says why."""

    phase: Phase | None
    command: str | None
    processes: list[ProcessFigures] = field(default_factory=list)
    topics: list[TopicFigures] = field(default_factory=list)
    lag_messages: int | None = None
    lag_seconds: float | None = None
    newest_bar_at: datetime | None = None
    newest_event_at: datetime | None = None
    last_batch_at: datetime | None = None
    last_batch_seconds: float | None = None
    rows: "dict[str, RowCount]" = field(default_factory=dict)
    missing_bars: dict[str, int] = field(default_factory=dict)
    live_feed: "Notice | None" = None
    problems: list[str] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether a platform runs on this home, be it still starting or about to stop."""
        return self.phase is not None

    @property
    def is_well(self) -> bool:
        """Whether everything runs that should; what starts or stops need not answer."""
        if self.phase is Phase.STOPPING:
            return True
        answers = not self.problems or self.phase is Phase.STARTING
        return answers and all(process.state == "running" for process in self.processes)

    def as_json(self) -> dict[str, Any]:
        """Return the figures with times as ISO 8601."""
        content = asdict(self)
        content["running"] = self.running
        if self.live_feed is not None:
            content["live_feed"]["since"] = self.live_feed.since.isoformat()
        content["rows"] = {name: count.rows for name, count in self.rows.items()}
        content["estimated_rows"] = [name for name, count in self.rows.items() if not count.is_exact]
        content["topics"] = [{**asdict(topic), "lag": topic.lag} for topic in self.topics]
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in content.items()}


def gather(home: Home, settings: Settings) -> Figures:
    """Return the figures of the platform on this home; asks the engines at the same time."""
    owner = home.owner()
    figures = Figures(home.phase(), owner.command if owner else None, _processes(home))
    _add_live_feed(home, figures)
    with ThreadPoolExecutor(max_workers=2) as pool:
        database = pool.submit(_database_figures, settings, figures)
        ends = _broker_ends(settings, figures)
        status = database.result()
    if status is not None and ends is not None:
        _add_lag(figures, status, ends)
    return figures


def _add_live_feed(home: Home, figures: Figures) -> None:
    """Add what the live feed says of itself, while there is a platform for it."""
    from ingest.live.notice import read_notice

    if figures.running:
        figures.live_feed = read_notice(home.path)
    if figures.live_feed is not None:
        figures.problems += feed_problems(figures.live_feed)


def feed_problems(notice: "Notice") -> list[str]:
    """Return what somebody has to mend of the live feed, with the remedies."""
    from ingest.live.notice import FeedState

    problems = []
    if notice.state is FeedState.REFUSED:
        why = notice.detail.rstrip(".")
        problems.append(
            f"The live feed has ended: {why}. Once this is mended, stop the platform and start it again "
            f"(./run down, ./run up --feed {notice.source}): what was missed is fetched then."
        )
    return problems + [f"The live feed: {text}" for text in notice.warnings]


def _database_figures(settings: Settings, figures: Figures) -> "StreamStatus | None":
    if settings.database_url is None:
        return None
    from warehouse.progress import RowCount, stream_status

    try:
        status = stream_status(settings)
    except TapehouseError as error:
        figures.problems.append(str(error))
        return None
    figures.newest_bar_at = status.newest_bar_at
    if status.last_batch is not None:
        figures.newest_event_at = status.last_batch.newest_event_at
        figures.last_batch_at = status.last_batch.published_at
        figures.last_batch_seconds = status.last_batch.duration_ms / 1000
    figures.rows = {
        "lake.bars_1m": RowCount(status.bars),
        "lake.vendor_bars": RowCount(status.vendor_bars),
        "lake.latest_quotes": RowCount(status.quoted_symbols),
        **{f"marts.{name}": rows for name, rows in status.marts.items()},
    }
    figures.missing_bars = dict(status.missing_bars)
    return status


def _broker_ends(settings: Settings, figures: Figures) -> Mapping[tuple[str, int], int] | None:
    if settings.kafka_bootstrap_servers is None:
        return None
    from ingest.topics import end_offsets

    try:
        return end_offsets(settings.kafka_bootstrap_servers)
    except TapehouseError as error:
        figures.problems.append(str(error))
        return None


def _add_lag(figures: Figures, status: "StreamStatus", ends: Mapping[tuple[str, int], int]) -> None:
    by_topic: dict[str, list[int]] = {}
    for (topic, partition), end in sorted(ends.items()):
        sums = by_topic.setdefault(topic, [0, 0])
        sums[0] += end
        sums[1] += min(end, status.next_offsets.get((topic, partition), 0))
    figures.topics = [TopicFigures(topic, end, taken_in) for topic, (end, taken_in) in by_topic.items()]
    figures.lag_messages = sum(topic.lag for topic in figures.topics)
    if figures.lag_messages == 0:
        figures.lag_seconds = 0.0
    elif status.last_batch is not None:
        # What is missing came after the last batch began: it is at most this old.
        figures.lag_seconds = max(0.0, (datetime.now(UTC) - status.last_batch.ingested_at).total_seconds())


def _processes(home: Home) -> list[ProcessFigures]:
    recorded = {name: (int(entry["pid"]), entry["started_at"]) for name, entry in recorded_processes(home).items()}
    owner = home.owner()
    if owner is not None:
        recorded = {"supervisor": (owner.pid, owner.started_at)} | recorded
    return [_process_figures(name, pid, started_at) for name, (pid, started_at) in recorded.items()]


def _process_figures(name: str, pid: int, started_at: float) -> ProcessFigures:
    if not process_is_alive(pid, started_at):
        return ProcessFigures(name, pid, "stopped", 0.0, 0.0)
    try:
        process = psutil.Process(pid)
        family = [process] if name == "supervisor" else [process, *process.children(recursive=True)]
        memory = sum(_memory_bytes(member) for member in family)
        state = "paused" if process.status() == psutil.STATUS_STOPPED else "running"
    except psutil.Error:
        return ProcessFigures(name, pid, "stopped", 0.0, 0.0)
    return ProcessFigures(name, pid, state, round(memory / MEBIBYTE, 1), round(time.time() - started_at, 1))


def _memory_bytes(process: psutil.Process) -> int:
    """Return the resident memory; PostgreSQL's processes share most of theirs, so in proportion where that can be read."""
    try:
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
