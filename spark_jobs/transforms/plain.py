"""The bytes of plain messages to columns of fields, many at once.

Almost every message is plain: a flat object in printable ASCII, without escapes, of known fields in their shapes, as its
encoder writes it. An encoder writes the same fields in the same order between the same separators, message after message:
that is their *layout*. One regular expression finds the plain messages of a layout in a whole column, and Arrow's CSV reader
takes them apart at the quotation marks, where a JSON parser would find out the layout of each of them anew. What is
not plain, or has a layout that is rare, is for :mod:`spark_jobs.transforms.parse`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from market.records import PRICE_DECIMALS

_WHOLE: Final = r"(?:0|[1-9][0-9]{0,17})"
_PRICE: Final = rf"(?:0|[1-9][0-9]{{0,11}})(?:\.[0-9]{{1,{PRICE_DECIMALS}}})?"
_PRICE_TYPE: Final = pl.Decimal(18, PRICE_DECIMALS)
_MEMBER: Final = re.compile(r'"([a-z_]+)"(: ?)(?:(")[^"]*"|[0-9.]+)(, ?|\}$)')
_SEPARATORS: Final = ":, }"
_MOST_TRIED: Final = 64
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

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return (*self.texts, *self.wholes, *self.prices)

    def frame_schema(self) -> dict[str, pl.DataType]:
        """Return the types of parsed fields; prices are millionths."""
        return {
            **{name: pl.String() for name in self.texts},
            **{name: pl.Int64() for name in (*self.wholes, *self.prices)},
        }

    def shape(self, name: str, *, in_quotes: bool) -> str | None:
        """Return the regular expression of a field's plain values; ``None`` if it has none, in quotation marks or without.

        Numbers have no sign, no exponent and no more digits than their types hold. A price may be a text.
        """
        if in_quotes:
            return self.texts.get(name, _PRICE if name in self.prices else None)
        return _WHOLE if name in self.wholes else _PRICE if name in self.prices else None


def parse_plain(values: pa.Array, fields: Fields) -> pl.DataFrame:
    """Return the fields of the plain messages among ``values``, but for those of rare layouts.

    Returns
    -------
    polars.DataFrame
        ``row`` (the message's number) and the fields; a field that is not there is null.
    """
    texts = _readable(values)
    left = pl.int_range(len(texts), dtype=pl.UInt32, eager=True)
    found = [pl.DataFrame(schema={_ROW: pl.UInt32(), **fields.frame_schema()})]
    for attempt in range(_MOST_TRIED):
        if not len(left):
            break
        # From the first to the last: a flood of damaged messages must not hide the others.
        example = texts[left[attempt * len(left) // _MOST_TRIED]].as_py()
        layout = _Layout.of(example or "")
        pattern = layout.pattern(fields) if layout else None
        if layout is None or pattern is None:
            continue
        candidates = texts if len(left) == len(texts) else texts.take(left.to_arrow())
        is_plain = pl.Series(candidates).str.contains(pattern).fill_null(value=False)
        if not is_plain.any():
            continue
        plain = candidates if is_plain.all() else candidates.filter(is_plain.to_arrow())
        found.append(_typed(layout.read(plain), left.filter(is_plain), fields))
        left = left.filter(~is_plain)
    parsed = pl.concat(found)
    return parsed if len(found) <= 2 else parsed.sort(_ROW)  # noqa: PLR2004 - the empty frame and that of one layout


def _typed(read: pl.DataFrame, rows: pl.Series, fields: Fields) -> pl.DataFrame:
    prices = (pl.col(name).cast(_PRICE_TYPE).to_physical().cast(pl.Int64) for name in fields.prices if name in read)
    absent = (pl.lit(None, own).alias(name) for name, own in fields.frame_schema().items() if name not in read)
    typed = read.with_columns(rows.alias(_ROW), *prices, *absent)
    return typed.select(pl.col(_ROW), *(pl.col(name).cast(own) for name, own in fields.frame_schema().items()))


def _readable(values: pa.Array) -> pa.Array:
    """Return the values as texts; null in the place of what is not UTF-8 or not ASCII, if there is any that is not UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        ascii_only = [value if value is None or value.isascii() else None for value in values.to_pylist()]
        return pa.array(ascii_only, pa.binary()).cast(pa.string())


class _Member(NamedTuple):
    """A field of a layout, with what stands between its name and its value and between that and the next field."""

    name: str
    colon: str
    in_quotes: bool
    separator: str


@dataclass(frozen=True)
class _Layout:
    """The fields of messages in their order, with their separators."""

    members: tuple[_Member, ...]

    @classmethod
    def of(cls, message: str) -> Self | None:
        """Return the layout of a message; ``None`` if it is no flat object without blanks around it, or has a field twice."""
        found = list(_MEMBER.finditer(message))
        written = "{" + "".join(match.group() for match in found)
        members = tuple(_Member(match[1], match[2], match[3] is not None, match[4]) for match in found)
        is_whole = written == message and message.endswith("}")
        return cls(members) if is_whole and len({member.name for member in members}) == len(members) else None

    def pattern(self, fields: Fields) -> str | None:
        """Return the regular expression of plain messages; ``None`` if there are none of this layout."""
        written = []
        for name, colon, in_quotes, separator in self.members:
            shape = fields.shape(name, in_quotes=in_quotes)
            if shape is None:
                return None
            mark = '"' if in_quotes else ""
            written.append(f'"{name}"{colon}{mark}(?:{shape}){mark}{re.escape(separator)}')
        return rf"^\{{{''.join(written)}$"

    def read(self, plain: pa.Array) -> pl.DataFrame:
        """Return the fields of plain messages of this layout, numbers as texts."""
        lines = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(plain)], pa.int32()), plain), "\n")
        buffer = lines[0].as_buffer()
        names = [member.name for member in self.members]
        table = csv.read_csv(
            pa.BufferReader(buffer),
            csv.ReadOptions(use_threads=False, block_size=len(buffer) + 1, column_names=self._columns),
            csv.ParseOptions(delimiter='"', quote_char=False, escape_char=False),
            csv.ConvertOptions(
                include_columns=names,
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        numbers = [member.name for member in self.members if not member.in_quotes]
        return pl.DataFrame(table).with_columns(pl.col(numbers).str.strip_chars(_SEPARATORS))

    @cached_property
    def _columns(self) -> list[str]:
        """The names of what lies between the quotation marks: the fields at their values, numbers at the rest."""
        pieces = [""]
        for member in self.members:
            pieces += ["", "", member.name, ""] if member.in_quotes else ["", member.name]
        return [name or str(place) for place, name in enumerate(pieces)]
