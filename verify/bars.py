"""Law 2: the bars are those of one pass over the trades of bronze, whatever way the trades came.

What belongs here: rows and their values, from bronze to the marts. What does not: whether every message is there, which
is :mod:`verify.ledger`.

A trade counts as the newest of its cancels and corrections says, whenever that came. A bar is the minute that its trades
fall into. Open and close are the prices of the first and the last trade by time,
then sequence, then price, among those that may set them. All arithmetic is in whole millionths.
"""

import json
from collections import Counter
from datetime import date
from typing import Any, Final

import polars as pl

from market import tables
from verify.comparison import compare
from verify.decisions import Decisions
from verify.lake import Lake
from verify.messages import judged_again
from verify.published import MART, MART_COLUMNS, Published
from verify.results import SHOWN_OFFENCES, Findings, LawResult

TITLE: Final = "Bars equal one pass over the trades"

_KEY: Final = list(tables.BAR_REVISIONS.key[:3])
_LEDGER: Final = ["topic", "partition", "offset"]
_TRADE_KEY: Final = ["source", "symbol", "trade_id"]
_RESTATED: Final = ["price", "size", "exchange", "conditions"]


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
        for table, rows in ((tables.QUOTES, quotes), (tables.TRADES, trades)):
            found = _of_session(lake, table, session_date).join(decisions.expired, on=_LEDGER, how="anti")
            _check_rows(findings, table, rows, found)
        _check_bars(findings, lake, published, counted(trades, decisions.amendments), session_date)
    _check_identities(findings, lake)
    _check_amendments(findings, lake, decisions)
    _check_vendor_bars(findings, lake, published, decisions)
    if behind := findings.counts.get("mart_bars_behind"):
        what = "./run marts builds what changed; if that does not bring them, ./run marts --rebuild does"
        findings.notes.append(f"{MART} is behind by {behind:,} bars; {what}.")
    return findings.result(2, TITLE)


def counted(trades: pl.DataFrame, amendments: pl.DataFrame) -> pl.DataFrame:
    """Return unique trades as they count.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``, prices in millionths.
    amendments
        The columns of ``silver/amendments``.

    Returns
    -------
    polars.DataFrame
        The trades with what the newest correction states, ``said`` (what holds: ``cancel``, ``correction`` or null) and
        ``stamps``, the batches that brought the trade or amended it; an amendment that came first counts from the trade on.
    """
    by_trade: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in amendments.iter_rows(named=True):
        by_trade.setdefault((row["source"], row["symbol"], row["trade_id"]), []).append(row)
    said = [
        {
            **dict(zip(_TRADE_KEY, key, strict=True)),
            **_holding(rows),
            "amended_in": [row["ingested_at"] for row in rows],
        }
        for key, rows in by_trade.items()
    ]
    moments = pl.List(pl.Datetime("us", "UTC"))
    schema = {name: trades.schema[name] for name in (*_TRADE_KEY, *_RESTATED)}
    holding = pl.DataFrame(said, schema={**schema, "said": pl.String(), "amended_in": moments}, orient="row")
    joined = trades.join(holding, on=_TRADE_KEY, how="left", suffix="_restated")
    is_corrected = pl.col("said") == "correction"
    restated = joined.with_columns(
        pl.when(is_corrected).then(pl.col(f"{name}_restated")).otherwise(pl.col(name)).alias(name) for name in _RESTATED
    )
    amended_in = pl.col("amended_in").fill_null(pl.lit([], moments))
    stamps = pl.concat_list(amended_in, "ingested_at").alias("stamps")
    whole = restated.with_columns(stamps).drop("amended_in", *(f"{name}_restated" for name in _RESTATED))
    is_corrected = is_corrected.fill_null(value=False)
    judged = judged_again(whole.filter(is_corrected)).select(whole.columns)
    return pl.concat([whole.filter(~is_corrected), judged])


def _holding(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the newest amendment of a trade says; of several at one moment a cancel, then the greatest."""
    newest = max(
        rows,
        key=lambda row: (
            row["amended_at"],
            row["kind"] == "cancel",
            row["price"] or 0,
            row["size"] or 0,
            row["exchange"],
            row["conditions"],
        ),
    )
    return {"said": newest["kind"], **{name: newest[name] for name in _RESTATED}}


def build_bars(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the 1-minute bars of unique trades, with the columns of the declared bars.

    Parameters
    ----------
    trades
        What :func:`counted` returns.
    """
    stands = (pl.col("said") != "cancel").fill_null(value=True)
    price, counts = pl.col("price"), pl.col("counts_for_volume") & stands
    may_set = price.filter(pl.col("counts_for_open_close") & stands)
    may_reach = price.filter(pl.col("counts_for_high_low") & stands)
    notional = price.cast(pl.Int128) * pl.col("size").cast(pl.Int128)
    bars = (
        trades.sort("traded_at", "sequence", "price")
        .group_by(*_KEY, "session_date", "segment", maintain_order=True)
        .agg(
            may_set.first().alias("open"),
            may_reach.max().alias("high"),
            may_reach.min().alias("low"),
            may_set.last().alias("close"),
            pl.col("size").filter(counts).sum().alias("volume"),
            notional.filter(counts).sum().alias("notional"),
            stands.sum().cast(pl.Int64).alias("trade_count"),
            (pl.col("left_out_for").is_not_null() & stands).sum().cast(pl.Int64).alias("excluded_trade_count"),
            pl.col("left_out_for").filter(stands).drop_nulls().alias("left_out"),
            (~stands).sum().cast(pl.Int64).alias("cancelled_trade_count"),
            (pl.col("said") == "correction").sum().cast(pl.Int64).alias("corrected_trade_count"),
        )
    )
    volume = pl.col("volume").cast(pl.Int128)
    # Half up: floor(notional / volume + 1/2), in whole numbers.
    half_up = (pl.col("notional") * 2 + volume) // (volume * 2)
    vwap = pl.when(volume > 0).then(half_up).cast(pl.Int64)
    effects = trades.select(*_KEY, "ingested_at", "stamps").explode("stamps", empty_as_null=True)
    revisions = (
        effects.with_columns(pl.max_horizontal("stamps", "ingested_at").alias("took_effect"))
        .group_by(_KEY)
        .agg(
            pl.col("took_effect").n_unique().cast(pl.Int32).alias("revision"),
            pl.col("took_effect").max().alias("revised_at"),
        )
    )
    left_out = pl.col("left_out").map_elements(_counted_reasons, return_dtype=pl.String)
    return (
        bars.with_columns(vwap.alias("vwap"), left_out)
        .join(revisions, on=_KEY)
        .select(tables.BAR_REVISIONS.column_names)
    )


def _counted_reasons(reasons: pl.Series) -> str | None:
    """Return how often each reason occurs, as a JSON object in the order of the reasons; ``None`` for none."""
    return json.dumps(Counter(sorted(reasons))) if len(reasons) else None


def _sessions(lake: Lake, published: Published, decisions: Decisions) -> set[date]:
    sessions = decisions.trades.sessions() | decisions.quotes.sessions() | published.bar_sessions()
    for table in (tables.TRADES, tables.QUOTES, tables.BAR_REVISIONS):
        sessions |= set(lake.read(lake.scan(table).select("session_date").unique()).get_column("session_date"))
    return sessions


def _of_session(lake: Lake, table: tables.Table, session_date: date) -> pl.DataFrame:
    return lake.read(lake.scan(table).filter(pl.col("session_date") == session_date))


def _check_rows(findings: Findings, table: tables.Table, expected: pl.DataFrame, found: pl.DataFrame) -> None:
    findings.count(table.name, expected.height)
    compare(
        findings,
        what=table.name.removesuffix("s"),
        where=table.path,
        expected=expected,
        found=found,
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
    """Check that no identity is twice among the trades, nor among the quotes."""
    for table in (tables.TRADES, tables.QUOTES):
        repeated = lake.read(
            lake.scan(table).group_by(table.key).agg(pl.len().alias("times")).filter(pl.col("times") > 1)
        ).sort(table.key)
        findings.break_law(
            f"key is not unique in {table.path}",
            repeated.head(SHOWN_OFFENCES).iter_rows(named=True),
            total=repeated.height,
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
