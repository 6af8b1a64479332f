"""Messages to typed rows: parse, place in a session, check.

The rules of each kind of record stand in :mod:`spark_jobs.transforms.kinds`; for users they are written down in
``docs/wire-format.md``.
"""

import functools
from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql import types as t

from spark_jobs.schemas import PRICE

MICROS: Final = 1_000_000
MAX_TS: Final = 7_258_118_400 * MICROS
"""Times must lie before the year 2200."""

EASTERN_STANDARD: Final = 5 * 3600 * MICROS
"""A moment's session is the UTC date of (moment - 5 h): exact for every moment between 04:00 and 20:00 exchange
time, in standard and in daylight-saving time, and no other moment lies in a session."""

_MINUTE: Final = 60 * MICROS
_DAY: Final = 86_400 * MICROS
_PRICE_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
_JSON_OPTIONS: Final = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}

Rule = tuple[str, Column]
"""A reason, and the condition that a message without that fault meets; never null."""


def is_true(condition: Column) -> Column:
    """Return the condition with null read as false."""
    return f.coalesce(condition, f.lit(False))  # noqa: FBT003


def parse(messages: DataFrame, schema: t.StructType) -> DataFrame:
    """Return the ledger columns of the messages with the fields of their JSON, and ``is_json``.

    The value is parsed inside an envelope that ends with the message's own place in the log: what follows the value's
    end cannot pass unnoticed, as it would with the parser alone.
    """
    place = f.concat_ws("/", "partition", "offset")
    envelope = t.StructType([t.StructField("m", schema), t.StructField("end", t.StringType())])
    wrapped = f.concat(f.lit('{"m":'), f.col("value").cast("string"), f.lit(',"end":"'), place, f.lit('"}'))
    parsed = messages.withColumn("parsed", f.from_json(wrapped, envelope, _JSON_OPTIONS))
    is_json = is_true(f.col("parsed.end") == place)
    return parsed.select("topic", "partition", "offset", "ingested_at", is_json.alias("is_json"), "parsed.m.*")


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


def _price_or_null(name: str) -> Column:
    price = f.when(f.col(name).rlike(_PRICE_PATTERN), f.col(name).try_cast(PRICE))
    return f.when(price > 0, price)


def decode(
    messages: DataFrame, sessions: DataFrame, schema: t.StructType, prices: Sequence[str], rules: Sequence[Rule]
) -> DataFrame:
    """Return one typed row per message, with ``valid``.

    Parameters
    ----------
    messages
        ``topic, partition, offset, ingested_at, value``.
    sessions
        The calendar, see :func:`place_in_session`.
    schema
        The fields of the kind's JSON; prices as text, so that no digit is lost before they are checked.
    prices
        The price fields; null afterwards if they are no price.
    rules
        What a valid message meets.
    """
    rows = parse(messages, schema).withColumns({name: _price_or_null(name) for name in prices})
    valid = functools.reduce(Column.__and__, (holds for _, holds in rules))
    return place_in_session(rows, sessions).withColumn("valid", valid)


def first_reason(rules: Sequence[Rule]) -> Column:
    """Return the reason of the first rule that does not hold."""
    reason = f.lit(None).cast("string")
    for code, holds in reversed(rules):
        reason = f.when(~holds, f.lit(code)).otherwise(reason)
    return reason
