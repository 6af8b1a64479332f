"""What a declaration of a table is made of: where it lives, its grain and key, its columns with their types.

What belongs here: the vocabulary of declarations. What does not: the tables themselves, which are :mod:`market.tables`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Store(StrEnum):
    """Where a table lives."""

    LAKE = "lake"
    POSTGRES = "postgres"


class DataType(StrEnum):
    """The types that both stores share."""

    TEXT = "text"
    INTEGER = "integer"
    BIGINT = "bigint"
    PRICE = "price"
    NOTIONAL = "notional"
    TIMESTAMP = "timestamp"
    DATE = "date"
    BOOLEAN = "boolean"
    BINARY = "binary"
    SPANS = "spans"
    """Sets of moments, as spans of time with their start and without their end; this and those below in PostgreSQL only."""
    DOUBLE = "double"
    TEXTS = "texts"
    """Texts in order."""
    UUID = "uuid"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, type, meaning and whether it may be null. The unit is part of the description where one is."""

    name: str
    type: DataType
    description: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes
    ----------
    store, layer, name
        In the lake the path is ``layer/name``; in PostgreSQL ``layer`` is the schema.
    grain
        What one row is ("one row per …").
    key
        Columns that together are unique.
    skip_by
        Columns of the lake by which readers skip files: each file states their least and greatest value.
    retention_days
        How many days rows are kept after they were taken in; ``None`` means for ever.
    """

    store: Store
    layer: str
    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    skip_by: tuple[str, ...] = ()
    retention_days: int | None = None

    @property
    def path(self) -> str:
        """The table's path below the lake's root."""
        return f"{self.layer}/{self.name}"

    @property
    def qualified_name(self) -> str:
        """The table's name with its layer, as in SQL."""
        return f"{self.layer}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns in order."""
        return tuple(column.name for column in self.columns)
