"""The records that travel through Kafka: typed, immutable, encoded as JSON by msgspec.

What belongs here: the shape of a message and its encoding. What does not: whether a value makes sense;
that is decided once, by the stream, so that a bad message is kept in quarantine with its reason and not lost
in a producer.

Times are UTC epoch microseconds (``ts``: when it happened at the venue). Prices are decimals with at most six
places, in the instrument's currency; sizes are whole shares.
"""

from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

PRICE_DECIMALS: Final = 6
MAX_PRICE: Final = Decimal(10) ** 12
"""Prices must be below this: NUMERIC(18, 6)."""
MAX_SIZE_SHARES: Final = 10**12
"""Sizes must not exceed this, so that no sum over a bar can overflow 64 bits."""
MAX_BAR_VOLUME: Final = 10**15
"""Volumes of bars must not exceed this."""
MAX_SEQUENCE: Final = 2**37 - 1
"""Sequences must not exceed this: with the time within the minute and the price they order trades in one 128-bit number."""
ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}"
"""What an id of a trade or a quote looks like, from its start to its end."""
MAX_EXCHANGE_CHARACTERS: Final = 16
MAX_CONDITIONS_CHARACTERS: Final = 64
CONDITION_BITS_PATTERN: Final = r"[0-9A-Fa-f]{0,15}"
"""What conditions look like, from their start to their end, of sources that have rules to read them."""
MAX_REASON_CHARACTERS: Final = 64
"""The reason of a halt must not be longer."""
NUL: Final = "\0"
"""The reason of a halt must not hold this character: PostgreSQL's texts cannot."""


class Trade(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="trade"):
    """One trade.

    Attributes
    ----------
    source
        The feed that it came from, which decides how ``conditions`` are read.
    symbol
        Upper-case ticker.
    ts
        Execution time, UTC epoch microseconds.
    price
        Price per share, positive, at most six decimals.
    size
        Shares, positive.
    trade_id
        Unique per source, symbol and session; the same id again is the same trade.
    sequence
        The feed's order among trades with equal ``ts``. Without it the order is derived from ``trade_id``.
    exchange
        Venue code of the feed.
    conditions
        Sale conditions in the feed's own notation.
    """

    source: str
    symbol: str
    ts: int
    price: Decimal
    size: int
    trade_id: str
    sequence: int | None = None
    exchange: str = ""
    conditions: str = ""


class Cancel(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="cancel"):
    """A trade was broken: it never happened.

    ``ts`` is when it was cancelled, UTC epoch microseconds; ``ref_id`` is the ``trade_id`` of the trade, of the same source
    and symbol.
    """

    source: str
    symbol: str
    ts: int
    ref_id: str


class Correction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="correction"):
    """A trade was reported wrongly: this is what it should have been, at the time of the trade.

    ``ts`` is when it was corrected, UTC epoch microseconds; ``ref_id`` is the ``trade_id`` of the trade, of the same source
    and symbol; the other fields take the place of the trade's.
    """

    source: str
    symbol: str
    ts: int
    ref_id: str
    price: Decimal
    size: int
    exchange: str = ""
    conditions: str = ""


class Quote(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="quote"):
    """One change of the best bid or offer; a side that did not change is ``None``.

    ``bid`` and ``ask`` are prices per share, ``bid_size`` and ``ask_size`` are shares, ``ts`` is UTC epoch microseconds.
    """

    source: str
    symbol: str
    ts: int
    quote_id: str
    bid: Decimal | None = None
    bid_size: int | None = None
    ask: Decimal | None = None
    ask_size: int | None = None
    sequence: int | None = None
    exchange: str = ""
    conditions: str = ""


class Bar(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="bar"):
    """One bar as a vendor published it, unadjusted.

    ``interval`` is one of :data:`INTERVALS`; ``ts`` is the start of the bar in UTC epoch microseconds: for daily bars
    the open of the regular session.
    """

    source: str
    symbol: str
    interval: str
    ts: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


class Heartbeat(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="heartbeat"):
    """The feed has delivered every trade of the symbol that happened from ``since``, included, until ``ts``, excluded.

    Both are UTC epoch microseconds and lie in one session. What no heartbeat covers, the feed may have missed. It is published
    after the trades that it covers.
    """

    source: str
    symbol: str
    since: int
    ts: int


class Halt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="halt"):
    """Trading of the symbol stopped at ``ts``, UTC epoch microseconds, until the next :class:`Resume`.

    ``reason`` is the code or the words of the venue, in the feed's notation.
    """

    source: str
    symbol: str
    ts: int
    reason: str = ""


class Resume(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="resume"):
    """Trading of the symbol went on at ``ts``, UTC epoch microseconds."""

    source: str
    symbol: str
    ts: int


class Split(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="split"):
    """From ``effective_date`` on there are ``new_shares`` in the place of each ``old_shares``: 7 and 1 for a split of 7 for 1.

    ``ts`` is when it became known, UTC epoch microseconds; ``effective_date`` is a session, as ``2014-06-09``. The same action
    of the same source said anew is a new version of it.
    """

    source: str
    symbol: str
    ts: int
    effective_date: str
    new_shares: Decimal
    old_shares: Decimal


class Dividend(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="dividend"):
    """Who held a share at the close before ``effective_date``, the ex-date, gets ``cash`` for it: all cash of that day.

    ``ts`` and versions are as in :class:`Split`.
    """

    source: str
    symbol: str
    ts: int
    effective_date: str
    cash: Decimal


class SymbolChange(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="symbol_change"):
    """From ``effective_date`` on what traded as ``symbol`` trades as ``new_symbol``.

    ``ts`` and versions are as in :class:`Split`.
    """

    source: str
    symbol: str
    ts: int
    effective_date: str
    new_symbol: str


class Withdrawal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="withdrawal"):
    """The source takes an action back: it is not to be, or never was. ``action`` is one of :data:`ACTIONS`."""

    source: str
    symbol: str
    ts: int
    effective_date: str
    action: str


CorporateAction = Split | Dividend | SymbolChange | Withdrawal
Record = Trade | Cancel | Correction | Quote | Bar | Heartbeat | Halt | Resume | CorporateAction


class Received(NamedTuple):
    """A record with the place of its message in its topic."""

    record: Record
    partition: int
    offset: int


ACTIONS: Final = ("split", "dividend", "symbol_change")
"""The kinds of corporate action."""

INTERVALS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}
"""Intraday bar intervals and their length in seconds."""
DAILY: Final = "1d"

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """Return the record as the JSON that goes into Kafka."""
    return _encoder.encode(record)


def decode(value: bytes) -> Record:
    """Return the record that ``value`` holds.

    Raises
    ------
    msgspec.MsgspecError
        If ``value`` is not JSON or not one of the records.
    """
    return _decoder.decode(value)
