"""Asks of history, and what a test needs to put one."""

from datetime import UTC, date, datetime

from ingest.history.source import Ask
from market.sessions import sessions_between


class Pace:
    """Counts what it lets pass."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self) -> None:
        self.requests += 1


def ask_for(symbol: str, interval: str, first: str, last: str | None = None) -> Ask:
    days = (date.fromisoformat(first), date.fromisoformat(last or first))
    return Ask((symbol,), interval, tuple(sessions_between(*days)))


def at(utc: str) -> int:
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * 1_000_000
