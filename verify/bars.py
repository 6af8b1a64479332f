"""Law 2: the bars are those of one pass over the trades of bronze, whatever way the trades came.

What belongs here: rows and their values, from bronze to the marts. What does not: whether every message is there, which
is :mod:`verify.ledger`.

A bar is the minute that its trades fall into. Open and close are the prices of the first and the last trade by time,
then sequence, then price, among those that may set a price. All arithmetic is in whole millionths.
"""

from datetime import date
from typing import Final

import polars as pl

from market import tables
from verify.comparison import compare
from verify.decisions import Decisions
from verify.lake import Lake
from verify.published import MART, MART_COLUMNS, Published
from verify.results import SHOWN_OFFENCES, Findings, LawResult

TITLE: Final = "Bars equal one pass over the trades"

_KEY: Final = list(tables.BAR_REVISIONS.key[:3])
_LEDGER: Final = ["topic", "partition", "offset"]


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
    chosen_trades, chosen_quotes = decisions.placed_in(tables.TRADES), decisions.placed_in(tables.QUOTES)
    for session_date in sorted(_sessions(lake, published, decisions)):
        quotes = decisions.quotes.read(session_date, chosen_quotes)
        trades = decisions.trades.read(session_date, chosen_trades)
        _check_rows(findings, lake, tables.QUOTES, quotes, session_date)
        _check_rows(findings, lake, tables.TRADES, trades, session_date)
        _check_bars(findings, lake, published, trades, session_date)
    _check_identities(findings, lake)
    _check_vendor_bars(findings, lake, published, decisions)
    if behind := findings.counts.get("mart_bars_behind"):
        findings.notes.append(f"{MART} is behind by {behind:,} bars; the next run of the models brings them.")
    return findings.result(2, TITLE)


def build_bars(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the 1-minute bars of unique trades, with the columns of the declared bars.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``, prices in millionths.
    """
    price, counts = pl.col("price"), pl.col("counts_for_volume")
    may_set = price.filter(pl.col("counts_for_price"))
    notional = price.cast(pl.Int128) * pl.col("size").cast(pl.Int128)
    bars = (
        trades.sort("traded_at", "sequence", "price")
        .group_by(*_KEY, "session_date", "segment", maintain_order=True)
        .agg(
            may_set.first().alias("open"),
            may_set.max().alias("high"),
            may_set.min().alias("low"),
            may_set.last().alias("close"),
            pl.col("size").filter(counts).sum().alias("volume"),
            notional.filter(counts).sum().alias("notional"),
            pl.len().cast(pl.Int64).alias("trade_count"),
            (~pl.col("counts_for_price")).sum().cast(pl.Int64).alias("excluded_trade_count"),
            pl.col("ingested_at").n_unique().cast(pl.Int32).alias("revision"),
            pl.col("ingested_at").max().alias("revised_at"),
        )
    )
    volume = pl.col("volume").cast(pl.Int128)
    # Half up: floor(notional / volume + 1/2), in whole numbers.
    half_up = (pl.col("notional") * 2 + volume) // (volume * 2)
    vwap = pl.when(volume > 0).then(half_up).cast(pl.Int64)
    return bars.with_columns(vwap.alias("vwap")).select(tables.BAR_REVISIONS.column_names)


def _sessions(lake: Lake, published: Published, decisions: Decisions) -> set[date]:
    sessions = decisions.trades.sessions() | decisions.quotes.sessions() | published.bar_sessions()
    for table in (tables.TRADES, tables.QUOTES, tables.BAR_REVISIONS):
        sessions |= set(lake.read(lake.scan(table).select("session_date").unique()).get_column("session_date"))
    return sessions


def _of_session(lake: Lake, table: tables.Table, session_date: date) -> pl.DataFrame:
    return lake.read(lake.scan(table).filter(pl.col("session_date") == session_date))


def _check_rows(
    findings: Findings, lake: Lake, table: tables.Table, expected: pl.DataFrame, session_date: date
) -> None:
    findings.count(table.name, expected.height)
    compare(
        findings,
        what=table.name.removesuffix("s"),
        where=table.path,
        expected=expected,
        found=_of_session(lake, table, session_date),
        table=table,
        key=_LEDGER,
    )


def _check_bars(findings: Findings, lake: Lake, published: Published, trades: pl.DataFrame, session_date: date) -> None:
    """Check that the trades give the bars of gold, of PostgreSQL and of the mart."""
    bars = build_bars(trades)
    findings.count("bars", bars.height)
    revisions = _of_session(lake, tables.BAR_REVISIONS, session_date)
    findings.count("revisions", revisions.height)
    _check_revisions(findings, revisions)
    newest = revisions.sort("revision").unique(_KEY, keep="last", maintain_order=True)
    for where, found in (
        (tables.BAR_REVISIONS.path, newest),
        (tables.PG_BARS.qualified_name, published.bars(session_date)),
    ):
        compare(findings, what="bar", where=where, expected=bars, found=found, table=tables.BAR_REVISIONS, key=_KEY)
    _check_mart(findings, published, newest, session_date)


def _check_revisions(findings: Findings, revisions: pl.DataFrame) -> None:
    """Check that a bar's revisions are 1, 2, 3 … in the order in which they were made."""
    grouped = (
        revisions.sort("revised_at", "revision")
        .group_by(_KEY, maintain_order=True)
        .agg(pl.col("revision").alias("revisions"))
        .filter(pl.col("revisions") != pl.int_ranges(1, pl.col("revisions").list.len() + 1, dtype=pl.Int32))
    )
    findings.break_law(
        f"revisions of a bar are not 1, 2, 3 … in {tables.BAR_REVISIONS.path}",
        grouped.head(SHOWN_OFFENCES).iter_rows(named=True),
        total=grouped.height,
    )


def _check_mart(findings: Findings, published: Published, newest: pl.DataFrame, session_date: date) -> None:
    """Check that the mart's bars are those of the lake; a mart of an older revision is behind, not broken.

    Where several feeds bring a symbol's session, the mart shows one of them.
    """
    mart = published.mart_bars(session_date)
    if mart is None:
        return
    shown = newest.join(mart, on=["source", "symbol"], how="semi")
    not_shown = newest.join(mart, on="symbol", how="anti").unique(["symbol", "bar_at"])
    revisions = shown.join(mart.select(*_KEY, pl.col("revision").alias("mart_revision")), on=_KEY, how="left")
    behind = revisions.filter(pl.col("mart_revision").fill_null(0) < pl.col("revision"))
    findings.count("mart_bars_behind", behind.height + not_shown.height)
    compare(
        findings,
        what="bar",
        where=MART,
        expected=shown.join(behind, on=_KEY, how="anti").select(MART_COLUMNS),
        found=mart.join(behind, on=_KEY, how="anti"),
        table=tables.PG_BARS,
        key=_KEY,
    )


def _check_identities(findings: Findings, lake: Lake) -> None:
    """Check that no identity is twice among the trades, nor among the quotes, in whatever sessions it lies."""
    for table in (tables.TRADES, tables.QUOTES):
        repeated = lake.read(
            lake.scan(table).group_by(table.key).agg(pl.len().alias("times")).filter(pl.col("times") > 1)
        ).sort(table.key)
        findings.break_law(
            f"key is not unique in {table.path}",
            repeated.head(SHOWN_OFFENCES).iter_rows(named=True),
            total=repeated.height,
        )


def _check_vendor_bars(findings: Findings, lake: Lake, published: Published, decisions: Decisions) -> None:
    """Check that bronze gives the versions of silver, and that their newest are the vendor bars of PostgreSQL."""
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
    key = list(tables.PG_VENDOR_BARS.key)
    compare(
        findings,
        what="vendor bar",
        where=tables.PG_VENDOR_BARS.qualified_name,
        expected=_newest_versions(expected, key),
        found=published.vendor_bars(),
        table=tables.PG_VENDOR_BARS,
        key=key,
    )


def _newest_versions(versions: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Return the newest version of each vendor bar, with the number of its versions as ``revision``."""
    ordered = versions.sort("ingested_at", *_LEDGER).with_columns(pl.len().over(key).cast(pl.Int32).alias("revision"))
    return ordered.unique(key, keep="last", maintain_order=True)
