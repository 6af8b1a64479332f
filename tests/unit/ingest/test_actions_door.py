"""The door for corporate actions: what is said to be in the lake is there."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Self

import pytest

from ingest.actions import door
from ingest.actions.collect import Collected
from ingest.actions.door import REJECTED, take_in
from ingest.actions.missing import Missing
from ingest.actions.source import start_of
from market.records import CorporateAction, Split
from market.settings import Settings
from warehouse.actions import StoredAction

DAY = date(2014, 6, 9)
KNOWN = datetime(2014, 6, 9, 4, tzinfo=UTC)
NOW = datetime(2014, 7, 1, tzinfo=UTC)
SETTINGS = Settings(_env_file=None).model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})


class PlayedPublisher:
    """Kafka takes all."""

    has_losses = False

    def __init__(self, servers: str) -> None:
        del servers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def publish_all(self, actions: list[CorporateAction]) -> None: ...

    def flush(self, _seconds: float) -> int:
        return 0


def split(symbol: str, new: int = 7) -> Split:
    return Split("csv", symbol, start_of(DAY), DAY.isoformat(), Decimal(new), Decimal(1))


def stored(symbol: str, new: int = 7) -> StoredAction:
    return StoredAction(symbol, "split", DAY, KNOWN, False, Decimal(f"{new}.000000"), Decimal(1), None, None)


def test_what_the_stream_rejected_is_a_problem_of_its_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is past the message either way: whether it took it only the lake says."""
    lake = [stored("AAPL"), stored("IBM", 6)]
    monkeypatch.setattr(door, "Publisher", PlayedPublisher)
    monkeypatch.setattr(door, "ensure_topics", lambda _servers: None)
    monkeypatch.setattr(door, "end_offsets", lambda _servers, topics: topics)
    monkeypatch.setattr(door, "wait_for_offsets", lambda *_ends, timeout_seconds: timeout_seconds)
    monkeypatch.setattr(door, "stored_versions", lambda _settings, source: lake if source == "csv" else [])
    monkeypatch.setattr(door, "remember_asked", lambda *_answered: None)
    missing = Missing([split("AAPL"), split("IBM"), split("SPY")])
    found = Collected(missing, (), frozenset(), frozenset({"AAPL", "IBM", "SPY"}))
    problems = take_in(SETTINGS, "csv", found, asked_at=NOW).problems
    assert [(problem.symbol, problem.code) for problem in problems] == [("IBM", REJECTED), ("SPY", REJECTED)]
    assert "split of 2014-06-09" in problems[0].detail
