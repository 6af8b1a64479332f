"""The kinds of record: per topic the fields, the rules that a message must meet, and its row in the lake.

A rule is a reason code with the condition; the order is the order in which reasons are given. For users the rules are
written down in ``docs/wire-format.md``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from market import tables, topics
from market.domains import FEED_PATTERN
from market.eligibility import RULES
from market.instruments import SYMBOL_PATTERN
from market.records import (
    ACTIONS,
    CONDITION_BITS_PATTERN,
    DAILY,
    ID_PATTERN,
    INTERVALS,
    MAX_BAR_VOLUME,
    MAX_CONDITIONS_CHARACTERS,
    MAX_EXCHANGE_CHARACTERS,
    MAX_REASON_CHARACTERS,
    MAX_SEQUENCE,
    MAX_SIZE_SHARES,
    NUL,
)
from market.tables import Table
from market.topics import Topic
from spark_jobs.transforms import silver
from spark_jobs.transforms.calendar import MAX_TS, MICROS, Calendar
from spark_jobs.transforms.plain import PRINTABLE, Fields
from spark_jobs.transforms.unique import AMENDMENT, CORPORATE_ACTION, QUOTE, STATUS, TRADE, VENDOR_BAR, Identity

MAX_AHEAD: Final = 5 * 60 * MICROS
"""How far a message may be ahead of the moment at which its batch was planned."""

_SOURCE: Final = FEED_PATTERN.strip("^$")
_SYMBOL: Final = SYMBOL_PATTERN.strip("^$")
_KIND: Final = "[a-z_]{1,16}"
_EXCHANGE: Final = f"{PRINTABLE}{{0,{MAX_EXCHANGE_CHARACTERS}}}"
_CONDITIONS: Final = f"{PRINTABLE}{{0,{MAX_CONDITIONS_CHARACTERS}}}"


class Rule(NamedTuple):
    """A reason, and the condition that a message without that fault meets; never null.

    ``in_plain`` is the condition that says the same of a plain message, where its shape says a part of it already; ``None`` if
    it says all.
    """

    reason: str
    holds: pl.Expr
    in_plain: pl.Expr | None


@dataclass(frozen=True, eq=False)
class RecordKind:
    """One kind of record.

    Attributes
    ----------
    topic, names
        The topic that carries it, and what its messages have as ``kind``.
    table
        Where valid, unique records go.
    identity
        What makes two messages the same record.
    fields
        The fields of the JSON.
    moment
        The column of ``table`` that says when it happened.
    rules
        The rules of this kind, after the common ones.
    to_row
        The columns of ``table`` but for those of the ledger, from a valid message with its place in a session.
    in_session
        Whether it can only happen while there is a session.
    place
        Gives messages their place in a session, where that does not follow from ``ts`` alone.
    beside
        The other kinds that the topic carries, with the same fields.
    restated
        Whether a later message may state the record anew (another version) or contradicts it (a conflict).
    """

    topic: Topic
    names: tuple[str, ...]
    table: Table
    identity: Identity
    fields: Fields
    moment: str
    rules: tuple[Rule, ...]
    to_row: Callable[[pl.DataFrame], pl.DataFrame]
    in_session: bool = True
    place: Callable[[pl.DataFrame, Calendar], pl.DataFrame] | None = None
    beside: "tuple[RecordKind, ...]" = ()
    restated: bool = False

    @property
    def name(self) -> str:
        """What the kind is called."""
        return self.names[0]

    @property
    def every_rule(self) -> tuple[Rule, ...]:
        """All rules in the order in which reasons are given."""
        return (
            Rule("not_json", pl.col("is_json"), None),
            *_common_rules(self.names, in_session=self.in_session),
            *self.rules,
            Rule("wrong_type", pl.col("has_types"), None),
        )


def _fields(texts: tuple[str, ...], wholes: tuple[str, ...], prices: tuple[str, ...]) -> Fields:
    shapes = {name: _SHAPES[name] for name in ("kind", "source", "symbol", *texts)}
    return Fields(texts=shapes, wholes=("ts", *wholes), prices=prices)


_SHAPES: Final = {
    "kind": _KIND,
    "source": _SOURCE,
    "symbol": _SYMBOL,
    "interval": "[0-9a-z]{1,3}",
    "trade_id": ID_PATTERN,
    "ref_id": ID_PATTERN,
    "quote_id": ID_PATTERN,
    "exchange": _EXCHANGE,
    "conditions": _CONDITIONS,
    "reason": f"{PRINTABLE}{{0,{MAX_REASON_CHARACTERS}}}",
    "effective_date": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "new_symbol": _SYMBOL,
    "action": _KIND,
}
"""The characters of a text in a plain message; at most those that its rule allows."""


def _rule(reason: str, holds: pl.Expr) -> Rule:
    """Return a rule about what a message states, plain or not."""
    return Rule(reason, holds, holds)


def _has_shape(column: str, pattern: str) -> Rule:
    """Return the rule that a text is there and matches."""
    return Rule(f"bad_{column}", _matches(column, pattern), pl.col(column).is_not_null())


def _matches(column: str, pattern: str) -> pl.Expr:
    return pl.col(column).str.contains(f"^(?:{pattern})$").fill_null(value=False)


def _between(column: str, low: int, high: int) -> pl.Expr:
    return pl.col(column).is_between(low, high).fill_null(value=False)


def _optional(column: str, holds: pl.Expr) -> pl.Expr:
    return pl.col(column).is_null() | holds


def _common_rules(names: tuple[str, ...], *, in_session: bool) -> tuple[Rule, ...]:
    latest = pl.col("ingested_ts") + MAX_AHEAD
    return (
        _rule("unknown_kind", pl.col("kind").is_in(names).fill_null(value=False)),
        _has_shape("source", _SOURCE),
        _has_shape("symbol", _SYMBOL),
        _rule("bad_ts", _between("ts", 0, MAX_TS)),
        _rule("from_the_future", (pl.col("ts") <= latest).fill_null(value=False)),
        *([_rule("outside_session", pl.col("segment").is_not_null())] if in_session else []),
    )


def _tape_rules() -> tuple[Rule, ...]:
    no_bits = ~pl.col("source").is_in(list(RULES)).fill_null(value=False)
    is_hex = _optional("conditions", no_bits | _matches("conditions", CONDITION_BITS_PATTERN))
    is_short = _optional("conditions", pl.col("conditions").str.len_chars() <= MAX_CONDITIONS_CHARACTERS)
    fits = _optional("exchange", pl.col("exchange").str.len_chars() <= MAX_EXCHANGE_CHARACTERS)
    return (
        _rule("bad_sequence", _optional("sequence", _between("sequence", 0, MAX_SEQUENCE))),
        Rule("bad_exchange", fits, None),
        Rule("bad_conditions", is_short & is_hex, is_hex),
    )


_TRADE_RULES: Final = (
    _rule("bad_price", (pl.col("price") > 0).fill_null(value=False)),
    _rule("bad_size", _between("size", 1, MAX_SIZE_SHARES)),
    _has_shape("trade_id", ID_PATTERN),
    *_tape_rules(),
)
_IS_CANCEL: Final = pl.col("kind") == "cancel"
_AMENDMENT_RULES: Final = (
    _rule("bad_price", ((_IS_CANCEL & ~pl.col("given_price")) | (pl.col("price") > 0)).fill_null(value=False)),
    _rule("bad_size", (_IS_CANCEL & pl.col("size").is_null()) | _between("size", 1, MAX_SIZE_SHARES)),
    _has_shape("ref_id", ID_PATTERN),
    *_tape_rules(),
)


def _side(name: str) -> pl.Expr:
    return ((pl.col(name) > 0) | ~pl.col(f"given_{name}")).fill_null(value=False)


_QUOTE_RULES: Final = (
    *(_rule(f"bad_{side}", _side(side)) for side in ("bid", "ask")),
    _rule("no_bid_or_ask", pl.col("bid").is_not_null() | pl.col("ask").is_not_null()),
    _rule("bad_bid_size", _optional("bid_size", _between("bid_size", 0, MAX_SIZE_SHARES))),
    _rule("bad_ask_size", _optional("ask_size", _between("ask_size", 0, MAX_SIZE_SHARES))),
    _has_shape("quote_id", ID_PATTERN),
    *_tape_rules(),
)
_PRICES: Final = ("open", "high", "low", "close")
_IN_ORDER: Final = (pl.min_horizontal("open", "close") >= pl.col("low")) & (
    pl.max_horizontal("open", "close") <= pl.col("high")
)
_BAR_RULES: Final = (
    _rule("bad_interval", pl.col("interval").is_in([*INTERVALS, DAILY]).fill_null(value=False)),
    *(_rule(f"bad_{name}", (pl.col(name) > 0).fill_null(value=False)) for name in _PRICES),
    _rule("prices_out_of_order", _IN_ORDER.fill_null(value=False)),
    _rule("bad_volume", _between("volume", 0, MAX_BAR_VOLUME)),
)

_IS_HEARTBEAT: Final = pl.col("kind") == "heartbeat"
_FITS_A_REASON: Final = (pl.col("reason").str.len_chars() <= MAX_REASON_CHARACTERS) & ~pl.col("reason").str.contains(
    NUL, literal=True
)
_STATUS_RULES: Final = (
    _rule(
        "bad_since", ~_IS_HEARTBEAT | ((pl.col("since") >= 0) & (pl.col("since") < pl.col("ts"))).fill_null(value=False)
    ),
    _rule("outside_session", ~_IS_HEARTBEAT | pl.col("session_date").is_not_null()),
    Rule("bad_reason", _optional("reason", _FITS_A_REASON), None),
)


def _of_kind(kind: str, holds: pl.Expr) -> pl.Expr:
    """Return the condition that a corporate action is of another kind, or meets one."""
    return ((pl.col("kind") != kind) | holds).fill_null(value=False)


_ACTION_RULES: Final = (
    _rule("bad_effective_date", pl.col("is_date")),
    _rule("outside_session", pl.col("session_date").is_not_null()),
    *(_rule(f"bad_{name}", _of_kind("split", pl.col(name) > 0)) for name in ("new_shares", "old_shares")),
    _rule("bad_cash", _of_kind("dividend", pl.col("cash") > 0)),
    _rule(
        "bad_new_symbol",
        _of_kind("symbol_change", _matches("new_symbol", _SYMBOL) & (pl.col("new_symbol") != pl.col("symbol"))),
    ),
    _rule("bad_action", _of_kind("withdrawal", pl.col("action").is_in(ACTIONS))),
)

_TRADE_FIELDS: Final = _fields(
    ("trade_id", "ref_id", "exchange", "conditions", "reason"), ("size", "sequence", "since"), ("price",)
)
AMENDMENTS: Final = RecordKind(
    topic=topics.TRADES,
    names=("cancel", "correction"),
    table=tables.AMENDMENTS,
    identity=AMENDMENT,
    fields=_TRADE_FIELDS,
    moment="amended_at",
    rules=_AMENDMENT_RULES,
    to_row=silver.amendment_rows,
    in_session=False,
)
STATUSES: Final = RecordKind(
    topic=topics.TRADES,
    names=("heartbeat", "halt", "resume"),
    table=tables.FEED_STATUS,
    identity=STATUS,
    fields=_TRADE_FIELDS,
    moment="status_at",
    rules=_STATUS_RULES,
    to_row=silver.status_rows,
    in_session=False,
    place=silver.place_statuses,
)
TRADES: Final = RecordKind(
    topic=topics.TRADES,
    names=("trade",),
    table=tables.TRADES,
    identity=TRADE,
    fields=_TRADE_FIELDS,
    moment="traded_at",
    rules=_TRADE_RULES,
    to_row=silver.trade_rows,
    beside=(AMENDMENTS, STATUSES),
)
QUOTES: Final = RecordKind(
    topic=topics.QUOTES,
    names=("quote",),
    table=tables.QUOTES,
    identity=QUOTE,
    fields=_fields(("quote_id", "exchange", "conditions"), ("bid_size", "ask_size", "sequence"), ("bid", "ask")),
    moment="quoted_at",
    rules=_QUOTE_RULES,
    to_row=silver.quote_rows,
)
VENDOR_BARS: Final = RecordKind(
    topic=topics.BARS,
    names=("bar",),
    table=tables.VENDOR_BARS,
    identity=VENDOR_BAR,
    fields=_fields(("interval",), ("volume",), _PRICES),
    moment="bar_at",
    rules=_BAR_RULES,
    to_row=silver.vendor_bar_rows,
    restated=True,
)
CORPORATE_ACTIONS: Final = RecordKind(
    topic=topics.ACTIONS,
    names=(*ACTIONS, "withdrawal"),
    table=tables.CORPORATE_ACTIONS,
    identity=CORPORATE_ACTION,
    fields=_fields(("effective_date", "new_symbol", "action"), (), ("new_shares", "old_shares", "cash")),
    moment="known_at",
    rules=_ACTION_RULES,
    to_row=silver.action_rows,
    in_session=False,
    place=silver.place_actions,
    restated=True,
)
KINDS: Final = (TRADES, QUOTES, VENDOR_BARS, CORPORATE_ACTIONS)
"""The kinds that have a topic of their own."""
