"""``./run up``: start the platform and keep it running."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from cli.running import Platform

JOBS_SECONDS: Final = 3600.0
_FEED_HELP: Final = (
    "simulated or none; with --once: lean, csv, simulated or sample (a simulated session of the symbols if not given)."
)


class LiveFeed(StrEnum):
    """What feeds the running platform."""

    SIMULATED = "simulated"
    NONE = "none"


def up(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Take a bounded input to the end of every stage, prove the laws, and stop.")
    ] = False,
    feed: Annotated[str | None, typer.Option(help=_FEED_HELP)] = None,
    symbols: Annotated[
        str | None, typer.Option(help="Comma-separated tickers; TAPEHOUSE_SYMBOLS if not given.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="With --once: folder of the data, for lean; file, for csv.")] = None,
    start: Annotated[str | None, typer.Option(help="With --once: first session, as 2013-10-07.")] = None,
    end: Annotated[str | None, typer.Option(help="With --once: last session; the first if not given.")] = None,
    speed: Annotated[float | None, typer.Option(help="Times the pace of the market, for the simulated one.")] = None,
    dagster_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of Dagster's pages.")] = None,
) -> None:
    """Start the platform and keep it running until Ctrl-C, SIGTERM or ./run down.

    Starts Kafka and PostgreSQL (unless their addresses are set), the stream, daily history and the marts, a simulated live
    market, and Dagster. What crashes is started again. A second start goes on where the first stopped.
    """
    from market.settings import load_settings

    settings = load_settings()
    if once:
        from cli.once import OnceOptions, run_once

        _refuse("--once", {"--speed": speed, "--dagster-port": dagster_port})
        if not run_once(settings, OnceOptions(feed=feed, symbols=symbols, path=path, start=start, end=end)):
            raise typer.Exit(1)
        return
    _refuse("a platform that keeps running; add --once", {"--path": path, "--start": start, "--end": end})
    live_feed = _live_feed(feed)
    _check_live_options(symbols, speed)

    from cli.running import running_platform, say

    try:
        with running_platform(settings, "./run up") as platform:
            _start_services(platform, live_feed, symbols, speed, dagster_port)
            platform.started()
            _show_addresses(platform)
            while True:
                platform.supervisor.step()
                time.sleep(0.2)
    except KeyboardInterrupt:
        say("Stopped.")


def _refuse(what: str, options: dict[str, object]) -> None:
    from market.errors import UsageError

    for name, value in options.items():
        if value is not None:
            msg = f"{name} does not go with {what}."
            raise UsageError(msg)


def _live_feed(name: str | None) -> LiveFeed:
    from market.errors import FeedError

    try:
        return LiveFeed(name or LiveFeed.SIMULATED)
    except ValueError:
        msg = f"{name!r} cannot feed a platform that keeps running: give simulated or none, add --once, or use ./run replay."
        raise FeedError(msg) from None


def _check_live_options(symbols: str | None, speed: float | None) -> None:
    from market.errors import UsageError
    from market.instruments import parse_symbols

    if symbols is not None:
        parse_symbols(symbols)
    if speed is not None and not 0 < speed < float("inf"):
        msg = f"The speed {speed:g} is not above zero. Try --speed 10."
        raise UsageError(msg)


def _start_services(
    platform: "Platform", live_feed: LiveFeed, symbols: str | None, speed: float | None, dagster_port: int | None
) -> None:
    from cli import services
    from cli.running import say

    home, settings, supervisor = platform.home, platform.settings, platform.supervisor
    port = services.choose_dagster_port(home, dagster_port)
    names = "the stream, the market and Dagster" if live_feed is LiveFeed.SIMULATED else "the stream and Dagster"
    say(f"Starting {names} …")
    first = [services.stream_service(home, settings)]
    if live_feed is LiveFeed.SIMULATED:
        first.append(services.feed_service(home, settings, symbols=symbols, speed=speed))
    supervisor.start(first, wait=False)
    code_server, others, url = services.dagster_services(home, settings, port)
    supervisor.start(code_server)
    supervisor.start(others)
    supervisor.wait_ready()
    platform.publish_address("DAGSTER_URL", url)
    if _needs_history(platform):
        supervisor.start([services.jobs_task(home, settings, timeout_seconds=JOBS_SECONDS)], wait=False)
        say("Loading daily history and building the marts in the background …")


def _needs_history(platform: "Platform") -> bool:
    from warehouse.progress import stream_status

    status = stream_status(platform.settings)
    return status.vendor_bars == 0 or not status.marts


def _show_addresses(platform: "Platform") -> None:
    from rich.console import Console
    from rich.table import Table

    from cli.addresses import shown_addresses

    table = Table("what", "address", title="Tapehouse is running")
    for what, address in shown_addresses(platform.settings, platform.addresses).items():
        table.add_row(what, address)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        "Try in another terminal:\n"
        "  ./run status\n"
        '  ./run sql "select * from marts.realtime_prices order by symbol"\n'
        "  ./run verify\n"
        "Ctrl-C or ./run down stops everything; ./run up then goes on.",
        highlight=False,
    )
