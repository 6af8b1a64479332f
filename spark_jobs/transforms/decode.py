"""Messages to the rows of their table, or to a reason for quarantine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.kinds import RecordKind
from spark_jobs.transforms.parse import parse_exactly
from spark_jobs.transforms.plain import parse_plain

PLACE: Final = ("partition", "offset")
_FAULT: Final = "fault"
"""The column of the reason for quarantine: a message may have a field of that name."""
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
    beside
        The same of each kind beside it.
    rejected
        ``partition, offset, reason, detail``: one row per other message.
    """

    valid: pl.DataFrame
    beside: tuple[pl.DataFrame, ...]
    rejected: pl.DataFrame


def decode(
    kind: RecordKind, messages: pa.RecordBatch, calendar: Calendar, ingested_at: datetime | pl.Series
) -> Decoded:
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
        The stamp of the batch, or of each message's batch.
    """
    places = pl.DataFrame({name: pl.Series(messages.column(name)) for name in PLACE}).cast(
        {name: REJECTED_SCHEMA[name] for name in PLACE}
    )
    plain = _placed(parse_plain(messages.column("value"), kind.fields), calendar, ingested_at).with_columns(
        *(pl.col(name).is_not_null().alias(f"given_{name}") for name in kind.fields.prices)
    )
    taken = {own: _keeping_the_rules(own, rows) for own, rows in _by_kind(kind, plain, calendar).items()}
    others = _other_rows(taken, messages.num_rows)
    if not len(others):
        return _decoded(kind, taken, places, [])
    values = messages.column("value").take(others.to_arrow()).to_pylist()
    exact = _placed(parse_exactly(values, kind.fields).with_columns(others), calendar, ingested_at)
    judged = {own: rows.with_columns(_first_reason(own)) for own, rows in _by_kind(kind, exact, calendar).items()}
    rejected = [rows.filter(pl.col(_FAULT).is_not_null()) for rows in judged.values()]
    for own, rows in judged.items():
        names = [name for name in taken[own].columns if name in rows.columns]
        valid = rows.filter(pl.col(_FAULT).is_null())
        taken[own] = pl.concat([taken[own].select(names), valid.select(names)])
    return _decoded(kind, taken, places, rejected)


def concat(parts: Sequence[Decoded]) -> Decoded:
    """Return several as one."""
    return Decoded(
        pl.concat([part.valid for part in parts]),
        tuple(pl.concat(frames) for frames in zip(*(part.beside for part in parts), strict=True)),
        pl.concat([part.rejected for part in parts]),
    )


def _by_kind(kind: RecordKind, parsed: pl.DataFrame, calendar: Calendar) -> dict[RecordKind, pl.DataFrame]:
    """Return the parsed messages of the kind and of those beside it; those of no kind count for the first."""
    found: dict[RecordKind, pl.DataFrame] = {}
    rest = parsed
    for own in kind.beside:
        is_own = rest["kind"].is_in(own.names).fill_null(value=False)
        rows, rest = (rest.filter(is_own), rest.filter(~is_own)) if is_own.any() else (rest.clear(), rest)
        found[own] = own.place(rows, calendar) if own.place else rows
    return {kind: kind.place(rest, calendar) if kind.place else rest, **found}


def _keeping_the_rules(kind: RecordKind, plain: pl.DataFrame) -> pl.DataFrame:
    is_valid = plain.select(
        pl.all_horizontal(rule.in_plain for rule in kind.every_rule if rule.in_plain is not None)
    ).to_series()
    return plain if is_valid.all() else plain.filter(is_valid)


def _decoded(
    kind: RecordKind, taken: Mapping[RecordKind, pl.DataFrame], places: pl.DataFrame, rejected: Sequence[pl.DataFrame]
) -> Decoded:
    found = [places[rows["row"]].hstack(rows.select(pl.col(_FAULT).alias("reason"), "detail")) for rows in rejected]
    return Decoded(
        valid=_rows(kind, taken[kind], places),
        beside=tuple(_rows(own, taken[own], places) for own in kind.beside),
        rejected=pl.concat([pl.DataFrame(schema=REJECTED_SCHEMA), *found]),
    )


def _placed(parsed: pl.DataFrame, calendar: Calendar, ingested_at: datetime | pl.Series) -> pl.DataFrame:
    """Return parsed messages with their place in a session and the stamp of the batch."""
    each = ingested_at[parsed["row"]] if isinstance(ingested_at, pl.Series) else pl.lit(ingested_at, MOMENT)
    placed = parsed.hstack(calendar.place(parsed["ts"]))
    return placed.with_columns(ingested_ts=each).with_columns(pl.col("ingested_ts").cast(pl.Int64))


def _first_reason(kind: RecordKind) -> pl.Expr:
    """Return the reason of the first rule that does not hold, or null."""
    reason = pl.lit(None, pl.String)
    for rule in reversed(kind.every_rule):
        reason = pl.when(rule.holds).then(reason).otherwise(pl.lit(rule.reason))
    return reason.alias(_FAULT)


def _other_rows(taken: Mapping[RecordKind, pl.DataFrame], count: int) -> pl.Series:
    if sum(rows.height for rows in taken.values()) == count:
        return pl.Series("row", [], pl.UInt32)
    is_taken = np.zeros(count, np.bool_)
    for rows in taken.values():
        is_taken[rows["row"].to_numpy()] = True
    return pl.Series("row", np.flatnonzero(~is_taken), pl.UInt32)


def _rows(kind: RecordKind, valid: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    types = {name: own for name, own in frame_schema(kind.table).items() if name not in _LEDGER}
    rows = kind.to_row(valid).select(pl.col(name).cast(own) for name, own in types.items())
    in_order = valid.height == places.height and bool(valid["row"].is_sorted())
    place = places if in_order else places[valid["row"]]
    return place.hstack(rows).with_columns(kind.identity.hashes())
