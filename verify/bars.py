"""Law 2: the bars are those of one pass over the trades of bronze, whatever way the trades came.

What belongs here: rows and their values, from bronze to PostgreSQL. What does not: whether every message is there, which
is :mod:`verify.ledger`; how bars are worked out, which is :mod:`verify.revisions`; the marts, which are :mod:`verify.marts`.
"""

from collections.abc import Collection
from datetime import date
from typing import Final

import polars as pl

from market import tables
from market.records import DAILY
from market.sessions import find_session
from verify.adjusted import prove_adjusted
from verify.comparison import compare
from verify.days import DayProof
from verify.decisions import Decisions
from verify.lake import Lake
from verify.mart_schemas import BAR_SESSION_SCHEMA, HISTORICAL, INTRADAY, RECONCILIATION
from verify.marts import MartProof
from verify.minute_quotes import MinuteProof
from verify.origins import RealSymbols
from verify.questions import Published
from verify.quotes import QuoteProof
from verify.reconciliation import ReconciliationProof
from verify.records import ENTRY, parts_by_symbol
from verify.results import SHOWN_OFFENCES, Findings, LawResult
from verify.revisions import every_revision, newest_revisions
from verify.vendor_bars import newest_versions

TITLE: Final = "Bars equal one pass over the trades"

_LEDGER: Final = list(ENTRY)


def prove_bars(lake: Lake, published: Published, decisions: Decisions) -> LawResult:
    """Prove law 2.

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
    counted = [pl.DataFrame(schema=BAR_SESSION_SCHEMA)]
    real = RealSymbols(lake, decisions.vendor_bars)
    quotes, minutes, mart = QuoteProof(), MinuteProof(findings, published), MartProof(findings, lake, published, real)
    days = DayProof(findings, lake, published, real)
    reconciliation = ReconciliationProof(findings, lake, published, real)
    versions = decisions.vendor_bars.filter(pl.col("interval") != DAILY)
    versions_of = {day: rows for (day,), rows in versions.partition_by("session_date", as_dict=True).items()}
    for session_date in _sessions(lake, published, decisions, versions_of):
        session = find_session(session_date) if session_date else None
        in_postgres, in_mart = published.bars(session_date), published.mart_bars(session_date)
        compared, of_vendors = published.reconciliation(session_date), versions_of.get(session_date, versions.clear())
        counted.append(_count_bars(in_postgres))
        most = max(decisions.quotes.count(session_date), decisions.trades.count(session_date))
        for part in parts_by_symbol(most):
            rows, expired = decisions.quotes.read(session_date, part), decisions.quotes.read_expired(session_date, part)
            found = _of_session(lake, tables.QUOTES, session_date, part).join(expired, on=_LEDGER, how="anti")
            _check_rows(findings, tables.QUOTES, rows, found)
            quotes.add(rows, expired)
            minutes.check(session_date, part, rows, expired)
            rows, found = (
                decisions.trades.read(session_date, part),
                _of_session(lake, tables.TRADES, session_date, part),
            )
            _check_rows(findings, tables.TRADES, rows, found)
            revisions = every_revision(rows, decisions.amendments)
            del rows, found
            in_gold = _of_session(lake, tables.BAR_REVISIONS, session_date, part)
            _check_bars(findings, revisions, in_gold, in_postgres.filter(part))
            mart.check(revisions, of_vendors.filter(part), _part_of(in_mart, part), session)
            reconciliation.check(revisions, of_vendors.filter(part), _part_of(compared, part), session)
            if session is not None:
                days.add(revisions, session)
    _check_sessions(findings, pl.concat(counted), published)
    _check_amendments(findings, lake, decisions)
    _check_vendor_bars(findings, lake, published, decisions)
    _check_actions(findings, lake, published, decisions)
    quotes.check(findings, published)
    minutes.note_repair()
    days.check(decisions.vendor_bars, decisions.corporate_actions)
    prove_adjusted(findings, published, decisions.corporate_actions)
    reconciliation.check_days(decisions.vendor_bars)
    for mart_name, what in ((INTRADAY, "bars"), (HISTORICAL, "days"), (RECONCILIATION, "comparisons")):
        if behind := findings.counts.get(f"mart_{what}_behind"):
            brought = "./run marts builds what changed; if that does not bring them, ./run marts --rebuild does"
            findings.notes.append(f"{mart_name} is behind by {behind:,} {what}; {brought}.")
    return findings.result(2, TITLE)


def _sessions(
    lake: Lake, published: Published, decisions: Decisions, of_vendors: Collection[date]
) -> list[date | None]:
    """Return the sessions that anything is said of, in order; ``None`` where a row of the lake names none."""
    sessions: set[date | None] = {*decisions.trades.sessions(), *decisions.quotes.sessions(), *of_vendors}
    sessions |= {
        *published.sessions_with_bars(),
        *published.quoted_sessions(),
        *published.mart_sessions(),
        *published.reconciliation_sessions(),
    }
    for table in (tables.TRADES, tables.QUOTES, tables.BAR_REVISIONS):
        sessions |= set(lake.read(lake.scan(table).select("session_date").unique()).get_column("session_date"))
    return sorted(sessions, key=lambda session_date: session_date or date.min)


def _part_of(rows: pl.DataFrame | None, part: pl.Expr) -> pl.DataFrame | None:
    return rows if rows is None else rows.filter(part)


def _of_session(lake: Lake, table: tables.Table, session_date: date | None, part: pl.Expr) -> pl.DataFrame:
    own = pl.col("session_date")
    return lake.read(
        lake.scan(table).filter(own.is_null() if session_date is None else own == session_date).filter(part)
    )


def _check_rows(findings: Findings, table: tables.Table, expected: pl.DataFrame, found: pl.DataFrame) -> None:
    findings.count(table.name, expected.height)
    _check_identities(findings, table, found)
    compare(
        findings,
        what=table.name.removesuffix("s"),
        where=table.path,
        expected=expected,
        found=found,
        table=table,
        key=_LEDGER,
    )


def _check_bars(findings: Findings, revisions: pl.DataFrame, in_gold: pl.DataFrame, in_postgres: pl.DataFrame) -> None:
    """Check that the revisions are those of gold, and that PostgreSQL has the newest of each bar."""
    newest = newest_revisions(revisions)
    findings.count("bars", newest.height)
    findings.count("revisions", in_gold.height)
    for where, expected, found, key in (
        (tables.BAR_REVISIONS.path, revisions, in_gold, tables.BAR_REVISIONS.key),
        (tables.PG_BARS.qualified_name, newest, in_postgres, tables.PG_BARS.key),
    ):
        compare(findings, what="bar", where=where, expected=expected, found=found, table=tables.BAR_REVISIONS, key=key)


def _check_identities(findings: Findings, table: tables.Table, found: pl.DataFrame) -> None:
    """Check that no identity is twice among the trades, nor among the quotes."""
    repeated = found.group_by(table.key).agg(pl.len().alias("times")).filter(pl.col("times") > 1).sort(table.key)
    findings.break_law(
        f"key is not unique in {table.path}",
        repeated.head(SHOWN_OFFENCES).iter_rows(named=True),
        total=repeated.height,
    )


def _count_bars(bars: pl.DataFrame) -> pl.DataFrame:
    counted = bars.group_by(tables.PG_BAR_SESSIONS.key).agg(
        pl.len().cast(pl.Int64).alias("bar_count"),
        pl.col("bar_at").max().alias("newest_bar_at"),
        pl.col("revised_at").max(),
    )
    return counted.select(*BAR_SESSION_SCHEMA)


def _check_sessions(findings: Findings, counted: pl.DataFrame, published: Published) -> None:
    """Check that PostgreSQL counts its bars rightly: by these counts the marts know what there is to build."""
    findings.count("symbol_sessions", counted.height)
    compare(
        findings,
        what="session",
        where=tables.PG_BAR_SESSIONS.qualified_name,
        expected=counted,
        found=published.bar_sessions(),
        table=tables.PG_BAR_SESSIONS,
        key=tables.PG_BAR_SESSIONS.key,
    )


def _check_amendments(findings: Findings, lake: Lake, decisions: Decisions) -> None:
    """Check that the amendments are those of bronze, whether or not their trades have come."""
    findings.count("amendments", decisions.amendments.height)
    compare(
        findings,
        what="amendment",
        where=tables.AMENDMENTS.path,
        expected=decisions.amendments,
        found=lake.read(lake.scan(tables.AMENDMENTS)),
        table=tables.AMENDMENTS,
        key=_LEDGER,
    )


def _check_vendor_bars(findings: Findings, lake: Lake, published: Published, decisions: Decisions) -> None:
    """Check that bronze gives the versions of silver, that their newest are the vendor bars of PostgreSQL, and are counted."""
    expected = decisions.vendor_bars
    findings.count("vendor_bars", expected.height)
    compare(
        findings,
        what="vendor bar",
        where=tables.VENDOR_BARS.path,
        expected=expected,
        found=lake.read(lake.scan(tables.VENDOR_BARS)),
        table=tables.VENDOR_BARS,
        key=_LEDGER,
    )
    key, found = list(tables.PG_VENDOR_BARS.key), published.vendor_bars()
    compare(
        findings,
        what="vendor bar",
        where=tables.PG_VENDOR_BARS.qualified_name,
        expected=newest_versions(expected),
        found=found,
        table=tables.PG_VENDOR_BARS,
        key=key,
    )
    sessions = tables.PG_VENDOR_BAR_SESSIONS
    shorter = found.filter(pl.col("interval") != DAILY)
    compare(
        findings,
        what="session",
        where=sessions.qualified_name,
        expected=shorter.group_by(sessions.key).agg(
            pl.len().cast(pl.Int64).alias("bar_count"), pl.col("ingested_at").max().alias("revised_at")
        ),
        found=published.vendor_bar_sessions(),
        table=sessions,
        key=sessions.key,
    )


def _check_actions(findings: Findings, lake: Lake, published: Published, decisions: Decisions) -> None:
    """Check that bronze gives the corporate actions of silver and of PostgreSQL: every version is in both."""
    expected = decisions.corporate_actions
    findings.count("corporate_actions", expected.height)
    for where, found in (
        (tables.CORPORATE_ACTIONS.path, lake.read(lake.scan(tables.CORPORATE_ACTIONS))),
        (tables.PG_CORPORATE_ACTIONS.qualified_name, published.corporate_actions()),
    ):
        compare(
            findings,
            what="corporate action",
            where=where,
            expected=expected,
            found=found,
            table=tables.CORPORATE_ACTIONS,
            key=_LEDGER,
        )
