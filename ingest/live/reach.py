"""What a keeper reaches the world through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.live.connection import Filling, Line
from ingest.live.market import Outlet
from ingest.live.notice import FeedState
from ingest.live.source import Hole


def _say_nothing(*_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The world.

    Attributes
    ----------
    connect
        Begins a connection for some symbols.
    fill
        Begins to fill a hole.
    open_outlet
        Connects to the broker; called again after a loss.
    symbols
        Says which symbols are wanted now.
    tell
        Is told how the source is, and why it is not live if it is not.
    warn
        Is told what somebody has to mend, and nothing once that is done.
    """

    connect: Callable[[Sequence[str]], Line]
    fill: Callable[[Hole], Filling]
    open_outlet: Callable[[], Outlet]
    symbols: Callable[[], tuple[str, ...]]
    tell: Callable[[FeedState, str], None] = _say_nothing
    warn: Callable[[str], None] = _say_nothing
