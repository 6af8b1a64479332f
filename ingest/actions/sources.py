"""The sources of corporate actions by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ingest.actions.source import ActionSource
from market.errors import FeedError, UsageError
from market.settings import Settings


def _alpaca(settings: Settings, path: Path | None) -> ActionSource:
    from ingest.feeds.alpaca.actions import AlpacaActions

    del path
    return AlpacaActions(settings)


def _csv(settings: Settings, path: Path | None) -> ActionSource:
    from ingest.feeds.csv.actions import CsvActions

    del settings
    return CsvActions(_required("csv", path))


def _lean(settings: Settings, path: Path | None) -> ActionSource:
    from ingest.feeds.lean.actions import LeanActions

    del settings
    return LeanActions(_required("lean", path))


def _yahoo(settings: Settings, path: Path | None) -> ActionSource:
    from ingest.feeds.yahoo.actions import YahooActions

    del path
    return YahooActions(settings)


_SOURCES: Final[dict[str, Callable[[Settings, Path | None], ActionSource]]] = {
    "alpaca": _alpaca,
    "csv": _csv,
    "lean": _lean,
    "yahoo": _yahoo,
}
ACTION_SOURCE_NAMES: Final = tuple(_SOURCES)
_WITH_FILES: Final = ("csv", "lean")


def get_action_source(name: str, settings: Settings, path: Path | None = None) -> ActionSource:
    """Return the source of that name.

    Raises
    ------
    FeedError
        If there is none; the message lists those that exist.
    UsageError
        If it needs a path that is not given, or reads no files and one is given.
    """
    if name not in _SOURCES:
        msg = f"There is no source of corporate actions {name!r}. The sources are: {', '.join(ACTION_SOURCE_NAMES)}."
        raise FeedError(msg)
    if path is not None and name not in _WITH_FILES:
        msg = f"The source {name} reads no files: leave --path out, or give --feed {' or '.join(_WITH_FILES)}."
        raise UsageError(msg)
    return _SOURCES[name](settings, path)


def _required(name: str, path: Path | None) -> Path:
    if path is None:
        msg = f"The source {name} needs the place of its files, for example: ./run actions fetch --feed {name} --path FOLDER"
        raise UsageError(msg)
    return path
