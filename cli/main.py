"""The commands by name, and how every error ends: one plain message and an exit code.

A command's module is imported when the command is used, so that none pays for the others.
"""

import errno
import importlib
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from market.errors import TapehouseError

PROGRAM: Final = "./run"

COMMANDS: Final[dict[str, str]] = {
    "up": "Start the platform and keep it running; with --once take a bounded input to the end of every stage.",
    "status": "Show addresses, lag, newest bar, rows and the health of every process.",
    "down": "Stop the platform that runs on this home.",
    "doctor": "Look for what would keep the platform from running, and say how to mend it.",
    "replay": "Publish the records of a feed.",
    "backfill": "Fetch what is missing of the past from a source, and nothing else.",
    "actions": "Fetch, show and confirm splits, dividends and changes of symbol.",
    "watchlist": "Show or change the symbols that history is collected of.",
    "sql": "Ask PostgreSQL a question.",
    "connect": "Print how BI tools reach the marts.",
    "docs": "Write the documentation of the marts with their lineage, as one page.",
    "bars": "Show bars of a symbol by trades, shares or dollars.",
    "verify": "Prove the laws over the data at hand.",
    "quality": "Hold values against what their columns may have.",
    "alert": "State rules, try them on the past, and read the alerts that they gave.",
    "alert channel": "Show, add, try or remove the channels that alerts go to.",
    "alert deliveries": "Show what was sent of alerts, what waits, what was held back and what was given up.",
    "alert incidents": "Show what is wrong with the platform, as operators were told.",
    "alert resend": "Send again what was given up or held back.",
    "alert watch": "Print alerts as they come.",
    "report": "Make the report of a session, a week or a month, as a page and as PDF.",
    "marts": "Build the marts now; with --rebuild whatever they were built from.",
    "recompute": "Work sessions out again from bronze, and repair what differs.",
    "quarantine": "Show what was rejected, and why; retry it.",
    "check": "Check format, lint, types, architecture and SQL of this checkout.",
    "test": "Run the tests.",
    "faults": "Kill, pause, fill and damage what there is, in rounds, and ask the oracle whether every law holds.",
    "bench": "Measure, against named peers.",
}
"""Each command is the function of that name in the module of that name, an underscore between two words; it is called with the
module's CONTEXT_SETTINGS, if any."""


class LazyGroup(TyperGroup):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer keeps its context class to itself
        """Return the names of the commands in the order in which they are shown."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """Return the command, or ``None`` if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            name = cmd_name.replace(" ", "_")
            module = importlib.import_module(f"cli.{name}")
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            command = single.command(
                name=cmd_name,
                short_help=COMMANDS[cmd_name],
                context_settings=getattr(module, "CONTEXT_SETTINGS", None),
            )
            command(getattr(module, name))
            self.commands[cmd_name] = typer.main.get_command(single)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the command that the arguments begin with, which may be of two words, and the rest of them."""
        name = " ".join(args[:2])
        if len(args) > 1 and name in COMMANDS:
            return name, self.get_command(ctx, name), args[2:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command, its logs going where they belong."""
        from cli.logs import configure_logging

        configure_logging()
        return super().invoke(ctx)


def _show_version(value: bool) -> None:  # noqa: FBT001 - a typer callback
    if value:
        from market.settings import CHECKOUT

        typer.echo(f"tapehouse {_version(str(CHECKOUT / 'pyproject.toml'))}")
        raise typer.Exit


def _version(pyproject: str) -> str:
    """Return the version: of the installed package, else of the checkout."""
    import tomllib

    try:
        return version("tapehouse")
    except PackageNotFoundError:
        with open(pyproject, "rb") as file:  # noqa: PTH123
            return str(tomllib.load(file)["project"]["version"])


app: Final = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Tapehouse: market data from the tape to the mart."""
    del show_version  # its callback has done it


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        app(prog_name=PROGRAM)
    except TapehouseError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            _report_defect(error)
        place = f" that holds {error.filename}" if error.filename else ""
        typer.echo(f"Error: The disk{place} is full. Free some space; ./run doctor says how much there is.", err=True)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: a defect must not end in a bare trace
        _report_defect(error)
    sys.exit(0)


def _report_defect(error: Exception) -> NoReturn:
    traceback.print_exception(error)
    typer.echo(
        f"Error: this should not happen ({type(error).__name__}). The trace above belongs in a bug report.", err=True
    )
    sys.exit(1)
