"""Bytes to fields: JSON read with every number as it is written.

What belongs here: JSON and types. What does not: whether the fields make a valid record, which is
:mod:`verify.messages`.
"""

import json
import re
import zlib
from decimal import Decimal, DecimalException
from typing import Any, Final, TypeVar

import msgspec
import polars as pl

from market.records import MAX_PRICE, PRICE_DECIMALS

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MILLIONTH: Final = Decimal(1).scaleb(-PRICE_DECIMALS)
_WHOLE: Final = re.compile(rb"-?[0-9]{1,18}")
_ANY_WHOLE: Final = re.compile(r"-?[0-9]+")
_SURROGATES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_LONGEST_NUMBER: Final = 1_000
_LONGEST_NAME: Final = 50_000
_MOST_BRACKETS: Final = 500
_MAX_LONG: Final = 2**63
_PRICES: Final = frozenset({"price", "bid", "ask", "open", "high", "low", "close", "new_shares", "old_shares", "cash"})

_ABSENT: Final = msgspec.Raw(b"null")
INVALID: Final = -1
"""Stands for a number that is there and wrong; every valid one is at least 0."""


class TradeMessage(msgspec.Struct, gc=False):
    """A trade as it is written."""

    kind: str = ""
    source: str = ""
    symbol: str = ""
    ts: msgspec.Raw = _ABSENT
    trade_id: str = ""
    ref_id: str | None = None
    price: msgspec.Raw = _ABSENT
    size: msgspec.Raw = _ABSENT
    sequence: msgspec.Raw = _ABSENT
    exchange: str | None = None
    conditions: str | None = None
    since: msgspec.Raw = _ABSENT
    reason: str | None = None


class AmendmentMessage(msgspec.Struct, gc=False):
    """A cancel or a correction as it is written."""

    kind: str = ""
    source: str = ""
    symbol: str = ""
    ts: msgspec.Raw = _ABSENT
    trade_id: str | None = None
    ref_id: str = ""
    price: msgspec.Raw = _ABSENT
    size: msgspec.Raw = _ABSENT
    sequence: msgspec.Raw = _ABSENT
    exchange: str | None = None
    conditions: str | None = None
    since: msgspec.Raw = _ABSENT
    reason: str | None = None


class StatusMessage(msgspec.Struct, gc=False):
    """A heartbeat, a halt or a resume as it is written; what else the topic's messages have is only looked at for its type."""

    kind: str = ""
    source: str = ""
    symbol: str = ""
    ts: msgspec.Raw = _ABSENT
    since: msgspec.Raw = _ABSENT
    reason: str | None = None
    trade_id: str | None = None
    ref_id: str | None = None
    price: msgspec.Raw = _ABSENT
    size: msgspec.Raw = _ABSENT
    sequence: msgspec.Raw = _ABSENT
    exchange: str | None = None
    conditions: str | None = None


class QuoteMessage(msgspec.Struct, gc=False):
    """A quote as it is written."""

    kind: str = ""
    source: str = ""
    symbol: str = ""
    ts: msgspec.Raw = _ABSENT
    quote_id: str = ""
    bid: msgspec.Raw = _ABSENT
    bid_size: msgspec.Raw = _ABSENT
    ask: msgspec.Raw = _ABSENT
    ask_size: msgspec.Raw = _ABSENT
    sequence: msgspec.Raw = _ABSENT
    exchange: str | None = None
    conditions: str | None = None


class BarMessage(msgspec.Struct, gc=False):
    """A vendor's bar as it is written."""

    kind: str = ""
    source: str = ""
    symbol: str = ""
    interval: str = ""
    ts: msgspec.Raw = _ABSENT
    open: msgspec.Raw = _ABSENT
    high: msgspec.Raw = _ABSENT
    low: msgspec.Raw = _ABSENT
    close: msgspec.Raw = _ABSENT
    volume: msgspec.Raw = _ABSENT


class ActionMessage(msgspec.Struct, gc=False):
    """A split, a dividend, a change of symbol or a withdrawal as it is written."""

    kind: str = ""
    source: str = ""
    symbol: str = ""
    ts: msgspec.Raw = _ABSENT
    effective_date: str = ""
    new_shares: msgspec.Raw = _ABSENT
    old_shares: msgspec.Raw = _ABSENT
    cash: msgspec.Raw = _ABSENT
    new_symbol: str | None = None
    action: str | None = None


_Message = TypeVar("_Message", TradeMessage, AmendmentMessage, StatusMessage, QuoteMessage, BarMessage, ActionMessage)


class Numbers:
    """Reads the JSON tokens of numbers exactly, each distinct token once."""

    def __init__(self) -> None:
        self._prices: dict[bytes, int | None] = {}
        self._wholes: dict[bytes, int | None] = {}

    def price(self, token: msgspec.Raw) -> int | None:
        """Return millionths; ``None`` where the field is absent or null, -1 where it is no price."""
        text = bytes(token)
        if text not in self._prices:
            self._prices[text] = _price_micros(text)
        return self._prices[text]

    def whole(self, token: msgspec.Raw) -> int | None:
        """Return a whole number; ``None`` where the field is absent or null, -1 where it is none or below 0."""
        text = bytes(token)
        if text not in self._wholes:
            self._wholes[text] = whole_number(text)
        return self._wholes[text]

    def sequence(self, token: msgspec.Raw, record_id: str) -> int:
        """Return the sequence, or the CRC-32 of the record's id where it has none."""
        given = whole_number(bytes(token))
        return zlib.crc32(record_id.encode(errors="replace")) if given is None else given


def _price_micros(token: bytes) -> int | None:
    """Return millionths; ``None`` where the field is absent or null, -1 where it is no price.

    A price is a JSON number, or a text that is one, in any notation; its value has at most six decimals.
    """
    if token == b"null":
        return None
    try:
        text = _text(token) if token.startswith(b'"') else token.decode()
        value = Decimal(text) if _NUMBER.fullmatch(text) else Decimal(INVALID)
        is_price = 0 < value < MAX_PRICE and value == value.quantize(_MILLIONTH)
    except (msgspec.MsgspecError, UnicodeDecodeError, DecimalException):
        return INVALID
    return int(value.scaleb(PRICE_DECIMALS)) if is_price else INVALID


def whole_number(token: bytes) -> int | None:
    """Return a whole number; ``None`` where the field is absent or null, -1 where it is none or below 0."""
    if token == b"null":
        return None
    return max(int(token), INVALID) if _WHOLE.fullmatch(token) else INVALID


def is_number(name: str, token: msgspec.Raw) -> bool:
    """Return whether a field is absent, null, or a number of its type, whatever its value."""
    if bytes(token) == b"null":
        return True
    try:
        return _is_number(name, json.loads(bytes(token), parse_int=_token, parse_float=_token))
    except (ValueError, DecimalException, RecursionError):
        return False


def _text(token: bytes) -> str:
    """Return the content of a JSON text; a whole number stands for itself, anything else is no text."""
    if token.startswith(b'"'):
        return msgspec.json.decode(token, type=str)
    if not _ANY_WHOLE.fullmatch(token.decode()):
        raise msgspec.ValidationError
    return str(int(token))


def parse(values: pl.Series, shape: type[_Message]) -> tuple[list[int], list[_Message]]:
    """Return the row numbers of the values that are JSON objects, and what they hold."""
    decoder = msgspec.json.Decoder(shape)
    names = [b'"%s"' % field.name.encode() for field in msgspec.structs.fields(shape)]
    rows: list[int] = []
    found: list[_Message] = []
    for row, value in enumerate(values):
        odd = value is None or len(value) > _LONGEST_NUMBER or any(value.count(name) > 1 for name in names)
        odd = odd or b"\\u00" in value  # a name may be written with escapes
        if odd and not _is_readable(value or b"", shape):
            continue
        nested = value.count(b"[") + value.count(b"{") > _MOST_BRACKETS
        message = None if nested else _parse_one(value, shape, decoder)
        if message is not None:
            rows.append(row)
            found.append(message)
    return rows, found


def _parse_one(value: bytes, shape: type[_Message], decoder: msgspec.json.Decoder[_Message]) -> _Message | None:
    try:
        value.decode()
        return decoder.decode(value)
    except msgspec.ValidationError:
        return _parse_loosely(_mended(value), shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        mended = _mended(value)
        return None if mended == value else _parse_one(mended, shape, decoder)


def _mended(value: bytes) -> bytes:
    """Return the value with a question mark for each half of a surrogate pair."""
    return _SURROGATES.sub(lambda found: b"?" if found[1] else found[0], value)


def _parse_loosely(value: bytes, shape: type[_Message]) -> _Message | None:
    """Parse an object in which a text is written as another JSON value, such as an id that is a number."""
    try:
        tokens = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(shape):
            token = tokens.get(field.name, _ABSENT)
            if bytes(token) != b"null":
                fields[field.name] = token if field.type is msgspec.Raw else _text(bytes(token))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return shape(**fields)


class _Token(str):
    """A number as it is written, told apart from a text."""

    __slots__ = ()


def _is_readable(value: bytes, shape: type[_Message]) -> bool:
    """Return whether names and numbers keep their limits, and a field that is given twice is of its type each time."""
    types = {field.name: field.type for field in msgspec.structs.fields(shape)}
    try:
        members = json.loads(value, object_pairs_hook=_with_short_names, parse_int=_token, parse_float=_token)
        return value.lstrip().startswith(b"{") and all(
            _is_number(name, found) if types[name] is msgspec.Raw else _is_text(found)
            for name, found in members
            if name in types and found is not None
        )
    except (ValueError, DecimalException, RecursionError):
        return False


def _with_short_names(members: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    if any(len(name) > _LONGEST_NAME for name, _ in members):
        raise ValueError
    return members


def _token(number: str) -> _Token:
    if len(number) > _LONGEST_NUMBER:
        raise ValueError
    return _Token(number)


def _is_number(name: str, found: object) -> bool:
    if name in _PRICES:
        return isinstance(found, str) and bool(_NUMBER.fullmatch(found)) and -MAX_PRICE < Decimal(found) < MAX_PRICE
    return isinstance(found, _Token) and bool(_ANY_WHOLE.fullmatch(found)) and abs(int(found)) < _MAX_LONG


def _is_text(found: object) -> bool:
    return isinstance(found, str) and (not isinstance(found, _Token) or bool(_ANY_WHOLE.fullmatch(found)))
