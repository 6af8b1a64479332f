"""A topic decoded again from bronze: its messages set aside on disk by what they are, and by session or day.

What belongs here: reading bronze, some messages at a time, so that memory is bounded by a part of a session or of a day. What
does not: what has to become of the rows, which is :mod:`spark_jobs.transforms.rightful`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
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
from spark_jobs.transforms.kinds import AMENDMENTS, MAX_AHEAD, STATUSES, RecordKind

_ROWS_A_PIECE: Final = 25_000
_HASHES: Final = {"key_hash": pl.UInt64(), "payload_hash": pl.UInt64()}
_LATER: Final = "later records, session"
_REJECTED: Final = {**REJECTED_SCHEMA, "topic": pl.String(), "ingested_at": MOMENT}


Run = tuple[int, int]
"""The first and the last of some offsets that follow each other."""


class Fate(StrEnum):
    """What a message is, as far as it can be told without other messages."""

    RECORD = "record"
    """A record of one of the sessions and symbols."""
    ELSEWHERE = "elsewhere"
    """A valid message about other sessions or symbols."""
    AMENDMENT = "amendment"
    STATUS = "status"
    REJECTED = "rejected"
    WAITING = "waiting"
    """Older rules rejected it: it waits in quarantine until it is retried, whatever today's rules say."""


@dataclass(frozen=True, slots=True)
class News:
    """What the messages are about that were read last.

    Attributes
    ----------
    records
        The session and symbol of each record.
    amended
        The symbols that cancels and corrections name.
    covered
        The sessions of heartbeats.
    has_halts
        Whether there are halts or resumes.
    later
        The sessions of records of after the last session, if these are kept.
    """

    records: frozenset[tuple[date, str]] = frozenset()
    amended: frozenset[str] = frozenset()
    covered: frozenset[date] = frozenset()
    has_halts: bool = False
    later: frozenset[date] = frozenset()

    def __or__(self, other: "News") -> "News":
        """Return both together."""
        return News(
            self.records | other.records,
            self.amended | other.amended,
            self.covered | other.covered,
            self.has_halts or other.has_halts,
            self.later | other.later,
        )


class Spool:
    """What the messages of a topic about some sessions are, by the rules of today.

    Parameters
    ----------
    kind
        What the topic carries.
    lake
        The tables.
    folder
        An empty folder.
    sessions
        The sessions, in order; one at least.
    symbols
        The symbols; none means all.
    calendar
        The exchange's calendar.
    candidate_columns
        What is kept of records of the sessions and of later ones, for :meth:`candidates`; nothing of later ones if it is empty.
    """

    def __init__(
        self,
        kind: RecordKind,
        lake: Lake,
        folder: Path,
        *,
        sessions: Sequence[Session],
        symbols: Collection[str],
        calendar: Calendar,
        candidate_columns: Sequence[str] = (),
    ) -> None:
        self._kind = kind
        self._lake = lake
        self._folder = folder
        self._dates = [session.session_date for session in sessions]
        self._of_symbols = pl.col("symbol").is_in(list(symbols)) if symbols else pl.lit(value=True)
        self._calendar = calendar
        self._candidate_columns = list(candidate_columns)
        self._files = 0
        self._is_new = True
        self._amendments = [pl.DataFrame(schema={**frame_schema(tables.AMENDMENTS), **_HASHES})]
        self._runs: dict[int, list[Run]] = {}
        self.since = sessions[0].pre_open_at - timedelta(microseconds=MAX_AHEAD)
        """No message about what happened in the sessions can have been taken in before."""
        self.until = self.since
        """Messages of batches until then were read."""

    def read_until(self, until: datetime) -> News:
        """Decode the messages of the batches that were not read yet."""
        new = pl.col("ingested_at").is_between(self.until, until, closed="both" if self._is_new else "right")
        of_topic = (pl.col("topic") == self._kind.topic.name) & new
        waiting = self._lake.read(self._lake.scan(tables.QUARANTINE).filter(of_topic, by_older_rules()).select(PLACE))
        messages = self._lake.scan(tables.MESSAGES).filter(of_topic).select(*PLACE, "ingested_at", "value")
        news = News()
        for chunk in self._lake.in_chunks(messages):
            for piece in chunk.iter_slices(_ROWS_A_PIECE):
                news |= self._set_aside(piece, waiting)
        self._is_new = False
        self.until = until
        return news

    @property
    def amendments(self) -> pl.DataFrame:
        """The valid amendments that were taken in from :attr:`since` on, with ``key_hash`` and ``payload_hash``."""
        return pl.concat(self._amendments)

    @property
    def runs(self) -> Mapping[int, Sequence[Run]]:
        """Per partition the runs of offsets that were read, without gaps in them, in order and apart from each other."""
        return self._runs

    def sessions(self) -> set[date]:
        """Return the sessions of which there are records or heartbeats."""
        found = (folder.name.rpartition(" ")[2] for folder in self._folder.glob("* of ????-??-??"))
        return {date.fromisoformat(day) for day in found}

    def every_session(self) -> set[date]:
        """Return the sessions of which there are records, those after the last one with them."""
        later = (folder.name.rpartition(" ")[2] for folder in self._folder.glob(f"{_LATER} ????-??-??"))
        return self.sessions() | {date.fromisoformat(day) for day in later}

    def days(self) -> list[date]:
        """Return the days, UTC, on which messages were taken in, in order."""
        return sorted(date.fromisoformat(folder.name.split()[-1]) for folder in self._folder.glob("ledger on *"))

    def record_counts(self, session_date: date) -> Mapping[str, int]:
        """Return how many messages about records there are for each symbol of a session."""
        found = self._scan(f"records of {session_date}", frame_schema(self._kind.table))
        return dict(found.group_by("symbol").len().sort("symbol").collect().iter_rows())

    def records(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the valid records of some symbols, or of all: the columns of their table, ``key_hash`` and ``payload_hash``."""
        rows = self._scan(f"records of {session_date}", {**frame_schema(self._kind.table), **_HASHES})
        return (rows.filter(pl.col("symbol").is_in(list(symbols))) if symbols else rows).collect()

    def candidates(self, session_date: date) -> pl.LazyFrame:
        """Return the valid records of a session, which may be after the last one, with the columns that are kept of these."""
        name = f"records of {session_date}" if session_date <= self._dates[-1] else f"{_LATER} {session_date}"
        return self._scan(name, {**frame_schema(self._kind.table), **_HASHES}).select(self._candidate_columns)

    def heartbeats(self, session_date: date) -> pl.DataFrame:
        """Return the heartbeats of a session, with the columns of ``silver/feed_status``."""
        return self._scan(f"heartbeats of {session_date}", frame_schema(tables.FEED_STATUS)).collect()

    def halts(self) -> pl.DataFrame:
        """Return all halts and resumes, with the columns of ``silver/feed_status``."""
        return self._scan("halts", frame_schema(tables.FEED_STATUS)).collect()

    def statuses(self, day: date) -> pl.DataFrame:
        """Return the heartbeats, halts and resumes that were taken in on a day, with the columns of ``silver/feed_status``."""
        return self._scan(f"statuses on {day}", frame_schema(tables.FEED_STATUS)).collect()

    def rejected(self, day: date) -> pl.DataFrame:
        """Return the messages that were taken in on a day and break a rule: the ledger's columns, ``reason`` and ``detail``."""
        return self._scan(f"rejected on {day}", _REJECTED).collect()

    def ledger(self, day: date) -> pl.LazyFrame:
        """Return ``partition, offset, ingested_at, fate`` (a :class:`Fate`) of all messages that were taken in on a day."""
        schema = {**{name: REJECTED_SCHEMA[name] for name in PLACE}, "ingested_at": MOMENT, "fate": pl.String()}
        return self._scan(f"ledger on {day}", schema)

    def _scan(self, name: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        if not (self._folder / name).is_dir():
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(self._folder / name / "*.parquet", hive_partitioning=False, glob=True)

    def _set_aside(self, messages: pl.DataFrame, waiting: pl.DataFrame) -> News:
        values = messages["value"].to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.binary())
        places = [messages[name].to_arrow() for name in PLACE]
        batch = pa.RecordBatch.from_arrays([*places, values], names=[*PLACE, "value"])
        decoded = decode(self._kind, batch, self._calendar, messages["ingested_at"])
        # A message that is in bronze twice is one message all the same.
        ledger = messages.select(*PLACE, "ingested_at").unique(PLACE, maintain_order=True)
        ledger = ledger.with_columns(pl.lit(self._kind.topic.name).alias("topic"))
        for (partition,), part in ledger.partition_by("partition", as_dict=True).items():
            self._runs[partition] = merged_runs([*self._runs.get(partition, ()), *runs_of(part["offset"])])

        def stamped(rows: pl.DataFrame) -> pl.DataFrame:
            judged = rows.unique(PLACE, maintain_order=True).join(waiting, on=PLACE, how="anti")
            return judged.join(ledger, on=PLACE, maintain_order="left")

        valid = stamped(decoded.valid)
        records = valid.filter(pl.col("session_date").is_in(self._dates), self._of_symbols)
        beside = dict(zip(self._kind.beside, map(stamped, decoded.beside), strict=True))
        amending, said = beside.get(AMENDMENTS, valid.clear()), beside.get(STATUSES, valid.clear())
        amendments, statuses = amending.filter(self._of_symbols), said.filter(self._of_symbols)
        rejected = stamped(decoded.rejected)
        self._write_by("records of", "session_date", records, [*frame_schema(self._kind.table), *_HASHES])
        self._write_by("rejected on", _day(), rejected, _REJECTED)
        is_later = pl.col("session_date") > self._dates[-1]
        later = valid.filter(is_later, self._of_symbols) if self._candidate_columns else valid.clear()
        self._write_by(_LATER, "session_date", later, self._candidate_columns)
        if amendments.height:
            self._amendments.append(amendments.select(*frame_schema(AMENDMENTS.table), *_HASHES))
        is_heartbeat = pl.col("kind") == "heartbeat"
        if statuses.height:
            columns = list(frame_schema(tables.FEED_STATUS))
            self._write_by("statuses on", _day(), statuses, columns)
            beats = statuses.filter(is_heartbeat, pl.col("session_date").is_in(self._dates))
            self._write_by("heartbeats of", "session_date", beats, columns)
            self._write("halts", statuses.filter(~is_heartbeat).select(columns))
        fates = (
            (Fate.RECORD, records),
            (Fate.AMENDMENT, amending),
            (Fate.STATUS, said),
            (Fate.REJECTED, rejected),
            (Fate.WAITING, ledger.join(waiting, on=PLACE, how="semi")),
        )
        told = pl.concat([rows.select(PLACE).with_columns(pl.lit(fate.value).alias("fate")) for fate, rows in fates])
        entries = ledger.join(told, on=PLACE, how="left").with_columns(pl.col("fate").fill_null(Fate.ELSEWHERE.value))
        self._write_by("ledger on", _day(), entries, [*PLACE, "ingested_at", "fate"])
        return News(
            records=frozenset(records.select("session_date", "symbol").unique().iter_rows()),
            amended=frozenset(amendments["symbol"].unique()),
            covered=frozenset(statuses.filter(is_heartbeat)["session_date"].unique())
            if statuses.height
            else frozenset(),
            has_halts=bool(statuses.height) and not statuses.select(is_heartbeat.all()).item(),
            later=frozenset(later["session_date"].unique()),
        )

    def _write_by(self, name: str, by: str | pl.Expr, rows: pl.DataFrame, columns: Collection[str]) -> None:
        """Write rows to a folder for each day that ``by`` gives."""
        days = pl.col(by) if isinstance(by, str) else by
        parts = rows.with_columns(days.alias("__day")).partition_by("__day", as_dict=True)
        for (day,), part in parts.items():
            self._write(f"{name} {day}", part.select(list(columns)))

    def _write(self, name: str, rows: pl.DataFrame) -> None:
        if not rows.height:
            return
        self._files += 1
        (self._folder / name).mkdir(exist_ok=True)
        path = self._folder / name / f"{self._files}.parquet"
        rows.write_parquet(path, compression="lz4", statistics=False)


def runs_of(offsets: pl.Series) -> list[Run]:
    """Return the runs of numbers without gaps."""
    found = offsets.unique().sort()
    starts = found.filter((found.diff() != 1).fill_null(value=True))
    ends = found.filter((found.diff().shift(-1) != 1).fill_null(value=True))
    return list(zip(starts, ends, strict=True))


def merged_runs(runs: Sequence[Run]) -> list[Run]:
    """Return runs that neither overlap nor touch, in order."""
    merged: list[Run] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def by_older_rules() -> pl.Expr:
    """Return the condition that a row of quarantine was put there by older rules than today's."""
    return pl.col("rules_version").is_null() | (pl.col("rules_version") < RULES_VERSION)


def _day() -> pl.Expr:
    return pl.col("ingested_at").dt.date()
