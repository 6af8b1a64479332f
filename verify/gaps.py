"""Law 5: every bar of regular hours that the calendar expects is there, or has a reason why not.

What belongs here: what the feeds said of themselves, from bronze to PostgreSQL, and the gaps between the calendar and the bars.
What does not: the bars themselves, which are :mod:`verify.bars`.

A session is expected of a source and symbol from the first to the last in which it has a bar or a heartbeat. A minute without a
bar is ``no_trade`` if heartbeats cover all of it, or ``halted`` if trading was halted in any part of it besides; if they do not,
it is ``feed_down`` where they cover another part of the session, and ``not_collected`` where they cover none. Everything is
worked out minute by minute, in whole microseconds.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market import tables, topics
from market.sessions import Session, all_sessions
from verify.calendar import epoch_micros
from verify.comparison import compare
from verify.decisions import Decisions
from verify.lake import Lake
from verify.mart_schemas import GAP_SCHEMA, GAPS
from verify.questions import Published
from verify.records import ENTRY, parts_by_symbol
from verify.results import Findings, LawResult

TITLE: Final = "Every expected bar is there or has a reason"

REASONS: Final = ("no_trade", "halted", "feed_down", "not_collected")

_MINUTE: Final = 60 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = 2**62
_THERE: Final = -1
_OF_TRADES: Final = ("source", "symbol", "bar_at", "segment", "ingested_at")
_COVERAGE_KEY: Final = ("source", "symbol", "session_date", "since_at")

Span = tuple[int, int]
Instrument = tuple[str, str]


def prove_gaps(lake: Lake, published: Published, decisions: Decisions) -> LawResult:
    """Prove law 5.

    Parameters
    ----------
    lake
        The lake, cut at the newest batches that PostgreSQL has.
    published
        PostgreSQL.
    decisions
        The rows that must be there.
    """
    findings = Findings()
    _check_statuses(findings, lake, published, decisions)
    mart, through = published.gaps(), published.gaps_known_through()
    known = collect(decisions, through)
    gaps = pl.DataFrame(list(find_gaps(known, findings)), schema=GAP_SCHEMA, orient="row")
    for reason in REASONS:
        findings.count(reason, int(gaps.filter(pl.col("reason") == reason)["missing_bars"].sum()))
    if mart is None or through is None:
        if known.minutes or known.covered:
            findings.notes.append(f"{GAPS} is not built yet; the next run of the models brings it.")
    else:
        compare(
            findings,
            what="gap",
            where=GAPS,
            expected=gaps,
            found=mart,
            table=tables.PG_BARS,
            key=("source", "symbol", "gap_at"),
        )
        _tell_what_is_behind(findings, lake, decisions, through, gaps)
    return findings.result(5, TITLE)


@dataclass(slots=True)
class Known:
    """What is known of the bars and of the feeds, by source and symbol; moments are epoch microseconds.

    Attributes
    ----------
    minutes
        By session: the numbers of the regular minutes that have a bar. A session with other bars only has none.
    covered
        By session: when heartbeats cover it, in order and apart from each other.
    halts
        When trading was halted, in order; spans may overlap.
    newest_bar
        By source and session: the start of the newest bar of any symbol and segment.
    """

    minutes: dict[Instrument, dict[date, NDArray[np.int64]]] = field(default_factory=lambda: defaultdict(dict))
    covered: dict[Instrument, dict[date, list[Span]]] = field(default_factory=lambda: defaultdict(dict))
    halts: dict[Instrument, list[Span]] = field(default_factory=dict)
    newest_bar: dict[tuple[str, date], int] = field(default_factory=dict)

    def sessions(self, instrument: Instrument) -> set[date]:
        """Return the sessions in which something is known of a source and symbol."""
        return set(self.minutes.get(instrument, ())) | set(self.covered.get(instrument, ()))

    def instruments(self) -> list[Instrument]:
        """Return the sources and symbols of which something is known."""
        return sorted({*self.minutes, *self.covered})

    def tapes(self) -> dict[str, int]:
        """Return how far the tape of each source is: to the end of its coverage in its newest session, or to its newest bar."""
        newest: dict[str, date] = {}
        for instrument in self.instruments():
            newest[instrument[0]] = max(newest.get(instrument[0], date.min), *self.sessions(instrument))
        tapes: dict[str, int] = {}
        for source, session_date in newest.items():
            ends = [
                spans[session_date][-1][1]
                for (own, _), spans in self.covered.items()
                if own == source and session_date in spans
            ]
            tapes[source] = max(ends) if ends else self.newest_bar[source, session_date]
        return tapes


def collect(decisions: Decisions, through: datetime | None) -> Known:
    """Return what is known by the messages of batches up to ``through``; ``None`` stands for all."""
    known = Known()
    statuses = _until(decisions.statuses, through)
    changes: dict[Instrument, set[tuple[int, str]]] = defaultdict(set)
    halts = statuses.filter(pl.col("kind") != "heartbeat").select("source", "symbol", "status_at", "kind")
    for source, symbol, changed_at, kind in halts.iter_rows():
        changes[source, symbol].add((epoch_micros(changed_at), kind))
    traded: dict[Instrument, list[int]] = {instrument: [] for instrument in changes}
    by_date = {session.session_date: session for session in all_sessions()}
    for session_date in decisions.trades.sessions():
        for part in parts_by_symbol(decisions.trades.count(session_date)):
            trades = _until(decisions.trades.read(session_date, part, _OF_TRADES), through)
            bars = trades.drop("ingested_at").unique()
            _add_bars(known, bars, by_date[session_date])
            of_halted = bars.join(halts, on=["source", "symbol"], how="semi").select("source", "symbol", "bar_at")
            for source, symbol, bar_at in of_halted.iter_rows():
                traded[source, symbol].append(epoch_micros(bar_at))
    for source, symbol, session_date, since, until in merged(statuses).iter_rows():
        span = (epoch_micros(since), epoch_micros(until))
        known.covered[source, symbol].setdefault(session_date, []).append(span)
    known.halts = {one: halted_spans(sorted(said), sorted(traded[one])) for one, said in changes.items()}
    return known


def merged(statuses: pl.DataFrame) -> pl.DataFrame:
    """Return when heartbeats cover sessions, in separate spans: ``source, symbol, session_date, since_at, until_at``."""
    beats = statuses.filter(pl.col("kind") == "heartbeat").select(*_COVERAGE_KEY, pl.col("status_at").alias("until_at"))
    rows: list[list[object]] = []
    for source, symbol, session_date, since_at, until_at in beats.sort(*_COVERAGE_KEY).iter_rows():
        last = rows[-1] if rows else None
        if last is not None and last[:3] == [source, symbol, session_date] and since_at <= last[4]:
            last[4] = max(last[4], until_at)
        else:
            rows.append([source, symbol, session_date, since_at, until_at])
    return pl.DataFrame(rows, schema=beats.schema, orient="row")


def halted_spans(changes: Sequence[tuple[int, str]], bars: Sequence[int]) -> list[Span]:
    """Return when trading was halted, one span a halt, in order; they may overlap.

    Parameters
    ----------
    changes
        Halts and resumes in order; at one moment a resume comes after a halt.
    bars
        The starts of all minutes in which the symbol traded, in order. A halt that no resume follows ends with the next of these:
        its resume was lost.
    """
    spans: list[Span] = []
    resumed_at, next_kind = _NEVER, ""
    for moment, kind in reversed(changes):
        if kind == "resume":
            resumed_at = moment
        else:
            later = bisect_right(bars, moment)
            traded_at = bars[later] if next_kind != "resume" and later < len(bars) else _NEVER
            spans.append((moment, min(resumed_at, traded_at)))
        next_kind = kind
    return [span for span in reversed(spans) if span[0] < span[1]]


def find_gaps(known: Known, findings: Findings) -> Iterator[tuple[object, ...]]:
    """Yield every run of missing bars with one reason, with the columns of :data:`verify.published.GAP_SCHEMA`."""
    sessions = all_sessions()
    dates = [session.session_date for session in sessions]
    tapes = known.tapes()
    for instrument in known.instruments():
        own = known.sessions(instrument)
        first, last = bisect_left(dates, min(own)), bisect_left(dates, max(own))
        for session in sessions[first : last + 1]:
            codes = _minutes_of(known, instrument, session, tapes[instrument[0]])
            findings.count("expected_bars", len(codes))
            findings.count("bars", int((codes == _THERE).sum()))
            for start, end, reason in runs(codes):
                moments = (session.open_at + timedelta(minutes=number) for number in (start, end))
                yield (*instrument, session.session_date, *moments, end - start, reason)


def _minutes_of(known: Known, instrument: Instrument, session: Session, tape: int) -> NDArray[np.int64]:
    """Return for each minute of regular hours that the tape has passed its reason, or that its bar is there."""
    opens, closes = epoch_micros(session.open_at), epoch_micros(session.close_at)
    count = max(0, (min(closes, tape) - opens) // _MINUTE)
    spans = known.covered.get(instrument, {}).get(session.session_date, [])
    codes = np.full(count, REASONS.index("feed_down" if spans else "not_collected"), np.int64)
    halted = np.zeros(count, np.bool_)
    for start, end in known.halts.get(instrument, []):
        if start < closes and end > opens:
            halted[max(0, (start - opens) // _MINUTE) : max(0, -((opens - end) // _MINUTE))] = True
    for start, end in spans:
        whole = slice(max(0, -((opens - start) // _MINUTE)), max(0, (end - opens) // _MINUTE))
        codes[whole] = np.where(halted[whole], REASONS.index("halted"), REASONS.index("no_trade"))
    there = known.minutes.get(instrument, {}).get(session.session_date)
    if there is not None:
        codes[there[there < count]] = _THERE
    return codes


def runs(codes: NDArray[np.int64]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and reason of each run of equal reasons."""
    bounds = np.flatnonzero(np.diff(codes, prepend=_NEVER, append=_NEVER))
    for start, end in itertools.pairwise(bounds):
        if codes[start] != _THERE:
            yield int(start), int(end), REASONS[codes[start]]


def _until(rows: pl.DataFrame, through: datetime | None) -> pl.DataFrame:
    return rows if through is None else rows.filter(pl.col("ingested_at") <= through)


def _add_bars(known: Known, bars: pl.DataFrame, session: Session) -> None:
    opens = epoch_micros(session.open_at)
    number = (pl.col("bar_at").to_physical() - opens) // _MINUTE
    grouped = bars.group_by("source", "symbol").agg(
        number.filter(pl.col("segment") == "regular").alias("minutes"), pl.col("bar_at").max().alias("newest")
    )
    for source, symbol, minutes, newest in grouped.iter_rows():
        known.minutes[source, symbol][session.session_date] = np.array(minutes, np.int64)
        key = (source, session.session_date)
        known.newest_bar[key] = max(epoch_micros(newest), known.newest_bar.get(key, 0))


def _check_statuses(findings: Findings, lake: Lake, published: Published, decisions: Decisions) -> None:
    """Check that the statuses are those of bronze, and that PostgreSQL has what they come to."""
    said = decisions.statuses
    findings.count(tables.FEED_STATUS.name, said.height)
    halts = said.filter(pl.col("kind") != "heartbeat").rename({"status_at": "changed_at"})
    for what, where, expected, found, table, key in (
        (
            "status",
            tables.FEED_STATUS.path,
            said,
            lake.read(lake.scan(tables.FEED_STATUS)),
            tables.FEED_STATUS,
            ENTRY,
        ),
        (
            "span",
            tables.PG_FEED_COVERAGE.qualified_name,
            merged(said),
            published.coverage(),
            tables.PG_FEED_COVERAGE,
            _COVERAGE_KEY,
        ),
        (
            "halt or resume",
            tables.PG_TRADING_HALTS.qualified_name,
            halts.select(tables.PG_TRADING_HALTS.column_names).unique(),
            published.halts(),
            tables.PG_TRADING_HALTS,
            tables.PG_TRADING_HALTS.key,
        ),
    ):
        compare(findings, what=what, where=where, expected=expected, found=found, table=table, key=key)


def _tell_what_is_behind(
    findings: Findings, lake: Lake, decisions: Decisions, through: datetime, before: pl.DataFrame
) -> None:
    """Say in how many gaps those of the mart's newest build differ from those that there are by now."""
    of_trades = lake.scan(tables.MESSAGES).filter(pl.col("topic") == topics.TRADES.name)
    newest = lake.read(of_trades.select(pl.col("ingested_at").max())).item()
    if newest is None or newest <= through:
        return
    built, now = Counter(before.iter_rows()), Counter(find_gaps(collect(decisions, None), Findings()))
    behind = (built - now).total() + (now - built).total()
    findings.count("mart_gaps_behind", behind)
    if behind:
        findings.notes.append(f"{GAPS} is behind by {behind:,} gaps; the next run of the models brings them.")
