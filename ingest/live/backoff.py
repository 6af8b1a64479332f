"""How long to wait after a failure: growing random pauses, then an open circuit."""

from typing import Final

from tenacity import RetryCallState, Retrying, wait_chain, wait_fixed, wait_random_exponential

from ingest.history.source import SourceBusyError
from market.errors import FeedError

OPENS_AFTER: Final = 5
"""After so many failures in a row the circuit opens: one trial every five minutes, until a connection lasts."""
OPEN_SECONDS: Final = 300.0
SHORTEST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 30.0

_GROWING: Final = wait_random_exponential(multiplier=1, min=SHORTEST_SECONDS, max=LONGEST_SECONDS)
_PAUSES: Final = wait_chain(*[_GROWING] * (OPENS_AFTER - 1), wait_fixed(OPEN_SECONDS))


def pause_seconds(failures: int, error: FeedError) -> float:
    """Return how long to wait after so many failures in a row: as long as the source asks for, if that is longer.

    The first pauses are random and grow; from :data:`OPENS_AFTER` failures on the circuit is open, and a pause is
    :data:`OPEN_SECONDS`, which is the longest.
    """
    asked = error.after_seconds if isinstance(error, SourceBusyError) else None
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = failures
    return max(float(_PAUSES(state)), min(asked or 0.0, OPEN_SECONDS))
