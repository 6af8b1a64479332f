"""``./run sql``: ask PostgreSQL or the lake a question and show the answer."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from market.errors import UsageError

if TYPE_CHECKING:
    from market.settings import Settings
    from warehouse.query import Answer

FILE_WIDTH = 100_000
"""Columns of a table that does not go to a terminal: it is never folded."""


def sql(
    question: Annotated[str, typer.Argument(help='One SQL statement, or "-" to read it from the standard input.')],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header, every row.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, every row.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows of a table to show; 0 shows all.")] = 200,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds that the question may take; not for the lake.")
    ] = 60.0,
    lake: Annotated[bool, typer.Option("--lake", help="Ask the lake instead of PostgreSQL.")] = False,
    as_of: Annotated[
        str | None, typer.Option(help="Ask the lake as it was at this moment of the last three days, in ISO 8601.")
    ] = None,
) -> None:
    """Ask PostgreSQL a question, or with --lake the lake; nothing can be changed by it.

    PostgreSQL's tables for users are in the schema marts: realtime_prices, intraday_ohlcv, historical_ohlcv,
    corporate_actions. The lake's are messages, quarantine, duplicates, trades, amendments, feed_status, quotes, vendor_bars,
    corporate_actions and bar_revisions_1m.
    """
    from infra.local.home import connected_settings
    from market.settings import load_settings

    check_format(as_csv=as_csv, as_json=as_json)
    text = sys.stdin.read() if question == "-" else question
    settings = connected_settings(load_settings())
    with _asked(settings, text, timeout, lake=lake, as_of=as_of) as answer:
        show(answer, as_csv=as_csv, as_json=as_json, limit=limit)


def check_format(*, as_csv: bool, as_json: bool) -> None:
    """Refuse two formats at once.

    Raises
    ------
    UsageError
        If both are asked for.
    """
    if as_csv and as_json:
        msg = "Choose --csv or --json, not both."
        raise UsageError(msg)


def show(answer: "Answer", *, as_csv: bool, as_json: bool, limit: int) -> None:
    """Print the answer in the format that was asked for; end quietly when its reader has enough."""
    try:
        if as_csv:
            write_csv(answer, sys.stdout)
        elif as_json:
            write_json_lines(answer, sys.stdout)
        else:
            write_table(answer, sys.stdout, limit=limit)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has enough: that is no error. Python would complain once more when it closes stdout.
        sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115
        raise typer.Exit from None


@contextmanager
def _asked(
    settings: "Settings", question: str, timeout_seconds: float, *, lake: bool, as_of: str | None
) -> Iterator["Answer"]:
    if not lake and as_of is None:
        from warehouse.query import ask

        with ask(settings, question, timeout_seconds=timeout_seconds) as answer:
            yield answer
    else:
        from cli.lake_query import ask_lake, parse_moment

        yield ask_lake(settings, question, None if as_of is None else parse_moment(as_of))


def write_csv(answer: "Answer", out: TextIO) -> None:
    """Write the answer as CSV: a header, null as nothing, times in ISO 8601."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_plain(value) for value in row] for row in answer.rows)


def write_json_lines(answer: "Answer", out: TextIO) -> None:
    """Write the answer as one JSON object a line; decimals keep every digit.

    Raises
    ------
    UsageError
        If two columns have the same name: an object could hold only one of them.
    """
    import msgspec

    repeated = sorted({name for name in answer.columns if answer.columns.count(name) > 1})
    if repeated:
        msg = f'Two columns are named {repeated[0]}. Give them names of their own with "as".'
        raise UsageError(msg)
    encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
    for row in answer.rows:
        out.write(encoder.encode(dict(zip(answer.columns, row, strict=True))).decode() + "\n")


def write_table(answer: "Answer", out: TextIO, *, limit: int) -> None:
    """Write the answer as a table, at most ``limit`` rows of it (0: all), and say so if there are more."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(islice(answer.rows, limit + 1)) if limit else list(answer.rows)
    if not rows:
        typer.echo(f"No rows. Columns: {', '.join(answer.columns)}", err=True)
        return
    shown = rows[:limit] if limit else rows
    on_terminal = out.isatty()
    table = Table(box=box.ROUNDED if on_terminal else box.ASCII2)
    for name, values in zip(answer.columns, zip(*shown, strict=True), strict=True):
        is_number = any(_is_number(value) for value in values)
        table.add_column(Text(_printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in shown:
        table.add_row(*(Text(_printable(_plain(value))) for value in row))
    Console(file=out, width=None if on_terminal else FILE_WIDTH, highlight=False).print(table)
    if len(rows) > len(shown):
        typer.echo(
            f"Only the first {limit:,} rows are shown. --limit 0 shows all; --csv and --json print all.", err=True
        )


def _is_number(value: object) -> bool:
    from decimal import Decimal

    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    from decimal import Decimal

    return f"{value:f}" if isinstance(value, Decimal) and value.is_finite() else str(value)


def _printable(text: str) -> str:
    """Return the text without characters that a terminal would obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
