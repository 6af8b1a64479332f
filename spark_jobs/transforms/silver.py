"""The rows of all kinds of record, from valid messages with their place in a session."""

import zlib
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from market.eligibility import EVERYTHING, RULES, Use, counted, is_closing_auction, rule_for
from market.sessions import Segment, find_session
from spark_jobs.schemas import MOMENT
from spark_jobs.transforms.calendar import MINUTE, Calendar

_DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_JUDGED_BY: Final = ["source", "segment", "conditions"]


def trade_rows(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/trades``."""
    rows = _of_tape(trades, "trade_id").with_columns(
        pl.col("ts").cast(MOMENT).alias("traded_at"),
        (pl.col("ts") - pl.col("ts") % MINUTE).cast(MOMENT).alias("bar_at"),
    )
    return with_eligibility(_with_closing_auction(rows))


def _with_closing_auction(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the trades, those of a closing auction moved into the last minute of the regular segment."""
    after = rows.filter(pl.col("source").is_in(list(RULES)), pl.col("segment") == Segment.POST)
    after = after.select("source", "conditions", "session_date", "traded_at").unique()
    moved = [
        (source, conditions, session_date, traded_at, close_at - timedelta(minutes=1))
        for source, conditions, session_date, traded_at in after.iter_rows()
        if is_closing_auction(source, conditions, traded_at - (close_at := _close_of(session_date)))
    ]
    if not moved:
        return rows
    auction = pl.DataFrame(moved, {**after.schema, "auction_bar_at": MOMENT}, orient="row")
    known = rows.join(auction, on=after.columns, how="left", maintain_order="left")
    return known.with_columns(
        pl.when(pl.col("auction_bar_at").is_null())
        .then(pl.col("segment"))
        .otherwise(pl.lit(Segment.REGULAR.value, rows.schema["segment"]))
        .alias("segment"),
        pl.coalesce("auction_bar_at", "bar_at").alias("bar_at"),
    ).drop("auction_bar_at")


def _close_of(session_date: date) -> datetime:
    session = find_session(session_date)
    assert session is not None, f"{session_date} is no session, yet a trade lies in it"
    return session.close_at


def amendment_rows(amendments: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/amendments``; a cancel states nothing but which trade it cancels."""
    is_correction = pl.col("kind") == "correction"
    return amendments.with_columns(
        pl.col("ref_id").alias("trade_id"),
        pl.col("ts").cast(MOMENT).alias("amended_at"),
        *(pl.when(is_correction).then(pl.col(name)).alias(name) for name in ("price", "size")),
        *(
            pl.when(is_correction).then(pl.col(name).fill_null("")).otherwise(pl.lit("")).alias(name)
            for name in ("exchange", "conditions")
        ),
    )


def place_statuses(statuses: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the statuses, each with the session that all of it lies in; null where there is none.

    A heartbeat lies between two moments, the last of which is excluded.
    """
    first, last = (calendar.place(moment)["session_date"] for moment in (statuses["since"], statuses["ts"] - 1))
    return statuses.with_columns(pl.select(session_date=pl.when(first == last).then(first)).to_series())


def status_rows(statuses: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/feed_status``; only a heartbeat has a start, and only a halt a reason."""
    is_heartbeat, is_halt = pl.col("kind") == "heartbeat", pl.col("kind") == "halt"
    return statuses.with_columns(
        pl.when(is_heartbeat).then(pl.col("since").cast(MOMENT)).alias("since_at"),
        pl.col("ts").cast(MOMENT).alias("status_at"),
        pl.when(is_heartbeat).then(pl.col("session_date")).alias("session_date"),
        pl.when(is_halt).then(pl.col("reason").fill_null("")).otherwise(pl.lit("")).alias("reason"),
    )


def quote_rows(quotes: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/quotes``."""
    return _of_tape(quotes, "quote_id").with_columns(pl.col("ts").cast(MOMENT).alias("quoted_at"))


def vendor_bar_rows(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/vendor_bars``."""
    return bars.with_columns(pl.col("ts").cast(MOMENT).alias("bar_at"))


def place_actions(actions: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the corporate actions, each with the session from which on it holds; null where it names none.

    ``is_date`` says whether what it names is a date at all.
    """
    days = actions["effective_date"].str.to_date("%Y-%m-%d", strict=False)
    is_whole = actions["effective_date"].str.contains(_DATE).fill_null(value=False)
    days = pl.select(pl.when(is_whole).then(days)).to_series()
    return actions.with_columns(calendar.sessions(days), is_date=days.is_not_null())


def action_rows(actions: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/corporate_actions``; each states the values of its own kind and no others."""
    is_withdrawn = pl.col("kind") == "withdrawal"
    own = {"new_shares": "split", "old_shares": "split", "cash": "dividend", "new_symbol": "symbol_change"}
    return actions.with_columns(
        pl.when(is_withdrawn).then("action").otherwise("kind").alias("action"),
        pl.col("ts").cast(MOMENT).alias("known_at"),
        is_withdrawn.alias("is_withdrawn"),
        *(pl.when(pl.col("kind") == kind).then(pl.col(name)).alias(name) for name, kind in own.items()),
    )


def _of_tape(rows: pl.DataFrame, id_field: str) -> pl.DataFrame:
    filled = rows.with_columns(pl.col("exchange", "conditions").fill_null(""))
    if not filled["sequence"].null_count():
        return filled
    missing = filled["sequence"].is_null()
    ids = filled[id_field].to_list()
    derived = pl.Series([zlib.crc32(text.encode()) for text in ids], dtype=pl.Int64)
    return filled.with_columns(pl.when(missing).then(derived).otherwise(pl.col("sequence")).alias("sequence"))


def with_eligibility(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades with what they count for under the rule of their feed."""
    met = trades.select("source").unique()["source"].to_list()
    if not set(met) & set(RULES):
        values = _judgement(EVERYTHING, None, rule_for("").version)
        return trades.with_columns(
            pl.lit(value, own).alias(name) for (name, own), value in zip(_JUDGEMENT.items(), values, strict=True)
        )
    combinations = trades.select(_JUDGED_BY).unique()
    judged = [_judge(*row) for row in combinations.iter_rows()]
    return trades.join(
        combinations.hstack(pl.DataFrame(judged, schema=_JUDGEMENT, orient="row")),
        on=_JUDGED_BY,
        how="left",
        maintain_order="left",
    )


_Judgement = tuple[bool, bool, bool, str | None, int]
_JUDGEMENT: Final = {
    "counts_for_open_close": pl.Boolean(),
    "counts_for_high_low": pl.Boolean(),
    "counts_for_volume": pl.Boolean(),
    "left_out_for": pl.String(),
    "eligibility_version": pl.Int32(),
}
JUDGEMENT: Final = tuple(_JUDGEMENT)
"""The columns that say what a trade counts for."""


def _judge(source: str, segment: str, conditions: str) -> _Judgement:
    return _judgement(*counted(source, segment, conditions), rule_for(source).version)


def _judgement(counts: Use, reason: str | None, version: int) -> _Judgement:
    return Use.OPEN_CLOSE in counts, Use.HIGH_LOW in counts, Use.VOLUME in counts, reason, version
