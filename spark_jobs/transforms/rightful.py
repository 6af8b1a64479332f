"""What the tables must hold of some trades: worked out at once, from all of their messages."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from spark_jobs.transforms.bars import BAR_KEY
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.kinds import AMENDMENTS, TRADES
from spark_jobs.transforms.set_aside import conflict_rows, duplicate_rows, rejected_rows
from spark_jobs.transforms.unique import CONFLICT, DUPLICATE, FRESH, TRADE_REFERENCE, judge

_LEDGER_ORDER: Final = ("ingested_at", *PLACE)


@dataclass(frozen=True, slots=True)
class Rightful:
    """The rows that must be there; prices in millionths.

    Attributes
    ----------
    records
        Of ``silver/trades`` or ``silver/amendments``: the first message of each identity.
    duplicates, quarantine
        Of ``bronze/duplicates`` and ``bronze/quarantine``: the other messages.
    """

    records: pl.DataFrame
    duplicates: pl.DataFrame
    quarantine: pl.DataFrame


def rightful_trades(messages: pl.DataFrame, rejected: pl.DataFrame) -> Rightful:
    """Return what must become of the messages about some trades.

    Parameters
    ----------
    messages
        All valid messages that have the identity of one of the trades: the columns of ``silver/trades``, ``key_hash`` and
        ``payload_hash``.
    rejected
        Messages that are stored as such trades but break a rule: the ledger's columns, ``reason`` and ``detail``.
    """
    of = _judged(messages)
    return Rightful(
        records=of[FRESH].select(TRADES.table.column_names),
        duplicates=duplicate_rows(of[DUPLICATE], TRADES.identity.key),
        quarantine=pl.concat([conflict_rows(of[CONFLICT], TRADES), rejected_rows(rejected)]),
    )


def rightful_amendments(messages: pl.DataFrame, earlier: pl.DataFrame, rejected: pl.DataFrame) -> Rightful:
    """Return what must become of the messages about cancels and corrections.

    Parameters
    ----------
    messages
        The valid ones: the columns of ``silver/amendments``, ``key_hash`` and ``payload_hash``.
    earlier
        Those that earlier batches stored, with the columns of ``silver/amendments``.
    rejected
        As for :func:`rightful_trades`.
    """
    stored = earlier.with_columns(AMENDMENTS.identity.hashes())
    of = _judged(messages, stored.select("key_hash", stored_payload="payload_hash").unique("key_hash"))
    return Rightful(
        records=of[FRESH].select(AMENDMENTS.table.column_names),
        duplicates=duplicate_rows(of[DUPLICATE], TRADE_REFERENCE),
        quarantine=rejected_rows(rejected),
    )


def newest_revisions(revisions: pl.DataFrame) -> pl.DataFrame:
    """Return the bars: of each the highest revision."""
    return revisions.sort("revision").unique(BAR_KEY, keep="last").sort(BAR_KEY)


def _judged(messages: pl.DataFrame, stored: pl.DataFrame | None = None) -> dict[str, pl.DataFrame]:
    known = pl.DataFrame(schema={"key_hash": pl.UInt64(), "stored_payload": pl.UInt64()}) if stored is None else stored
    judged = judge(messages.join(known, on="key_hash", how="left"), order=_LEDGER_ORDER)
    return {verdict: judged.filter(pl.col("verdict") == verdict) for verdict in (FRESH, DUPLICATE, CONFLICT)}
