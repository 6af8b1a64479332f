"""One topic of the deep path: how far it is done, and its parts, each worked out and compared by itself.

What belongs here: what all topics have in common, which is records by session, what was set aside beside them, and messages that
are no record. What does not: what a topic has of its own (:mod:`spark_jobs.jobs.deep_kinds`), and when something is repaired
(:mod:`spark_jobs.jobs.recompute`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Final, cast

import polars as pl

from market import tables
from market.errors import ServiceError
from market.sessions import Session
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.compared import Cut, LakeRows, Rows, moment_sql, texts_sql
from spark_jobs.jobs.spool import Fate, News, Spool, by_older_rules
from spark_jobs.jobs.stored import SHARED, Database, Stored
from spark_jobs.report import RecomputeRequest
from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.kinds import RecordKind
from spark_jobs.transforms.rightful import Rightful, kept_since, rightful_records
from spark_jobs.transforms.set_aside import rejected_rows

_STEP: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ENTRY: Final = [*PLACE, "ingested_at"]
_MADE_HERE: Final = [Fate.RECORD.value, Fate.ELSEWHERE.value]
"""What of duplicates and quarantine follows from records, which are worked out by session."""


@dataclass(frozen=True, slots=True)
class WorkedOut:
    """Rows beside what they ought to be, and how many of which kind were worked out."""

    rows: Sequence[Rows]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is worked out, compared and repaired at once.

    Attributes
    ----------
    work_out
        Works it out of what is stored now.
    is_touched_by
        Whether newer messages are about it: if none is, what was worked out before they came holds still.
    """

    work_out: Callable[[], WorkedOut]
    is_touched_by: Callable[[News], bool]


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do, and where.

    Attributes
    ----------
    lake, database
        What is compared and repaired.
    request
        What to do.
    sessions
        The sessions of the request, in order; one at least.
    folder
        An empty folder for what is set aside.
    query_id
        Returns the id of the stream's query of a topic; ``None`` if it is not known.
    now
        The clock.
    most_records
        So many records are worked out at once, or those of one symbol of a session: memory grows with them.
    calendar
        The exchange's calendar.
    """

    lake: Lake
    database: Database
    request: RecomputeRequest
    sessions: Sequence[Session]
    folder: Path
    query_id: Callable[[RecordKind], str | None]
    now: Callable[[], datetime]
    most_records: int
    calendar: Calendar = field(default_factory=Calendar.load)


class DeepTopic:
    """A topic: its messages, what is stored of them, and the parts of both.

    Parameters
    ----------
    kind
        What the topic carries.
    work
        What there is to do.
    candidate_columns
        What is kept of records of later sessions: see :class:`spark_jobs.jobs.spool.Spool`.
    """

    def __init__(self, kind: RecordKind, work: Work, candidate_columns: Sequence[str] = ()) -> None:
        self.kind = kind
        self.lake = work.lake
        self.request = work.request
        self.symbols = work.request.symbols
        self.work = work
        self._query_id = work.query_id(kind)
        folder = work.folder / kind.name
        folder.mkdir()
        self.spool = Spool(
            kind,
            work.lake,
            folder,
            sessions=work.sessions,
            symbols=self.symbols,
            calendar=work.calendar,
            candidate_columns=candidate_columns,
        )
        self._open = ExitStack()
        self._firsts: dict[int, int] = {}
        self.stored: Stored

    @property
    def until_micros(self) -> int:
        """Return the stamp of the newest batch that is done, in epoch microseconds."""
        return (self.stored.cut.until - _EPOCH) // _STEP

    def close(self) -> None:
        """Let go of PostgreSQL."""
        self._open.close()

    def look(self) -> News:
        """Look at what has reached PostgreSQL by now, and decode what was taken in since the last look.

        Raises
        ------
        ServiceError
            If messages are missing in bronze: nothing that follows from them can be told.
        """
        self._open.close()
        snapshot = self._open.enter_context(self.work.database.snapshot())
        next_offsets = snapshot.next_offsets(self.kind.topic.name)
        until = self._newest_batch(next_offsets)
        newest = None if self._query_id is None else snapshot.newest_batch(self._query_id)
        is_ahead = partial(self._is_ahead, newest=newest)
        on_their_way = frozenset(table.path for table in self._written() if is_ahead(table))
        self.stored = Stored(
            self.lake, snapshot, Cut(self.kind.topic.name, until, next_offsets, on_their_way), is_ahead
        )
        news = self.spool.read_until(until)
        self._check_bronze(next_offsets)
        return news

    def sessions(self) -> set[date]:
        """Return the sessions of the request that have messages or stored rows."""
        return self.spool.sessions() | self._stored_sessions(self.kind.table)

    def beside(self) -> Iterator[Part]:
        """Yield the parts that belong to no session."""
        for first, last in self._days():
            yield Part(partial(self._set_aside_on, first, last), _never)
        yield Part(self._of_later_stamps, _always)  # at the place of such a row there may be one of a batch by then

    def of_session(self, session_date: date) -> Iterator[Part]:
        """Yield the parts of a session."""
        for symbols in self._symbol_groups(session_date):
            concerns = partial(self.concerns, session_date=session_date, symbols=symbols)
            yield Part(partial(self.records_of, session_date, symbols), concerns)

    def concerns(self, news: News, session_date: date, symbols: Collection[str]) -> bool:
        """Return whether news are about some symbols of a session."""
        return any((session_date, symbol) in news.records for symbol in symbols)

    def records_of(self, session_date: date, symbols: Collection[str]) -> WorkedOut:
        """Work out the records of some symbols of a session."""
        messages, forgotten = self.kept(self.spool.records(session_date, symbols))
        right = rightful_records(self.kind, messages)
        where = f"session_date = date '{session_date}' and symbol in ({texts_sql(symbols)})"
        of = (pl.col("session_date") == session_date, pl.col("symbol").is_in(list(symbols)))
        rows: list[Rows] = [
            *self.rows_set_aside(right, messages),
            self.record_rows(right, where, *of, forgotten=forgotten),
            *self.in_postgres(right, forgotten, session_date, symbols),
        ]
        return WorkedOut(rows, {f"{self.kind.name}s": right.records.height})

    def in_postgres(self, right: Rightful, forgotten: pl.DataFrame, day: date, symbols: Collection[str]) -> list[Rows]:
        """Return what PostgreSQL has of the records of some symbols of a session, beside what it ought to have."""
        del right, forgotten, day, symbols
        return []

    def kept(self, messages: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the messages whose records' rows are kept still, and those of which nothing can be said any more."""
        if self.kind.table.retention_days is None:
            return messages, messages.clear()
        oldest = self.work.now() - timedelta(days=self.kind.table.retention_days)
        told = messages.with_columns(kept_since(oldest).alias("__kept"))
        return tuple(told.filter(pl.col("__kept") == is_kept).drop("__kept") for is_kept in (True, False))  # type: ignore[return-value]

    def record_rows(self, right: Rightful, where: str, *of: pl.Expr, forgotten: pl.DataFrame) -> LakeRows:
        """Return the stored records that meet a condition, in SQL and in polars, beside what they ought to be."""
        found = self.stored.rows(self.kind.table, *of)
        others = found.join(forgotten, on=PLACE, how="semi")
        stored = found.join(forgotten, on=PLACE, how="anti")
        return LakeRows(self.lake, self.kind.table, right.records, stored, PLACE, where, others)

    def rows_set_aside(self, right: Rightful, messages: pl.DataFrame) -> list[Rows]:
        """Return duplicates and quarantine at the places of some messages beside what has to become of these."""
        if not messages.height:
            return []
        stamps = messages["ingested_at"]
        first, last = cast("datetime", stamps.min()), cast("datetime", stamps.max())
        rows: list[Rows] = []
        for table, expected in ((tables.DUPLICATES, right.duplicates), (tables.QUARANTINE, right.quarantine)):
            found = self.stored.rows(table, _between(first, last))
            stored = found.join(messages, on=PLACE, how="semi")
            rows.append(self._by_place(table, expected, stored, (first, last)))
        return rows

    def set_aside_with(self, first: datetime, last: datetime) -> list[Rows]:
        """Return what a topic keeps by place besides duplicates and quarantine, taken in between two moments of a day."""
        del first, last
        return []

    def _set_aside_on(self, first: datetime, last: datetime) -> WorkedOut:
        """Work out what became of the messages of a day that are no records: of those that are, nothing is said here."""
        rows = self.set_aside_with(first, last)
        if self.symbols:  # of a message that breaks a rule it cannot be said whose it is
            return WorkedOut(rows)
        ledger = self.spool.ledger(first.date())
        rejected = self.spool.rejected(first.date()).filter(_between(first, last))
        for table in (tables.QUARANTINE, tables.DUPLICATES):
            found = self.stored.rows(table, _between(first, last))
            entries = ledger.join(found.select(_ENTRY).unique().lazy(), on=_ENTRY, how="semi").unique(_ENTRY).collect()
            told = found.join(entries, on=_ENTRY, how="left")
            is_other = pl.col("fate").is_in(_MADE_HERE)
            right = pl.DataFrame(schema=frame_schema(table))
            if table is tables.QUARANTINE:
                waiting = told.filter(pl.col("fate") == Fate.WAITING.value, by_older_rules())
                right = pl.concat([rejected_rows(rejected), waiting.unique(PLACE).select(right.columns)])
            else:
                is_other |= pl.col("fate") == Fate.AMENDMENT.value
            is_other = is_other.fill_null(value=False)
            stored, others = (told.filter(part).select(right.columns) for part in (~is_other, is_other))
            rows.append(self._by_place(table, right, stored, (first, last), others))
        return WorkedOut(rows, {"rejected": rejected.height})

    def _of_later_stamps(self) -> WorkedOut:
        """Work out what is taken in later than the newest batch, and of none that is on its way: nothing can be."""
        until = self.stored.cut.until
        rows: list[Rows] = []
        for table in self._kept_by_place():
            of = self.stored.rows(table, pl.col("ingested_at") > pl.lit(until, MOMENT), self._of_symbols(table))
            where = f"ingested_at > {moment_sql(until)} and {self._scope(table)}"
            rows.append(LakeRows(self.lake, table, of.clear(), of, PLACE, where, by_place=True))
        return WorkedOut(rows)

    def _kept_by_place(self) -> list[Table]:
        return [] if self.symbols else [tables.QUARANTINE, tables.DUPLICATES]

    def _by_place(
        self,
        table: Table,
        right: pl.DataFrame,
        stored: pl.DataFrame,
        between: tuple[datetime, datetime],
        others: pl.DataFrame | None = None,
    ) -> LakeRows:
        first, last = between
        # The bounds tell that the files of later batches do not matter, which other topics write meanwhile.
        bounds = f"ingested_at >= {moment_sql(first)} and ingested_at <= {moment_sql(last)}"
        where = f"{bounds} and {self._scope(table)}"
        return LakeRows(self.lake, table, right, stored, PLACE, where, others, by_place=True)

    def _scope(self, table: Table) -> str:
        if table in SHARED:
            return f"topic = '{self.kind.topic.name}'"
        return f"symbol in ({texts_sql(self.symbols)})" if self.symbols else "true"

    def _of_symbols(self, table: Table) -> pl.Expr:
        return (
            pl.col("symbol").is_in(list(self.symbols)) if self.symbols and table not in SHARED else pl.lit(value=True)
        )

    def _days(self) -> list[tuple[datetime, datetime]]:
        """Return the first and the last moment of each day on which messages were taken in, or stored rows say so."""
        since, until = self.spool.since, self.stored.cut.until
        days = set(self.spool.days())
        for table in self._kept_by_place():
            days |= self.stored.values(table, pl.col("ingested_at").dt.date(), _between(since, until))
        starts = ((datetime.combine(day, time(), UTC), day) for day in sorted(days))
        return [(max(start, since), min(start + timedelta(days=1) - _STEP, until)) for start, _ in starts]

    def _stored_sessions(self, table: Table) -> set[date]:
        session = pl.col("session_date")
        return self.stored.values(table, session, session.is_between(self.request.start, self.request.end))

    def stored_symbols(self, session_date: date) -> set[str]:
        """Return the symbols that have stored rows of a session."""
        return self.stored.values(self.kind.table, pl.col("symbol"), pl.col("session_date") == session_date)

    def _symbol_groups(self, session_date: date) -> Iterator[list[str]]:
        """Yield the symbols of a session, so many at a time as memory allows."""
        counts = self.spool.record_counts(session_date)
        every = set(counts) | self.stored_symbols(session_date)
        group: list[str] = []
        records = 0
        for symbol in sorted(every & set(self.symbols) if self.symbols else every):
            if group and records + counts.get(symbol, 0) > self.work.most_records:
                yield group
                group, records = [], 0
            group.append(symbol)
            records += counts.get(symbol, 0)
        if group:
            yield group

    def _newest_batch(self, next_offsets: Mapping[int, int]) -> datetime:
        """Return the stamp of the newest batch that is in PostgreSQL; later ones are left alone."""
        new = pl.col("ingested_at") >= pl.lit(self.spool.until, MOMENT)
        messages = self.lake.scan(tables.MESSAGES).filter(pl.col("topic") == self.kind.topic.name, new)
        batches = self.lake.read(messages.group_by("partition", "ingested_at").agg(pl.col("offset").max()))
        done = (stamp for partition, stamp, last in batches.iter_rows() if last < next_offsets.get(partition, 0))
        return max(done, default=self.spool.until)

    def _written(self) -> tuple[Table, ...]:
        """Return the tables behind bronze that the batches of the topic write to."""
        beside = (kind.table for kind in self.kind.beside)
        return (tables.QUARANTINE, tables.DUPLICATES, tables.BAR_REVISIONS, self.kind.table, *beside)

    def _is_ahead(self, table: Table, newest: int | None) -> bool:
        """Return whether a batch has written to a table that is not in PostgreSQL yet, or may have."""
        if self._query_id is None:
            return True
        written = self.lake.newest_batch(table, self._query_id)
        return written is not None and (newest is None or written > newest)

    def _check_bronze(self, next_offsets: Mapping[int, int]) -> None:
        for partition, end in sorted(next_offsets.items()):
            runs = list(self.spool.runs.get(partition, ()))
            first = self._first_expected(partition, runs, end)
            lost = [
                (after + 1, before - 1)
                for (_, after), (before, _) in zip([(0, first - 1), *runs], [*runs, (end, end)], strict=True)
                if before > after + 1
            ]
            if lost:
                name, (start, last) = self.kind.topic.name, lost[0]
                msg = (
                    f"bronze/messages lacks {sum(b - a + 1 for a, b in lost):,} messages, the first of them "
                    f"{name}/{partition}/{start} to {last}. What follows from them cannot be worked out again, and what is left "
                    "of it would be removed: nothing was changed. Put the missing files of bronze back from a copy."
                )
                raise ServiceError(msg)

    def _first_expected(self, partition: int, runs: Sequence[tuple[int, int]], end: int) -> int:
        """Return the first offset that must have been read of a partition: the one after those of earlier batches."""
        if partition in self._firsts:
            return self._firsts[partition]
        first = runs[0][0] if runs else end
        earlier = self.lake.scan(tables.MESSAGES).filter(
            pl.col("topic") == self.kind.topic.name,
            pl.col("partition") == partition,
            pl.col("offset") < first,
            pl.col("ingested_at") < pl.lit(self.spool.since, MOMENT),
        )
        if not self.lake.read(earlier.filter(pl.col("offset") == first - 1).select("offset")).height:
            newest = self.lake.read(earlier.select(pl.col("offset").max())).item()
            if newest is not None:
                first = newest + 1
            elif not runs:
                first = end - 1  # it was taken in, and nothing of the partition is there any more
        self._firsts[partition] = first
        return first


def _always(_news: News) -> bool:
    """Return that any message may be about a part, and its absence too."""
    return True


def _never(_news: News) -> bool:
    """Return that no newer message is about a part: its rows are those of single messages."""
    return False


def _between(first: datetime, last: datetime) -> pl.Expr:
    return pl.col("ingested_at").is_between(pl.lit(first, MOMENT), pl.lit(last, MOMENT))
