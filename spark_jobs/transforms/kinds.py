"""The kinds of record: per topic the fields, the rules that a message must meet, and its row in the lake.

A rule is a reason code with the condition; the order is the order in which reasons are given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql import types as t

from market import eligibility, tables, topics
from market.instruments import SYMBOL_PATTERN
from market.records import DAILY, INTERVALS, MAX_SEQUENCE, MAX_SIZE_SHARES
from market.tables import Table
from market.topics import Topic
from spark_jobs.schemas import WIRE_PRICE
from spark_jobs.transforms import silver
from spark_jobs.transforms.decode import (
    MAX_TS,
    MICROS,
    Rule,
    all_hold,
    first_reason,
    is_true,
    parse,
    place_in_session,
    price_or_null,
)
from spark_jobs.transforms.unique import QUOTE, TRADE, VENDOR_BAR, Identity

_DETAIL_LENGTH: Final = 80
_MAX_AHEAD: Final = 5 * 60 * MICROS
_MAX_BAR_VOLUME: Final = 10**15
_MAX_CONDITIONS: Final = 64
_MAX_EXCHANGE: Final = 16

_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$"
_SOURCE: Final = r"^[a-z][a-z0-9_]{0,31}$"
_HEX: Final = r"^[0-9A-Fa-f]{0,15}$"
_AMENDMENTS: Final = ("cancel", "correction")


_LEDGER: Final = ("topic", "partition", "offset", "ingested_at")


@dataclass(frozen=True, slots=True)
class RecordKind:
    """One kind of record.

    Attributes
    ----------
    topic, name
        The topic that carries it and the ``kind`` in its JSON.
    table
        Where valid, unique records go.
    identity
        What makes two messages the same record.
    moment
        The column of ``table`` by which stored records are found again.
    text, prices, whole
        The JSON fields beside ``kind``, ``source``, ``symbol`` and ``ts``: texts, prices, whole numbers.
    rules
        The rules of this kind, after the common ones.
    to_row
        The columns of ``table`` from a valid parsed message; those of the ledger are added.
    restated
        Whether a later message may state the record anew (another version) or contradicts it (a conflict).
    """

    topic: Topic
    name: str
    table: Table
    identity: Identity
    moment: str
    text: tuple[str, ...]
    prices: tuple[str, ...]
    whole: tuple[str, ...]
    rules: Callable[[], list[Rule]]
    to_row: Callable[[], dict[str, Column]]
    restated: bool = False

    def fields(self) -> t.StructType:
        """Return the fields of the JSON with their types; a value of another type becomes null."""
        return t.StructType(
            [t.StructField(name, t.StringType()) for name in ("kind", "source", "symbol", *self.text)]
            + [t.StructField(name, t.LongType()) for name in ("ts", *self.whole)]
            + [t.StructField(name, WIRE_PRICE) for name in self.prices]
        )

    def decode(self, messages: DataFrame, sessions: DataFrame) -> DataFrame:
        """Return one row per message: the columns of ``table``, ``valid``, and ``reason`` and ``detail`` if it is not.

        ``ts`` and ``bar_ts`` are the record's time and the start of its minute in epoch microseconds.

        Parameters
        ----------
        messages
            ``topic, partition, offset, ingested_at, value``.
        sessions
            The calendar, see :func:`spark_jobs.transforms.decode.place_in_session`.
        """
        fields = self.fields()
        rows = place_in_session(parse(messages, fields), sessions)
        as_given = {f"given_{name}": f.col(name) for name in self.prices}
        priced = rows.withColumns({**as_given, **{name: price_or_null(name) for name in self.prices}})
        rules = [*_common_rules(self.name), *self.rules(), ("wrong_type", f.col("has_types"))]
        judged = priced.withColumn("valid", all_hold(rules))
        rejected = ~f.col("valid")
        seen = {
            name: f.col(f"given_{name}").cast("double") if name in self.prices else f.col(name) for name in fields.names
        }
        shown = (f.substring(value.cast("string"), 1, _DETAIL_LENGTH).alias(name) for name, value in seen.items())
        row = {**{name: f.col(name) for name in _LEDGER}, **self.to_row()}
        return judged.select(
            *(column.alias(name) for name, column in row.items()),
            "valid",
            "ts",
            "bar_ts",
            f.when(rejected, first_reason(rules)).alias("reason"),
            f.when(rejected, f.to_json(f.struct(*shown))).alias("detail"),
        )


def _matches(column: str, pattern: str) -> Column:
    to_the_very_end = pattern.removesuffix("$") + r"\z"  # in Java, $ also matches before a line break at the end
    return is_true(f.col(column).rlike(to_the_very_end))


def _between(column: str, low: int, high: int) -> Column:
    return is_true(f.col(column).between(low, high))


def _optional(column: str, holds: Column) -> Column:
    return f.col(column).isNull() | holds


def _common_rules(kind: str) -> list[Rule]:
    latest = f.unix_micros("ingested_at") + _MAX_AHEAD
    return [
        ("not_json", f.col("is_json")),
        ("amendment_not_supported", ~is_true(f.col("kind").isin(*_AMENDMENTS))),
        ("unknown_kind", is_true(f.col("kind") == kind)),
        ("bad_source", _matches("source", _SOURCE)),
        ("bad_symbol", _matches("symbol", SYMBOL_PATTERN)),
        ("bad_ts", _between("ts", 0, MAX_TS)),
        ("from_the_future", is_true(f.col("ts") <= latest)),
        ("outside_session", f.col("segment").isNotNull()),
    ]


def _tape_rules(id_field: str) -> list[Rule]:
    is_hex = ~is_true(f.col("source").isin(*eligibility.RULES)) | _matches("conditions", _HEX)
    return [
        (f"bad_{id_field}", _matches(id_field, _ID)),
        ("bad_sequence", _optional("sequence", _between("sequence", 0, MAX_SEQUENCE))),
        ("bad_exchange", _optional("exchange", f.length("exchange") <= _MAX_EXCHANGE)),
        ("bad_conditions", _optional("conditions", (f.length("conditions") <= _MAX_CONDITIONS) & is_hex)),
    ]


def _trade_rules() -> list[Rule]:
    return [
        ("bad_price", f.col("price").isNotNull()),
        ("bad_size", _between("size", 1, MAX_SIZE_SHARES)),
        *_tape_rules("trade_id"),
    ]


def _quote_rules() -> list[Rule]:
    return [
        *((f"bad_{side}", f.col(f"given_{side}").isNull() | f.col(side).isNotNull()) for side in ("bid", "ask")),
        ("no_bid_or_ask", f.col("bid").isNotNull() | f.col("ask").isNotNull()),
        ("bad_bid_size", _optional("bid_size", _between("bid_size", 0, MAX_SIZE_SHARES))),
        ("bad_ask_size", _optional("ask_size", _between("ask_size", 0, MAX_SIZE_SHARES))),
        *_tape_rules("quote_id"),
    ]


def _bar_rules() -> list[Rule]:
    prices = ("open", "high", "low", "close")
    ordered = (f.least("open", "close") >= f.col("low")) & (f.greatest("open", "close") <= f.col("high"))
    return [
        ("bad_interval", is_true(f.col("interval").isin(*INTERVALS, DAILY))),
        *((f"bad_{name}", f.col(name).isNotNull()) for name in prices),
        ("prices_out_of_order", is_true(ordered)),
        ("bad_volume", _between("volume", 0, _MAX_BAR_VOLUME)),
    ]


TRADES: Final = RecordKind(
    topic=topics.TRADES,
    name="trade",
    table=tables.TRADES,
    identity=TRADE,
    moment="bar_at",
    text=("trade_id", "exchange", "conditions"),
    prices=("price",),
    whole=("size", "sequence"),
    rules=_trade_rules,
    to_row=silver.trade_row,
)
QUOTES: Final = RecordKind(
    topic=topics.QUOTES,
    name="quote",
    table=tables.QUOTES,
    identity=QUOTE,
    moment="quoted_at",
    text=("quote_id", "exchange", "conditions"),
    prices=("bid", "ask"),
    whole=("bid_size", "ask_size", "sequence"),
    rules=_quote_rules,
    to_row=silver.quote_row,
)
VENDOR_BARS: Final = RecordKind(
    topic=topics.BARS,
    name="bar",
    table=tables.VENDOR_BARS,
    identity=VENDOR_BAR,
    moment="bar_at",
    text=("interval",),
    prices=("open", "high", "low", "close"),
    whole=("volume",),
    rules=_bar_rules,
    to_row=silver.vendor_bar_row,
    restated=True,
)
KINDS: Final = (TRADES, QUOTES, VENDOR_BARS)
