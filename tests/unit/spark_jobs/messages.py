"""Messages as the tests of the stream write them: plain JSON, and columns as its tasks read them from Kafka."""

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
import pyarrow as pa

from market.tables import DataType, Table
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.decode import Decoded, decode
from spark_jobs.transforms.kinds import RecordKind

OPEN: Final = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
INGESTED: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Fields = Mapping[str, Any]


def micros(moment: datetime) -> int:
    """Return the moment in epoch microseconds."""
    return (moment - EPOCH) // timedelta(microseconds=1)


TRADE: Final[Fields] = {
    "kind": "trade",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "price": 100.5,
    "size": 100,
    "trade_id": "2013-10-07:1",
    "sequence": 1,
    "exchange": "P",
    "conditions": "1",
}
CANCEL: Final[Fields] = {
    "kind": "cancel",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "ref_id": "2013-10-07:1",
}
CORRECTION: Final[Fields] = {
    **CANCEL,
    "kind": "correction",
    "price": 100.5,
    "size": 100,
    "sequence": 1,
    "exchange": "P",
    "conditions": "1",
}
HEARTBEAT: Final[Fields] = {
    "kind": "heartbeat",
    "source": "lean",
    "symbol": "SPY",
    "since": micros(OPEN),
    "ts": micros(OPEN + timedelta(minutes=15)),
}
HALT: Final[Fields] = {"kind": "halt", "source": "lean", "symbol": "SPY", "ts": micros(OPEN), "reason": "LUDP"}
RESUME: Final[Fields] = {"kind": "resume", "source": "lean", "symbol": "SPY", "ts": micros(OPEN)}
QUOTE: Final[Fields] = {
    "kind": "quote",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "quote_id": "q1",
    "bid": 99.5,
    "bid_size": 300,
    "ask": 100.5,
    "ask_size": 5,
    "sequence": 1,
    "exchange": "P",
    "conditions": "1",
}
BAR: Final[Fields] = {
    "kind": "bar",
    "source": "sample",
    "symbol": "SPY",
    "interval": "1d",
    "ts": micros(OPEN),
    "open": 10,
    "high": 12,
    "low": 9.5,
    "close": 11,
    "volume": 1000,
}
SPLIT: Final[Fields] = {
    "kind": "split",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "effective_date": "2013-10-07",
    "new_shares": 7,
    "old_shares": 1.5,
}
DIVIDEND: Final[Fields] = {
    "kind": "dividend",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "effective_date": "2013-10-07",
    "cash": 0.95,
}
SYMBOL_CHANGE: Final[Fields] = {
    "kind": "symbol_change",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "effective_date": "2013-10-07",
    "new_symbol": "SPYX",
}
WITHDRAWAL: Final[Fields] = {
    "kind": "withdrawal",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "effective_date": "2013-10-07",
    "action": "split",
}


def changed(fields: Fields, **changes: object) -> bytes:
    """Return the JSON of the fields with changes; a field changed to ``...`` is left out."""
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value is not ...}).encode()


def with_token(fields: Fields, name: str, token: bytes) -> bytes:
    """Return the JSON of the fields with one value written as ``token``, whatever that is."""
    members = [f'"{key}":'.encode() + json.dumps(value).encode() for key, value in fields.items() if key != name]
    return b"{" + b",".join([*members, f'"{name}":'.encode() + token]) + b"}"


@functools.cache
def calendar() -> Calendar:
    """Return the exchange's calendar as the stream's tasks have it."""
    return Calendar.load()


def as_messages(values: Sequence[bytes | None], first_offset: int = 0, partition: int = 0) -> pa.RecordBatch:
    """Return the values as messages of one partition, as a task reads them."""
    count = len(values)
    columns = {
        "partition": pa.repeat(pa.scalar(partition, pa.int32()), count),
        "offset": pa.array(range(first_offset, first_offset + count), pa.int64()),
        "kafka_at": pa.repeat(pa.scalar(INGESTED, pa.timestamp("us", tz="UTC")), count),
        "key": pa.repeat(pa.scalar(b"SPY", pa.binary()), count),
        "value": pa.array(values, pa.binary()),
    }
    return pa.RecordBatch.from_pydict(columns)


def decode_all(kind: RecordKind, values: Sequence[bytes | None]) -> Decoded:
    """Return what the stream makes of the values as one chunk; the offset is their number."""
    return decode(kind, as_messages(values), calendar(), INGESTED)


def price_names(table: Table) -> list[str]:
    """Return the columns that are millionths in memory."""
    return [column.name for column in table.columns if column.type in {DataType.PRICE, DataType.NOTIONAL}]


def in_units(frame: pl.DataFrame, table: Table) -> list[dict[str, Any]]:
    """Return the rows of a frame with prices as exact decimals."""
    prices = [name for name in price_names(table) if name in frame.columns]
    rows: list[dict[str, Any]] = frame.to_dicts()
    for row in rows:
        row.update({name: None if row[name] is None else Decimal(f"{row[name]}e-6") for name in prices})
    return rows


def decoded(kind: RecordKind, values: Sequence[bytes | None]) -> dict[int, dict[str, Any]]:
    """Return what the stream makes of the values, by their number.

    A valid one has ``valid``, the columns of its table with prices as decimals, and no ``reason``; another one has its
    ``reason`` and its ``detail``.
    """
    every = decode_all(kind, values)
    valid = [{**row, "valid": True, "reason": None} for row in in_units(every.valid, kind.table)]
    rejected = [{**row, "valid": False} for row in every.rejected.to_dicts()]
    found = {row["offset"]: row for row in [*valid, *rejected]}
    assert len(found) == len(valid) + len(rejected), "a message came out twice"
    return found
