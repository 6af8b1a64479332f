"""``./run status``: where everything is, how far the stream is, and whether every process is well."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.local.home import Phase

if TYPE_CHECKING:
    from cli.figures import Figures


def status(*, json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show addresses, lag, newest bar, rows and the health of every process.

    Exits 1 if something that should run does not, or an engine cannot be asked; while the platform starts or stops, that is
    as it should be.
    """
    from cli.addresses import shown_addresses
    from cli.figures import gather
    from infra.local.home import Home, connected_settings
    from market.settings import load_settings

    settings = connected_settings(load_settings())
    home = Home(settings.home)
    figures = gather(home, settings)
    absent = "starting" if figures.phase is Phase.STARTING else "not running"
    addresses = shown_addresses(settings, home.addresses(), absent=absent)
    if json_output:
        typer.echo(json.dumps({"addresses": addresses, **figures.as_json()}, indent=2))
    else:
        _show(addresses, figures)
    if not figures.is_well:
        raise typer.Exit(1)


def _show(addresses: dict[str, str], figures: "Figures") -> None:
    from rich.console import Console

    console = Console(soft_wrap=True)
    console.print(_table(_headline(figures), ("what", "address"), list(addresses.items())))
    if figures.topics:
        topics = [(t.topic, f"{t.end:,}", f"{t.taken_in:,}", f"{t.lag:,}") for t in figures.topics]
        console.print(_table("Topics", ("topic", "messages", "taken in", "lag"), topics, numbers_from=1))
    progress = _progress_rows(figures)
    if progress:
        console.print(_table("Stream", ("what", "now"), progress))
    if figures.rows:
        rows = [(name, f"{count:,}") for name, count in figures.rows.items()]
        console.print(_table("Rows", ("table", "rows"), rows, numbers_from=1))
    if figures.processes:
        processes = [
            (p.name, str(p.pid), _coloured(p.state), f"{p.memory_mib:,.0f}", _duration(p.up_seconds))
            for p in figures.processes
        ]
        memory = sum(process.memory_mib for process in figures.processes)
        title = f"Processes, {memory:,.0f} MiB together"
        console.print(_table(title, ("name", "pid", "state", "memory MiB", "up"), processes, numbers_from=3))
    colour = "red" if figures.phase in {None, Phase.RUNNING} else "dim"
    for problem in figures.problems:
        console.print(f"[{colour}]{problem}[/]", highlight=False)


def _headline(figures: "Figures") -> str:
    if figures.phase is None:
        return "Tapehouse is not running here"
    hint = ": not everything answers yet" if figures.phase is Phase.STARTING else ""
    return f"Tapehouse is {figures.phase} (`{figures.command}`){hint}"


def _progress_rows(figures: "Figures") -> list[tuple[str, str]]:
    rows = []
    if (feed := figures.live_feed) is not None:
        why = f": {feed.detail}" if feed.detail else ""
        rows.append(("live feed", f"{feed.source} is {feed.state} since {_moment(feed.since)}{why}"))
    if figures.lag_messages is not None:
        seconds = f", at most {_duration(figures.lag_seconds)}" if figures.lag_seconds else ""
        rows.append(("lag", f"{figures.lag_messages:,} messages{seconds}"))
    if figures.newest_bar_at is not None:
        rows.append(("newest bar", _moment(figures.newest_bar_at)))
    if figures.newest_event_at is not None:
        rows.append(("newest event of the last batch", _moment(figures.newest_event_at)))
    if figures.last_batch_at is not None:
        ago = _duration((datetime.now(UTC) - figures.last_batch_at).total_seconds())
        rows.append(
            ("last batch", f"{_moment(figures.last_batch_at)} ({ago} ago), took {figures.last_batch_seconds:.1f} s")
        )
    if figures.missing_bars:
        rows.append(("missing bars", ", ".join(f"{reason} {n:,}" for reason, n in figures.missing_bars.items())))
    return rows


def _table(
    title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, numbers_from: int | None = None
) -> Any:  # noqa: ANN401 - rich is imported late
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        is_number = numbers_from is not None and index >= numbers_from
        table.add_column(column, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _coloured(state: str) -> str:
    return f"[green]{state}[/]" if state == "running" else f"[red]{state}[/]"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float | None) -> str:
    """Return a length of time as people say it: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = int(seconds or 0)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
