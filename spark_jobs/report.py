"""What the deep path says of a session, as a line of JSON; and the deep path as a process, for whoever wants it done.

Nothing in here knows Spark or reads a table: commands and Dagster import it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from threading import Thread
from typing import IO, Any, Final

from market.errors import ServiceError, UsageError
from market.settings import CHECKOUT, Settings

_MODULE: Final = "spark_jobs.jobs.recompute"
_TOUCHED: Final = "spark_jobs.jobs.touched"
_STOP_SECONDS: Final = 20.0
_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Differences:
    """How many rows of a table are wrong.

    Attributes
    ----------
    missing
        Rows that ought to be there and are not.
    unexpected
        Rows that ought not to be there; of a row that is there more than once, all but one.
    different
        Rows with another value than they ought to have.
    """

    missing: int = 0
    unexpected: int = 0
    different: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.missing + self.unexpected + self.different

    def __add__(self, other: "Differences") -> "Differences":
        """Return the sum of both."""
        return Differences(
            self.missing + other.missing, self.unexpected + other.unexpected, self.different + other.different
        )


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What was found of a session.

    Attributes
    ----------
    session_date
        The session; ``None`` stands for what is not worked out by session: cancels and corrections, halts, messages that broke
        a rule, vendor bars, corporate actions, and the rows of heartbeats.
    trades, amendments, revisions, bars, quotes, vendor_bars, corporate_actions, heartbeats, rejected
        How many were worked out.
    differences
        By the table's path, or its name in PostgreSQL; tables without any are left out.
    is_repaired
        Whether the differences were put right.
    seconds
        How long it took.
    until
        By topic the stamp of the newest batch that was looked at for sure, in epoch microseconds.
    """

    session_date: date | None
    trades: int
    amendments: int
    revisions: int
    bars: int
    differences: Mapping[str, Differences]
    is_repaired: bool
    seconds: float
    quotes: int = 0
    vendor_bars: int = 0
    corporate_actions: int = 0
    heartbeats: int = 0
    rejected: int = 0
    until: Mapping[str, int] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        """Rows that differed, in all tables."""
        return sum(found.total for found in self.differences.values())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        day = None if self.session_date is None else self.session_date.isoformat()
        return {**asdict(self), "session_date": day, "differing": self.differing}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "SessionReport":
        """Return the report of a line."""
        values = {name: line[name] for name in cls.__slots__}
        day = values["session_date"]
        found = {table: Differences(**counts) for table, counts in values["differences"].items()}
        return cls(**{**values, "session_date": day and date.fromisoformat(day), "differences": found})


@dataclass(frozen=True, slots=True)
class RecomputeRequest:
    """What to work out again.

    Attributes
    ----------
    start, end
        The first and the last session.
    symbols
        The symbols; none means all.
    dry_run
        Whether to leave everything as it is.
    """

    start: date
    end: date
    symbols: tuple[str, ...] = ()
    dry_run: bool = False

    def arguments(self) -> list[str]:
        """Return the request as the job's arguments."""
        symbols = ["--symbols", ",".join(self.symbols)] if self.symbols else []
        dry_run = ["--dry-run"] if self.dry_run else []
        return ["--start", self.start.isoformat(), "--end", self.end.isoformat(), *symbols, *dry_run]


def recompute(
    settings: Settings,
    request: RecomputeRequest,
    on_log: Callable[[str], None] | None = None,
    *,
    prefix: Sequence[str] = (),
) -> Iterator[SessionReport]:
    """Run the deep path as a process, and yield its reports as they come; the process ends with the iterator.

    Parameters
    ----------
    settings
        With the addresses of the engines.
    request
        What to do.
    on_log
        Called with each line that the process logs, from another thread; without it they go to standard error.
    prefix
        Program and arguments that start the process; by :func:`infra.local.processes.dies_with_parent` it ends with this one,
        even if this one is killed.

    Raises
    ------
    UsageError
        If there is no such session or symbol.
    ServiceError
        If the process failed.
    """
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", _MODULE, *request.arguments(), "--json"],
        cwd=CHECKOUT,
        env=settings.child_environment(),
        stdout=subprocess.PIPE,
        stderr=None if on_log is None else subprocess.PIPE,
        text=True,
    )
    try:
        if on_log is not None and process.stderr is not None:
            Thread(target=_pass_on, args=(process.stderr, on_log), daemon=True).start()
        yield from _reports(process)
    finally:
        _end(process)


def touched(settings: Settings) -> dict[str, dict[date, int]]:
    """Return by topic and session the stamp of the newest batch that stored something of it, in epoch microseconds.

    A process of its own asks the lake.

    Raises
    ------
    ServiceError
        If it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", _TOUCHED],
        cwd=CHECKOUT,
        env=settings.child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = (
            f"The lake could not be asked which sessions were touched: {(done.stderr.splitlines() or [''])[-1][-500:]}"
        )
        raise ServiceError(msg)
    return {
        topic: {date.fromisoformat(day): moment for day, moment in days.items()}
        for topic, days in json.loads(done.stdout).items()
    }


def _reports(process: "subprocess.Popen[str]") -> Iterator[SessionReport]:
    last: dict[str, Any] = {}
    for line in process.stdout or ():
        last = json.loads(line)
        if "session_date" in last:
            yield SessionReport.from_json(last)
    if "error" in last:
        raise (UsageError if last["exit_code"] == _USAGE else ServiceError)(last["error"])
    if "sessions" not in last:
        msg = f"The deep path ended with code {process.wait()} before it was done. Started again, it completes what is left."
        raise ServiceError(msg)


def _pass_on(lines: IO[str], on_log: Callable[[str], None]) -> None:
    for line in lines:
        on_log(line.rstrip())


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
