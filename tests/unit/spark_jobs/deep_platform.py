"""The deep path on the stream of :mod:`tests.unit.spark_jobs.fake_platform`, with PostgreSQL's bars in memory."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from market import tables
from market.settings import load_settings
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.locks import TradesLock
from spark_jobs.jobs.recompute import Recompute
from spark_jobs.report import RecomputeRequest, SessionReport
from spark_jobs.schemas import frame_schema
from tests.unit.spark_jobs.fake_platform import Cut, Platform
from warehouse.batch import BatchOutput

Row = dict[str, Any]
MICROS = 10**6


@dataclass
class FakeBars:
    """What PostgreSQL has of the published batches: the newest revision of each bar, and the offsets."""

    rows: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    seen: int = 0
    fails: bool = False

    def take(self, batches: Collection[BatchOutput]) -> None:
        """Take over the batches that were published since."""
        for batch in list(batches)[self.seen :]:
            self.offsets |= {place[1]: end for place, end in batch.next_offsets.items()}
            for row in batch.bar_rows.to_pylist() if batch.bar_rows is not None else ():
                key = (row["source"], row["symbol"], row["bar_at"])
                if row["revision"] > self.rows.get(key, {"revision": 0})["revision"]:
                    self.rows[key] = row
        self.seen = len(batches)

    @contextmanager
    def snapshot(self) -> Iterator["FakeBars"]:
        yield FakeBars(dict(self.rows), dict(self.offsets))

    def repair(self, wrong: pa.Table, right: pa.Table) -> None:
        if self.fails:
            raise Cut
        for row in wrong.to_pylist():
            self.rows.pop((row["source"], row["symbol"], row["bar_at"]), None)
        for row in right.to_pylist():
            self.rows[row["source"], row["symbol"], row["bar_at"]] = row

    def next_offsets(self, topic: str) -> dict[int, int]:
        assert topic == "market.trades.v1"
        return self.offsets

    def sessions(self, start: date, end: date) -> set[date]:
        return {row["session_date"] for row in self.rows.values() if start <= row["session_date"] <= end}

    def symbols(self, session_date: date) -> set[str]:
        return {row["symbol"] for row in self.rows.values() if row["session_date"] == session_date}

    def bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        found = []
        for row in self.rows.values():
            if row["session_date"] == session_date and row["symbol"] in symbols:
                schema = frame_schema(tables.PG_BARS)
                decimals = {"open", "high", "low", "close", "vwap", "notional"}
                found.append(
                    tuple(
                        int(row[name] * MICROS) if name in decimals and row[name] is not None else row[name]
                        for name in schema
                    )
                )
        return found


@dataclass
class DeepPlatform:
    """A stream, what PostgreSQL has of it, and the deep path beside them."""

    root: Path
    platform: Platform = field(init=False)
    bars: FakeBars = field(default_factory=FakeBars)

    def __post_init__(self) -> None:
        self.platform = Platform(self.root / "lake")

    @property
    def lock(self) -> TradesLock:
        return TradesLock(load_settings().model_copy(update={"home": self.root / "home"}))

    def publish(self) -> None:
        """Let PostgreSQL have what the stream published."""
        self.bars.take(list(self.platform.postgres.batches.values()))

    def recompute(
        self,
        start: date,
        end: date | None = None,
        *,
        symbols: tuple[str, ...] = (),
        dry_run: bool = False,
        most_trades: int = 10**6,
        lake: Lake | None = None,
    ) -> list[SessionReport]:
        self.publish()
        request = RecomputeRequest(start, end or start, symbols, dry_run)
        folder = self.root / f"spool {len(list(self.root.iterdir()))}"
        folder.mkdir()
        used = lake or Lake(str(self.platform.root))
        return list(Recompute(used, self.bars, self.lock, request, folder, most_trades=most_trades).run())

    def everything(self) -> dict[str, list[Row]]:
        """Return every row of the lake and of PostgreSQL."""
        self.publish()
        rows = {table.path: self._rows(table) for table in tables.LAKE_TABLES}
        return {**rows, "lake.bars_1m": sorted(self.bars.rows.values(), key=str)}

    def _rows(self, table: Table) -> list[Row]:
        return sorted(pl.read_delta(f"{self.platform.root}/{table.path}").to_dicts(), key=str)
