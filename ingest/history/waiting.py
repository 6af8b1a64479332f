"""How long an HTTP answer asks to wait before the next request."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

SHORTEST_WAIT_SECONDS: Final = 1.0
"""A wait that is over by the vendor's clock may not be by ours."""


def wait_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long an answer asks to wait, or ``None`` if it does not say.

    Parameters
    ----------
    headers
        ``Retry-After`` says it in seconds or as a date, ``X-RateLimit-Reset`` as the second of the epoch at which there may be
        requests again.
    now
        The second of the epoch.
    """
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return max(float(after), SHORTEST_WAIT_SECONDS)
    reset = headers.get("X-RateLimit-Reset", "").strip()
    until = _seconds_of_date(after) or (float(reset) if reset.isdecimal() else None)
    return None if until is None else max(until - now, SHORTEST_WAIT_SECONDS)


def _seconds_of_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
