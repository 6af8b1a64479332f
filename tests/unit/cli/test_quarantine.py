"""What was rejected, as the command shows it, from a lake that is written out by hand."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

import pytest

from market import tables
from tests.unit.cli.conftest import CallCommand
from tests.unit.verify.tiny_lake import BARS_TOPIC, FIRST_BATCH, OPEN, SECOND_BATCH, TRADES_TOPIC, TinyLake, trade_json

Call = Callable[..., tuple[int, str, str]]
BROKEN = b'{"kind":"trade",\x00\xff'


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    """Runs the command on the lake in ``tmp_path``; returns the exit code and what it printed."""
    return functools.partial(call_command, "quarantine")


@pytest.fixture
def rejected(tmp_path: Path) -> None:
    """Three messages that were rejected, in two batches."""
    lake = TinyLake(tmp_path / "lake")
    for topic, offset, reason, value, at in (
        (TRADES_TOPIC, 4, "not_json", BROKEN, FIRST_BATCH),
        (TRADES_TOPIC, 9, "not_json", None, SECOND_BATCH),
        (BARS_TOPIC, 1, "bad_volume", b'{"kind":"bar"}', SECOND_BATCH),
    ):
        ledger = lake.message(topic, offset, value, at)
        lake[tables.QUARANTINE].append({**ledger, "reason": reason, "detail": f'{{"n":"{offset}"}}'})
    lake.message(TRADES_TOPIC, 5, b"{}", FIRST_BATCH)
    lake.write()


@pytest.mark.usefixtures("rejected")
def test_rejected_messages_are_counted_by_reason_the_most_frequent_first(call: Call) -> None:
    code, out, _ = call("list", "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {
            "reason": "not_json",
            "topic": TRADES_TOPIC,
            "messages": 2,
            "first_at": FIRST_BATCH.isoformat(),
            "last_at": SECOND_BATCH.isoformat(),
            "newest": f"{TRADES_TOPIC}/0/9",
        },
        {
            "reason": "bad_volume",
            "topic": BARS_TOPIC,
            "messages": 1,
            "first_at": SECOND_BATCH.isoformat(),
            "last_at": SECOND_BATCH.isoformat(),
            "newest": f"{BARS_TOPIC}/0/1",
        },
    ]
    code, out, _ = call()
    assert code == 0
    assert "not_json" in out
    assert f"{TRADES_TOPIC}/0/9" in out


@pytest.mark.usefixtures("rejected")
def test_messages_of_a_reason_or_topic_are_listed_the_newest_first(call: Call) -> None:
    def places(*arguments: str) -> list[str]:
        return [json.loads(line)["place"] for line in call("list", "--json", *arguments)[1].splitlines()]

    assert places("--reason", "not_json") == [f"{TRADES_TOPIC}/0/9", f"{TRADES_TOPIC}/0/4"]
    assert places("--reason", "not_json", "--limit", "1") == [f"{TRADES_TOPIC}/0/9"]
    assert places("--limit", "2") == [f"{BARS_TOPIC}/0/1", f"{TRADES_TOPIC}/0/9"]
    assert places("--limit", "9")[2:] == [f"{TRADES_TOPIC}/0/4"]
    assert places("--topic", BARS_TOPIC) == [f"{BARS_TOPIC}/0/1"]
    assert places("--topic", BARS_TOPIC, "--reason", "not_json") == []
    assert "Nothing was rejected for that reason" in call("list", "--reason", "boredom")[1]


@pytest.mark.usefixtures("rejected")
def test_a_message_is_shown_whole_and_harmless_to_a_terminal(call: Call) -> None:
    code, out, _ = call("show", f"{TRADES_TOPIC}/0/4")
    assert code == 0
    assert 'value        {"kind":"trade",\\x00\\xff' in out
    assert "reason       not_json" in out
    shown = json.loads(call("show", f"{TRADES_TOPIC}/0/9", "--json")[1])
    assert (shown["value"], shown["key"], shown["detail"]) == (None, "SPY", '{"n":"9"}')


@pytest.mark.usefixtures("rejected")
@pytest.mark.parametrize("place", [f"{TRADES_TOPIC}/0/5", f"{TRADES_TOPIC}/1/4", "other/0/4"])
def test_a_place_where_nothing_was_rejected_is_said_to_be_one(call: Call, place: str) -> None:
    code, _, err = call("show", place)
    assert code == 1
    assert f"No message was rejected at {place}" in err


WRONG_USAGE = [
    *(("show",), ("list", "t/0/1"), ("show", "t/0"), ("show", "t/x/1"), ("show", "t/-1/1"), ("keep",)),
    *(("retry", "--limit", "1"), ("show", "t/0/1", "--limit", "1")),
]


@pytest.mark.parametrize("arguments", WRONG_USAGE)
def test_wrong_usage_is_named(call: Call, arguments: tuple[str, ...]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_without_a_lake_nothing_was_rejected(call: Call) -> None:
    assert call("list")[:2] == (0, "Nothing was rejected.\n")
    assert call("list", "--limit", "5")[:2] == (0, "Nothing was rejected.\n")


class PlayedPublisher:
    """Acknowledges everything, and keeps it."""

    published: ClassVar[list[tuple[str, bytes | None, bytes]]] = []

    def __init__(self, servers: str) -> None:
        assert servers == "broker:9092"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def publish_bytes(self, topic: str, key: bytes | None, value: bytes) -> bool:
        self.published.append((topic, key, value))
        return True


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes | None, bytes]]:
    monkeypatch.setattr("ingest.publisher.Publisher", PlayedPublisher)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    PlayedPublisher.published.clear()
    return PlayedPublisher.published


@pytest.fixture
def retriable(tmp_path: Path) -> None:
    """One rejected trade that is valid, one that is not, and a conflict."""
    lake = TinyLake(tmp_path / "lake")
    valid = trade_json("t1", OPEN, "100.5", 100)
    for offset, reason, value in ((0, "bad_price", valid), (1, "not_json", b"{"), (2, "conflicting_trade_id", valid)):
        ledger = lake.message(TRADES_TOPIC, offset, value + b" " * offset, FIRST_BATCH)
        lake[tables.QUARANTINE].append({**ledger, "reason": reason, "detail": None})
    lake.write()


@pytest.mark.usefixtures("retriable")
def test_a_retry_publishes_what_is_accepted_now_and_says_what_is_not(
    call: Call, published: list[tuple[str, bytes | None, bytes]]
) -> None:
    code, out, _ = call("retry", "--json")
    assert code == 0
    assert json.loads(out) == {
        "accepted": 1,
        "published": 1,
        "already_in": 0,
        "conflicts": 1,
        "still_rejected": {"not_json": 1},
    }
    assert published == [(TRADES_TOPIC, b"SPY", trade_json("t1", OPEN, "100.5", 100))]


@pytest.mark.usefixtures("retriable")
def test_a_dry_retry_publishes_nothing_and_needs_no_broker(
    call: Call, published: list[tuple[str, bytes | None, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    code, out, _ = call("retry", "--dry-run")
    assert code == 0
    assert "1 would be accepted now" in out
    assert "1 still rejected: not_json" in out
    assert "1 conflicts, never retried" in out
    assert published == []
    assert "0 would be accepted now" in call("retry", f"{TRADES_TOPIC}/0/1", "--dry-run")[1]


@pytest.mark.usefixtures("retriable")
def test_a_retry_without_a_broker_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    code, _, err = call("retry")
    assert code == 2
    assert "Kafka is not running here" in err
