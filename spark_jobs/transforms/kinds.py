"""The kinds of record: per topic the fields, the rules that a message must meet, and its row in the lake.

A rule is a reason code with the condition; the order is the order in which reasons are given.
"""

from collections.abc import Callable, Mapping, Sequence
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
from spark_jobs.schemas import PRICE, WIRE_PRICE
from spark_jobs.transforms import silver
from spark_jobs.transforms.decode import (
    MAX_TS,
    MICROS,
    Rule,
    all_hold,
    first_reason,
    is_true,
    parse,
    parse_plain,
    place_in_session,
    plain_message,
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
_PRINTABLE: Final = r"[ !#-\[\]-~]{0,%d}+"
_SHAPES: Final[Mapping[str, str]] = {
    "kind": "[a-z]{1,16}+",
    "source": _SOURCE.strip("^$"),
    "symbol": SYMBOL_PATTERN.strip("^$"),
    "interval": "[0-9a-z]{1,3}+",
    "trade_id": _ID.strip("^$"),
    "quote_id": _ID.strip("^$"),
    "exchange": _PRINTABLE % _MAX_EXCHANGE,
    "conditions": _PRINTABLE % _MAX_CONDITIONS,
}
"""The characters of a text in a plain message; at most those that its rule allows."""
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

    def fields(self, price: t.DecimalType = WIRE_PRICE) -> t.StructType:
        """Return the fields of the JSON with their types; a value of another type becomes null."""
        return t.StructType(
            [t.StructField(name, t.StringType()) for name in ("kind", "source", "symbol", *self.text)]
            + [t.StructField(name, t.LongType()) for name in ("ts", *self.whole)]
            + [t.StructField(name, price) for name in self.prices]
        )

    def decode_plain(self, messages: DataFrame, sessions: DataFrame) -> DataFrame:
        """Return the messages with ``is_plain`` and, of those that are, what :meth:`decode` returns.

        Almost every message is plain (:func:`spark_jobs.transforms.decode.plain_message`): a well-formed record as its
        encoder writes it. It takes a fraction of the time. For the others only the columns of ``messages`` are of use.
        """
        shapes = {name: _SHAPES[name] for name in ("kind", "source", "symbol", *self.text)}
        plain = plain_message(shapes, prices=self.prices, whole=("ts", *self.whole))
        rows = parse_plain(messages, self.fields(PRICE), plain)
        return self._judge(rows, sessions, (*messages.columns, "is_plain"))

    def decode(self, messages: DataFrame, sessions: DataFrame) -> DataFrame:
        """Return one row per message: the columns of ``table``, ``valid``, and ``reason`` and ``detail`` if it is not.

        ``ts`` and ``bar_ts`` are the record's time and the start of its minute in epoch microseconds.

        Parameters
        ----------
        messages
            At least ``topic, partition, offset, ingested_at, value``.
        sessions
            The calendar, see :func:`spark_jobs.transforms.decode.place_in_session`.
        """
        return self._judge(parse(messages, self.fields()), sessions, _LEDGER)

    def _judge(self, parsed: DataFrame, sessions: DataFrame, kept: Sequence[str]) -> DataFrame:
        """Return the columns ``kept`` of parsed messages, and what :meth:`decode` returns."""
        rules = [*_common_rules(self.name), *self.rules(), ("wrong_type", f.col("has_types"))]
        judged = place_in_session(parsed, sessions).withColumn("valid", all_hold(rules))
        rejected = ~f.col("valid")
        shown = {name: f.col(f"given_{name}" if name in self.prices else name) for name in self.fields().names}
        fields = f.struct(*(_start(value).alias(name) for name, value in shown.items()))
        beginning = f.struct(_start(f.make_valid_utf8(f.col("value").cast("string"))).alias("value"))
        detail = f.when(f.col("is_json"), f.to_json(fields)).otherwise(f.to_json(beginning))
        return judged.select(
            *kept,
            *(column.alias(name) for name, column in self.to_row().items()),
            "valid",
            "ts",
            "bar_ts",
            f.when(rejected, first_reason(rules)).alias("reason"),
            f.when(rejected, detail).alias("detail"),
        )


def _start(value: Column) -> Column:
    return f.substring(value.cast("string"), 1, _DETAIL_LENGTH)


def _has_shape(column: str, pattern: str) -> Column:
    """Return whether a text is there and matches; that of a plain message does."""
    return f.col(column).isNotNull() & (f.col("has_shapes") | _matches(column, pattern))


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
        ("bad_source", _has_shape("source", _SOURCE)),
        ("bad_symbol", _has_shape("symbol", SYMBOL_PATTERN)),
        ("bad_ts", _between("ts", 0, MAX_TS)),
        ("from_the_future", is_true(f.col("ts") <= latest)),
        ("outside_session", f.col("segment").isNotNull()),
    ]


def _tape_rules(id_field: str) -> list[Rule]:
    is_hex = ~is_true(f.col("source").isin(*eligibility.RULES)) | _matches("conditions", _HEX)
    return [
        (f"bad_{id_field}", _has_shape(id_field, _ID)),
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
        *((f"bad_{side}", f.col(side).isNotNull() | f.col(f"given_{side}").isNull()) for side in ("bid", "ask")),
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
