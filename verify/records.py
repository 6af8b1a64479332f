"""Trades and quotes set aside on disk by session, and which of them are records.

What belongs here: the first message of an identity is the record, a later one repeats or contradicts it. An identity holds
the session and the symbol, so that this is found out for a part of a session at a time. What does not: which messages are
valid, which is :mod:`verify.messages`.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from market import tables
from verify.lake import schema_of

ENTRY: Final = ("topic", "partition", "offset")
"""The columns that name a message."""

NOWHERE: Final = ""
"""The place of a message whose row is kept no longer."""

MOST_ROWS: Final = 500_000
"""So many rows of a session are looked at at once, or those of one symbol: memory grows with them."""

_ORDER: Final = ("ingested_at", *ENTRY)
_IDENTITY: Final = ("key_high", "key_low")
_HASHES: Final = {"key_high": pl.UInt64(), "key_low": pl.UInt64(), "payload": pl.UInt64()}


def parts_by_symbol(rows: int) -> Iterator[pl.Expr]:
    """Yield conditions that divide so many rows of a session by symbol: each symbol meets one of them."""
    parts = max(1, -(-rows // MOST_ROWS))
    for number in range(parts):
        yield pl.col("symbol").hash(seed=0) % parts == number if parts > 1 else pl.lit(value=True)


class Records:
    """Messages of one kind, decoded, by session.

    Parameters
    ----------
    folder
        An empty folder to write to.
    table
        The table whose rows these are.
    key, payload
        The columns that make two messages the same record, and those in which a repeat has to be equal.
    now
        Decides which rows are kept no longer.
    """

    def __init__(
        self, folder: Path, table: tables.Table, *, key: Sequence[str], payload: Sequence[str], now: datetime
    ) -> None:
        self._folder = folder
        self.table = table
        self._key = key
        self._payload = payload
        self._oldest = None if table.retention_days is None else now - timedelta(days=table.retention_days)
        self._files = 0
        self._waiting: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame, *, is_waiting: bool) -> None:
        """Set the valid rows of a chunk aside, or note those that older rules rejected."""
        hashed = self._with_hashes(rows)
        if is_waiting:
            self._waiting.append(hashed.select(_IDENTITY))
            return
        self._files += 1
        for (session_date,), part in hashed.partition_by("session_date", as_dict=True).items():
            folder = self._folder / str(session_date)
            folder.mkdir(parents=True, exist_ok=True)
            part.write_parquet(folder / f"{self._files}.parquet", compression="lz4", statistics=False)

    def sessions(self) -> list[date]:
        """Return the sessions that have rows, in order."""
        return sorted(date.fromisoformat(folder.name) for folder in self._folder.glob("*"))

    def count(self, session_date: date | None) -> int:
        """Return how many rows of a session were set aside."""
        return int(self._scan(session_date).select(pl.len()).collect().item())

    def places(self, session_date: date | None, part: pl.Expr) -> pl.DataFrame:
        """Return where the messages of a part of a session belong: :data:`ENTRY` and ``place``, the path of a table.

        Once the row of the first of an identity may be gone, the stream may have taken another one for the first: nothing
        is said of such an identity, and ``place`` is :data:`NOWHERE`.
        """
        return self._judged(session_date, part, _ORDER).select(*ENTRY, "place")

    def read(self, session_date: date | None, part: pl.Expr, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the records of a part of a session with the table's columns, or only some."""
        return self._placed_in(self.table.path, session_date, part, columns or self.table.column_names)

    def read_expired(self, session_date: date | None, part: pl.Expr) -> pl.DataFrame:
        """Return the messages of a part of a session whose rows may be gone, with the table's columns."""
        return self._placed_in(NOWHERE, session_date, part, self.table.column_names)

    def _placed_in(self, place: str, session_date: date | None, part: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
        judged = self._judged(session_date, part, (*_ORDER, *columns))
        return judged.filter(pl.col("place") == place).select(columns)

    def awaiting(self) -> int:
        """Return how many of the rejected rows have an identity of which there is no record."""
        if not self._waiting:
            return 0
        waiting = pl.concat(self._waiting)
        for session_date in self.sessions():
            seen = self._scan(session_date).select(_IDENTITY).collect()
            waiting = waiting.join(seen, on=_IDENTITY, how="anti")
        return waiting.height

    def _scan(self, session_date: date | None) -> pl.LazyFrame:
        folder = self._folder / str(session_date)
        if folder.is_dir():
            return pl.scan_parquet(folder / "*.parquet", hive_partitioning=False)
        return pl.LazyFrame(schema={**schema_of(self.table), **_HASHES})

    def _judged(self, session_date: date | None, part: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of a part of a session in the ledger's order, with ``place``."""
        rows = self._scan(session_date).filter(part).select(*dict.fromkeys(columns), *_HASHES)
        nth = pl.int_range(pl.len()).over(_IDENTITY)
        same = pl.col("payload") == pl.col("payload").first().over(_IDENTITY)
        is_expired = pl.lit(value=False)
        if self._oldest is not None:
            oldest = pl.lit(self._oldest, schema_of(self.table)["ingested_at"])
            is_expired = pl.col("ingested_at").min().over(_IDENTITY) < oldest
        place = (
            pl.when(is_expired)
            .then(pl.lit(NOWHERE))
            .when(nth == 0)
            .then(pl.lit(self.table.path))
            .when(same)
            .then(pl.lit(tables.DUPLICATES.path))
            .otherwise(pl.lit(tables.QUARANTINE.path))
        )
        return rows.collect().sort(_ORDER).with_columns(place.alias("place"))

    def _with_hashes(self, rows: pl.DataFrame) -> pl.DataFrame:
        # Keys hold no control characters, so that a joined key is a key; texts of a payload may hold any.
        key = pl.concat_str(self._key, separator="\x00")
        texts = [pl.col(name) for name in self._payload if rows.schema[name] == pl.String]
        payload = pl.concat_str(
            [pl.col(name).cast(pl.String).fill_null("") for name in self._payload if rows.schema[name] != pl.String]
            + [part for text in texts for part in (text.str.len_bytes().cast(pl.String), text)],
            separator="\x00",
        )
        hashes = (key.hash(seed=1), key.hash(seed=2), payload.hash(seed=3))
        hashed = rows.with_columns(column.alias(name) for name, column in zip(_HASHES, hashes, strict=True))
        return hashed.select(*self.table.column_names, *_HASHES)
