"""The deep path as a process: ``python -m spark_jobs.jobs.recompute --start D --end D [--symbols A,B] [--dry-run] [--json]``.

Works everything that follows from some sessions' messages out again from bronze, by the stream's own transforms, compares it with
what is stored, and puts right what differs. It goes on beside the stream: it compares without a lock, only what has reached
PostgreSQL, and holds off the stream's batches of a topic only while it repairs a part of a session.

With ``--json`` each session is a line on standard output (:mod:`spark_jobs.report`). Exits with 1 if a dry run found a
difference or something failed, 2 for wrong usage.
"""

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Final, NoReturn, Protocol

import structlog

from market import tables
from market.errors import CheckpointError, ServiceError, TapehouseError, UsageError
from market.instruments import parse_symbols
from market.logs import log_to_standard_error
from market.sessions import Session, sessions_between
from market.settings import Settings, load_settings
from spark_jobs.io.checkpoint import checkpoints_of, read_query_id
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.compared import LakeRows, PostgresRows, Rows
from spark_jobs.jobs.deep_kinds import CorporateActionsTopic, QuotesTopic, TradesTopic, VendorBarsTopic
from spark_jobs.jobs.deep_topic import DeepTopic, Part, Work, WorkedOut
from spark_jobs.jobs.locks import BatchLock
from spark_jobs.jobs.scratch import scratch_folder
from spark_jobs.jobs.stored import Postgres
from spark_jobs.report import Differences, RecomputeRequest, SessionReport
from spark_jobs.transforms.kinds import RecordKind

log = structlog.get_logger()

MOST_RECORDS: Final = 2_000_000
"""So many records of a session are worked out at once, or those of one symbol: memory grows with them."""

_LOCK_SECONDS: Final = 900.0
_LOOK_SECONDS: Final = 60.0
"""A look at PostgreSQL is not kept open for longer, nor what came since left to be decoded under a lock."""
_COUNTS: Final = (
    "trades",
    "amendments",
    "revisions",
    "bars",
    "quotes",
    "vendor_bars",
    "corporate_actions",
    "heartbeats",
    "rejected",
)


class Locks(Protocol):
    """Returns the lock of a topic's batches."""

    def __call__(self, kind: RecordKind) -> BatchLock:
        """Return it."""


class Recompute:
    """One run of the deep path.

    Parameters
    ----------
    work
        What there is to do.
    lock
        The locks of the stream's home.
    """

    def __init__(self, work: Work, lock: Locks) -> None:
        self._work = work
        self._lock = lock
        self._looked_at: dict[str, float] = {}

    def run(self) -> Iterator[SessionReport]:
        """Compare and repair: first what belongs to no session, then session by session.

        Raises
        ------
        ServiceError
            If an engine cannot be reached, messages are missing in bronze, or a repair did not last.
        """
        for table in tables.LAKE_TABLES:
            self._work.lake.create(table)
        kinds = (TradesTopic, QuotesTopic, VendorBarsTopic, CorporateActionsTopic)
        topics: list[DeepTopic] = [kind(self._work) for kind in kinds]
        try:
            for topic in topics:  # before anything is changed: what bronze lacks shows here
                self._look(topic)
            yield self._settle(topics, None)
            for session_date in sorted(set().union(*(topic.sessions() for topic in topics))):
                yield self._settle(topics, session_date)
        finally:
            for topic in topics:
                topic.close()

    def _settle(self, topics: Sequence[DeepTopic], session_date: date | None) -> SessionReport:
        """Compare a session, or what belongs to none, and repair what differs."""
        started = time.monotonic()
        found: dict[str, Differences] = {}
        counts: Counter[str] = Counter()
        for topic in topics:
            if time.monotonic() - self._looked_at[topic.kind.name] > _LOOK_SECONDS:
                self._look(topic)
            for part in topic.beside() if session_date is None else topic.of_session(session_date):
                worked_out = part.work_out()
                if differing(worked_out) and not self._work.request.dry_run:
                    worked_out = self._repair(topic, part, worked_out, session_date)
                counts.update(worked_out.counts)
                for name, differences in differing(worked_out).items():
                    found[name] = found.get(name, Differences()) + differences
        report = SessionReport(
            session_date=session_date,
            differences=found,
            is_repaired=bool(found) and not self._work.request.dry_run,
            seconds=round(time.monotonic() - started, 3),
            until={topic.kind.topic.name: topic.until_micros for topic in topics},
            **{name: counts[name] for name in _COUNTS},
        )
        log.info("session_recomputed", session_date=str(session_date), differing=report.differing, **_counted(counts))
        return report

    def _look(self, topic: DeepTopic) -> None:
        topic.look()
        self._looked_at[topic.kind.name] = time.monotonic()

    def _repair(self, topic: DeepTopic, part: Part, worked_out: WorkedOut, session_date: date | None) -> WorkedOut:
        """Put right what differs, and return it.

        What rows up to a batch must be follows from the messages up to it, whatever comes later. So what was found without the
        lock holds still under it, unless later batches brought messages about the same part: then it is worked out again.
        """
        wrong = _wrong(worked_out)
        news = topic.look()  # all but the newest batch, before the stream has to wait
        with self._lock(topic.kind).held(timeout_seconds=_LOCK_SECONDS) as held:
            if part.is_touched_by(news | topic.look()):
                worked_out = part.work_out()
                wrong = _wrong(worked_out)
            if wrong:
                held.begin_repair()
            for rows in wrong:
                if isinstance(rows, LakeRows):
                    rows.repair(topic.stored.cut)
            if published := [rows.repair() for rows in wrong if isinstance(rows, PostgresRows)]:
                self._work.database.repair(published)
        topic.look()
        if left := differing(part.work_out()):
            what = session_date or "what belongs to no session"
            msg = f"The repair of {what} did not last: {', '.join(sorted(left))} differ again."
            raise ServiceError(msg)
        return worked_out


def differing(worked_out: WorkedOut) -> dict[str, Differences]:
    """Return the differences by table; tables without any are left out."""
    found: dict[str, Differences] = {}
    for rows in worked_out.rows:
        if (differences := rows.differences()).total:
            found[rows.name] = found.get(rows.name, Differences()) + differences
    return found


def _wrong(worked_out: WorkedOut) -> list[Rows]:
    return [rows for rows in worked_out.rows if rows.differences().total]


def _counted(counts: Counter[str]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number}


def sessions_of(request: RecomputeRequest) -> list[Session]:
    """Return the sessions of a request.

    Raises
    ------
    UsageError
        If there is none.
    """
    sessions = list(sessions_between(request.start, request.end))
    if not sessions:
        msg = f"The exchange had no session from {request.start} to {request.end}. Choose other dates."
        raise UsageError(msg)
    return sessions


def recompute(
    settings: Settings, request: RecomputeRequest, tell: Callable[[SessionReport], None]
) -> list[SessionReport]:
    """Run the deep path in this process, and return the reports.

    Raises
    ------
    UsageError
        If there is no such session.
    ServiceError
        If there is no lake, or an engine cannot be reached.
    """
    lake = Lake(settings.lake)
    settings.require_database()
    sessions = sessions_of(request)
    if not lake.exists(tables.MESSAGES):
        msg = f"There is no lake at {settings.lake} yet. Start the platform with ./run up."
        raise ServiceError(msg)
    reports = []
    with scratch_folder(settings, "recompute") as folder:
        work = Work(
            lake=lake,
            database=Postgres(settings),
            request=request,
            sessions=sessions,
            folder=folder,
            query_id=lambda kind: _query_id(settings, kind),
            now=lambda: datetime.now(UTC),
            most_records=MOST_RECORDS,
        )
        for report in Recompute(work, lambda kind: BatchLock(settings, kind.name)).run():
            tell(report)
            reports.append(report)
    return reports


def _query_id(settings: Settings, kind: RecordKind) -> str | None:
    """Return the id of the stream's query of a topic; ``None`` if its checkpoint does not tell."""
    try:
        return read_query_id(f"{checkpoints_of(settings.lake)}/{kind.topic.name}")
    except CheckpointError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the deep path; return the exit code."""
    options = _parser().parse_args(arguments)
    log_to_standard_error()
    signal.signal(signal.SIGTERM, _end)

    def write(line: object) -> None:
        if options.json:
            sys.stdout.write(f"{json.dumps(line)}\n")
            sys.stdout.flush()

    try:
        symbols = parse_symbols(options.symbols) if options.symbols else ()
        request = RecomputeRequest(options.start, options.end, symbols, options.dry_run)
        reports = recompute(load_settings(), request, lambda report: write(report.to_json()))
    except TapehouseError as error:
        log.error("recompute_failed", error=str(error))  # noqa: TRY400 - the text is the explanation
        write({"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    differing = sum(report.differing for report in reports)
    sessions = [report for report in reports if report.session_date is not None]
    log.info("recompute_finished", sessions=len(sessions), differing=differing, **asdict(request))
    write({"sessions": len(sessions), "differing": differing})
    return 1 if differing and request.dry_run else 0


def _end(_number: int, _frame: object) -> NoReturn:
    """End cleanly: what was set aside is removed, and a lock is given back."""
    sys.exit(128 + signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m spark_jobs.jobs.recompute", description="Work sessions out again.")
    parser.add_argument("--start", type=date.fromisoformat, required=True, help="first session, as 2013-10-07")
    parser.add_argument("--end", type=date.fromisoformat, required=True, help="last session")
    parser.add_argument("--symbols", default="", help="comma-separated tickers; all if not given")
    parser.add_argument("--dry-run", action="store_true", help="compare only")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each session")
    return parser


if __name__ == "__main__":
    sys.exit(main())
