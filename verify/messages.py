"""A decoder of its own: the bytes of messages to columns, leaving out the messages that must be rejected.

What belongs here: the published rules of the wire format that a single message can be judged by. What does not: why a
message is rejected (the stream says so in quarantine), and what needs other messages (repeats and conflicts).

Frames that leave here hold valid rows only; prices are whole millionths.
"""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

import polars as pl

from market.eligibility import RULES, Use
from market.instruments import SYMBOL_PATTERN
from market.records import ACTIONS, DAILY, INTERVALS, MAX_REASON_CHARACTERS, MAX_SEQUENCE, MAX_SIZE_SHARES
from verify.calendar import closes_of, in_sessions, is_session
from verify.parsing import (
    ActionMessage,
    AmendmentMessage,
    BarMessage,
    Numbers,
    QuoteMessage,
    StatusMessage,
    TradeMessage,
    is_number,
    parse,
    whole_number,
)

LEDGER: Final = ("topic", "partition", "offset", "ingested_at")

_FUTURE_MICROS: Final = 5 * 60 * 1_000_000
_MINUTE: Final = 60 * 1_000_000
_AUCTION_MICROS: Final = 15 * _MINUTE
_MAX_TS: Final = 7_258_118_400 * 1_000_000
_MAX_BAR_VOLUME: Final = 10**15
_MAX_EXCHANGE_CHARACTERS: Final = 16
_MAX_CONDITIONS_CHARACTERS: Final = 64
_HEX: Final = r"^[0-9A-Fa-f]{0,15}$"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SOURCE: Final = r"^[a-z][a-z0-9_]{0,31}$"
_RECORD_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$"


def trades_in(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the valid trades among ``messages`` (:data:`LEDGER` and ``value``) with the columns of ``silver/trades``."""
    rows, found = parse(messages["value"], TradeMessage)
    numbers = Numbers()
    frame = pl.DataFrame(
        {
            **_ledger_of(messages, rows),
            "kind": _strings(trade.kind for trade in found),
            "source": _strings(trade.source for trade in found),
            "symbol": _strings(trade.symbol for trade in found),
            "ts": _integers(whole_number(bytes(trade.ts)) for trade in found),
            "trade_id": _strings(trade.trade_id for trade in found),
            "price": _integers(numbers.price(trade.price) for trade in found),
            "size": _integers(numbers.whole(trade.size) for trade in found),
            "sequence": _integers(numbers.sequence(trade.sequence, trade.trade_id) for trade in found),
            "exchange": _strings(trade.exchange for trade in found),
            "conditions": _strings(trade.conditions for trade in found),
            "is_typed": _truths(is_number("since", trade.since) for trade in found),
        }
    )
    valid = _in_session(
        frame.filter(
            pl.col("kind") == "trade",
            "is_typed",
            *_common_rules(),
            *_tape_rules("trade_id"),
            pl.col("price") > 0,
            pl.col("size").is_between(1, MAX_SIZE_SHARES),
        )
    )
    minute = pl.col("ts") - pl.col("ts") % _MINUTE
    in_minutes = valid.with_columns(_moment(pl.col("ts")).alias("traded_at"), _moment(minute).alias("bar_at"))
    is_auction = _is_closing_auction(in_minutes)
    last_minute = closes_of(in_minutes["session_date"]) - _MINUTE
    return _judge_eligibility(
        in_minutes.with_columns(
            pl.when(is_auction).then(pl.lit("regular")).otherwise(pl.col("segment")).alias("segment"),
            pl.when(is_auction).then(_moment(pl.lit(last_minute))).otherwise(pl.col("bar_at")).alias("bar_at"),
        )
    )


def _is_closing_auction(trades: pl.DataFrame) -> pl.Series:
    """Return which trades carry a condition of their feed's closing auction within a quarter of an hour after the close."""
    bits = pl.col("conditions").replace("", "0").str.to_integer(base=16, dtype=pl.Int64, strict=False)
    has_condition = pl.any_horizontal(
        pl.lit(value=False),
        *((pl.col("source") == source) & (bits & rule.closing_auction_bits != 0) for source, rule in RULES.items()),
    )
    since_close = trades["ts"] - closes_of(trades["session_date"])
    return trades.select(has_condition & pl.lit(since_close.is_between(0, _AUCTION_MICROS, closed="left"))).to_series()


def amendments_in(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the valid cancels and corrections among ``messages`` with the columns of ``silver/amendments``."""
    rows, found = parse(messages["value"], AmendmentMessage)
    numbers = Numbers()
    frame = pl.DataFrame(
        {
            **_ledger_of(messages, rows),
            "kind": _strings(amendment.kind for amendment in found),
            "source": _strings(amendment.source for amendment in found),
            "symbol": _strings(amendment.symbol for amendment in found),
            "ts": _integers(whole_number(bytes(amendment.ts)) for amendment in found),
            "ref_id": _strings(amendment.ref_id for amendment in found),
            "price": _integers(numbers.price(amendment.price) for amendment in found),
            "size": _integers(numbers.whole(amendment.size) for amendment in found),
            "sequence": _integers(numbers.sequence(amendment.sequence, amendment.ref_id) for amendment in found),
            "exchange": _strings(amendment.exchange for amendment in found),
            "conditions": _strings(amendment.conditions for amendment in found),
            "is_typed": _truths(is_number("since", amendment.since) for amendment in found),
        }
    )
    is_cancel = pl.col("kind") == "cancel"
    valid = frame.filter(
        pl.col("kind").is_in(["cancel", "correction"]),
        "is_typed",
        *_common_rules(),
        *_tape_rules("ref_id"),
        (is_cancel & pl.col("price").is_null()) | (pl.col("price") > 0),
        (is_cancel & pl.col("size").is_null()) | pl.col("size").is_between(1, MAX_SIZE_SHARES),
    )
    return valid.with_columns(
        pl.col("ref_id").alias("trade_id"),
        _moment(pl.col("ts")).alias("amended_at"),
        *(pl.when(~is_cancel).then(pl.col(name)).alias(name) for name in ("price", "size")),
        *(
            pl.when(is_cancel).then(pl.lit("")).otherwise(pl.col(name).fill_null("")).alias(name)
            for name in ("exchange", "conditions")
        ),
    )


def statuses_in(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the valid heartbeats, halts and resumes among ``messages`` with the columns of ``silver/feed_status``."""
    rows, found = parse(messages["value"], StatusMessage)
    ignored = ("price", "size", "sequence", "since")
    frame = pl.DataFrame(
        {
            **_ledger_of(messages, rows),
            "kind": _strings(status.kind for status in found),
            "source": _strings(status.source for status in found),
            "symbol": _strings(status.symbol for status in found),
            "ts": _integers(whole_number(bytes(status.ts)) for status in found),
            "since": _integers(whole_number(bytes(status.since)) for status in found),
            "reason": _strings(status.reason for status in found),
            "is_typed": _truths(all(is_number(name, getattr(status, name)) for name in ignored) for status in found),
        }
    )
    said = frame.filter(
        pl.col("kind").is_in(["heartbeat", "halt", "resume"]),
        "is_typed",
        *_common_rules(),
        pl.col("reason").fill_null("").str.len_chars() <= MAX_REASON_CHARACTERS,
        ~pl.col("reason").fill_null("").str.contains("\0", literal=True),
    )
    is_heartbeat = pl.col("kind") == "heartbeat"
    beats = said.filter(is_heartbeat, pl.col("since") >= 0, pl.col("since") < pl.col("ts"))
    first, last = (in_sessions(moment)["session_date"] for moment in (beats["since"], beats["ts"] - 1))
    beats = beats.with_columns(first.alias("session_date")).filter((first == last).fill_null(value=False))
    halts = said.filter(~is_heartbeat).with_columns(pl.lit(None, pl.Date).alias("session_date"))
    return pl.concat([beats, halts]).with_columns(
        pl.when(is_heartbeat).then(_moment(pl.col("since"))).alias("since_at"),
        _moment(pl.col("ts")).alias("status_at"),
        pl.when(pl.col("kind") == "halt").then(pl.col("reason").fill_null("")).otherwise(pl.lit("")).alias("reason"),
    )


def judged_again(trades: pl.DataFrame) -> pl.DataFrame:
    """Return trades of ``silver/trades`` with what they count for, by the conditions that they have now."""
    return _judge_eligibility(trades.drop(_JUDGEMENT))


def quotes_in(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the valid quotes among ``messages`` with the columns of ``silver/quotes``."""
    rows, found = parse(messages["value"], QuoteMessage)
    numbers = Numbers()
    frame = pl.DataFrame(
        {
            **_ledger_of(messages, rows),
            "kind": _strings(quote.kind for quote in found),
            "source": _strings(quote.source for quote in found),
            "symbol": _strings(quote.symbol for quote in found),
            "ts": _integers(whole_number(bytes(quote.ts)) for quote in found),
            "quote_id": _strings(quote.quote_id for quote in found),
            "bid": _integers(numbers.price(quote.bid) for quote in found),
            "bid_size": _integers(numbers.whole(quote.bid_size) for quote in found),
            "ask": _integers(numbers.price(quote.ask) for quote in found),
            "ask_size": _integers(numbers.whole(quote.ask_size) for quote in found),
            "sequence": _integers(numbers.sequence(quote.sequence, quote.quote_id) for quote in found),
            "exchange": _strings(quote.exchange for quote in found),
            "conditions": _strings(quote.conditions for quote in found),
        }
    )
    valid = frame.filter(
        pl.col("kind") == "quote",
        *_common_rules(),
        *_tape_rules("quote_id"),
        pl.col("bid").is_not_null() | pl.col("ask").is_not_null(),
        *((pl.col(side) > 0).fill_null(value=True) for side in ("bid", "ask")),
        *(pl.col(size).is_between(0, MAX_SIZE_SHARES).fill_null(value=True) for size in ("bid_size", "ask_size")),
    )
    return _in_session(valid).with_columns(_moment(pl.col("ts")).alias("quoted_at"))


def vendor_bars_in(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the valid bars among ``messages`` with the columns of ``silver/vendor_bars``."""
    rows, found = parse(messages["value"], BarMessage)
    numbers = Numbers()
    prices = ("open", "high", "low", "close")
    frame = pl.DataFrame(
        {
            **_ledger_of(messages, rows),
            "kind": _strings(bar.kind for bar in found),
            "source": _strings(bar.source for bar in found),
            "symbol": _strings(bar.symbol for bar in found),
            "interval": _strings(bar.interval for bar in found),
            "ts": _integers(whole_number(bytes(bar.ts)) for bar in found),
            **{name: _integers(numbers.price(getattr(bar, name)) for bar in found) for name in prices},
            "volume": _integers(numbers.whole(bar.volume) for bar in found),
        }
    )
    valid = frame.filter(
        pl.col("kind") == "bar",
        *_common_rules(),
        pl.col("interval").is_in([*INTERVALS, DAILY]),
        *(pl.col(name) > 0 for name in prices),
        pl.col("low") <= pl.min_horizontal("open", "close"),
        pl.col("high") >= pl.max_horizontal("open", "close"),
        pl.col("volume").is_between(0, _MAX_BAR_VOLUME),
    )
    return _in_session(valid).with_columns(_moment(pl.col("ts")).alias("bar_at"))


def actions_in(messages: pl.DataFrame) -> pl.DataFrame:
    """Return the valid corporate actions among ``messages`` with the columns of ``silver/corporate_actions``."""
    rows, found = parse(messages["value"], ActionMessage)
    numbers = Numbers()
    amounts = ("new_shares", "old_shares", "cash")
    frame = pl.DataFrame(
        {
            **_ledger_of(messages, rows),
            "kind": _strings(said.kind for said in found),
            "source": _strings(said.source for said in found),
            "symbol": _strings(said.symbol for said in found),
            "ts": _integers(whole_number(bytes(said.ts)) for said in found),
            "session_date": pl.Series([_session_of(said.effective_date) for said in found], dtype=pl.Date),
            **{name: _integers(numbers.price(getattr(said, name)) for said in found) for name in amounts},
            "new_symbol": _strings(said.new_symbol for said in found),
            "withdrawn_action": _strings(said.action for said in found),
            "is_typed": _truths(all(is_number(name, getattr(said, name)) for name in amounts) for said in found),
        }
    )
    kind = pl.col("kind")
    is_split, is_dividend, is_change, is_withdrawal = (kind == name for name in (*ACTIONS, "withdrawal"))
    has_ratio = (pl.col("new_shares") > 0) & (pl.col("old_shares") > 0)
    is_other_symbol = pl.col("new_symbol").str.contains(SYMBOL_PATTERN) & (pl.col("new_symbol") != pl.col("symbol"))
    valid = frame.filter(
        "is_typed",
        *_common_rules(),
        pl.col("session_date").is_not_null(),
        (is_split & has_ratio)
        | (is_dividend & (pl.col("cash") > 0))
        | (is_change & is_other_symbol)
        | (is_withdrawal & pl.col("withdrawn_action").is_in(ACTIONS)),
    )
    return valid.with_columns(
        pl.when(is_withdrawal).then(pl.col("withdrawn_action")).otherwise(kind).alias("action"),
        _moment(pl.col("ts")).alias("known_at"),
        is_withdrawal.alias("is_withdrawn"),
        *(pl.when(is_split).then(pl.col(name)).alias(name) for name in ("new_shares", "old_shares")),
        pl.when(is_dividend).then(pl.col("cash")).alias("cash"),
        pl.when(is_change).then(pl.col("new_symbol")).alias("new_symbol"),
    )


def _session_of(text: str) -> date | None:
    """Return the session that a text names, or ``None``."""
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None
    return day if day is not None and is_session(day) else None


def _ledger_of(messages: pl.DataFrame, rows: list[int]) -> dict[str, pl.Series]:
    return {name: messages[name].gather(rows) for name in LEDGER}


def _strings(values: Iterable[str | None]) -> pl.Series:
    return pl.Series(list(values), dtype=pl.String)


def _integers(values: Iterable[int | None]) -> pl.Series:
    return pl.Series(list(values), dtype=pl.Int64)


def _truths(values: Iterable[bool]) -> pl.Series:
    return pl.Series(list(values), dtype=pl.Boolean)


def _moment(micros: pl.Expr) -> pl.Expr:
    return micros.cast(pl.Datetime("us", "UTC"))


def _common_rules() -> tuple[pl.Expr, ...]:
    return (
        pl.col("source").str.contains(_SOURCE),
        pl.col("symbol").str.contains(SYMBOL_PATTERN),
        pl.col("ts").is_between(0, _MAX_TS),
        pl.col("ts") <= pl.col("ingested_at").to_physical() + _FUTURE_MICROS,
    )


def _tape_rules(id_name: str) -> tuple[pl.Expr, ...]:
    conditions = pl.col("conditions").fill_null("")
    return (
        pl.col(id_name).str.contains(_RECORD_ID),
        pl.col("sequence").is_between(0, MAX_SEQUENCE),
        pl.col("exchange").fill_null("").str.len_chars() <= _MAX_EXCHANGE_CHARACTERS,
        conditions.str.len_chars() <= _MAX_CONDITIONS_CHARACTERS,
        ~pl.col("source").is_in(list(RULES)) | conditions.str.contains(_HEX),
    )


def _in_session(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that lie in a session, with ``session_date`` and ``segment``; absent texts become empty."""
    placed = frame.hstack(in_sessions(frame["ts"])).filter(pl.col("segment").is_not_null())
    return placed.with_columns(
        pl.col(name).fill_null("") for name in ("exchange", "conditions") if name in frame.columns
    )


def _judge_eligibility(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades with what they count for, by the published exclusions of their feed."""
    met = trades.select("source", "segment", "conditions").unique()
    judged = [
        {"source": source, "segment": segment, "conditions": conditions, **_eligibility(source, segment, conditions)}
        for source, segment, conditions in met.iter_rows()
    ]
    schema = {**met.schema, **_JUDGEMENT}
    return trades.join(pl.DataFrame(judged, schema=schema), on=["source", "segment", "conditions"], how="left")


_JUDGEMENT: Final = {
    "counts_for_open_close": pl.Boolean(),
    "counts_for_high_low": pl.Boolean(),
    "counts_for_volume": pl.Boolean(),
    "left_out_for": pl.String(),
    "eligibility_version": pl.Int32(),
}


def _eligibility(source: str, segment: str, conditions: str) -> dict[str, object]:
    rule = RULES.get(source)
    bits = int(conditions or "0", 16) if rule else 0
    lost = [
        (exclusion.reason, exclusion.regular if segment == "regular" else exclusion.extended)
        for exclusion in (rule.exclusions if rule else ())
        if bits & exclusion.bits
    ]
    reasons = [reason for reason, uses in lost if uses]
    return {
        "counts_for_open_close": not any(Use.OPEN_CLOSE in uses for _, uses in lost),
        "counts_for_high_low": not any(Use.HIGH_LOW in uses for _, uses in lost),
        "counts_for_volume": not any(Use.VOLUME in uses for _, uses in lost),
        "left_out_for": reasons[0] if reasons else None,
        "eligibility_version": rule.version if rule else 1,
    }
