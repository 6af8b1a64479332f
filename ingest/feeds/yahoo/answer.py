"""The form of what Yahoo's chart API answers, and reading its JSON.

What belongs here: fields and their types. What does not: what they mean (:mod:`ingest.feeds.yahoo.parse`).
"""

import json
from typing import Annotated

import msgspec

Seconds = Annotated[int, msgspec.Meta(ge=-2_208_988_800, lt=7_258_118_400)]
"""A moment since the epoch, from 1900 until 2200. What lies beyond, as milliseconds do, is none, and no clock can hold it."""


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    """What the answer says of the symbol."""

    exchange_timezone_name: str
    currency: str | None = None
    symbol: str | None = None


class SplitEvent(msgspec.Struct, frozen=True):
    """A split: ``numerator`` shares for ``denominator``, at ``date``, seconds since the epoch."""

    date: Seconds
    numerator: float
    denominator: float


class DividendEvent(msgspec.Struct, frozen=True):
    """A dividend: ``amount`` for a share of today, at ``date``; in the currency of the prices if it names none."""

    date: Seconds
    amount: float
    currency: str | None = None


class Events(msgspec.Struct, frozen=True, rename="camel"):
    """What happened in the range that was asked for; capital gains are what funds pay out beside dividends."""

    splits: dict[str, SplitEvent] = {}
    dividends: dict[str, DividendEvent] = {}
    capital_gains: dict[str, DividendEvent] = {}


class Columns(msgspec.Struct, frozen=True):
    """The columns of the answer; each is as long as its timestamps."""

    open: list[float | None] = []
    high: list[float | None] = []
    low: list[float | None] = []
    close: list[float | None] = []
    volume: list[float | None] = []

    def all(self) -> tuple[list[float | None], ...]:
        """Return the columns."""
        return (self.open, self.high, self.low, self.close, self.volume)


class Indicators(msgspec.Struct, frozen=True):
    """Holds the one set of columns."""

    quote: list[Columns] = []


class Result(msgspec.Struct, frozen=True):
    """The answer about one symbol."""

    meta: Meta
    indicators: Indicators
    timestamp: list[Seconds] | None = None
    events: Events | None = None


class Reason(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    code: str | None = None
    description: str | None = None


class Chart(msgspec.Struct, frozen=True):
    """An answer or a reason."""

    result: list[Result] | None = None
    error: Reason | None = None


class Envelope(msgspec.Struct, frozen=True):
    """The whole body."""

    chart: Chart


def decode(body: bytes) -> Envelope:
    """Return an answer. ``NaN`` and ``Infinity``, which are no JSON, are read as well: only the rows that have them are lost.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return msgspec.json.decode(body, type=Envelope)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not _has_no_numbers(body):
            raise
        return msgspec.convert(json.loads(body), type=Envelope)


def as_json(body: bytes) -> bytes:
    """Return an answer that :func:`decode` could read as JSON, with ``null`` where there was no number."""
    return msgspec.json.encode(json.loads(body)) if _has_no_numbers(body) else body


def _has_no_numbers(body: bytes) -> bool:
    return b"NaN" in body or b"Infinity" in body
