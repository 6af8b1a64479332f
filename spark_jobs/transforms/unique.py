"""Keep each record once: what is new, what repeats a record, what contradicts one."""

from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as f

from market import tables

LEDGER: Final = ("topic", "partition", "offset")
_ORDER: Final = ("ingested_at", *LEDGER)

FRESH: Final = "fresh"
DUPLICATE: Final = "duplicate"
CONFLICT: Final = "conflict"


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two messages the same record: equal ``key``; and the same statement of it: equal ``payload``."""

    key: tuple[str, ...]
    payload: tuple[str, ...]

    def hash(self) -> Column:
        """Return a 64-bit hash of the key: equal keys have equal hashes; the reverse need not hold."""
        return f.xxhash64(*self.key)


TRADE: Final = Identity(
    key=tables.TRADES.key,
    payload=("traded_at", "price", "size", "sequence", "exchange", "conditions"),
)
QUOTE: Final = Identity(
    key=tables.QUOTES.key,
    payload=("quoted_at", "bid", "bid_size", "ask", "ask_size", "sequence", "exchange", "conditions"),
)
VENDOR_BAR: Final = Identity(
    key=("source", "symbol", "interval", "bar_at"),
    payload=("open", "high", "low", "close", "volume"),
)


def repeated(rows: DataFrame, identity: Identity) -> DataFrame:
    """Return the hashes of keys that occur more than once in ``rows``, as the column ``key_hash``."""
    hashes = rows.select(identity.hash().alias("key_hash"))
    return hashes.groupBy("key_hash").agg(f.count("*").alias("n")).where("n > 1").select("key_hash")


def judge(suspects: DataFrame, identity: Identity) -> DataFrame:
    """Return the new rows of ``suspects`` with a column ``verdict``.

    The first row of a key in the order of the ledger is the record (``fresh``). A later one with the same payload is a
    ``duplicate``, with another payload a ``conflict``.

    Parameters
    ----------
    suspects
        All stored and new rows of the keys in question; ``is_new`` tells them apart.
    """
    by_key = Window.partitionBy(*identity.key).orderBy(*_ORDER)
    payload = f.struct(*identity.payload)
    same = payload.eqNullSafe(f.first(payload).over(by_key))
    verdict = f.when(f.row_number().over(by_key) == 1, FRESH).when(same, DUPLICATE).otherwise(CONFLICT)
    return suspects.withColumn("verdict", verdict).where("is_new")


def judge_versions(suspects: DataFrame, identity: Identity) -> DataFrame:
    """Return the new rows of ``suspects`` with a column ``verdict``, where a key may be restated.

    A row whose payload differs from the version before it in the order of the ledger is a new version (``fresh``),
    otherwise a ``duplicate``.
    """
    by_key = Window.partitionBy(*identity.key).orderBy(*_ORDER)
    payload = f.struct(*identity.payload)
    before = f.lag(payload).over(by_key)
    verdict = f.when(before.isNotNull() & payload.eqNullSafe(before), DUPLICATE).otherwise(FRESH)
    return suspects.withColumn("verdict", verdict).where("is_new")


def record_id(identity: Identity) -> Column:
    """Return the key as one text, for people."""
    return f.concat_ws("/", *(f.col(name).cast("string") for name in identity.key))
