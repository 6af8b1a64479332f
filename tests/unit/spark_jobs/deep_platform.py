"""The deep path on the stream of :mod:`tests.unit.spark_jobs.fake_platform`, with PostgreSQL's rows in memory."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from market import tables
from market.settings import load_settings
from market.tables import DataType, Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.deep_topic import Work
from spark_jobs.jobs.locks import BatchLock
from spark_jobs.jobs.recompute import Recompute, sessions_of
from spark_jobs.report import RecomputeRequest, SessionReport
from spark_jobs.transforms.kinds import RecordKind
from tests.unit.spark_jobs.fake_platform import Cut, Platform
from tests.unit.spark_jobs.messages import INGESTED
from warehouse.batch import BatchOutput
from warehouse.repair import Repair

Row = dict[str, Any]
Span = tuple[datetime, datetime]
MICROS = 10**6
VALUES = ("open", "high", "low", "close", "volume")


def joined(spans: Collection[Span]) -> list[Span]:
    """Return spans that neither overlap nor touch, as a multirange of PostgreSQL has them."""
    apart: list[Span] = []
    for start, end in sorted(spans):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def order(side: Iterable[Any]) -> tuple[Any, ...]:
    """Return what orders the sides of quotes: time, sequence, price and size, where an unknown size is the least."""
    at, sequence, price, size = side
    return at, sequence, price, -1 if size is None else size


@dataclass
class FakeDatabase:
    """What PostgreSQL has of the published batches."""

    bars: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    vendor: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    actions: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    covered: dict[tuple[Any, ...], list[Span]] = field(default_factory=dict)
    changes: set[tuple[Any, ...]] = field(default_factory=set)
    latest: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    minutes: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    fails: bool = False
    looked: list[str] = field(default_factory=list)

    def take(self, batches: Collection[BatchOutput]) -> None:
        """Take over the batches that were published since."""
        for batch in list(batches)[self.seen :]:
            self.newest[batch.query_id] = batch.batch_id
            self.offsets |= batch.next_offsets
            for row in _rows(batch.bar_rows):
                key = tuple(row[name] for name in tables.PG_BARS.key)
                if row["revision"] > self.bars.get(key, {"revision": 0})["revision"]:
                    self.bars[key] = row
            for row in sorted(_rows(batch.vendor_bar_rows), key=lambda row: (row["partition"], row["offset"])):
                key = tuple(row[name] for name in tables.PG_VENDOR_BARS.key)
                known = self.vendor.get(key)
                differs = known is None or any(known[name] != row[name] for name in VALUES)
                self.vendor[key] = {**row, "revision": (known["revision"] if known else 0) + differs}
            for row in _rows(batch.action_rows):
                self.actions[tuple(row[name] for name in tables.PG_CORPORATE_ACTIONS.key)] = row
            for row in _rows(batch.quote_rows):
                self._take_quote(row)
            for row in _rows(batch.status_rows):
                if row["kind"] == "heartbeat":
                    key = tuple(row[name] for name in tables.PG_FEED_COVERAGE.key)
                    self.covered[key] = joined([*self.covered.get(key, []), (row["since_at"], row["status_at"])])
                else:
                    self.changes.add(tuple(row[name] for name in ("source", "symbol", "status_at", "kind", "reason")))
        self.seen = len(batches)

    def _take_quote(self, quote: Row) -> None:
        key = quote["source"], quote["symbol"]
        nothing = {**dict.fromkeys(tables.PG_LATEST_QUOTES.column_names), "source": key[0], "symbol": key[1]}
        row = self.latest[key] = {**self.latest.get(key, nothing)}
        row["quoted_at"] = max(quote["quoted_at"], row["quoted_at"] or quote["quoted_at"])
        self._take_sides(row, quote)
        place = {name: quote[name] for name in ("source", "symbol", "session_date", "segment")}
        place["bar_at"] = quote["quoted_at"].replace(second=0, microsecond=0)
        of_minute = *key, place["bar_at"]
        nothing = {**dict.fromkeys(tables.PG_QUOTES_1M.column_names), **place}
        row = self.minutes[of_minute] = {**self.minutes.get(of_minute, nothing)}
        self._take_sides(row, quote)

    @staticmethod
    def _take_sides(row: Row, quote: Row) -> None:
        for side in ("bid", "ask"):
            new = {
                f"{side}_at": quote["quoted_at"],
                f"{side}_sequence": quote["sequence"],
                side: quote[side],
                f"{side}_size": quote[f"{side}_size"],
            }
            old = [row[name] for name in new]
            # An unknown size is the least.
            if quote[side] is not None and (None in old[:3] or order(new.values()) > order(old)):
                row.update(new)
                if "revised_at" in row:
                    row["revised_at"] = quote["ingested_at"]

    @contextmanager
    def snapshot(self) -> Iterator["FakeDatabase"]:
        self.looked.append("look")
        yield deepcopy(self)

    def repair(self, repairs: Sequence[Repair]) -> None:
        if self.fails:
            raise Cut
        for repair in repairs:
            wrong = [tuple(row[name] for name in repair.table.key) for row in repair.wrong.to_pylist()]
            right = repair.right.to_pylist()
            keys = [tuple(row[name] for name in repair.table.key) for row in right]
            if repair.table is tables.PG_TRADING_HALTS:
                self.changes = (self.changes - set(wrong)) | set(keys)
                continue
            own: dict[str, Any] = {
                "bars_1m": self.bars,
                "vendor_bars": self.vendor,
                "corporate_actions": self.actions,
                "feed_coverage": self.covered,
                "latest_quotes": self.latest,
                "quotes_1m": self.minutes,
            }
            known = own[repair.table.name]
            for key in [*wrong, *keys]:
                known.pop(key, None)
            for key, row in zip(keys, right, strict=True):
                if repair.table is tables.PG_FEED_COVERAGE:
                    known[key] = joined([*known.get(key, []), (row["since_at"], row["until_at"])])
                else:
                    known[key] = row

    def next_offsets(self, topic: str) -> dict[int, int]:
        return {partition: end for (own, partition), end in self.offsets.items() if own == topic}

    def newest_batch(self, query_id: str) -> int | None:
        return self.newest.get(query_id)

    def sessions(self, start: date, end: date) -> set[date]:
        every = {row["session_date"] for row in self.bars.values()} | {key[2] for key in self.covered}
        return {day for day in every if start <= day <= end}

    def symbols(self, session_date: date) -> set[str]:
        return {row["symbol"] for row in self.bars.values() if row["session_date"] == session_date}

    def bars_of(self, session_date: date, symbols: Collection[str]) -> list[Row]:
        return [row for row in self.bars.values() if row["session_date"] == session_date and row["symbol"] in symbols]

    def vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        rows = [row for row in self.vendor.values() if start <= row["session_date"] <= end]
        return in_millionths(tables.PG_VENDOR_BARS, [row for row in rows if row["symbol"] in symbols or not symbols])

    def corporate_actions(self, start: date, end: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        rows = [row for row in self.actions.values() if start <= row["session_date"] <= end]
        table = tables.PG_CORPORATE_ACTIONS
        return in_millionths(table, [row for row in rows if row["symbol"] in symbols or not symbols])

    def coverage(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        found = [(key, span) for key, spans in self.covered.items() for span in spans]
        return [(*key, *span) for key, span in found if key[2] == session_date and (key[1] in symbols or not symbols)]

    def halts(self, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        return [change for change in self.changes if change[1] in symbols or not symbols]

    def latest_quotes(self, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        rows = [row for row in self.latest.values() if row["symbol"] in symbols or not symbols]
        return in_millionths(tables.PG_LATEST_QUOTES, rows)

    def quoted_sessions(self, start: date, end: date) -> set[date]:
        return {row["session_date"] for row in self.minutes.values() if start <= row["session_date"] <= end}

    def quoted_symbols(self, session_date: date) -> set[str]:
        return {row["symbol"] for row in self.minutes.values() if row["session_date"] == session_date}

    def minute_quotes(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        rows = [
            row for row in self.minutes.values() if row["session_date"] == session_date and row["symbol"] in symbols
        ]
        return in_millionths(tables.PG_QUOTES_1M, rows)


class Snapshotted:
    """A fake database under the names of a snapshot: the rows of bars are asked for by a name of their own."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        return in_millionths(tables.PG_BARS, self._database.bars_of(session_date, symbols))

    def sessions_with_bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        """Triggers keep it true to the bars."""
        found: dict[tuple[str, str], list[tuple[datetime, datetime]]] = {}
        for row in self._database.bars_of(session_date, symbols):
            found.setdefault((row["source"], row["symbol"]), []).append((row["bar_at"], row["revised_at"]))
        return [
            (*key, session_date, len(moments), *map(max, zip(*moments, strict=True))) for key, moments in found.items()
        ]

    def sessions_with_vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        """Triggers keep it true to the vendor bars."""
        key = ("source", "symbol", "interval", "session_date")
        rows = [row for row in self._database.vendor.values() if row["interval"] != "1d"]
        found: dict[tuple[Any, ...], list[datetime]] = {}
        for row in rows:
            if (row["symbol"] in symbols or not symbols) and start <= row["session_date"] <= end:
                found.setdefault(tuple(row[name] for name in key), []).append(row["ingested_at"])
        return [(*session, len(moments), max(moments)) for session, moments in found.items()]


@dataclass
class Opened:
    """What the deep path is given as its database."""

    database: FakeDatabase

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        with self.database.snapshot() as found:
            yield Snapshotted(found)

    def repair(self, repairs: Sequence[Repair]) -> None:
        self.database.repair(repairs)


def in_millionths(table: Table, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    decimals = {column.name for column in table.columns if column.type in {DataType.PRICE, DataType.NOTIONAL}}
    return [
        tuple(
            int(row[name] * MICROS) if name in decimals and row[name] is not None else row[name]
            for name in table.column_names
        )
        for row in rows
    ]


def _rows(found: Any) -> list[Row]:
    return [] if found is None else found.to_pylist()


@dataclass
class DeepPlatform:
    """A stream, what PostgreSQL has of it, and the deep path beside them."""

    root: Path
    platform: Platform = field(init=False)
    postgres: FakeDatabase = field(default_factory=FakeDatabase)
    now: datetime = INGESTED + timedelta(hours=1)
    knows_queries: bool = True

    def __post_init__(self) -> None:
        self.platform = Platform(self.root / "lake")

    def lock(self, kind: RecordKind) -> BatchLock:
        return BatchLock(load_settings().model_copy(update={"home": self.root / "home"}), kind.name)

    def publish(self) -> None:
        """Let PostgreSQL have what the stream published."""
        self.postgres.take(list(self.platform.postgres.batches.values()))

    def recompute(
        self,
        start: date,
        end: date | None = None,
        *,
        symbols: tuple[str, ...] = (),
        dry_run: bool = False,
        most_records: int = 10**6,
        lake: Lake | None = None,
    ) -> list[SessionReport]:
        self.publish()
        request = RecomputeRequest(start, end or start, symbols, dry_run)
        folder = self.root / f"spool {len(list(self.root.iterdir()))}"
        folder.mkdir()
        work = Work(
            lake=lake or Lake(str(self.platform.root)),
            database=Opened(self.postgres),
            request=request,
            sessions=sessions_of(request),
            folder=folder,
            query_id=lambda kind: f"query of {kind.name}" if self.knows_queries else None,
            now=lambda: self.now,
            most_records=most_records,
        )
        return list(Recompute(work, self.lock).run())

    def everything(self) -> dict[str, list[Any]]:
        """Return every row of the lake and of PostgreSQL."""
        self.publish()
        found = self.postgres
        return {
            **{table.path: self.rows(table) for table in tables.LAKE_TABLES},
            "lake.bars_1m": sorted(found.bars.values(), key=str),
            "lake.vendor_bars": sorted(found.vendor.values(), key=str),
            "lake.corporate_actions": sorted(found.actions.values(), key=str),
            "lake.feed_coverage": sorted(found.covered.items(), key=str),
            "lake.trading_halts": sorted(found.changes, key=str),
            "lake.latest_quotes": sorted(found.latest.values(), key=str),
            "lake.quotes_1m": sorted(found.minutes.values(), key=str),
        }

    def rows(self, table: Table) -> list[Row]:
        return sorted(pl.read_delta(f"{self.platform.root}/{table.path}").to_dicts(), key=str)
