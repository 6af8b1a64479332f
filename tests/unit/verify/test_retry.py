"""Which rejected messages a retry publishes, from a lake that is written out by hand."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from market import tables
from tests.unit.verify.tiny_lake import (
    BARS_TOPIC,
    FIRST_BATCH,
    OPEN,
    QUOTES_TOPIC,
    SECOND_BATCH,
    TRADES_TOPIC,
    TinyLake,
    micros,
    trade_json,
)
from verify.lake import Lake
from verify.quarantine import Place
from verify.retry import Message, Retry, plan_retry

LATER = SECOND_BATCH + timedelta(days=1)
VALID = trade_json("t1", OPEN, "100.5", 100)
QUOTE = f'{{"kind":"quote","source":"lean","symbol":"SPY","ts":{micros(OPEN)},"quote_id":"q1","bid":99.5}}'.encode()
CANCEL = f'{{"kind":"cancel","source":"lean","symbol":"SPY","ts":{micros(OPEN)},"ref_id":"t1"}}'.encode()
BAR = (
    f'{{"kind":"bar","source":"sample","symbol":"SPY","interval":"1d","ts":{micros(OPEN)},"open":10,"high":12,"low":9.5,'
    '"close":11,"volume":1000}'
).encode()


def reject(
    lake: TinyLake,
    value: bytes | None,
    *,
    offset: int = 0,
    reason: str = "bad_price",
    topic: str = TRADES_TOPIC,
    at: datetime = FIRST_BATCH,
) -> None:
    entry = lake.message(topic, offset, value, at)
    lake[tables.QUARANTINE].append({**entry, "reason": reason, "detail": None, "rules_version": 1})


def plan(lake: TinyLake, **chosen: Any) -> Retry:
    return plan_retry(Lake(lake.write()), LATER, **chosen)


def test_what_the_rules_of_today_accept_is_published_as_it_came(empty_lake: TinyLake) -> None:
    for topic, offset, value in (
        (TRADES_TOPIC, 0, VALID),
        (TRADES_TOPIC, 1, CANCEL),
        (QUOTES_TOPIC, 0, QUOTE),
        (BARS_TOPIC, 0, BAR),
    ):
        reject(empty_lake, value, offset=offset, topic=topic)
    found = plan(empty_lake)
    assert sorted(message.value for message in found.accepted) == sorted([VALID, CANCEL, QUOTE, BAR])
    assert Message(TRADES_TOPIC, b"SPY", VALID) in found.accepted
    assert (found.already_in, found.conflicts, found.still_rejected) == (0, 0, {})


def test_a_message_from_the_future_is_accepted_when_its_time_has_come(empty_lake: TinyLake) -> None:
    early = OPEN - timedelta(minutes=6)
    reject(empty_lake, VALID, reason="from_the_future", at=early)
    lake = Lake(empty_lake.write())
    assert plan_retry(lake, early).still_rejected == {"from_the_future": 1}
    assert len(plan_retry(lake, OPEN - timedelta(minutes=5)).accepted) == 1


def test_what_is_still_wrong_is_counted_by_its_reason(empty_lake: TinyLake) -> None:
    for offset, (value, reason) in enumerate([(b"{", "not_json"), (None, "not_json"), (VALID + b" x", "bad_size")]):
        reject(empty_lake, value, offset=offset, reason=reason)
    assert plan(empty_lake) == Retry([], still_rejected={"not_json": 2, "bad_size": 1})


def test_a_conflict_is_never_retried(empty_lake: TinyLake) -> None:
    reject(empty_lake, VALID, reason="conflicting_trade_id")
    assert plan(empty_lake) == Retry([], conflicts=1)


def test_the_same_bytes_are_published_once(empty_lake: TinyLake) -> None:
    reject(empty_lake, VALID, offset=0)
    reject(empty_lake, VALID, offset=1)
    assert plan(empty_lake).accepted == [Message(TRADES_TOPIC, b"SPY", VALID)]


def test_what_was_retried_and_taken_in_is_not_published_again(empty_lake: TinyLake) -> None:
    reject(empty_lake, VALID)
    empty_lake.message(TRADES_TOPIC, 1, VALID, SECOND_BATCH)
    assert plan(empty_lake) == Retry([], already_in=1)


def test_what_was_retried_and_contradicts_a_record_is_not_published_again(empty_lake: TinyLake) -> None:
    reject(empty_lake, VALID)
    reject(empty_lake, VALID, offset=1, reason="conflicting_trade_id", at=SECOND_BATCH)
    assert plan(empty_lake) == Retry([], conflicts=2)


def test_the_same_bytes_under_another_key_are_another_message(empty_lake: TinyLake) -> None:
    reject(empty_lake, VALID)
    empty_lake.message(TRADES_TOPIC, 1, VALID, SECOND_BATCH)
    empty_lake[tables.MESSAGES][-1]["key"] = None
    assert plan(empty_lake).accepted == [Message(TRADES_TOPIC, b"SPY", VALID)]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"reason": "bad_size"}, [QUOTE]),
        ({"topic": TRADES_TOPIC}, [VALID]),
        ({"place": Place(QUOTES_TOPIC, 0, 3)}, [QUOTE]),
        ({"place": Place(QUOTES_TOPIC, 1, 3)}, []),
        ({"topic": TRADES_TOPIC, "reason": "bad_size"}, []),
        ({}, [QUOTE, VALID]),
    ],
)
def test_only_the_chosen_messages_are_retried(
    empty_lake: TinyLake, chosen: dict[str, Any], expected: list[bytes]
) -> None:
    reject(empty_lake, VALID, reason="bad_price")
    reject(empty_lake, QUOTE, reason="bad_size", topic=QUOTES_TOPIC, offset=3)
    assert sorted(message.value for message in plan(empty_lake, **chosen).accepted) == sorted(expected)


def test_nothing_was_rejected_in_a_lake_without_tables(empty_lake: TinyLake) -> None:
    assert plan(empty_lake) == Retry([])
