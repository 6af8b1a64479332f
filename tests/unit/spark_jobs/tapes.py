"""What each topic carried, batch by batch: good and bad, late and repeated, amended and said anew."""

from typing import Any

from spark_jobs.transforms.kinds import CORPORATE_ACTIONS, QUOTES, TRADES, VENDOR_BARS, RecordKind
from tests.unit.spark_jobs.messages import (
    BAR,
    DIVIDEND,
    HALT,
    HEARTBEAT,
    OPEN,
    QUOTE,
    RESUME,
    SPLIT,
    SYMBOL_CHANGE,
    WITHDRAWAL,
    changed,
    micros,
)
from tests.unit.spark_jobs.test_recompute import DAY, amendment, trade


def quote(number: int, day: int = 0, **others: Any) -> bytes:
    at = micros(OPEN) + day * DAY + number * 1_000_000
    return changed(QUOTE, **{"ts": at, "quote_id": f"{day}q{number}", "sequence": number, **others})


def vendor_bar(day: int, **others: Any) -> bytes:
    return changed(BAR, **{"ts": micros(OPEN) + day * DAY, **others})


def split(day: int, **others: Any) -> bytes:
    return changed(SPLIT, **{"effective_date": f"2013-10-0{7 + day}", **others})


def beat(minute: int, day: int = 0, **others: Any) -> bytes:
    since = micros(OPEN) + day * DAY + minute * 60_000_000
    return changed(HEARTBEAT, **{"since": since, "ts": since + 60_000_000, **others})


Tape = list[list[bytes | None]]
TAPES: dict[RecordKind, Tape] = {
    TRADES: [
        [trade(0), trade(1), trade(9), trade(2, symbol="IBM"), beat(0), changed(HALT), b"{", trade(3, size=0)],
        [trade(0), trade(1, price=7), amendment("cancel", 1), trade(0, 1), beat(1), beat(5), beat(0, 1, symbol="IBM")],
        [
            amendment("cancel", 1),
            trade(10),
            changed(RESUME),
            amendment("correction", 0, price=90, size=5),
            None,
            beat(0),
        ],
        [trade(11), trade(1, 1), trade(1, 1), trade(0, 1, size=3), beat(1, 1), changed(HALT, symbol="IBM", ts=5)],
    ],
    QUOTES: [
        [quote(0), quote(1), quote(0), quote(1, bid=1), b"[]"],
        [quote(2), quote(0, 1), quote(2), quote(3, bid=-1), quote(5, symbol="IBM")],
    ],
    VENDOR_BARS: [
        [vendor_bar(0), vendor_bar(1), vendor_bar(0), vendor_bar(0, close=12)],
        [vendor_bar(0), vendor_bar(0), vendor_bar(1, interval="9d"), vendor_bar(1, interval="1h")],
    ],
    CORPORATE_ACTIONS: [
        [split(0), split(1), split(0), split(0, new_shares=4), changed(DIVIDEND), changed(SYMBOL_CHANGE)],
        [
            split(0),
            split(0),
            split(5),
            changed(WITHDRAWAL),
            split(1, symbol="IBM"),
            changed(WITHDRAWAL, action="dividend"),
        ],
    ],
}
NEW: dict[RecordKind, list[bytes | None]] = {
    TRADES: [trade(0, price=1), trade(12), amendment("cancel", 9), beat(6), b"!"],
    QUOTES: [quote(1, bid=3), quote(4)],
    VENDOR_BARS: [vendor_bar(1, close=12)],
    CORPORATE_ACTIONS: [split(1, new_shares=2)],
}
