"""The LEAN data folder: which files a request needs, and their content.

The layout: ``equity/usa/tick/<symbol>/<yyyymmdd>_{trade,quote}.zip`` with one CSV file each, symbols in lower case.
"""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ingest.feeds.base import Feed, FeedRequest, Kind, requested_sessions, requested_symbols
from ingest.feeds.lean.parse import parse_ticks
from ingest.feeds.ticks import Tape, whole_session
from market.errors import FeedError, UsageError
from market.records import Record
from market.sessions import Session

_SUFFIX = {Kind.TRADES: "trade", Kind.QUOTES: "quote"}


@dataclass(frozen=True, slots=True)
class _TickFile:
    path: Path
    kind: Kind
    symbol: str
    session: Session


class LeanFeed(Feed):
    """Replays the trades and quotes of a LEAN data folder with their conditions.

    Needs a path, symbols and a range. With both kinds asked for, trades are required and quotes are taken where
    their file exists. A file of trades holds a symbol's whole session, and heartbeats say so. Ticks are passed on as the
    vendor wrote them: the sample data has quotes after 20:00, for instance, which lie in no segment; the stream quarantines
    them.
    """

    name = "lean"

    def check(self, request: FeedRequest) -> int:
        """Read and parse every file of the request, and return the number of ticks and heartbeats."""
        files = _files(request)
        return sum(_parse(file).height for file in files) + sum(_coverage(files, s).height for s in _sessions(files))

    def read(self, request: FeedRequest) -> Iterator[Record]:
        """Return the ticks and heartbeats; holds one session in memory at a time."""
        self.check(request)
        return self._records(_files(request))

    def _records(self, files: list[_TickFile]) -> Iterator[Record]:
        for session in _sessions(files):
            frames = [_parse(file) for file in files if file.session == session]
            yield from Tape(self.name, session.session_date, frames, _coverage(files, session)).records()


def _sessions(files: list[_TickFile]) -> list[Session]:
    return list(dict.fromkeys(file.session for file in files))


def _coverage(files: list[_TickFile], session: Session) -> pl.DataFrame:
    symbols = [file.symbol for file in files if file.session == session and file.kind is Kind.TRADES]
    return whole_session(symbols, session)


def _parse(file: _TickFile) -> pl.DataFrame:
    """Return the tick frame of one file."""
    return parse_ticks(content_of(file.path), file.kind, file.symbol, file.session.session_date, str(file.path))


def _files(request: FeedRequest) -> list[_TickFile]:
    """Return the files of the request in order of session, symbol and kind; every one of them exists."""
    symbols = requested_symbols(LeanFeed.name, request)
    sessions = requested_sessions(LeanFeed.name, request)
    folder = _tick_folder(request.path)
    files: list[_TickFile] = []
    for symbol in symbols:
        _require_symbol(folder, symbol)
    for session in sessions:
        for symbol in symbols:
            files.extend(_session_files(folder, symbol, session, request.kinds))
    return files


def _tick_folder(path: Path | None) -> Path:
    if path is None:
        msg = "The feed lean needs the folder of its data, for example: ./run replay lean path/to/lean --symbols spy"
        raise UsageError(msg)
    folder = path / "equity" / "usa" / "tick"
    if not folder.is_dir():
        msg = f"{path} is not a LEAN data folder with ticks: the folder {folder} does not exist."
        raise FeedError(msg)
    return folder


def _require_symbol(folder: Path, symbol: str) -> None:
    if not (folder / symbol.lower()).is_dir():
        known = sorted(child.name for child in folder.iterdir() if child.is_dir())
        msg = f"There are no ticks of {symbol}: looked for {folder / symbol.lower()}. Symbols there: {_listed(known)}."
        raise FeedError(msg)


def _session_files(folder: Path, symbol: str, session: Session, kinds: frozenset[Kind]) -> Iterator[_TickFile]:
    required = Kind.TRADES if Kind.TRADES in kinds else Kind.QUOTES
    for kind in (Kind.TRADES, Kind.QUOTES):
        path = folder / symbol.lower() / f"{session.session_date:%Y%m%d}_{_SUFFIX[kind]}.zip"
        if kind not in kinds or (kind is not required and not path.is_file()):
            continue
        if not path.is_file():
            names = sorted(child.name for child in path.parent.glob(f"*_{_SUFFIX[kind]}.zip"))
            days = [f"{name[:4]}-{name[4:6]}-{name[6:8]}" for name in names]
            msg = (
                f"There are no {kind} of {symbol} on {session.session_date}: looked for {path}. "
                f"Days there: {_listed(days)}."
            )
            raise FeedError(msg)
        yield _TickFile(path, kind, symbol, session)


def content_of(path: Path) -> bytes:
    """Return the one CSV file in a zip archive; reading it to its end checks its CRC."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if len(names) != 1:
                msg = f"{path} holds {len(names)} CSV files instead of one. Get the file again."
                raise FeedError(msg)
            content = archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        msg = f"{path} cannot be read: {error}. Get the file again."
        raise FeedError(msg) from error
    if not content.strip():
        msg = f"{path} holds an empty CSV file. Get the file again, or leave that day out."
        raise FeedError(msg)
    return content


def _listed(names: list[str], limit: int = 20) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
