"""What a service is to the supervisor: a command, what must be done before it, and how one sees that it is ready."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra.local.processes import Command

START_SECONDS: Final = 120.0
"""PostgreSQL and Kafka first go through what they had not finished when they were killed."""


def nothing() -> None:
    """Prepare nothing."""


def as_soon_as_it_runs() -> bool:
    """Be ready at once."""
    return True


@dataclass(frozen=True, slots=True)
class Service:
    """One process that the supervisor starts, watches and stops.

    Attributes
    ----------
    command
        What runs, under which name.
    prepare
        Done before each start; may take a while, must be repeatable, raises a ``TapehouseError`` if it cannot be done.
    is_ready
        Whether the service now serves; asked again and again after a start.
    ready_text
        What it writes to its log once it is ready; ``None`` if nothing tells.
    ready_within_seconds
        How long a start may take.
    is_task
        Whether it is done when it ends with exit code 0, instead of running for ever.
    final_statuses
        Exit codes after which a task is not started again: it would fail again.
    """

    command: Command
    prepare: Callable[[], None] = nothing
    is_ready: Callable[[], bool] = as_soon_as_it_runs
    ready_text: str | None = None
    ready_within_seconds: float = START_SECONDS
    is_task: bool = False
    final_statuses: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """The service's name for users."""
        return self.command.name
