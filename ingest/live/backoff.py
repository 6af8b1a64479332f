"""How long to wait after a failure: growing random pauses, then an open circuit."""

from typing import Final

from tenacity import RetryCallState, Retrying, wait_chain, wait_fixed, wait_random_exponential

from ingest.history.source import SourceBusyError
from market.errors import FeedError

OPENS_AFTER: Final = 5
"""After so many failures in a row of different holes the circuit opens: one trial every five minutes."""
OPENS_AFTER_SECONDS: Final = 600.0
"""After so long without anything from a connection its circuit opens. A restart of a router takes a minute or two, and those that
fail at once make five failures within seconds."""
OPEN_SECONDS: Final = 300.0
SHORTEST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 30.0

_GROWING: Final = wait_random_exponential(multiplier=1, min=SHORTEST_SECONDS, max=LONGEST_SECONDS)
_PAUSES: Final = wait_chain(*[_GROWING] * (OPENS_AFTER - 1), wait_fixed(OPEN_SECONDS))


def is_open(silent_seconds: float) -> bool:
    """Return whether the circuit of a connection is open that has brought nothing for so long, however often it was tried."""
    return silent_seconds >= OPENS_AFTER_SECONDS


def connection_pause_seconds(failures: int, silent_seconds: float, error: FeedError) -> float:
    """Return how long to wait before the next connection: a random while that grows with the failures in a row to half a minute.

    With an open circuit it is :data:`OPEN_SECONDS`; in both cases as long as the source asks for, if that is longer, up to that.
    """
    pause = OPEN_SECONDS if is_open(silent_seconds) else float(_GROWING(_state(failures)))
    return max(pause, _asked_for(error))


def pause_seconds(failures: int, error: FeedError) -> float:
    """Return how long to wait after so many failures in a row of the history: as long as the source asks for, if that is longer.

    The first pauses are random and grow; from :data:`OPENS_AFTER` failures on the circuit is open, and a pause is
    :data:`OPEN_SECONDS`, which is the longest.
    """
    return max(float(_PAUSES(_state(failures))), _asked_for(error))


def _state(failures: int) -> RetryCallState:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = failures
    return state


def _asked_for(error: FeedError) -> float:
    asked = error.after_seconds if isinstance(error, SourceBusyError) else None
    return min(asked or 0.0, OPEN_SECONDS)
