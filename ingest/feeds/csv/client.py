"""The file of a tape: opened, read row by row, with the line in every error."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ingest.feeds.base import Feed, FeedRequest, Kind
from ingest.feeds.csv.coverage import Coverage
from ingest.feeds.csv.parse import RowError, RowParser, check_header
from market.errors import FeedError, UsageError
from market.records import Heartbeat, Record
from market.sessions import sessions_between

if TYPE_CHECKING:
    from _csv import Reader


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CsvFeed(Feed):
    """Replays a tape of trades, what amends them, halts and heartbeats from a CSV file, in the order of the file.

    Needs a path. Symbols and days, where given, leave out the other rows; a row is of the day in whose session it lies. If the
    file has no heartbeats, each symbol's session counts as covered from its first trade to its last that has happened.

    Parameters
    ----------
    now
        Returns the present moment.
    """

    name = "csv"

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now

    def check(self, request: FeedRequest) -> int:
        """Read every row, and return the number of records of the request."""
        if Kind.TRADES not in request.kinds:
            msg = "The feed csv has no quotes. Ask for trades."
            raise UsageError(msg)
        spans, missing, count, coverage = _spans(request), set(request.symbols), 0, self._coverage()
        for record in _rows(_path(request), self.name):
            missing.discard(record.symbol)
            if _is_wanted(record, request, spans):
                coverage.add(record)
                count += 1
        if missing:
            msg = f"{request.path} has no row of {', '.join(sorted(missing))}."
            raise FeedError(msg)
        return count + len(coverage.heartbeats())

    def read(self, request: FeedRequest) -> Iterator[Record]:
        """Return the records in the order of the file, then what they cover; holds one row in memory at a time."""
        self.check(request)
        return self._records(request)

    def _coverage(self) -> Coverage:
        return Coverage(self.name, self._now())

    def _records(self, request: FeedRequest) -> Iterator[Record]:
        spans, coverage = _spans(request), self._coverage()
        for record in _rows(_path(request), self.name):
            if _is_wanted(record, request, spans):
                coverage.add(record)
                yield record
        yield from coverage.heartbeats()


def _path(request: FeedRequest) -> Path:
    if request.path is None:
        msg = "The feed csv needs a file, for example: ./run replay csv path/to/tape.csv"
        raise UsageError(msg)
    if not request.path.is_file():
        msg = f"{request.path} is not a file. Give the CSV file of the tape."
        raise FeedError(msg)
    return request.path


def _spans(request: FeedRequest) -> list[tuple[int, int]] | None:
    """Return the bounds of the sessions asked for in epoch microseconds, or ``None`` for all times."""
    if request.start is None or request.end is None:
        return None
    sessions = list(sessions_between(request.start, request.end))
    if not sessions:
        msg = f"The exchange had no session from {request.start} to {request.end}. Choose days with trading."
        raise FeedError(msg)
    return [
        (round(session.pre_open_at.timestamp()) * 1_000_000, round(session.post_close_at.timestamp()) * 1_000_000)
        for session in sessions
    ]


def _is_wanted(record: Record, request: FeedRequest, spans: list[tuple[int, int]] | None) -> bool:
    if request.symbols and record.symbol not in request.symbols:
        return False
    moment = record.since if isinstance(record, Heartbeat) else record.ts
    return spans is None or any(first <= moment < end for first, end in spans)


def _rows(path: Path, source: str) -> Iterator[Record]:
    """Yield the records of the file.

    Raises
    ------
    FeedError
        If it cannot be read; names the file, the line and the value.
    """
    parser = RowParser(source)
    with _opened(path) as file:
        reader = csv.reader(file, strict=True)
        names = _next(reader, path)
        if names is None:
            msg = f"{path} is empty. It must begin with a header."
            raise FeedError(msg)
        names = [name.strip().lower() for name in names]
        with _placed(path, 1):
            check_header(names)
        while (row := _next(reader, path)) is not None:
            if not row:
                continue
            with _placed(path, reader.line_num):
                if len(row) != len(names):
                    msg = f"has {len(row)} fields where the header has {len(names)}"
                    raise RowError(msg)
                record = parser.parse(dict(zip(names, row, strict=True)))
            yield record


def _next(reader: "Reader", path: Path) -> list[str] | None:
    line = reader.line_num + 1
    try:
        return next(reader, None)
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{path}: line {line} is not CSV in UTF-8: {error}. Mend the file; nothing was published."
        raise FeedError(msg) from error


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise FeedError(msg) from error


@contextmanager
def _placed(path: Path, line: int) -> Iterator[None]:
    """Give the errors of a row their place."""
    try:
        yield
    except RowError as error:
        msg = f"{path}: line {line} {error}. Mend the file; nothing was published."
        raise FeedError(msg) from error
