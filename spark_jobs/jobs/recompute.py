"""The deep path as a process: ``python -m spark_jobs.jobs.recompute --start D --end D [--symbols A,B] [--dry-run] [--json]``.

Works the trades, the amendments and every revision of the bars of some sessions out again from bronze, by the stream's own
transforms, compares them with what is stored, and puts right what differs. It goes on beside the stream: it compares without
a lock, only what has reached PostgreSQL, and holds off the stream's batches of trades only while it repairs a session, after
it has compared that one again.

With ``--json`` each session is a line on standard output (:mod:`spark_jobs.report`). Exits with 1 if a dry run found a
difference or something failed, 2 for wrong usage.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

import polars as pl
import structlog

from market import tables
from market.errors import ServiceError, TapehouseError, UsageError
from market.instruments import parse_symbols
from market.sessions import Session, sessions_between
from market.settings import Settings, load_settings
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.locks import HeldLock, TradesLock
from spark_jobs.jobs.spool import TradeSpool
from spark_jobs.jobs.stored import Database, Postgres, Rows, StoredRows
from spark_jobs.report import Differences, RecomputeRequest, SessionReport
from spark_jobs.schemas import MOMENT
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.kinds import TRADES
from spark_jobs.transforms.revisions import every_revision
from spark_jobs.transforms.rightful import rightful_amendments, rightful_trades

log = structlog.get_logger()

MOST_TRADES: Final = 2_000_000
"""So many trades of a session are worked out at once, or those of one symbol: memory grows with them."""

_LOCK_SECONDS: Final = 900.0
_COUNTS: Final = ("trades", "amendments", "revisions", "bars")


class Recompute:
    """One run of the deep path.

    Parameters
    ----------
    lake, database
        What is compared and repaired.
    lock
        The lock of the stream's home.
    request
        What to do.
    folder
        An empty folder for what is set aside.
    most_trades
        See :data:`MOST_TRADES`.

    Raises
    ------
    UsageError
        If there is no such session.
    """

    def __init__(
        self,
        lake: Lake,
        database: Database,
        lock: TradesLock,
        request: RecomputeRequest,
        folder: Path,
        *,
        most_trades: int = MOST_TRADES,
    ) -> None:
        sessions = _sessions(request)
        self._lake = lake
        self._database = database
        self._lock = lock
        self._request = request
        self._spool = TradeSpool(lake, folder, sessions, request.symbols)
        self._most_trades = most_trades
        self._open = ExitStack()
        self._stored: StoredRows
        self._amendments: pl.DataFrame
        self._counts: dict[str, int] = {}

    def run(self) -> Iterator[SessionReport]:
        """Compare and repair: first the cancels and corrections, then session by session.

        Raises
        ------
        ServiceError
            If an engine cannot be reached, or a repair did not last.
        """
        for table in tables.LAKE_TABLES:
            self._lake.create(table)
        with self._open:
            self._look()
            yield self._settle(None)
            for session_date in self._sessions():
                yield self._settle(session_date)

    def _look(self) -> None:
        """Look at what has reached PostgreSQL by now, and decode what was taken in since the last look."""
        self._open.close()
        snapshot = self._open.enter_context(self._database.snapshot())
        until = self._newest_batch(snapshot.next_offsets(TRADES.topic.name))
        self._spool.read_until(until)
        self._stored = StoredRows(self._lake, self._database, snapshot, until)

    def _newest_batch(self, next_offsets: dict[int, int]) -> datetime:
        """Return the stamp of the newest batch that is in PostgreSQL; later ones are left alone."""
        new = pl.col("ingested_at") >= pl.lit(self._spool.until, MOMENT)
        messages = self._lake.scan(tables.MESSAGES).filter(pl.col("topic") == TRADES.topic.name, new)
        batches = self._lake.read(messages.group_by("partition", "ingested_at").agg(pl.col("offset").max()))
        done = (stamp for partition, stamp, last in batches.iter_rows() if last < next_offsets.get(partition, 0))
        return max(done, default=self._spool.until)

    def _sessions(self) -> list[date]:
        """Return the sessions that have messages or stored rows, in order."""
        start, end = self._request.start, self._request.end
        found = self._spool.sessions() | self._stored.snapshot.sessions(start, end)
        for table in (tables.TRADES, tables.BAR_REVISIONS):
            rows = self._lake.scan(table).filter(pl.col("session_date").is_between(start, end))
            found |= set(self._lake.read(rows.select(pl.col("session_date").unique()))["session_date"])
        return sorted(found)

    def _settle(self, session_date: date | None) -> SessionReport:
        """Compare a session, or the amendments, and repair what differs."""
        started = time.monotonic()
        differences = self._compare(session_date)
        is_repaired = bool(differences) and not self._request.dry_run
        if is_repaired:
            with self._lock.held(timeout_seconds=_LOCK_SECONDS) as held:
                self._look()
                differences = self._compare(session_date, held)
                self._look()
                if left := self._compare(session_date):
                    msg = f"The repair of {session_date or 'the amendments'} did not last: {', '.join(left)} differ again."
                    raise ServiceError(msg)
        counts = {name: self._counts.get(name, 0) for name in _COUNTS}
        seconds = round(time.monotonic() - started, 3)
        report = SessionReport(
            session_date=session_date, differences=differences, is_repaired=is_repaired, seconds=seconds, **counts
        )
        log.info("session_recomputed", session_date=str(session_date), differing=report.differing, **counts)
        return report

    def _compare(self, session_date: date | None, held: HeldLock | None = None) -> dict[str, Differences]:
        """Return the differences by table, and put them right if the lock is held."""
        found: dict[str, Differences] = {}
        self._counts = {}
        has_begun = False
        for part in self._parts(session_date):
            for rows in part:
                differences = rows.differences()
                if not differences.total:
                    continue
                found[rows.name] = found.get(rows.name, Differences()) + differences
                if held is not None:
                    if not has_begun:
                        held.begin_repair()
                        has_begun = True
                    rows.repair()
        return found

    def _parts(self, session_date: date | None) -> Iterator[list[Rows]]:
        if session_date is None:
            yield self._amendment_part()
            return
        for symbols in self._symbol_groups(session_date):
            yield self._trade_part(session_date, symbols)

    def _amendment_part(self) -> list[Rows]:
        spool, stored, symbols = self._spool, self._stored, self._request.symbols
        found = stored.amendments(spool.since, symbols)
        earlier = stored.amendments_before(spool.since)
        rejected = spool.rejected(found.select(PLACE))
        messages = spool.amendments
        right = rightful_amendments(messages, earlier, rejected)
        self._amendments = pl.concat([earlier, right.records])
        self._count(amendments=right.records.height)
        places = pl.concat([rows.select(*PLACE, "ingested_at") for rows in (messages, rejected)])
        return [
            *stored.rows_set_aside(right, places),
            stored.amendment_rows(spool.since, symbols, right, found),
        ]

    def _trade_part(self, session_date: date, symbols: Sequence[str]) -> list[Rows]:
        spool, stored = self._spool, self._stored
        messages, found = spool.trades(session_date, symbols), stored.trades(session_date, symbols)
        rejected = spool.rejected(found.select(PLACE))
        right = rightful_trades(messages, rejected)
        revisions = every_revision(right.records, self._amendments)
        bars = revisions.select("source", "symbol", "bar_at").n_unique() if revisions.height else 0
        self._count(trades=right.records.height, revisions=revisions.height, bars=bars)
        places = pl.concat([rows.select(*PLACE, "ingested_at") for rows in (messages, rejected)])
        return [
            *stored.rows_set_aside(right, places),
            stored.trade_rows(session_date, symbols, right, found),
            *stored.bar_rows(session_date, symbols, revisions),
        ]

    def _count(self, **counts: int) -> None:
        for name, number in counts.items():
            self._counts[name] = self._counts.get(name, 0) + number

    def _symbol_groups(self, session_date: date) -> Iterator[list[str]]:
        """Yield the symbols of a session, so many at a time as memory allows."""
        counts = dict(self._spool.trade_counts(session_date))
        every = set(counts) | self._stored.snapshot.symbols(session_date)
        for table in (tables.TRADES, tables.BAR_REVISIONS):
            rows = self._lake.scan(table).filter(pl.col("session_date") == session_date)
            every |= set(self._lake.read(rows.select(pl.col("symbol").drop_nulls().unique()))["symbol"])
        group: list[str] = []
        trades = 0
        for symbol in sorted(every & set(self._request.symbols) if self._request.symbols else every):
            if group and trades + counts.get(symbol, 0) > self._most_trades:
                yield group
                group, trades = [], 0
            group.append(symbol)
            trades += counts.get(symbol, 0)
        if group:
            yield group


def _sessions(request: RecomputeRequest) -> list[Session]:
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
    _sessions(request)
    if not lake.exists(tables.MESSAGES):
        msg = f"There is no lake at {settings.lake} yet. Start the platform with ./run up."
        raise ServiceError(msg)
    reports = []
    with TemporaryDirectory(prefix="tapehouse-recompute-") as folder:
        for report in Recompute(lake, Postgres(settings), TradesLock(settings), request, Path(folder)).run():
            tell(report)
            reports.append(report)
    return reports


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the deep path; return the exit code."""
    options = _parser().parse_args(arguments)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
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
