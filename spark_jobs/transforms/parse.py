"""The bytes of any messages to fields, one by one, exactly.

What belongs here: JSON and types. What does not: whether the values make a valid record, which is
:mod:`spark_jobs.transforms.kinds`. For users both are written down in ``docs/wire-format.md``.

Python's own parser takes thirty times as long as the short way of :mod:`spark_jobs.transforms.plain`, and is never in doubt.
"""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, DecimalException
from typing import Any, Final

import polars as pl

from market.records import MAX_PRICE, PRICE_DECIMALS
from spark_jobs.transforms.plain import Fields

_LONGEST_NUMBER: Final = 1_000
_LONGEST_NAME: Final = 50_000
_MOST_BRACKETS: Final = 500
_DETAIL_LENGTH: Final = 80
_MAX_LONG: Final = 2**63
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


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
