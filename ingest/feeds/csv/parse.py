"""The rows of a tape in CSV as records: pure, no files in here.

The format: a header, then one row per event, in any order. The columns ``kind, symbol, ts, price, size`` must be there,
``trade_id, ref_id, conditions, exchange, since, reason`` may; columns may stand in any order.

- ``kind``: ``trade``, ``cancel``, ``correction``, ``heartbeat``, ``halt`` or ``resume``.
- ``ts``: ISO 8601 with a zone, or UTC epoch microseconds; at most microseconds.
- ``price``, ``size``: as numbers; but for trades and corrections they are ignored, and may be empty.
- ``trade_id``: the identity of a trade within its symbol. Without it the identity is made of what the row says and of how
  often the file has said so before: the same file again gives the same trades again.
- Trades of a symbol with equal ``ts`` are ordered by the number at the end of their ``trade_id``; without such a number, in the
  order of the file.
- ``ref_id``: the ``trade_id`` of the trade that a cancel or a correction amends.
- ``since``: the start of a heartbeat, written as ``ts``. ``reason``: that of a halt; may be empty.

A value that can be read is passed on, even where it makes no sense: the stream judges it, and keeps what it rejects. A
value that cannot be read is an error of the file.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Final

from ingest.feeds.csv.separators import other_separator
from market.errors import UsageError
from market.instruments import parse_symbols
from market.records import MAX_SEQUENCE, Cancel, Correction, Halt, Heartbeat, Record, Resume, Trade

REQUIRED: Final = ("kind", "symbol", "ts", "price", "size")
OPTIONAL: Final = ("trade_id", "ref_id", "conditions", "exchange", "since", "reason")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TOO_FINE: Final = re.compile(r"[.,][0-9]{7,}")
_LAST_NUMBER: Final = re.compile(r"([0-9]{1,12})$", re.ASCII)
_ID_BYTES: Final = 12
_LONGEST_SHOWN: Final = 40


class RowError(ValueError):
    """What is wrong with a row, without its place."""


def check_header(names: Sequence[str]) -> None:
    """Look at the names of the columns.

    Raises
    ------
    RowError
        If one is missing, unknown or there twice.
    """
    if separated := other_separator(names):
        raise RowError(separated)
    for name in REQUIRED:
        if name not in names:
            msg = f"has no column {name!r}: the header must name {', '.join(REQUIRED)}, and may name {', '.join(OPTIONAL)}"
            raise RowError(msg)
    for name, count in Counter(names).items():
        if name not in (*REQUIRED, *OPTIONAL):
            msg = f"has the column {_shown(name)}, which means nothing here: known are {', '.join((*REQUIRED, *OPTIONAL))}"
            raise RowError(msg)
        if count > 1:
            msg = f"has the column {name!r} {count} times"
            raise RowError(msg)


class RowParser:
    """Makes records of rows; remembers what it has seen only for trades whose identity does not end in a number.

    Parameters
    ----------
    source
        The feed's name.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._nameless: Counter[bytes] = Counter()
        self._unnumbered: Counter[tuple[str, int]] = Counter()
        self._places: dict[tuple[str, str], int] = {}

    def parse(self, row: Mapping[str, str]) -> Record:
        """Return the record of a row.

        Raises
        ------
        RowError
            If a value cannot be read; names the value and what is expected.
        """
        kind = row["kind"].strip().lower()
        make = self._makers().get(kind)
        if make is None:
            msg = f"has the kind {_shown(row['kind'])}: it is one of {', '.join(self._makers())}"
            raise RowError(msg)
        return make(row, _symbol(row["symbol"]), _ts(row, "ts"))

    def _makers(self) -> Mapping[str, Callable[[Mapping[str, str], str, int], Record]]:
        return {
            "trade": self._trade,
            "cancel": self._cancel,
            "correction": self._correction,
            "heartbeat": self._heartbeat,
            "halt": self._halt,
            "resume": self._resume,
        }

    def _trade(self, row: Mapping[str, str], symbol: str, ts: int) -> Trade:
        price, size = _price(row["price"]), _size(row["size"])
        exchange, conditions = _text(row, "exchange"), _text(row, "conditions")
        own_id = _text(row, "trade_id")
        trade_id = own_id or self._identity(symbol, ts, price, size, exchange, conditions)
        sequence = sequence_in(own_id) if own_id else None
        if sequence is None:
            sequence = self._place(symbol, ts, trade_id)
        return Trade(self._source, symbol, ts, price, size, trade_id, sequence, exchange, conditions)

    def _cancel(self, row: Mapping[str, str], symbol: str, ts: int) -> Cancel:
        return Cancel(self._source, symbol, ts, _ref_id(row))

    def _correction(self, row: Mapping[str, str], symbol: str, ts: int) -> Correction:
        return Correction(
            self._source,
            symbol,
            ts,
            _ref_id(row),
            _price(row["price"]),
            _size(row["size"]),
            _text(row, "exchange"),
            _text(row, "conditions"),
        )

    def _heartbeat(self, row: Mapping[str, str], symbol: str, ts: int) -> Heartbeat:
        if "since" not in row:
            msg = "is a heartbeat, which needs the time that it begins at: give the file a column 'since'"
            raise RowError(msg)
        return Heartbeat(self._source, symbol, _ts(row, "since"), ts)

    def _halt(self, row: Mapping[str, str], symbol: str, ts: int) -> Halt:
        return Halt(self._source, symbol, ts, _text(row, "reason"))

    def _resume(self, _row: Mapping[str, str], symbol: str, ts: int) -> Resume:
        return Resume(self._source, symbol, ts)

    def _place(self, symbol: str, ts: int, trade_id: str) -> int:
        """Return the trade's place among those of its symbol and moment; a row that is repeated has the place of the first."""
        place = self._places.get((symbol, trade_id))
        if place is None:
            self._unnumbered[symbol, ts] += 1
            place = self._places[symbol, trade_id] = self._unnumbered[symbol, ts]
        return place

    def _identity(self, *values: object) -> str:
        content = blake2b(repr([str(value) for value in values]).encode(), digest_size=_ID_BYTES)
        self._nameless[content.digest()] += 1
        return f"{content.hexdigest()}.{self._nameless[content.digest()]}"


def sequence_in(trade_id: str) -> int | None:
    """Return the number at the end of an identity: it orders trades of the same microsecond; ``None`` without one.

    It is derived from the identity, not from the row, so that a row that is repeated says the same.
    """
    found = _LAST_NUMBER.search(trade_id)
    return int(found[1]) if found and int(found[1]) <= MAX_SEQUENCE else None


def _symbol(text: str) -> str:
    try:
        (symbol,) = parse_symbols([text])
    except (UsageError, ValueError):
        msg = f"has the symbol {_shown(text)}: a letter, then letters, digits, dots or hyphens, 15 at most"
        raise RowError(msg) from None
    return symbol


def _ts(row: Mapping[str, str], column: str) -> int:
    text = row[column].strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    expected = "a time in ISO 8601 with a zone, such as 2013-10-07T13:30:00.123456Z, or UTC epoch microseconds"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"has the {column} {_shown(text)}: it is {expected}"
        raise RowError(msg) from None
    if moment.tzinfo is None:
        msg = f"has the {column} {_shown(text)} without a zone: it is {expected}"
        raise RowError(msg)
    if _TOO_FINE.search(text):
        msg = f"has the {column} {_shown(text)}, which is finer than a microsecond: round it"
        raise RowError(msg)
    return (moment - _EPOCH) // _MICROSECOND


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text.strip())
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite():
        msg = f"has the price {_shown(text)}: it is a decimal number such as 167.42"
        raise RowError(msg)
    return price


def _size(text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        msg = f"has the size {_shown(text)}: it is a whole number of shares"
        raise RowError(msg)
    return int(text)


def _ref_id(row: Mapping[str, str]) -> str:
    ref_id = _text(row, "ref_id")
    if not ref_id:
        msg = "amends no trade: ref_id is empty"
        raise RowError(msg)
    return ref_id


def _text(row: Mapping[str, str], name: str) -> str:
    return (row.get(name) or "").strip()


def _shown(text: str) -> str:
    return repr(text[:_LONGEST_SHOWN])
