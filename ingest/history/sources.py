"""The sources of history by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingest.history.source import HistorySource
from market.errors import FeedError, UsageError
from market.settings import Settings


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What some sources need besides the settings.

    Attributes
    ----------
    path
        Where a source that reads files finds them.
    columns
        What the columns of files are called, by our names.
    """

    path: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def _alpaca(settings: Settings, options: SourceOptions) -> HistorySource:
    from ingest.feeds.alpaca.history import AlpacaHistory

    del options
    return AlpacaHistory(settings)


def _alphavantage(settings: Settings, options: SourceOptions) -> HistorySource:
    from ingest.feeds.alphavantage.history import AlphaVantageHistory

    del options
    return AlphaVantageHistory(settings)


def _csv(settings: Settings, options: SourceOptions) -> HistorySource:
    from ingest.feeds.csv.history import CsvHistory

    del settings
    return CsvHistory(_path("csv", options), options.columns)


def _lean(settings: Settings, options: SourceOptions) -> HistorySource:
    from ingest.feeds.lean.history import LeanHistory

    del settings
    return LeanHistory(_path("lean", options))


def _sample(settings: Settings, options: SourceOptions) -> HistorySource:
    from ingest.feeds.sample.history import SampleHistory

    del settings, options
    return SampleHistory()


def _yahoo(settings: Settings, options: SourceOptions) -> HistorySource:
    from ingest.feeds.yahoo.history import YahooHistory

    del options
    return YahooHistory(settings)


_SOURCES: Final[dict[str, Callable[[Settings, SourceOptions], HistorySource]]] = {
    "alpaca": _alpaca,
    "alphavantage": _alphavantage,
    "csv": _csv,
    "lean": _lean,
    "sample": _sample,
    "yahoo": _yahoo,
}
SOURCE_NAMES: Final = tuple(_SOURCES)
_WITH_FILES: Final = ("csv", "lean")


def get_source(name: str, settings: Settings, options: SourceOptions | None = None) -> HistorySource:
    """Return the source of that name.

    Raises
    ------
    FeedError
        If there is none; the message lists those that exist.
    UsageError
        If it needs an option that is not given, or has no use for one that is.
    """
    if name not in _SOURCES:
        msg = f"There is no source of history {name!r}. The sources are: {', '.join(SOURCE_NAMES)}."
        raise FeedError(msg)
    options = options or SourceOptions()
    if options.path is not None and name not in _WITH_FILES:
        msg = f"The source {name} reads no files: leave --path out, or give --feed {' or '.join(_WITH_FILES)}."
        raise UsageError(msg)
    if options.columns and name != "csv":
        msg = f"The source {name} has no columns to declare: leave --columns out, or give --feed csv."
        raise UsageError(msg)
    return _SOURCES[name](settings, options)


def _path(name: str, options: SourceOptions) -> Path:
    if options.path is None:
        msg = f"The source {name} needs the place of its files, for example: ./run backfill --feed {name} --path FOLDER"
        raise UsageError(msg)
    return options.path
