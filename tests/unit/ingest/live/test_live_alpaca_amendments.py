"""Corrections of corrections: one trade counts, with what was said of it last, over connections."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from ingest.feeds.alpaca.ticks import Translator, history_records
from ingest.history.source import SourceBusyError
from market.records import Cancel, Correction, Record, Trade
from tests.unit.ingest.live.alpaca_stream import Message, frame, moment, raw_trade, session
from tests.unit.ingest.live.stream_server import Peer, StreamServer
from tests.unit.ingest.live.test_live_alpaca_stream import live_at

TEN = "2026-11-20T15:00:00Z"


def at(minute: int) -> str:
    return f"2026-11-20T15:{minute:02}:00Z"


def corrected(minute: int, old: int, new: int, price: float) -> Message:
    """The correction of a trade that takes a new number, as the stream tells it."""
    said = {"oi": old, "ci": new, "op": 1.0, "os": 100, "oc": ["@"], "cp": price, "cs": 100, "cc": ["@"]}
    return {"T": "c", "S": "SPY", "x": "V", "z": "A", "t": moment(at(minute)), **said}


def cancelled(minute: int, number: int) -> Message:
    return {
        "T": "x",
        "S": "SPY",
        "x": "V",
        "i": number,
        "p": 1.0,
        "s": 100,
        "a": "C",
        "z": "A",
        "t": moment(at(minute)),
    }


def what_counts(records: Sequence[Record]) -> list[tuple[float, int]]:
    """Price and size of the trades that count: of the amendments of one the newest holds, at one moment the cancel."""
    found = []
    for trade in {record.trade_id: record for record in records if isinstance(record, Trade)}.values():
        of_it = [one for one in records if isinstance(one, Cancel | Correction) and one.ref_id == trade.trade_id]
        last = max(of_it, key=lambda one: (one.ts, isinstance(one, Cancel)), default=trade)
        if not isinstance(last, Cancel):
            found.append((float(last.price), last.size))
    return found


def heard(*connections: tuple[Message, ...]) -> list[Record]:
    """What one source publishes of connections, each of which is cut after its messages."""
    records: list[Record] = []
    with StreamServer(*(session(frame(*messages), Peer.cut) for messages in connections)) as server:
        source = live_at(server.url)
        for _ in connections:
            with pytest.raises(SourceBusyError):
                asyncio.run(connected(source, records))
    return records


async def connected(source: Any, records: list[Record]) -> None:
    wishes: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    wishes.put_nowait(("SPY",))
    await source.stream(wishes, lambda delivery: records.extend(delivery.records))


FIRST = (raw_trade("SPY", moment(TEN), 1), corrected(1, 1, 2, 11.0))


@pytest.mark.parametrize(("later", "counts"), [(corrected(2, 2, 3, 12.0), [(12.0, 100)]), (cancelled(2, 2), [])])
def test_what_becomes_of_a_corrected_trade_after_the_connection_was_cut_finds_it(
    later: Message, counts: list[tuple[float, int]]
) -> None:
    assert what_counts(heard(FIRST, (later,))) == what_counts(heard((*FIRST, later))) == counts


def told_by_the_history(minute: int, numbers: int) -> list[Record]:
    """What the history says at a minute of a trade that was corrected again and again: its numbers are 1 and up."""
    asked_at = round(datetime.fromisoformat(at(minute)).timestamp()) * 1_000_000
    records: list[Record] = []
    for number in range(1, numbers + 1):
        became = ("corrected" if number > 1 else "") if number == numbers else "incorrect"
        row = {"t": TEN, "x": "V", "p": 9.0 + number, "s": 100, "c": ["@"], "i": number, "z": "A", "u": became}
        records += history_records(row, "SPY", asked_at)
    return records


@pytest.mark.parametrize("filled", list(itertools.product((False, True), repeat=4)))
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_trade_that_is_corrected_thrice_counts_once_whenever_a_hole_is_filled_between(
    filled: tuple[bool, ...], is_cancelled: bool
) -> None:
    translator = Translator()
    records = list(translator.delivery([raw_trade("SPY", moment(TEN), 1, p=10.0)]).records)
    for number, is_filled in enumerate(filled, start=1):
        if number > 1:
            said = corrected(10 * number, number - 1, number, 9.0 + number)
            records += translator.delivery([said]).records
        if is_filled:
            records += told_by_the_history(10 * number + 7, number)
        assert what_counts(records) == [(9.0 + number, 100)]
    if is_cancelled:
        records += translator.delivery([cancelled(59, len(filled))]).records
        assert what_counts(records) == []
