"""The lake under what a real tape brings: 500 symbols, 2 % of the trades late, 1 % of the messages repeated.

Each part has engines of its own, and can be had alone: ``./run bench lake.live``.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks.figures import Figure
from benchmarks.lake import backlog, history, live, publishing
from market.settings import Settings

PARTS: Final = ("backlog", "live", "publishing", "history")


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures of all parts."""
    for part in (backlog, live, publishing, history):
        yield from part.run(settings)
