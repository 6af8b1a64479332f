"""The marts: what indicators cost, how fast a new minute reaches them, and how fast they answer an analyst's questions.

Each part has a database of its own, and can be had alone: ``./run bench marts.questions``.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks.figures import Figure
from benchmarks.marts import indicators, overhead, questions, refresh
from market.settings import Settings

PARTS: Final = ("indicators", "refresh", "overhead", "questions")


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures of all parts."""
    for part in (indicators, refresh, overhead, questions):
        yield from part.run(settings)
