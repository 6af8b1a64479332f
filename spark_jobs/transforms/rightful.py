"""What the tables must hold of some records: worked out at once, from all of their messages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from market.records import DAILY
from market.tables import PG_BAR_SESSIONS, PG_VENDOR_BAR_SESSIONS, PG_VENDOR_BARS
from spark_jobs.schemas import MOMENT
from spark_jobs.transforms.bars import BAR_KEY
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.kinds import AMENDMENTS, RecordKind
from spark_jobs.transforms.set_aside import conflict_rows, duplicate_rows
from spark_jobs.transforms.unique import CONFLICT, DUPLICATE, FRESH, TRADE_REFERENCE, judge, judge_versions

LEDGER_ORDER: Final = ("ingested_at", *PLACE)


@dataclass(frozen=True, slots=True)
class Rightful:
    """The rows that must be there; prices in millionths.

    Attributes
    ----------
    records
        Of the records' own table: the first message of each identity, or each version of it.
    duplicates, quarantine
        Of ``bronze/duplicates`` and ``bronze/quarantine``: the other messages.
    """

    records: pl.DataFrame
    duplicates: pl.DataFrame
    quarantine: pl.DataFrame


def rightful_records(kind: RecordKind, messages: pl.DataFrame) -> Rightful:
    """Return what must become of the messages about some records.

    Parameters
    ----------
    kind
        What the records are.
    messages
        All valid messages that have the identity of one of the records: the columns of the kind's table, ``key_hash`` and
        ``payload_hash``.
    """
    of = _judged(messages, restated=kind.restated)
    return Rightful(
        records=of[FRESH].select(kind.table.column_names),
        duplicates=duplicate_rows(of[DUPLICATE], kind.identity.key),
        quarantine=conflict_rows(of[CONFLICT], kind),
    )


def first_messages(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the first message of each identity, which is the record; the columns are those of ``messages`` and a few more.

    Parameters
    ----------
    messages
        All valid messages that have the identity of one of the records: ``ingested_at, partition, offset``, ``key_hash`` and
        ``payload_hash`` at least.
    """
    return _judged(messages)[FRESH]


def rightful_amendments(messages: pl.DataFrame, earlier: pl.DataFrame) -> Rightful:
    """Return what must become of the messages about cancels and corrections.

    Parameters
    ----------
    messages
        The valid ones: the columns of ``silver/amendments``, ``key_hash`` and ``payload_hash``.
    earlier
        Those that earlier batches stored, with the columns of ``silver/amendments``.
    """
    stored = earlier.with_columns(AMENDMENTS.identity.hashes())
    of = _judged(messages, stored.select("key_hash", stored_payload="payload_hash").unique("key_hash"))
    return Rightful(
        records=of[FRESH].select(AMENDMENTS.table.column_names),
        duplicates=duplicate_rows(of[DUPLICATE], TRADE_REFERENCE),
        quarantine=conflict_rows(of[CONFLICT], AMENDMENTS),
    )


def kept_since(oldest: datetime) -> pl.Expr:
    """Return the condition that a message's record is one whose row is kept still.

    Once the row of the first message may be gone, the stream may have taken another one for the first: nothing can be said of
    such a record. The condition looks at ``key_hash`` and ``ingested_at`` of all messages about it.
    """
    return pl.col("ingested_at").min().over("key_hash") >= pl.lit(oldest, MOMENT)


def newest_revisions(revisions: pl.DataFrame) -> pl.DataFrame:
    """Return the bars: of each the highest revision."""
    return revisions.sort("revision").unique(BAR_KEY, keep="last").sort(BAR_KEY)


def sessions_with_bars(bars: pl.DataFrame, said: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return how many bars each source and symbol has in a session, and the newest: what ``lake.bar_sessions`` says of them.

    Parameters
    ----------
    bars
        All bars of these sources, symbols and sessions.
    said
        What is said of sessions now. Of those without bars the row says that they have none: the marts learn from it.
    """
    key = PG_BAR_SESSIONS.key
    found = bars.group_by(key).agg(
        pl.len().cast(pl.Int64).alias("bar_count"), pl.col("bar_at").max().alias("newest_bar_at")
    )
    if said is None:
        return found
    without = said.select(key).unique().join(found, on=key, how="anti")
    nothing = pl.lit(0, pl.Int64).alias("bar_count"), pl.lit(None, MOMENT).alias("newest_bar_at")
    return pl.concat([found, without.with_columns(*nothing)])


def sessions_with_vendor_bars(bars: pl.DataFrame, said: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return how many bars shorter than a day each source and symbol has in a session: what ``lake.vendor_bar_sessions`` says.

    Parameters
    ----------
    bars
        All vendor bars of these sources, symbols and sessions.
    said
        What is said of sessions now. Of those without bars the row says that they have none: the marts learn from it.
    """
    key = PG_VENDOR_BAR_SESSIONS.key
    found = bars.filter(pl.col("interval") != DAILY).group_by(key).agg(pl.len().cast(pl.Int64).alias("bar_count"))
    if said is None:
        return found
    without = said.select(key).unique().join(found, on=key, how="anti")
    return pl.concat([found, without.with_columns(pl.lit(0, pl.Int64).alias("bar_count"))])


def newest_versions(versions: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``lake.vendor_bars``, of all versions of some vendor bars."""
    key = PG_VENDOR_BARS.key
    numbered = versions.sort(LEDGER_ORDER).with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(key).alias("revision")
    )
    return numbered.unique(key, keep="last", maintain_order=True).select(PG_VENDOR_BARS.column_names)


def _judged(
    messages: pl.DataFrame, stored: pl.DataFrame | None = None, *, restated: bool = False
) -> dict[str, pl.DataFrame]:
    known = pl.DataFrame(schema={"key_hash": pl.UInt64(), "stored_payload": pl.UInt64()}) if stored is None else stored
    rows = messages.join(known, on="key_hash", how="left")
    judged = judge_versions(rows, LEDGER_ORDER) if restated else judge(rows, LEDGER_ORDER)
    return {verdict: judged.filter(pl.col("verdict") == verdict) for verdict in (FRESH, DUPLICATE, CONFLICT)}
