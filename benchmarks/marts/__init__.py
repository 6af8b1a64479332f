"""The marts as an analyst asks them, at the size of 500 symbols, eighteen months of 5-minute bars and ten years of days.

Each part has a database of its own, and can be had alone: ``./run bench marts.questions``.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks.figures import Figure
from benchmarks.marts import questions
from market.settings import Settings

PARTS: Final = ("questions",)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures of all parts."""
    for part in (questions,):
        yield from part.run(settings)
