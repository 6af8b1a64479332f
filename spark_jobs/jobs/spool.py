"""The trades topic decoded again from bronze: trades set aside on disk by session, amendments in memory.

What belongs here: reading bronze, some messages at a time, so that memory is bounded by a part of a session. What does not:
what has to become of the rows, which is :mod:`spark_jobs.transforms.rightful`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from market import tables
from market.rules import RULES_VERSION
from market.sessions import Session
from spark_jobs.io.delta import Lake
from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.decode import PLACE, REJECTED_SCHEMA, decode
from spark_jobs.transforms.kinds import AMENDMENTS, MAX_AHEAD, TRADES

_ROWS_A_PIECE: Final = 25_000
_HASHES: Final = {"key_hash": pl.UInt64(), "payload_hash": pl.UInt64()}
_REJECTED: Final = {**REJECTED_SCHEMA, "topic": pl.String(), "ingested_at": MOMENT}


class TradeSpool:
    """What the messages about some sessions are, by the rules of today.

    What was rejected under older rules stays rejected: it waits in quarantine until it is retried.

    Parameters
    ----------
    lake
        The tables.
    folder
        An empty folder.
    sessions
        The sessions, in order; one at least.
    symbols
        The symbols; none means all.
    """

    def __init__(self, lake: Lake, folder: Path, sessions: Sequence[Session], symbols: Collection[str]) -> None:
        self._lake = lake
        self._folder = folder
        self._dates = [session.session_date for session in sessions]
        self._symbols = symbols
        self._calendar = Calendar.load()
        self._files = 0
        self._amendments = [pl.DataFrame(schema={**frame_schema(tables.AMENDMENTS), **_HASHES})]
        self.since = sessions[0].pre_open_at - timedelta(microseconds=MAX_AHEAD)
        """No message about a trade of the sessions can have been taken in before."""
        self.until = self.since
        """Messages of batches until then were read."""

    @property
    def amendments(self) -> pl.DataFrame:
        """The valid amendments that were taken in from :attr:`since` on, with ``key_hash`` and ``payload_hash``."""
        return pl.concat(self._amendments)

    def read_until(self, until: datetime) -> None:
        """Decode the messages of the batches that were not read yet."""
        new = pl.col("ingested_at").is_between(self.until, until, closed="both" if self._is_new else "right")
        of_topic = (pl.col("topic") == TRADES.topic.name) & new
        older = pl.col("rules_version").is_null() | (pl.col("rules_version") < RULES_VERSION)
        waiting = self._lake.read(self._lake.scan(tables.QUARANTINE).filter(of_topic, older).select(PLACE))
        messages = self._lake.scan(tables.MESSAGES).filter(of_topic).select(*PLACE, "ingested_at", "value")
        for chunk in self._lake.in_chunks(messages):
            for piece in chunk.iter_slices(_ROWS_A_PIECE):
                self._set_aside(piece, waiting)
        self._is_new = False
        self.until = until

    _is_new = True

    def sessions(self) -> set[date]:
        """Return the sessions of which there are trades."""
        return {date.fromisoformat(folder.name) for folder in self._folder.glob("????-??-??")}

    def trade_counts(self, session_date: date) -> Mapping[str, int]:
        """Return how many messages there are for each symbol of a session."""
        if not (self._folder / str(session_date)).is_dir():
            return {}
        counts = self._scan(str(session_date)).group_by("symbol").len().sort("symbol").collect()
        return dict(counts.iter_rows())

    def trades(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the valid trades of some symbols: the columns of ``silver/trades``, ``key_hash`` and ``payload_hash``."""
        if not (self._folder / str(session_date)).is_dir():
            return pl.DataFrame(schema={**frame_schema(tables.TRADES), **_HASHES})
        return self._scan(str(session_date)).filter(pl.col("symbol").is_in(list(symbols))).collect()

    def rejected(self, places: pl.DataFrame) -> pl.DataFrame:
        """Return the rejected messages at some places: the ledger's columns, ``reason`` and ``detail``."""
        if not places.height or not (self._folder / "rejected").is_dir():
            return pl.DataFrame(schema=_REJECTED)
        return self._scan("rejected").join(places.lazy(), on=PLACE, how="semi").collect()

    def _scan(self, name: str) -> pl.LazyFrame:
        return pl.scan_parquet(self._folder / name / "*.parquet", hive_partitioning=False, glob=True)

    def _set_aside(self, messages: pl.DataFrame, waiting: pl.DataFrame) -> None:
        values = messages["value"].to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.binary())
        places = [messages[name].to_arrow() for name in PLACE]
        batch = pa.RecordBatch.from_arrays([*places, values], names=[*PLACE, "value"])
        decoded = decode(TRADES, batch, self._calendar, messages["ingested_at"])
        ledger = messages.select(*PLACE, pl.lit(TRADES.topic.name).alias("topic"), "ingested_at").unique(PLACE)
        wanted = pl.col("session_date").is_in(self._dates)
        of_symbols = pl.col("symbol").is_in(list(self._symbols)) if self._symbols else pl.lit(value=True)
        trades = decoded.valid.filter(wanted, of_symbols).join(waiting, on=PLACE, how="anti")
        trades = trades.join(ledger, on=PLACE).select(*frame_schema(TRADES.table), *_HASHES)
        for (session_date,), part in trades.partition_by("session_date", as_dict=True).items():
            self._write(str(session_date), part)
        amending = dict(zip(TRADES.beside, decoded.beside, strict=True))[AMENDMENTS]
        amendments = amending.filter(of_symbols).join(waiting, on=PLACE, how="anti").join(ledger, on=PLACE)
        if amendments.height:
            self._amendments.append(amendments.select(*frame_schema(AMENDMENTS.table), *_HASHES))
        if decoded.rejected.height:
            self._write("rejected", decoded.rejected.join(ledger, on=PLACE).select(*_REJECTED))

    def _write(self, name: str, rows: pl.DataFrame) -> None:
        self._files += 1
        (self._folder / name).mkdir(exist_ok=True)
        path = self._folder / name / f"{self._files}.parquet"
        rows.write_parquet(path, compression="lz4", statistics=False)
