"""Progress where there is no terminal: a line every few seconds."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import typer

LINE_EVERY_SECONDS: Final = 5.0

Done = TypeVar("Done")


def lines(describe: Callable[[Done], str]) -> Callable[[Done], None]:
    """Return what takes the progress whenever there is some, and writes a line of it to the error output now and then."""
    next_line_at = time.monotonic() + LINE_EVERY_SECONDS

    def show(done: Done) -> None:
        nonlocal next_line_at
        if time.monotonic() >= next_line_at:
            next_line_at = time.monotonic() + LINE_EVERY_SECONDS
            typer.echo(describe(done), err=True)

    return show
