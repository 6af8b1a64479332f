"""``./run down``: stop the platform that runs on this home."""

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from infra.local.home import Home, Owner

DEADLINE_SECONDS: Final = 150.0
_POLL_SECONDS: Final = 0.1


def down(
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Kill what does not stop; nothing acknowledged is lost.")
    ] = False,
) -> None:
    """Stop the platform that runs on this home, and wait until it has stopped."""
    from infra.local.home import Home
    from market.settings import load_settings

    home = Home(load_settings().home)
    owner = home.owner()
    if owner is not None:
        _stop(owner, force=force)
    had_leftovers = _stop_leftovers(home)
    if owner is not None:
        typer.echo(f"Stopped `{owner.command}` (pid {owner.pid}) on {home.path}.")
    elif not had_leftovers:
        typer.echo(f"Nothing runs on {home.path}.")


def _stop(owner: "Owner", *, force: bool) -> None:
    from market.errors import ServiceError

    typer.echo(f"Stopping `{owner.command}` (pid {owner.pid}); the stream finishes its batch first …")
    signals_left = 2 if force else 1  # the second one hurries
    deadline = time.monotonic() + DEADLINE_SECONDS
    while owner.is_alive() and time.monotonic() < deadline:
        if signals_left:
            signals_left -= 1
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGTERM)
        time.sleep(_POLL_SECONDS)
    if owner.is_alive():
        if not force:
            msg = f"`{owner.command}` (pid {owner.pid}) has not stopped after {DEADLINE_SECONDS:g} s. Try ./run down --force."
            raise ServiceError(msg)
        with suppress(ProcessLookupError):
            os.kill(owner.pid, signal.SIGKILL)


def _stop_leftovers(home: "Home") -> bool:
    """Stop what a platform that was killed left running; return whether there was something."""
    from infra.local.supervisor import stop_orphans

    if not home.pids_file.exists():
        return False
    reported: list[str] = []
    with home.lock("./run down"):
        stop_orphans(home, reported.append)
    for line in reported:
        typer.echo(line)
    return bool(reported)
