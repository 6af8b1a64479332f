"""``./run marts``: build the marts now, and if need be sessions of them again."""

import time
from typing import Annotated

import typer

from market.errors import ImpossibleValuesError, UsageError


def marts(
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build sessions again, whatever they were built from.")
    ] = False,
    start: Annotated[str | None, typer.Option(help="With --rebuild: first session, as 2013-10-07.")] = None,
    end: Annotated[str | None, typer.Option(help="With --rebuild: last session; the newest if not given.")] = None,
    symbols: Annotated[str, typer.Option(help="With --rebuild: comma-separated tickers; all if not given.")] = "",
) -> None:
    """Build the marts from lake.* in PostgreSQL, and run their tests; exits 1 if a model, a test or a check fails.

    Without options the sessions are built whose bars or whose rows in the marts somebody changed, as Dagster does while the
    stream goes on. --rebuild builds others too: what a restored backup lacks, or what stands there and does not belong. Each
    session is replaced at once: whoever reads meanwhile sees it before or after. Before --rebuild every row is looked at that the
    marts are made from: from a value that is not possible nothing is built.
    """
    from cli.replay import parse_day
    from infra.local.home import connected_settings
    from market.instruments import parse_symbols
    from market.settings import load_settings
    from orchestration.run import run_jobs
    from quality.checks import Quality
    from warehouse.dbt_indicators import require_buildable
    from warehouse.marts import Rebuild, forget_builds

    chosen = Rebuild(parse_day(start, "--start"), parse_day(end, "--end"), parse_symbols(symbols) if symbols else ())
    if not rebuild and chosen != Rebuild():
        msg = "--start, --end and --symbols go with --rebuild."
        raise UsageError(msg)
    require_buildable()
    settings = connected_settings(load_settings())
    settings.require_database()
    started = time.monotonic()
    if rebuild:
        typer.echo("Looking at every row that the marts are made from …")
        Quality(settings).require_possible()
        typer.echo(f"Building {forget_builds(settings, chosen, _say_that_it_waits):,} sessions again …")
    try:
        failed = run_jobs(settings, ["marts"])
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. Each mart is as it was or whole; what is left is built by the next run of all marts.",
            err=True,
        )
        raise
    seconds = time.monotonic() - started
    if failed:
        msg = f"The marts are built, but these checks failed: {', '.join(failed)}. ./run quality shows the rows. {seconds:.1f} s."
        raise ImpossibleValuesError(msg)
    typer.echo(f"The marts are built, and every test and check holds. {seconds:.1f} s.")


def _say_that_it_waits(mart: str, seconds: float) -> None:
    typer.echo(
        f"Another build of the marts is under way; this one goes on when it has ended. Waiting for {mart} since {seconds:.0f} s.",
        err=True,
    )
