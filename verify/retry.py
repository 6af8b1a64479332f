"""What was rejected, judged again by the rules and the clock of today.

What belongs here: which messages would be accepted now. What does not: publishing them; they go the way of all messages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from market import topics
from market.tables import MESSAGES, QUARANTINE
from verify.lake import Lake
from verify.messages import LEDGER, actions_in, amendments_in, quotes_in, statuses_in, trades_in, vendor_bars_in
from verify.quarantine import Place
from verify.records import ENTRY

CONFLICTING: Final = "conflicting_"
"""What the reasons of conflicts begin with."""

_CONTENT: Final = ["topic", "key", "value"]
_PLACES: Final = list(ENTRY)


def _of_the_tape(messages: pl.DataFrame) -> pl.DataFrame:
    found = trades_in(messages)
    others = messages.join(found, on=ENTRY, how="anti")
    return pl.concat([rows.select(ENTRY) for rows in (found, amendments_in(others), statuses_in(others))])


_VALID: Final[Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    topics.TRADES.name: _of_the_tape,
    topics.QUOTES.name: lambda messages: quotes_in(messages).select(ENTRY),
    topics.BARS.name: lambda messages: vendor_bars_in(messages).select(ENTRY),
    topics.ACTIONS.name: lambda messages: actions_in(messages).select(ENTRY),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came, to be published again."""

    topic: str
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Retry:
    """What becomes of rejected messages.

    Attributes
    ----------
    accepted
        The messages that would be accepted now, the same bytes once, in the order in which they were rejected.
    already_in
        How many would be accepted that were taken in later, after an earlier retry.
    conflicts
        How many contradict a record: the first of an identity is the record, whatever the rules are.
    still_rejected
        How many would be rejected again, by the reason for which they were.
    """

    accepted: list[Message]
    already_in: int = 0
    conflicts: int = 0
    still_rejected: Mapping[str, int] = field(default_factory=dict)


def plan_retry(
    lake: Lake, now: datetime, *, reason: str | None = None, topic: str | None = None, place: Place | None = None
) -> Retry:
    """Judge rejected messages again.

    Parameters
    ----------
    lake
        The lake.
    now
        The moment at which they would be taken in.
    reason, topic, place
        Which messages; all that were rejected if none is given.

    Raises
    ------
    ServiceError
        If the lake cannot be read.
    """
    quarantine = lake.scan_whole(QUARANTINE)
    for name, wanted in (("reason", reason), ("topic", topic)):
        if wanted is not None:
            quarantine = quarantine.filter(pl.col(name) == wanted)
    if place is not None:
        quarantine = quarantine.filter(_at(place))
    rejected = lake.read(quarantine.select(*LEDGER, "reason"))
    is_conflict = pl.col("reason").str.starts_with(CONFLICTING)
    judged = rejected.filter(~is_conflict)
    accepted = _accepted(lake, judged, now)
    still = judged.join(accepted, on=ENTRY, how="anti")
    reasons = still.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    copies = _fates(lake, accepted, judged)
    fresh = accepted.join(copies, on=_CONTENT, how="anti", nulls_equal=True).unique(
        _CONTENT, keep="first", maintain_order=True
    )
    known = accepted.join(copies, on=_CONTENT, nulls_equal=True)
    in_conflict = known.filter(~pl.col("is_in")).height
    return Retry(
        accepted=[Message(*row) for row in fresh.select(_CONTENT).iter_rows()],
        already_in=known.height - in_conflict,
        conflicts=rejected.height - judged.height + in_conflict,
        still_rejected=dict(reasons.iter_rows()),
    )


def _at(place: Place) -> pl.Expr:
    return (
        (pl.col("topic") == place.topic) & (pl.col("partition") == place.partition) & (pl.col("offset") == place.offset)
    )


def _accepted(lake: Lake, rejected: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return the rejected messages that would be accepted now: the ledger's columns, key and value, in the ledger's order."""
    columns = [*LEDGER, "key", "value"]
    found = [lake.read(lake.scan_whole(MESSAGES).select(columns).head(0))]
    if rejected.height:
        taken_in = pl.col("ingested_at").is_between(rejected["ingested_at"].min(), rejected["ingested_at"].max())
        messages = lake.scan_whole(MESSAGES).filter(taken_in).select(columns)
        for chunk in lake.read_in_chunks(messages):
            again = chunk.join(rejected, on=ENTRY, how="semi").with_columns(
                pl.lit(now, pl.Datetime("us", "UTC")).alias("judged_at")
            )
            for (topic,), part in again.partition_by("topic", as_dict=True).items():
                valid = _VALID[str(topic)](part.with_columns(pl.col("judged_at").alias("ingested_at")))
                found.append(part.join(valid, on=ENTRY, how="semi").select(columns))
    return pl.concat(found).sort("ingested_at", *ENTRY)


def _fates(lake: Lake, accepted: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    """Return which of the messages came again, byte for byte: ``topic, key, value``, and ``is_in``, whether it was taken in.

    What came again and was rejected for a conflict is not in; what was rejected for another reason has not had its turn.
    """
    columns = [*_CONTENT, *(name for name in _PLACES if name not in _CONTENT)]
    copies = [accepted.select(columns).clear()]
    if accepted.height:
        later = lake.scan_whole(MESSAGES).filter(pl.col("ingested_at") >= rejected["ingested_at"].min()).select(columns)
        wanted = accepted.select(_CONTENT).unique()
        copies += [
            chunk.join(wanted, on=_CONTENT, how="semi", nulls_equal=True) for chunk in lake.read_in_chunks(later)
        ]
    every = pl.concat(copies)
    reasons = lake.read(lake.scan_whole(QUARANTINE).select(*ENTRY, "reason"))
    told = every.join(reasons, on=ENTRY, how="left").filter(
        pl.col("reason").is_null() | pl.col("reason").str.starts_with(CONFLICTING)
    )
    return told.group_by(_CONTENT).agg(pl.col("reason").is_null().any().alias("is_in"))
