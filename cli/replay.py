"""``./run replay``: publish a feed's records to the platform that runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from cli.progress import lines
from cli.signals import setting

if TYPE_CHECKING:
    from ingest.feeds import FeedRequest
    from ingest.publisher import PublishSummary
    from ingest.replay import ReplayProgress
    from market.settings import Settings


class Kinds(StrEnum):
    """Which ticks to publish."""

    TRADES = "trades"
    QUOTES = "quotes"
    BOTH = "both"


def replay(
    feed: Annotated[str, typer.Argument(help="lean, csv, simulated or sample.")],
    path: Annotated[Path | None, typer.Argument(help="Folder of the data, for lean; file, for csv.")] = None,
    *,
    symbols: Annotated[str, typer.Option(help="Comma-separated tickers.")] = "",
    start: Annotated[str | None, typer.Option(help="First session, as 2013-10-07.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session; the first if not given.")] = None,
    speed: Annotated[str, typer.Option(help="Times the pace of the market, or max.")] = "max",
    kinds: Annotated[Kinds, typer.Option(help="Ticks to publish.")] = Kinds.BOTH,
    seed: Annotated[int | None, typer.Option(help="Seed of the simulated market.")] = None,
) -> None:
    """Publish real ticks (lean), your own tape (csv), a simulated market (simulated) or daily history (sample).

    Everything is checked before the first record is published. Publishing twice is harmless: records keep their
    identity. Ctrl-C stops cleanly and says what became of every record.
    """
    from infra.local.home import connected_settings
    from ingest.feeds import get_feed
    from ingest.replay import replay as publish
    from market.settings import load_settings

    settings = connected_settings(load_settings())
    source = get_feed(feed)
    request = _request(settings, path=path, symbols=symbols, start=start, end=end, kinds=kinds, seed=seed)
    times = parse_speed(speed)
    stop_event = Event()
    with setting(stop_event) as stopped_by, publishing_progress() as on_progress:
        summary = publish(
            settings.require_kafka(), source, request, speed=times, on_progress=on_progress, stop_event=stop_event
        )
    show_summary(summary)
    summary.require_complete()
    if stopped_by:
        typer.echo("Stopped before the end; what was published is acknowledged.", err=True)
        raise typer.Exit(128 + stopped_by[0])


def parse_speed(text: str) -> float | None:
    """Return the factor, or ``None`` for ``max``.

    Raises
    ------
    UsageError
        If it is neither ``max`` nor a number above zero.
    """
    from market.errors import UsageError

    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        msg = f"The speed {text!r} is neither max nor a number above zero. Try --speed 10."
        raise UsageError(msg)
    return factor


def parse_day(text: str | None, option: str) -> date | None:
    """Return the date of an option, if it is given.

    Raises
    ------
    UsageError
        If it is not a date.
    """
    from market.errors import UsageError

    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        msg = f"{option} {text!r} is not a date. Write it as 2013-10-07."
        raise UsageError(msg) from None


def _request(
    settings: "Settings",
    *,
    path: Path | None,
    symbols: str,
    start: str | None,
    end: str | None,
    kinds: Kinds,
    seed: int | None,
) -> "FeedRequest":
    from ingest.feeds import BOTH_KINDS, FeedRequest, Kind
    from market.instruments import parse_symbols

    first = parse_day(start, "--start")
    return FeedRequest(
        symbols=parse_symbols(symbols) if symbols else (),
        start=first,
        end=parse_day(end, "--end") or first,
        path=path,
        kinds=BOTH_KINDS if kinds is Kinds.BOTH else frozenset({Kind(kinds.value)}),
        seed=settings.seed if seed is None else seed,
        trades_per_day=settings.trades_per_day,
    )


def show_summary(summary: "PublishSummary") -> None:
    """Print what became of the records as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("sent", "acknowledged", "failed", "unknown", "seconds", "records/s")
    counts = (summary.sent, summary.acknowledged, summary.failed, summary.unknown)
    rate = summary.acknowledged / summary.seconds if summary.seconds else 0.0
    table.add_row(*(f"{count:,}" for count in counts), f"{summary.seconds:.1f}", f"{rate:,.0f}")
    Console().print(table)


@contextmanager
def publishing_progress() -> "Iterator[Callable[[ReplayProgress], None]]":
    """Yield what shows the progress: a bar on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        yield lines(_describe)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Publishing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("publish", total=None)
        yield lambda progress: bar.update(task, completed=progress.published, total=progress.total)


def _describe(progress: "ReplayProgress") -> str:
    return f"published {progress.published:,} of {progress.total:,} records"
