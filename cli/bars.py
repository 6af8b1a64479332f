"""``./run bars``: bars of a symbol by trades, shares or dollars."""

import itertools
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from market.errors import UsageError
from spark_jobs.transforms.activity import COLUMNS, Activity

if TYPE_CHECKING:
    from spark_jobs.io.delta import Lake


class Segments(StrEnum):
    """Which part of the sessions."""

    ALL = "all"
    PRE = "pre"
    REGULAR = "regular"
    POST = "post"


def bars(
    symbol: Annotated[str, typer.Argument(help="The ticker.")],
    *,
    by: Annotated[Activity, typer.Option(help="What a bar counts: trades (tick), shares (volume) or money (dollar).")],
    size: Annotated[int, typer.Option(min=1, help="When a bar is full: so many trades, shares or dollars.")],
    start: Annotated[
        str | None, typer.Option(help="First session, as 2013-10-07; the lake's first without it.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Last session; the lake's last without it.")] = None,
    source: Annotated[str | None, typer.Option(help="The feed; every feed that has the symbol without it.")] = None,
    segment: Annotated[Segments, typer.Option(help="Which part of the sessions.")] = Segments.REGULAR,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header, every row.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, every row.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows of a table to show; 0 shows all.")] = 200,
) -> None:
    """Show bars that end after so many trades, shares or dollars, made from the trades of the lake.

    Cancels, corrections and eligibility hold as for the bars by time, and each session begins anew; docs/bars.md says which
    trade is in which bar. Reads the lake alone; the platform need not run.
    """
    from cli.replay import parse_day
    from cli.sql import check_format, show
    from infra.local.home import connected_settings
    from market.settings import load_settings
    from spark_jobs.io.delta import Lake
    from spark_jobs.jobs.activity import bars_of_session
    from warehouse.query import Answer

    check_format(as_csv=as_csv, as_json=as_json)
    first, last = parse_day(start, "--start") or date.min, parse_day(end, "--end") or date.max
    if last < first:
        msg = f"The end {last} lies before the start {first}. Swap them."
        raise UsageError(msg)
    part = None if segment is Segments.ALL else segment.value
    lake = Lake(connected_settings(load_settings()).lake)
    days = [day for day in _known_sessions(lake, symbol.upper(), source) if first <= day <= last]
    if not days:
        msg = f"The lake has no trades of {symbol.upper()} from {first} to {last}."
        raise UsageError(msg)
    rows = itertools.chain.from_iterable(
        bars_of_session(lake, symbol.upper(), day, by, size, source=source, segment=part) for day in days
    )
    show(Answer(tuple(column.name for column in COLUMNS), rows), as_csv=as_csv, as_json=as_json, limit=limit)


def _known_sessions(lake: "Lake", symbol: str, source: str | None) -> list[date]:
    from market.tables import TRADES
    from spark_jobs.jobs.activity import sessions_with

    known = sessions_with(lake, symbol, source) if lake.exists(TRADES) else []
    if not known:
        origin = f" of the feed {source}" if source else ""
        msg = f"The lake has no trades of {symbol}{origin}. ./run replay and ./run up bring some."
        raise UsageError(msg)
    return known
