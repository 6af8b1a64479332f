"""What each topic of the deep path has of its own: amendments, statuses and bars of trades; versions."""

from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from functools import partial

import polars as pl

from market import tables
from market.tables import Table
from spark_jobs.jobs.compared import LakeRows, PostgresRows, Rows, moment_sql, texts_sql
from spark_jobs.jobs.deep_topic import DeepTopic, Part, Work, WorkedOut
from spark_jobs.jobs.latest_quotes import CANDIDATE_COLUMNS, LatestQuotes, rightful_latest
from spark_jobs.jobs.minute_quotes import minute_rows
from spark_jobs.jobs.spool import News
from spark_jobs.schemas import MOMENT
from spark_jobs.transforms.coverage import COVERAGE_KEY, covered_spans, halt_changes
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.differences import find_differences
from spark_jobs.transforms.kinds import CORPORATE_ACTIONS, KINDS, QUOTES, TRADES, VENDOR_BARS
from spark_jobs.transforms.revisions import every_revision
from spark_jobs.transforms.rightful import (
    Rightful,
    newest_revisions,
    newest_versions,
    rightful_amendments,
    rightful_records,
    sessions_with_bars,
    sessions_with_vendor_bars,
)


class TradesTopic(DeepTopic):
    """Trades and their bars; cancels and corrections; heartbeats, halts and resumes."""

    def __init__(self, work: Work) -> None:
        super().__init__(TRADES, work)
        self._amendments: tuple[datetime, Rightful] | None = None

    def sessions(self) -> set[date]:
        """Return the sessions that have trades, bars or heartbeats, as messages or stored."""
        start, end = self.request.start, self.request.end
        published = self.stored.snapshot.sessions(start, end)
        return super().sessions() | self._stored_sessions(tables.BAR_REVISIONS) | published

    def beside(self) -> Iterator[Part]:
        """Yield the parts that belong to no session: amendments first, for bars follow from them."""
        yield Part(self._amendment_rows, lambda news: bool(news.amended))
        yield from super().beside()
        yield Part(self._halt_rows, lambda news: news.has_halts)
        yield Part(self._rows_of_no_topic, lambda _news: False)

    def of_session(self, session_date: date) -> Iterator[Part]:
        """Yield what feeds cover of a session, then its trades and bars."""
        yield Part(lambda: self._coverage_rows(session_date), lambda news: session_date in news.covered)
        yield from super().of_session(session_date)

    def concerns(self, news: News, session_date: date, symbols: Collection[str]) -> bool:
        """Return whether news are about some symbols of a session, or amend trades of theirs."""
        return super().concerns(news, session_date, symbols) or not news.amended.isdisjoint(symbols)

    def records_of(self, session_date: date, symbols: Collection[str]) -> WorkedOut:
        """Work out the trades and the bars of some symbols of a session."""
        messages = self.spool.records(session_date, symbols)
        right = rightful_records(TRADES, messages)
        revisions = every_revision(right.records, pl.concat([self._earlier(), self._rightful_amendments().records]))
        bars = newest_revisions(revisions)
        where = f"session_date = date '{session_date}' and symbol in ({texts_sql(symbols)})"
        of = (pl.col("session_date") == session_date, pl.col("symbol").is_in(list(symbols)))
        table = tables.BAR_REVISIONS
        rows = [
            *self.rows_set_aside(right, messages),
            self.record_rows(right, where, *of, forgotten=messages.clear()),
            LakeRows(self.lake, table, revisions, self.stored.rows(table, *of), table.key, where),
            *self._published_bars(bars, session_date, symbols),
        ]
        return WorkedOut(rows, {"trades": right.records.height, "revisions": revisions.height, "bars": bars.height})

    def stored_symbols(self, session_date: date) -> set[str]:
        """Return the symbols that have stored trades or bars of a session."""
        revisions = self.stored.values(tables.BAR_REVISIONS, pl.col("symbol"), pl.col("session_date") == session_date)
        return super().stored_symbols(session_date) | revisions | self.stored.snapshot.symbols(session_date)

    def set_aside_with(self, first: datetime, last: datetime) -> list[Rows]:
        """Return the heartbeats, halts and resumes that were taken in between two moments of a day."""
        table = tables.FEED_STATUS
        within = pl.col("ingested_at").is_between(pl.lit(first, MOMENT), pl.lit(last, MOMENT))
        right = self.spool.statuses(first.date()).filter(within)
        stored = self.stored.rows(table, within, self._of_symbols(table))
        return [self._by_place(table, right, stored, (first, last))]

    def _kept_by_place(self) -> list[Table]:
        return [*super()._kept_by_place(), tables.FEED_STATUS]

    def _published_bars(self, bars: pl.DataFrame, session_date: date, symbols: Collection[str]) -> list[Rows]:
        """Return the bars of PostgreSQL, and what is said of their sessions unless it is true to them: triggers keep it so."""
        stored, said = self.stored.bars(session_date, symbols), self.stored.sessions_with_bars(session_date, symbols)
        rows: list[Rows] = [PostgresRows(tables.PG_BARS, bars, stored)]
        table = tables.PG_BAR_SESSIONS
        if find_differences(sessions_with_bars(stored), said, table.key).total:
            rows.append(PostgresRows(table, sessions_with_bars(bars, said), said))
        return rows

    def _amendment_rows(self) -> WorkedOut:
        since, table, right = self.spool.since, tables.AMENDMENTS, self._rightful_amendments()
        is_new = pl.col("ingested_at") >= pl.lit(since, MOMENT)
        where = f"ingested_at >= {moment_sql(since)} and {self._scope(table)}"
        stored = self.stored.rows(table, is_new, self._of_symbols(table))
        rows = [
            *self.rows_set_aside(right, self.spool.amendments),
            LakeRows(self.lake, table, right.records, stored, PLACE, where),
        ]
        return WorkedOut(rows, {"amendments": right.records.height})

    def _earlier(self) -> pl.DataFrame:
        """Return the cancels and corrections from before the first session, as they are stored."""
        return self.stored.rows(tables.AMENDMENTS, pl.col("ingested_at") < pl.lit(self.spool.since, MOMENT))

    def _rightful_amendments(self) -> Rightful:
        """Return what has to become of the cancels and corrections of all batches that were read."""
        if self._amendments is None or self._amendments[0] != self.spool.until:
            self._amendments = (self.spool.until, rightful_amendments(self.spool.amendments, self._earlier()))
        return self._amendments[1]

    def _halt_rows(self) -> WorkedOut:
        """Work out the halts and resumes: of those from before the first session nothing but that they are there."""
        right, stored = halt_changes(self.spool.halts()), self.stored.halts(self.symbols)
        is_known = pl.col("changed_at") >= pl.lit(self.work.sessions[0].pre_open_at, MOMENT)
        told = pl.concat([stored.filter(is_known), stored.filter(~is_known).join(right, on=right.columns, how="semi")])
        return WorkedOut([PostgresRows(tables.PG_TRADING_HALTS, right, told)])

    def _rows_of_no_topic(self) -> WorkedOut:
        """Work out duplicates and quarantine of topics that there are not: there is nothing."""
        names = [kind.topic.name for kind in KINDS]
        where = f"topic is null or topic not in ({texts_sql(names)})"
        rows: list[Rows] = []
        for table in () if self.symbols else (tables.DUPLICATES, tables.QUARANTINE):
            is_other = ~pl.col("topic").is_in(names).fill_null(value=False)
            found = self.lake.read(self.lake.scan(table).filter(is_other))
            rows.append(LakeRows(self.lake, table, found.clear(), found, PLACE, f"({where})"))
        return WorkedOut(rows)

    def _coverage_rows(self, session_date: date) -> WorkedOut:
        heartbeats = self.spool.heartbeats(session_date)
        right = covered_spans(heartbeats.select(*COVERAGE_KEY, "since_at", "status_at"))
        stored = self.stored.coverage(session_date, self.symbols)
        return WorkedOut([PostgresRows(tables.PG_FEED_COVERAGE, right, stored)], {"heartbeats": heartbeats.height})


class QuotesTopic(DeepTopic):
    """Quotes; the last known bids and asks, ever and of each minute."""

    def __init__(self, work: Work) -> None:
        super().__init__(QUOTES, work, CANDIDATE_COLUMNS)
        self._latest = LatestQuotes(self.spool, self.kept, work.most_records)

    def look(self) -> News:
        """Look at what has reached PostgreSQL by now, and decode what was taken in since the last look."""
        news = super().look()
        self._latest.note(news)
        return news

    def beside(self) -> Iterator[Part]:
        """Yield the parts that belong to no session: the last known bids and asks are of all sessions."""
        yield from super().beside()
        yield Part(self._latest_rows, lambda news: bool(news.records or news.later))

    def sessions(self) -> set[date]:
        """Return the sessions that have quotes, as messages or stored, or minutes with some."""
        return super().sessions() | self.stored.snapshot.quoted_sessions(self.request.start, self.request.end)

    def stored_symbols(self, session_date: date) -> set[str]:
        """Return the symbols that have stored quotes of a session, or minutes with some."""
        return super().stored_symbols(session_date) | self.stored.snapshot.quoted_symbols(session_date)

    def in_postgres(self, right: Rightful, forgotten: pl.DataFrame, day: date, symbols: Collection[str]) -> list[Rows]:
        """Return the last bids and asks of the minutes of some symbols of a session."""
        return [minute_rows(right.records, self.stored.minute_quotes(day, symbols), forgotten)]

    def _latest_rows(self) -> WorkedOut:
        """Work out the last known bids and asks: of those from before the first session they are taken as stored."""
        latest, unknown = self._latest.work_out()
        table = tables.PG_LATEST_QUOTES
        stored = self.stored.latest_quotes(self.symbols).join(unknown, on=table.key, how="anti")
        right = rightful_latest(latest, stored, self.work.sessions[0].pre_open_at)
        return WorkedOut([PostgresRows(table, right, stored)])


class VersionsTopic(DeepTopic):
    """Records that may be stated anew: few of many sessions, so that many sessions are worked out at once."""

    def sessions(self) -> set[date]:
        """Return no session: see :meth:`beside`."""
        return set()

    def beside(self) -> Iterator[Part]:
        """Yield the messages that break a rule, then the records of as many sessions at a time as memory allows."""
        yield from super().beside()
        for first, last in self._session_groups():
            yield Part(partial(self._versions_of, first, last), lambda news: bool(news.records))

    def _session_groups(self) -> Iterator[tuple[date, date]]:
        start, records = self.request.start, 0
        days = sorted(self.spool.sessions())
        for before, day in zip([None, *days], days, strict=False):
            count = sum(self.spool.record_counts(day).values())
            if records and before is not None and records + count > self.work.most_records:
                yield start, before
                start, records = before + timedelta(days=1), 0
            records += count
        yield start, self.request.end

    def _versions_of(self, start: date, end: date) -> WorkedOut:
        """Work out all versions of the records between two sessions."""
        days = [day for day in sorted(self.spool.sessions()) if start <= day <= end]
        empty = self.spool.records(date.min, self.symbols)
        messages = pl.concat([empty, *(self.spool.records(day, self.symbols) for day in days)])
        right = rightful_records(self.kind, messages)
        table = self.kind.table
        where = f"session_date >= date '{start}' and session_date <= date '{end}' and {self._scope(table)}"
        of = (pl.col("session_date").is_between(start, end), self._of_symbols(table))
        rows = [
            *self.rows_set_aside(right, messages),
            self.record_rows(right, where, *of, forgotten=messages.clear()),
            *self.published(right.records, start, end),
        ]
        return WorkedOut(rows, {table.name: right.records.height})

    def published(self, versions: pl.DataFrame, start: date, end: date) -> list[Rows]:
        """Return the rows of PostgreSQL between two sessions beside what they ought to be, by all versions of the records."""
        raise NotImplementedError


class VendorBarsTopic(VersionsTopic):
    """Vendor bars; PostgreSQL has the newest version of each."""

    def __init__(self, work: Work) -> None:
        super().__init__(VENDOR_BARS, work)

    def published(self, versions: pl.DataFrame, start: date, end: date) -> list[Rows]:
        """Return the bars of PostgreSQL, and what is said of their sessions unless it is true to them: triggers keep it so."""
        bars = newest_versions(versions)
        stored = self.stored.vendor_bars(start, end, self.symbols)
        said = self.stored.sessions_with_vendor_bars(start, end, self.symbols)
        rows: list[Rows] = [PostgresRows(tables.PG_VENDOR_BARS, bars, stored)]
        table = tables.PG_VENDOR_BAR_SESSIONS
        if find_differences(sessions_with_vendor_bars(stored), said, table.key).total:
            rows.append(PostgresRows(table, sessions_with_vendor_bars(bars, said), said))
        return rows


class CorporateActionsTopic(VersionsTopic):
    """Corporate actions; PostgreSQL has every version."""

    def __init__(self, work: Work) -> None:
        super().__init__(CORPORATE_ACTIONS, work)

    def published(self, versions: pl.DataFrame, start: date, end: date) -> list[Rows]:
        """Return the corporate actions of PostgreSQL beside the versions."""
        stored = self.stored.corporate_actions(start, end, self.symbols)
        return [PostgresRows(tables.PG_CORPORATE_ACTIONS, versions, stored)]
