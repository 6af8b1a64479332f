"""The bytes of messages to fields: a short way for plain messages, an exact one for all.

What belongs here: JSON and types. What does not: whether the values make a valid record, which is
:mod:`spark_jobs.transforms.kinds`. For users both are written down in ``docs/wire-format.md``.

Almost every message is plain: a flat object in printable ASCII, without escapes, of known fields in their shapes, as its
encoder writes it. One regular expression finds the plain ones of a whole column, and Arrow's parser reads them together.
The others are read one by one by Python's own parser, which takes twenty times as long and is never in doubt.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from functools import cached_property
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from market.records import MAX_PRICE, PRICE_DECIMALS

_WHOLE_DIGITS: Final = 18
_PRICE_DIGITS: Final = 12
_LONGEST_NUMBER: Final = 1_000
_LONGEST_NAME: Final = 50_000
_MOST_BRACKETS: Final = 500
_DETAIL_LENGTH: Final = 80
_MAX_LONG: Final = 2**63
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ROW: Final = "row"

PRINTABLE: Final = r"[ !#-\[\]-~]"
"""A character of a plain message's texts: printable ASCII but for the quotation mark and the backslash."""


@dataclass(frozen=True)
class Fields:
    """The fields of one kind of message.

    Attributes
    ----------
    texts
        The names of the texts, each with the regular expression that it has in a plain message.
    wholes, prices
        The names of the whole numbers and of the prices.
    """

    texts: Mapping[str, str]
    wholes: tuple[str, ...]
    prices: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return (*self.texts, *self.wholes, *self.prices)

    @cached_property
    def plain(self) -> str:
        """The regular expression of plain messages.

        Numbers have no sign, no exponent and no more digits than their types hold. The fields may come in any order.
        """
        texts = (f'"{name}": ?"{shape}"' for name, shape in self.texts.items())
        whole = rf'"(?:{"|".join(self.wholes)})": ?(?:0|[1-9][0-9]{{0,{_WHOLE_DIGITS - 1}}})'
        number = rf"(?:0|[1-9][0-9]{{0,{_PRICE_DIGITS - 1}}})(?:\.[0-9]{{1,{PRICE_DECIMALS}}})?"
        price = rf'"(?:{"|".join(self.prices)})": ?(?:{number}|"{number}")'
        member = f"(?:{'|'.join((*texts, whole, price))})"
        return rf"^\{{{member}(?:, ?{member})*\}}$"

    @cached_property
    def _schema(self) -> pa.Schema:
        types = (
            *((name, pa.string()) for name in self.texts),
            *((name, pa.int64()) for name in self.wholes),
            *((name, pa.decimal128(18, PRICE_DECIMALS)) for name in self.prices),
        )
        return pa.schema(list(types))

    def frame_schema(self) -> dict[str, pl.DataType]:
        """Return the types of parsed fields; prices are millionths."""
        return {
            **{name: pl.String() for name in self.texts},
            **{name: pl.Int64() for name in (*self.wholes, *self.prices)},
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("texts", "wholes", "prices")}


def parse_plain(values: pa.Array, fields: Fields) -> pl.DataFrame:
    """Return the fields of the plain messages among ``values``.

    Returns
    -------
    polars.DataFrame
        ``row`` (the message's number) and the fields; a field that is not there is null.
    """
    texts = _readable(values)
    rows = pl.Series(texts).str.contains(fields.plain).fill_null(value=False).arg_true()
    if not len(rows):
        return pl.DataFrame(schema={_ROW: pl.UInt32(), **fields.frame_schema()})
    plain = texts if len(rows) == len(texts) else texts.take(rows.to_arrow())
    lines = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(plain)], pa.int32()), plain), "\n")
    buffer = lines[0].as_buffer()
    try:
        parsed = pj.read_json(
            pa.BufferReader(buffer),
            pj.ReadOptions(use_threads=False, block_size=len(buffer) + 1),
            pj.ParseOptions(explicit_schema=fields._schema, unexpected_field_behavior="error"),  # noqa: SLF001
        )
    except pa.ArrowInvalid:  # a message has a field twice: which one is for the exact way to find out
        if len(rows) == 1:
            return pl.DataFrame(schema={_ROW: pl.UInt32(), **fields.frame_schema()})
        half = len(values) // 2
        first, second = parse_plain(values[:half], fields), parse_plain(values[half:], fields)
        return pl.concat([first, second.with_columns(pl.col(_ROW) + half)])
    frame = pl.DataFrame(parsed)
    millionths = (pl.col(name).to_physical().cast(pl.Int64) for name in fields.prices)
    return frame.with_columns(rows.alias(_ROW), *millionths).select(_ROW, *fields.names)


def _readable(values: pa.Array) -> pa.Array:
    """Return the values as texts; null in the place of what is not UTF-8 or not ASCII, if there is any that is not UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        ascii_only = [value if value is None or value.isascii() else None for value in values.to_pylist()]
        return pa.array(ascii_only, pa.binary()).cast(pa.string())


def parse_exactly(values: Iterable[bytes | None], fields: Fields) -> pl.DataFrame:
    """Return the fields of any messages.

    Returns
    -------
    polars.DataFrame
        One row per message: the fields, null where one is absent or not of its type; ``given_`` with the name of a
        price: whether it is there; ``is_json``: whether the message is one JSON object; ``has_types``: whether every field
        is of its type; ``detail``: the fields as they are written, or the start of what is no object, as JSON.
    """
    rows = [_parse_one(value, fields) for value in values]
    schema = {
        **fields.frame_schema(),
        **{f"given_{name}": pl.Boolean() for name in fields.prices},
        "is_json": pl.Boolean(),
        "has_types": pl.Boolean(),
        "detail": pl.String(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


class _Number(str):
    """A number as it is written, told apart from a text."""

    __slots__ = ()


class _Whole(_Number):
    """A number without point and exponent."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """The members of an object as they are written: a name may occur more than once."""

    __slots__ = ()


def _parse_one(value: bytes | None, fields: Fields) -> list[Any]:
    members = _members(value or b"")
    if members is None:
        start = (value or b"")[: 4 * _DETAIL_LENGTH].decode(errors="replace")[:_DETAIL_LENGTH]
        return [*[None] * len(fields.names), *[False] * len(fields.prices), False, True, _as_json({"value": start})]
    given = {name: found for name, found in members if found is not None and name in fields.names}
    given = {name: given[name] for name in fields.names if name in given and _last(members, name) is not None}
    read: dict[str, Any] = {}
    has_types = True
    for name, found in members:
        if found is None or name not in fields.names:
            continue
        read[name] = _read(found, name, fields)
        has_types &= read[name] is not None
    read = {name: read[name] for name in given}
    prices = [_price(given[name]) if read.get(name) is not None else None for name in fields.prices]
    return [
        *(read.get(name) for name in (*fields.texts, *fields.wholes)),
        *prices,
        *(name in given for name in fields.prices),
        True,
        has_types,
        _as_json({name: _shown(found) for name, found in given.items()}),
    ]


def _members(value: bytes) -> _Object | None:
    """Return the members of the object, or ``None`` if the message is not one JSON object within the limits."""
    if value.count(b"{") + value.count(b"[") > _MOST_BRACKETS:
        return None
    try:
        found = json.loads(
            value.decode(), object_pairs_hook=_object, parse_int=_whole, parse_float=_number, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, _Object) else None


def _object(members: list[tuple[str, Any]]) -> _Object:
    if any(len(name) > _LONGEST_NAME for name, _ in members):
        raise ValueError
    return _Object(members)


def _number(token: str) -> _Number:
    if len(token) > _LONGEST_NUMBER:
        raise ValueError
    return _Number(token)


def _whole(token: str) -> _Whole:
    return _Whole(_number(token))


def _refuse(_token: str) -> None:
    raise ValueError


def _last(members: _Object, name: str) -> object:
    return next(found for key, found in reversed(members) if key == name)


def _read(found: object, name: str, fields: Fields) -> str | int | None:
    """Return the value in the field's type, or ``None`` if it is of another; of a price, whether it is a number at all."""
    if name in fields.texts:
        if isinstance(found, _Whole):
            return str(int(found))
        return _SURROGATE.sub("?", found) if isinstance(found, str) and not isinstance(found, _Number) else None
    if name in fields.wholes:
        whole = int(found) if isinstance(found, _Whole) else _MAX_LONG
        return whole if abs(whole) < _MAX_LONG else None
    return 1 if isinstance(found, str) and _is_price_like(found) else None


def _is_price_like(text: str) -> bool:
    """Return whether a text is a number within the limits of prices, whatever its decimals."""
    try:
        return _NUMBER.fullmatch(text) is not None and -MAX_PRICE < Decimal(text) < MAX_PRICE
    except DecimalException:  # an exponent beyond all limits
        return False


def _price(text: str) -> int | None:
    """Return the millionths of a number, or ``None`` if it is not above 0 or has more than six decimals."""
    value = Decimal(text)
    if value <= 0:
        return None
    _, digits, exponent = value.as_tuple()
    written = "".join(map(str, digits))
    shortest = written.rstrip("0")
    millionths = int(exponent) + len(written) - len(shortest) + PRICE_DECIMALS
    return int(shortest) * 10**millionths if millionths >= 0 else None


def _shown(found: object) -> str:
    text = found if isinstance(found, str) else _written(found)
    return _SURROGATE.sub("?", text[:_DETAIL_LENGTH])


def _written(found: object, depth: int = 0) -> str:
    """Return a value as JSON, numbers as they were written; of its levels only as many as can be shown."""
    if isinstance(found, _Number) or depth > _DETAIL_LENGTH:
        return str(found) if isinstance(found, _Number) else ""
    if isinstance(found, _Object):
        members = (f"{json.dumps(name)}: {_written(value, depth + 1)}" for name, value in found)
        return "{" + ", ".join(members) + "}"
    if isinstance(found, list):
        return "[" + ", ".join(_written(value, depth + 1) for value in found) + "]"
    return json.dumps(found)


def _as_json(shown: Mapping[str, str]) -> str:
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
