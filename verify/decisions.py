"""What must become of every message: decided again from bronze alone.

What older rules rejected stays where it is: it waits in quarantine to be retried.

What belongs here: where each message belongs (trades, amendments, statuses, quotes, vendor bars, duplicates, quarantine) and
the rows that follow from it. What does not: what the stream made of it, which :mod:`verify.ledger`, :mod:`verify.bars` and
:mod:`verify.gaps` compare.

Rows are spooled to a scratch folder by session, so that memory is bounded by the busiest session and about a hundred
bytes a message.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

import polars as pl

from market import tables, topics
from market.rules import RULES_VERSION
from verify.lake import Lake, schema_of
from verify.messages import LEDGER, amendments_in, quotes_in, statuses_in, trades_in, vendor_bars_in

ENTRY: Final = ("topic", "partition", "offset")
"""The columns that name a message."""

_ORDER: Final = ("ingested_at", *ENTRY)
_NOWHERE: Final = ""
"""The place of a message whose row is kept no longer."""
_TRADE_KEY: Final = ("source", "symbol", "session_date", "trade_id")
_TRADE_PAYLOAD: Final = ("ts", "price", "size", "sequence", "exchange", "conditions")
_QUOTE_KEY: Final = ("source", "symbol", "session_date", "quote_id")
_QUOTE_PAYLOAD: Final = ("ts", "bid", "bid_size", "ask", "ask_size", "sequence", "exchange", "conditions")
_BAR_KEY: Final = ("source", "symbol", "interval", "ts")
_BAR_PAYLOAD: Final = ("open", "high", "low", "close", "volume")


class Spool:
    """Rows set aside on disk by session.

    Parameters
    ----------
    folder
        An empty folder to write to.
    table
        The table whose rows these are.
    """

    def __init__(self, folder: Path, table: tables.Table) -> None:
        self._folder = folder
        self._table = table
        self._files = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Set rows aside."""
        self._files += 1
        for (session_date,), part in rows.partition_by("session_date", as_dict=True).items():
            folder = self._folder / str(session_date)
            folder.mkdir(parents=True, exist_ok=True)
            part.write_parquet(folder / f"{self._files}.parquet", compression="lz4", statistics=False)

    def sessions(self) -> set[date]:
        """Return the sessions that have rows."""
        return (
            {date.fromisoformat(folder.name) for folder in self._folder.iterdir()} if self._folder.is_dir() else set()
        )

    def count(self, session_date: date | None) -> int:
        """Return how many rows of a session were set aside."""
        rows = self._scan(session_date)
        return 0 if rows is None else int(rows.select(pl.len()).collect().item())

    def read(self, session_date: date | None, chosen: pl.DataFrame, part: pl.Expr | None = None) -> pl.DataFrame:
        """Return the rows of a session whose ledger entries are in ``chosen``, as the table's columns; ``part`` filters them."""
        rows = self._scan(session_date)
        if rows is None:
            return pl.DataFrame(schema=schema_of(self._table))
        if part is not None:
            rows = rows.filter(part)
        return rows.collect().join(chosen, on=ENTRY, how="semi").select(self._table.column_names)

    def _scan(self, session_date: date | None) -> pl.LazyFrame | None:
        folder = self._folder / str(session_date)
        return pl.scan_parquet(folder / "*.parquet", hive_partitioning=False) if folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class Decisions(AbstractContextManager["Decisions"]):
    """What must become of the messages; leaving the context removes the scratch folder.

    Attributes
    ----------
    places
        One row per message: :data:`ENTRY` and ``place``, the path of the table that it belongs in.
    expired
        :data:`ENTRY` of the messages that are not in ``places``: their table keeps its rows for some time only, and theirs, or
        that of another message of the same record, is over.
    trades, quotes
        The decoded rows by session; which of them are unique is in ``places``.
    amendments
        The cancels and corrections, with the columns of ``silver/amendments``.
    statuses
        The heartbeats, halts and resumes, with the columns of ``silver/feed_status``.
    vendor_bars
        The versions of vendor bars, with the columns of ``silver/vendor_bars``.
    awaiting_retry
        How many messages older rules rejected that state a record that is not there, and that today's rules accept.
    """

    places: pl.DataFrame
    expired: pl.DataFrame
    trades: Spool
    quotes: Spool
    amendments: pl.DataFrame
    statuses: pl.DataFrame
    vendor_bars: pl.DataFrame
    awaiting_retry: int
    _scratch: ExitStack

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def placed_in(self, table: tables.Table) -> pl.DataFrame:
        """Return the ledger entries of the messages that belong in a table."""
        return self.places.filter(pl.col("place") == table.path).select(ENTRY)


def decide(lake: Lake, now: datetime | None = None) -> Decisions:
    """Read bronze and decide what must become of every message; ``now`` decides what is kept no longer."""
    now = now or datetime.now(UTC)
    with ExitStack() as scratch:
        folder = Path(scratch.enter_context(TemporaryDirectory(prefix="tapehouse-verify-")))
        trades = _Records(_TRADE_KEY, _TRADE_PAYLOAD, Spool(folder / "trades", tables.TRADES))
        quotes = _Records(_QUOTE_KEY, _QUOTE_PAYLOAD, Spool(folder / "quotes", tables.QUOTES))
        amendments = _Statements(_stated_in(tables.AMENDMENTS))
        statuses = _Statements(_stated_in(tables.FEED_STATUS))
        bars = _Statements((*_BAR_KEY, *_BAR_PAYLOAD))
        everything: list[pl.DataFrame] = []

        def read_trades(chunk: pl.DataFrame, *, is_waiting: bool) -> None:
            found = trades_in(chunk)
            trades.add(found, is_waiting=is_waiting)
            others = chunk.join(found, on=ENTRY, how="anti")
            amendments.add(amendments_in(others), is_waiting=is_waiting)
            statuses.add(statuses_in(others), is_waiting=is_waiting)

        readers: dict[str, Callable[..., None]] = {
            topics.TRADES.name: read_trades,
            topics.QUOTES.name: lambda chunk, is_waiting: quotes.add(quotes_in(chunk), is_waiting=is_waiting),
            topics.BARS.name: lambda chunk, is_waiting: bars.add(vendor_bars_in(chunk), is_waiting=is_waiting),
        }
        waiting = _rejected_by_older_rules(lake)
        messages = lake.scan(tables.MESSAGES).select(*LEDGER, "value")
        for chunk in lake.read_in_chunks(messages):
            everything.append(chunk.select(ENTRY))
            for topic, read in readers.items():
                of_topic = chunk.filter(pl.col("topic") == topic)
                for is_waiting in (False, True) if waiting.height else (False,):
                    part = of_topic.join(waiting, on=ENTRY, how="semi" if is_waiting else "anti")
                    if part.height:
                        read(part, is_waiting=is_waiting)
        vendor_bars, amended = _versions(bars.found), _first_stated(amendments.found)
        said = _rows(statuses.found, tables.FEED_STATUS)
        valid = pl.concat(
            [
                trades.places(tables.TRADES, now),
                quotes.places(tables.QUOTES, now),
                *(rows.select(*ENTRY, "place") for rows in (vendor_bars, amended)),
                said.select(*ENTRY, pl.lit(tables.FEED_STATUS.path).alias("place")),
            ]
        )
        is_expired = pl.col("place") == _NOWHERE
        expired, valid = valid.filter(is_expired).select(ENTRY), valid.filter(~is_expired)
        every = pl.concat([expired.clear(), *everything]).join(expired, on=ENTRY, how="anti")
        rejected = every.join(valid, on=ENTRY, how="anti").with_columns(pl.lit(tables.QUARANTINE.path).alias("place"))
        return Decisions(
            places=pl.concat([valid, rejected]),
            expired=expired,
            trades=trades.spool,
            quotes=quotes.spool,
            amendments=amended.filter(pl.col("place") == tables.AMENDMENTS.path).select(tables.AMENDMENTS.column_names),
            statuses=said,
            vendor_bars=vendor_bars.filter(pl.col("place") == tables.VENDOR_BARS.path).select(
                tables.VENDOR_BARS.column_names
            ),
            awaiting_retry=sum(kind.awaiting() for kind in (trades, quotes, amendments, statuses, bars)),
            _scratch=scratch.pop_all(),
        )


class _Records:
    """Records of one kind: the rows go to the spool; identity and payload stay in memory as hashes, to find repeats."""

    def __init__(self, key: tuple[str, ...], payload: tuple[str, ...], spool: Spool) -> None:
        self.spool = spool
        self._key = key
        self._payload = payload
        self._seen: list[pl.DataFrame] = []
        self._waiting: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame, *, is_waiting: bool) -> None:
        """Take in the valid rows of a chunk, or of those that older rules rejected."""
        if is_waiting:
            self._waiting.append(self._hashed(rows))
        else:
            self.spool.add(rows)
            self._seen.append(self._hashed(rows))

    def awaiting(self) -> int:
        """Return how many of the rejected rows have an identity of which there is no record."""
        if not self._waiting:
            return 0
        waiting = pl.concat(self._waiting)
        return waiting.join(pl.concat([waiting.clear(), *self._seen]), on=["key_high", "key_low"], how="anti").height

    def _hashed(self, rows: pl.DataFrame) -> pl.DataFrame:
        # Keys hold no control characters, so that a joined key is a key; texts of a payload may hold any.
        key = pl.concat_str(self._key, separator="\x00")
        texts = [pl.col(name) for name in self._payload if rows.schema[name] == pl.String]
        payload = pl.concat_str(
            [pl.col(name).cast(pl.String).fill_null("") for name in self._payload if rows.schema[name] != pl.String]
            + [part for text in texts for part in (text.str.len_bytes().cast(pl.String), text)],
            separator="\x00",
        )
        return rows.select(
            *_ORDER,
            key.hash(seed=1).alias("key_high"),
            key.hash(seed=2).alias("key_low"),
            payload.hash(seed=3).alias("payload"),
        )

    def places(self, table: tables.Table, now: datetime) -> pl.DataFrame:
        """Return where each record belongs: the first of an identity is the record, a later one repeats or conflicts.

        Once the row of the first may be gone, the stream may have taken another one for the first: nothing is said of such an
        identity.
        """
        schema = {**{name: schema_of(table)[name] for name in ENTRY}, "place": pl.String()}
        if not self._seen:
            return pl.DataFrame(schema=schema)
        seen = pl.concat(self._seen).sort(_ORDER)
        nth = pl.int_range(pl.len()).over("key_high", "key_low")
        same = pl.col("payload") == pl.col("payload").first().over("key_high", "key_low")
        is_expired = pl.lit(value=False)
        if table.retention_days is not None:
            oldest = pl.lit(now - timedelta(days=table.retention_days), seen.schema["ingested_at"])
            is_expired = pl.col("ingested_at").min().over("key_high", "key_low") < oldest
        place = (
            pl.when(is_expired)
            .then(pl.lit(_NOWHERE))
            .when(nth == 0)
            .then(pl.lit(table.path))
            .when(same)
            .then(pl.lit(tables.DUPLICATES.path))
            .otherwise(pl.lit(tables.QUARANTINE.path))
        )
        return seen.select(*ENTRY, place.alias("place"))


class _Statements:
    """Rows that are a few, kept in memory; ``stated`` are the columns that make two of them the same."""

    def __init__(self, stated: tuple[str, ...]) -> None:
        self.found: list[pl.DataFrame] = []
        self._waiting: list[pl.DataFrame] = []
        self._stated = list(stated)

    def add(self, rows: pl.DataFrame, *, is_waiting: bool) -> None:
        """Take in the valid rows of a chunk, or of those that older rules rejected."""
        (self._waiting if is_waiting else self.found).append(rows)

    def awaiting(self) -> int:
        """Return how many of the rejected rows state what no other row states."""
        if not self._waiting:
            return 0
        waiting = pl.concat(self._waiting).select(self._stated)
        found = pl.concat([waiting.clear(), *(rows.select(self._stated) for rows in self.found)])
        return waiting.join(found, on=self._stated, how="anti", nulls_equal=True).height


def _stated_in(table: tables.Table) -> tuple[str, ...]:
    return tuple(name for name in table.column_names if name not in LEDGER)


def _rejected_by_older_rules(lake: Lake) -> pl.DataFrame:
    version = pl.col("rules_version")
    return lake.read(lake.scan(tables.QUARANTINE).filter(version.is_null() | (version < RULES_VERSION)).select(ENTRY))


def _first_stated(chunks: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the valid amendments in the ledger's order with ``place``: one that says what another said repeats it."""
    rows = _rows(chunks, tables.AMENDMENTS)
    nth = pl.int_range(pl.len()).over([name for name in rows.columns if name not in LEDGER])
    place = pl.when(nth == 0).then(pl.lit(tables.AMENDMENTS.path)).otherwise(pl.lit(tables.DUPLICATES.path))
    return rows.with_columns(place.alias("place"))


def _rows(chunks: list[pl.DataFrame], table: tables.Table) -> pl.DataFrame:
    """Return the rows of all chunks with the columns of a table, in the ledger's order."""
    schema = schema_of(table)
    return pl.concat([pl.DataFrame(schema=schema), *(chunk.select(*schema) for chunk in chunks)]).sort(_ORDER)


def _versions(chunks: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the valid bars in the ledger's order with ``place``: a bar that says the same as the one before repeats it."""
    schema = {**schema_of(tables.VENDOR_BARS), "place": pl.String()}
    if not chunks:
        return pl.DataFrame(schema=schema)
    bars = pl.concat(chunks).sort(_ORDER)
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1).over(_BAR_KEY) for name in _BAR_PAYLOAD)
    place = (
        pl.when(same.fill_null(value=False))
        .then(pl.lit(tables.DUPLICATES.path))
        .otherwise(pl.lit(tables.VENDOR_BARS.path))
    )
    return bars.with_columns(place.alias("place"))
