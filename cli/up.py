"""``./run up``: start the platform and keep it running."""

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from cli.running import Platform
    from market.settings import Settings

JOBS_SECONDS: Final = 3600.0
_FEED_HELP: Final = (
    "simulated, alpaca, yahoo, auto or none (TAPEHOUSE_LIVE_FEED if not given); with --once: lean, csv, simulated or sample (a "
    "simulated session of the symbols if not given)."
)


class LiveFeed(StrEnum):
    """What feeds the running platform."""

    SIMULATED = "simulated"
    ALPACA = "alpaca"
    YAHOO = "yahoo"
    AUTO = "auto"
    NONE = "none"


class ClosedMarket(StrEnum):
    """What the feed ``auto`` does while the market is closed, or every source refuses."""

    SIMULATED = "simulated"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class LiveChoice:
    """What feeds the running platform, and how."""

    feed: LiveFeed
    closed: str
    symbols: str | None
    speed: float | None

    def __str__(self) -> str:
        if self.feed is LiveFeed.SIMULATED:
            return "the simulated market"
        return f"the live feed ({self.feed})"


def up(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Take a bounded input to the end of every stage, prove the laws, and stop.")
    ] = False,
    feed: Annotated[str | None, typer.Option(help=_FEED_HELP)] = None,
    closed: Annotated[
        ClosedMarket | None, typer.Option(help="What auto does without a market or a source (TAPEHOUSE_CLOSED_MARKET).")
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="Comma-separated tickers. If not given, the watchlist for a real feed; TAPEHOUSE_SYMBOLS."),
    ] = None,
    path: Annotated[Path | None, typer.Option(help="With --once: folder of the data, for lean; file, for csv.")] = None,
    start: Annotated[str | None, typer.Option(help="With --once: first session, as 2013-10-07.")] = None,
    end: Annotated[str | None, typer.Option(help="With --once: last session; the first if not given.")] = None,
    speed: Annotated[float | None, typer.Option(help="Times the pace of the market, for the simulated one.")] = None,
    dagster_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of Dagster's pages.")] = None,
) -> None:
    """Start the platform and keep it running until Ctrl-C, SIGTERM or ./run down.

    Starts Kafka and PostgreSQL (unless their addresses are set), the stream, daily history and the marts, a live feed (the
    simulated market if not told otherwise), and Dagster. What crashes is started again. A second start goes on where the first
    stopped.
    """
    from market.settings import load_settings
    from warehouse.dbt_indicators import require_buildable

    settings = load_settings()
    require_buildable()
    if once:
        from cli.once import OnceOptions, run_once

        _refuse("--once", {"--closed": closed, "--speed": speed, "--dagster-port": dagster_port})
        if not run_once(settings, OnceOptions(feed=feed, symbols=symbols, path=path, start=start, end=end)):
            raise typer.Exit(1)
        return
    _refuse("a platform that keeps running; add --once", {"--path": path, "--start": start, "--end": end})
    live = LiveChoice(_live_feed(feed or settings.live_feed), closed or settings.closed_market, symbols, speed)
    _check_live_options(live, settings, closed)

    from cli.running import running_platform, say

    try:
        with running_platform(settings, "./run up") as platform:
            _start_services(platform, live, dagster_port)
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


def _live_feed(name: str) -> LiveFeed:
    from market.errors import FeedError

    try:
        return LiveFeed(name)
    except ValueError:
        msg = f"{name!r} cannot feed a platform that keeps running: give {', '.join(LiveFeed)}, add --once, or use ./run replay."
        raise FeedError(msg) from None


def _check_live_options(live: LiveChoice, settings: "Settings", closed: ClosedMarket | None) -> None:
    from ingest.live.sources import LIVE_SOURCE_NAMES, get_live_source
    from market.errors import UsageError
    from market.instruments import parse_symbols

    if live.symbols is not None:
        parse_symbols(live.symbols)
    if live.speed is not None and not 0 < live.speed < float("inf"):
        msg = f"The speed {live.speed:g} is not above zero. Try --speed 10."
        raise UsageError(msg)
    if live.feed is not LiveFeed.AUTO:
        _refuse(f"--feed {live.feed}, only with --feed auto", {"--closed": closed})
    if live.feed in LIVE_SOURCE_NAMES:
        _refuse(f"--feed {live.feed}", {"--speed": live.speed})
        get_live_source(live.feed, settings).check()


def _start_services(platform: "Platform", live: LiveChoice, dagster_port: int | None) -> None:
    from cli import services
    from cli.running import say
    from ingest.live.notice import clear_notice

    home, settings, supervisor = platform.home, platform.settings, platform.supervisor
    port = services.choose_dagster_port(home, dagster_port)
    is_fed = live.feed is not LiveFeed.NONE
    clear_notice(home.path)
    say(f"Starting the stream, {live} and Dagster …" if is_fed else "Starting the stream and Dagster …")
    first = [
        services.stream_service(home, settings),
        services.alerts_service(home, settings),
        services.price_alerts_service(home, settings),
    ]
    if is_fed:
        first.append(
            services.feed_service(
                home, settings, feed=live.feed, closed=live.closed, symbols=live.symbols, speed=live.speed
            )
        )
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
        "  ./run connect        # how BI tools reach the marts\n"
        "  ./run verify\n"
        "Ctrl-C or ./run down stops everything; ./run up then goes on.",
        highlight=False,
    )
