"""Messages to typed rows: parse, place in a session, check.

The rules of each kind of record stand in :mod:`spark_jobs.transforms.kinds`; for users they are written down in
``docs/wire-format.md``.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql import types as t

from spark_jobs.schemas import PRICE, WIRE_PRICE

MICROS: Final = 1_000_000
MAX_TS: Final = 7_258_118_400 * MICROS
"""Times must lie before the year 2200."""

EASTERN_STANDARD: Final = 5 * 3600 * MICROS
"""A moment's session is the UTC date of (moment - 5 h): exact for every moment between 04:00 and 20:00 exchange
time, in standard and in daylight-saving time, and no other moment lies in a session."""

_MINUTE: Final = 60 * MICROS
_DAY: Final = 86_400 * MICROS
_LONG_DIGITS: Final = 18
_PRICE_DIGITS: Final = 12
_UNREADABLE: Final = "_unreadable"
_AN_OBJECT: Final = r"^[ \t\r\n]*\{"
_MAY_LEAVE: Final = r"\}\s*,"
_MAY_BE_NO_TEXT: Final = r"^(?:-?\d+\.\d|\"?-?Infinity|[\[{]|true|false)"
_JSON_OPTIONS: Final = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
_NUMBER: Final = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\z"

Rule = tuple[str, Column]
"""A reason, and the condition that a message without that fault meets; never null."""


def is_true(condition: Column) -> Column:
    """Return the condition with null read as false."""
    return f.coalesce(condition, f.lit(False))  # noqa: FBT003


def plain_message(shapes: Mapping[str, str], prices: Sequence[str], whole: Sequence[str]) -> str:
    """Return the regular expression of the messages that need no second look.

    Such a message is one flat object in printable ASCII without escapes. It has no fields but those named, in any order:
    texts of their shape, and numbers without sign and exponent that their types hold exactly.

    Parameters
    ----------
    shapes
        The texts, each with the expression that its characters match.
    prices, whole
        The names of the prices and of the whole numbers.
    """
    texts = (f'"{name}": ?"{shape}"' for name, shape in shapes.items())
    numbers = (
        rf'"(?:{"|".join(names)})": ?(?:0|[1-9][0-9]{{0,{digits - 1}}}+){fraction}'
        for names, digits, fraction in ((whole, _LONG_DIGITS, ""), (prices, _PRICE_DIGITS, r"(?:\.[0-9]{1,6}+)?"))
    )
    member = f"(?:{'|'.join((*texts, *numbers))})"
    return rf"^\{{{member}(?:, ?{member})*+\}}\z"


def parse_plain(messages: DataFrame, fields: t.StructType, plain: str) -> DataFrame:
    """Return the messages with ``is_plain`` and the fields of their JSON; of a message that is not plain they are null.

    Parameters
    ----------
    messages
        At least ``topic, partition, offset, ingested_at, value``.
    fields
        The fields with their types; prices as :data:`PRICE`.
    plain
        See :func:`plain_message`.
    """
    text = f.col("value").cast("string")
    parsed = messages.withColumn("is_plain", is_true(text.rlike(plain))).withColumn(
        "parsed", f.from_json(f.when(f.col("is_plain"), text), fields, _JSON_OPTIONS)
    )
    return parsed.select(
        *messages.columns,
        "is_plain",
        f.lit(True).alias("is_json"),  # noqa: FBT003
        f.lit(True).alias("has_types"),  # noqa: FBT003
        f.lit(True).alias("has_shapes"),  # noqa: FBT003
        *(f.col(f"parsed.{name}").cast("double").alias(f"given_{name}") for name in _prices(fields, PRICE)),
        *(_priced(f.col(f"parsed.{field.name}"), field).alias(field.name) for field in fields),
    )


def parse(messages: DataFrame, fields: t.StructType) -> DataFrame:
    """Return the messages with the fields of their JSON, whatever it is.

    ``is_json`` says whether the value is one JSON object in valid UTF-8, ``has_types`` whether every field that is there
    could be read as its type. A price that is not one is null; ``given_`` and its name is what stands there.
    ``has_shapes`` is false: no text has been looked at.

    The value is parsed inside an envelope, so that what follows it cannot pass unnoticed as it would with the parser
    alone. A value that starts as an object can leave the envelope only by a comma after its last brace. Where a comma
    follows a brace, the value is parsed once more inside brackets: what leaves the one envelope breaks the other, or
    is seen as a second value.

    The parser gives a text for anything; it writes numbers with a fraction anew, so that two texts could become one.
    A text that may have been a number with a fraction, a list, an object, true or false is parsed once more to see.
    Likewise a price that may have been a text: the parser would leave out its commas.

    Parameters
    ----------
    messages
        At least ``topic, partition, offset, ingested_at, value``.
    fields
        The fields with their types; prices as :data:`WIRE_PRICE`.
    """
    envelope = t.StructType(
        [t.StructField("m", fields), t.StructField("end", t.BooleanType()), t.StructField(_UNREADABLE, t.StringType())]
    )
    options = {**_JSON_OPTIONS, "columnNameOfCorruptRecord": _UNREADABLE}
    text = f.col("value").cast("string")
    wrapped = f.concat(f.lit('{"m":'), text, f.lit(',"end":true}'))
    bracketed = f.from_json(f.concat(f.lit("["), text, f.lit("]")), t.ArrayType(t.StringType()), _JSON_OPTIONS)
    is_object = text.startswith("{") | text.rlike(_AN_OBJECT)
    stays_inside = ~text.rlike(_MAY_LEAVE) | (f.size(bracketed) == 1)
    texts = [field.name for field in fields if field.dataType == t.StringType()]
    prices = _prices(fields, WIRE_PRICE)
    parsed = messages.withColumns(
        {
            "parsed": f.from_json(wrapped, envelope, options),
            "is_alone": is_object & f.is_valid_utf8(text) & stays_inside,
            "wrapped": wrapped,
            "may_quote_prices": text.contains("\\") | text.rlike(rf'"(?:{"|".join(prices)})"\s*:\s*"'),
        }
    )
    return parsed.select(
        *messages.columns,
        is_true(f.col("parsed.end") & f.col("is_alone") & f.col("parsed.m").isNotNull()).alias("is_json"),
        (f.col(f"parsed.{_UNREADABLE}").isNull() & _are_texts(texts) & _are_numbers(prices)).alias("has_types"),
        f.lit(False).alias("has_shapes"),  # noqa: FBT003
        *(f.col(f"parsed.m.{name}").cast("double").alias(f"given_{name}") for name in prices),
        *(_priced(f.col(f"parsed.m.{field.name}"), field).alias(field.name) for field in fields),
    )


def _prices(fields: t.StructType, price: t.DecimalType) -> list[str]:
    return [field.name for field in fields if field.dataType == price]


def _priced(value: Column, field: t.StructField) -> Column:
    """Return the value; a price only if it is positive, below the limit and without more than six decimals."""
    if field.dataType == WIRE_PRICE:
        price = value.try_cast(PRICE)
        return f.when((price == value) & (price > 0), price)
    return f.when(value > 0, value) if field.dataType == PRICE else value


def _are_texts(names: Sequence[str]) -> Column:
    """Return whether none of the texts was a number with a fraction, a list, an object, true or false."""
    as_written = t.StructType([t.StructField(name, t.VariantType()) for name in names])
    values = f.from_json(f.col("wrapped"), t.StructType([t.StructField("m", as_written)]), _JSON_OPTIONS)
    checks = (
        f.when(f.col(f"parsed.m.{name}").rlike(_MAY_BE_NO_TEXT), _is_string(values["m"][name])).otherwise(f.lit(True))  # noqa: FBT003
        for name in names
    )
    return functools.reduce(Column.__and__, checks)


def _are_numbers(names: Sequence[str]) -> Column:
    """Return whether those of the prices that are written as texts are JSON numbers."""
    as_texts = t.StructType([t.StructField(name, t.StringType()) for name in names])
    values = f.from_json(f.col("wrapped"), t.StructType([t.StructField("m", as_texts)]), _JSON_OPTIONS)["m"]
    are_numbers = functools.reduce(
        Column.__and__, (f.coalesce(values[name], f.lit("0")).rlike(_NUMBER) for name in names)
    )
    # Not an "or": what occurs more than once in one would be computed for every message.
    return f.when(is_true(f.col("may_quote_prices")), are_numbers).otherwise(f.lit(True))  # noqa: FBT003


def _is_string(value: Column) -> Column:
    """Return whether a variant is a string."""
    return is_true(f.schema_of_variant(value) == "STRING")


def place_in_session(rows: DataFrame, sessions: DataFrame) -> DataFrame:
    """Return the rows with ``session_date``, ``segment`` and ``bar_ts`` of their ``ts``; null outside a session.

    ``sessions`` has ``session_day`` (days since 1970) and the segments' bounds in epoch microseconds.
    """
    ts = f.col("ts")
    usable = ts.between(0, MAX_TS)
    day = f.when(usable, f.expr(f"(ts - {EASTERN_STANDARD}) div {_DAY}").cast("int"))
    joined = rows.withColumn("session_day", day).join(f.broadcast(sessions), "session_day", "left")
    segment = (
        f.when(ts < f.col("pre_open_ts"), None)
        .when(ts < f.col("open_ts"), "pre")
        .when(ts < f.col("close_ts"), "regular")
        .when(ts < f.col("post_close_ts"), "post")
    )
    return joined.select(
        *rows.columns, segment.alias("segment"), "session_date", f.when(usable, ts - ts % _MINUTE).alias("bar_ts")
    )


def first_reason(rules: Sequence[Rule]) -> Column:
    """Return the reason of the first rule that does not hold, or null."""
    reason = f.lit(None).cast("string")
    for code, holds in reversed(rules):
        reason = f.when(~holds, f.lit(code)).otherwise(reason)
    return reason


def all_hold(rules: Sequence[Rule]) -> Column:
    """Return whether all rules hold."""
    return functools.reduce(Column.__and__, (holds for _, holds in rules))
