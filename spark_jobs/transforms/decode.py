"""Messages to the rows of their table, or to a reason for quarantine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow as pa

from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.kinds import RecordKind
from spark_jobs.transforms.parse import parse_exactly, parse_plain

PLACE: Final = ("partition", "offset")
_LEDGER: Final = ("topic", "partition", "offset", "ingested_at")
REJECTED_SCHEMA: Final = {
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "reason": pl.String(),
    "detail": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What some messages are.

    Attributes
    ----------
    valid
        ``partition, offset``, the columns of the kind's table but for those of the ledger, ``key_hash`` and
        ``payload_hash``: one row per valid message.
    rejected
        ``partition, offset, reason, detail``: one row per other message.
    """

    valid: pl.DataFrame
    rejected: pl.DataFrame


def decode(kind: RecordKind, messages: pa.RecordBatch, calendar: Calendar, ingested_at: datetime) -> Decoded:
    """Return what the messages of a topic are.

    Parameters
    ----------
    kind
        What the topic carries.
    messages
        At least ``partition, offset, value``.
    calendar
        The sessions.
    ingested_at
        The stamp of the batch.
    """
    places = pl.DataFrame({name: pl.Series(messages.column(name)) for name in PLACE}).cast(
        {name: REJECTED_SCHEMA[name] for name in PLACE}
    )
    plain = _placed(parse_plain(messages.column("value"), kind.fields), calendar, ingested_at).with_columns(
        *(pl.col(name).is_not_null().alias(f"given_{name}") for name in kind.fields.prices)
    )
    is_valid = plain.select(pl.all_horizontal(rule.in_plain for rule in kind.every_rule if rule.in_plain is not None))
    taken = plain if is_valid.to_series().all() else plain.filter(is_valid.to_series())
    others = _other_rows(taken["row"], messages.num_rows)
    if not len(others):
        return Decoded(_rows(kind, taken, places), pl.DataFrame(schema=REJECTED_SCHEMA))
    values = messages.column("value").take(others.to_arrow()).to_pylist()
    exact = _placed(parse_exactly(values, kind.fields).with_columns(others), calendar, ingested_at)
    judged = exact.with_columns(_first_reason(kind))
    rejected, also_taken = judged.filter(pl.col("reason").is_not_null()), judged.filter(pl.col("reason").is_null())
    return Decoded(
        valid=pl.concat([_rows(kind, taken, places), _rows(kind, also_taken, places)]),
        rejected=places[rejected["row"]].hstack(rejected.select("reason", "detail")),
    )


def concat(parts: Sequence[Decoded]) -> Decoded:
    """Return several as one."""
    return Decoded(pl.concat([part.valid for part in parts]), pl.concat([part.rejected for part in parts]))


def _placed(parsed: pl.DataFrame, calendar: Calendar, ingested_at: datetime) -> pl.DataFrame:
    """Return parsed messages with their place in a session and the stamp of the batch."""
    stamp = pl.lit(ingested_at, MOMENT).cast(pl.Int64).alias("ingested_ts")
    return parsed.hstack(calendar.place(parsed["ts"])).with_columns(stamp)


def _first_reason(kind: RecordKind) -> pl.Expr:
    """Return the reason of the first rule that does not hold, or null."""
    reason = pl.lit(None, pl.String)
    for rule in reversed(kind.every_rule):
        reason = pl.when(rule.holds).then(reason).otherwise(pl.lit(rule.reason))
    return reason.alias("reason")


def _other_rows(taken: pl.Series, count: int) -> pl.Series:
    if len(taken) == count:
        return pl.Series("row", [], pl.UInt32)
    rest = pl.select(pl.int_range(count, dtype=pl.UInt32).alias("row"))
    return rest.join(taken.to_frame(), on="row", how="anti")["row"]


def _rows(kind: RecordKind, valid: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    types = {name: own for name, own in frame_schema(kind.table).items() if name not in _LEDGER}
    rows = kind.to_row(valid).select(pl.col(name).cast(own) for name, own in types.items())
    place = places if valid.height == places.height else places[valid["row"]]  # all of them are in order
    return place.hstack(rows).with_columns(kind.identity.hashes())
