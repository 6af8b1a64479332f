"""Keep each record once: what is new, what repeats a record, what contradicts one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import polars as pl

from market import tables
from market.records import PRICE_DECIMALS

FRESH: Final = "fresh"
DUPLICATE: Final = "duplicate"
CONFLICT: Final = "conflict"

_PLACE: Final = ("partition", "offset")
_KEY_SEEDS: Final = (1, 2, 3, 4)
_PAYLOAD_SEEDS: Final = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two messages the same record: equal ``key``; and the same statement of it: equal ``payload``."""

    key: tuple[str, ...]
    payload: tuple[str, ...]

    def hashes(self) -> tuple[pl.Expr, pl.Expr]:
        """Return ``key_hash`` and ``payload_hash``, 64 bits each; equal records have equal hashes.

        That two records of a session differ and have the same pair is not to be expected in the life of the lake. The
        hashes live in memory only: they are the same in all processes of one version of polars, and no longer.
        """
        return (
            pl.struct(self.key).hash(*_KEY_SEEDS).alias("key_hash"),
            pl.struct((*self.key, *self.payload)).hash(*_PAYLOAD_SEEDS).alias("payload_hash"),
        )


def record_id(key: Sequence[str]) -> pl.Expr:
    """Return a key as one text, for people."""
    return pl.concat_str([pl.col(name).cast(pl.String) for name in key], separator="/")


TRADE_REFERENCE: Final = ("source", "symbol", "trade_id")
"""How a cancel or a correction names its trade: it does not say in which session that was."""

TRADE: Final = Identity(
    key=tables.TRADES.key,
    payload=("traded_at", "price", "size", "sequence", "exchange", "conditions"),
)
AMENDMENT: Final = Identity(
    key=(*TRADE_REFERENCE, "kind", "amended_at", "price", "size", "exchange", "conditions"),
    payload=(),
)
STATUS: Final = Identity(key=("source", "symbol", "kind", "since_at", "status_at", "reason"), payload=())
"""It is not asked for: what a status says is true or not, however often it is said, so each message is a row."""
QUOTE: Final = Identity(
    key=tables.QUOTES.key,
    payload=("quoted_at", "bid", "bid_size", "ask", "ask_size", "sequence", "exchange", "conditions"),
)
VENDOR_BAR: Final = Identity(
    key=("source", "symbol", "interval", "bar_at"),
    payload=("open", "high", "low", "close", "volume"),
)
CORPORATE_ACTION: Final = Identity(
    key=("source", "symbol", "action", "session_date"),
    payload=("known_at", "is_withdrawn", "new_shares", "old_shares", "cash", "new_symbol"),
)


def judge(rows: pl.DataFrame, order: Sequence[str] = _PLACE) -> pl.DataFrame:
    """Return the new rows of some keys with a column ``verdict``.

    The first row of a key in the order of the ledger is the record (``fresh``). A later one with the same payload is a
    ``duplicate``, with another payload a ``conflict``.

    Parameters
    ----------
    rows
        All new rows of these keys, all of one topic, with ``key_hash``, ``payload_hash`` and ``stored_payload``: the hash of
        the payload that is stored for the key, or null.
    order
        The order of the ledger; for rows of several batches with the stamp of the batch first.
    """
    first = pl.col("payload_hash").first().over("key_hash")
    is_first = pl.int_range(pl.len()).over("key_hash") == 0
    verdict = (
        pl.when(pl.col("stored_payload").is_null() & is_first)
        .then(pl.lit(FRESH))
        .when(pl.col("payload_hash") == pl.coalesce("stored_payload", first))
        .then(pl.lit(DUPLICATE))
        .otherwise(pl.lit(CONFLICT))
    )
    return rows.sort(order).with_columns(verdict.alias("verdict"))


def judge_versions(rows: pl.DataFrame, order: Sequence[str] = _PLACE) -> pl.DataFrame:
    """Return the new rows of some keys with a column ``verdict``, where a key may be restated.

    A row whose payload differs from the version before it in the order of the ledger is a new version (``fresh``),
    otherwise a ``duplicate``. The parameters are those of :func:`judge`.
    """
    before = pl.coalesce(pl.col("payload_hash").shift(1).over("key_hash"), "stored_payload")
    verdict = pl.when(pl.col("payload_hash") == before).then(pl.lit(DUPLICATE)).otherwise(pl.lit(FRESH))
    return rows.sort(order).with_columns(verdict.alias("verdict"))


def conflict_detail(rows: pl.DataFrame, identity: Identity, prices: frozenset[str]) -> pl.Series:
    """Return what conflicting records state, as JSON; ``prices`` are the columns in millionths."""
    stated = rows.select(*identity.key, *identity.payload).iter_rows(named=True)
    details = [{name: _shown(value, is_price=name in prices) for name, value in row.items()} for row in stated]
    return pl.Series("detail", [json.dumps(detail, ensure_ascii=False) for detail in details], pl.String)


def _shown(value: object, *, is_price: bool) -> str | None:
    if value is None:
        return None
    if is_price and isinstance(value, int):
        return f"{Decimal(value).scaleb(-PRICE_DECIMALS).normalize():f}"
    return value.isoformat() if isinstance(value, datetime) else str(value)
