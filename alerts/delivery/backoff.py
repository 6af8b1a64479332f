"""When a message is tried again: later each time, and not all at the same moment."""

from typing import Final

MOST_ATTEMPTS: Final = 36
"""After so many a delivery is dead. With the delays below they take about a day."""
MOST_FINAL_ERROR: Final = 500
"""Characters of an error that are kept."""
_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 3600.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


def retry_seconds(attempts: int, chance: float) -> float:
    """Return how long to wait after so many attempts; ``chance`` is a random number from 0 to 1.

    Doubles from a second to an hour, less up to half of it at random, so that what failed together does not return together.
    """
    whole = min(_FIRST_SECONDS * 2.0 ** min(attempts - 1, 30), _LONGEST_SECONDS)
    return whole * (1 - chance / 2)


def pause_seconds(failures: int, chance: float) -> float:
    """Return how long a whole channel is left alone after so many failures in a row: at most a minute, for others wait too."""
    return min(retry_seconds(failures, chance), _LONGEST_PAUSE_SECONDS)
