"""A report as data: chapters of tables, charts and notes, each with where it is from. HTML and PDF are written from it.

What belongs here: the parts of a document, and how they become JSON. What does not: what they say, and how they look.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORMAT: Final = "tapehouse.report.v1"
"""What the JSON says that it is: a report of another format is made again."""

_TIMES: Final = frozenset({"time", "from"})


@dataclass(frozen=True, slots=True)
class Source:
    """A table that a figure was worked out from.

    Attributes
    ----------
    relation
        The table or view, with its schema.
    version
        Digest of the rows of the report's sessions, or what else tells one state of it from another.
    changed_at
        Newest change of these rows; empty if there is none.
    run_id
        Dagster's run that built it last; empty if none did.
    built_at
        When that was.
    """

    relation: str
    version: str = ""
    changed_at: str = ""
    run_id: str = ""
    built_at: str = ""

    def says(self) -> str:
        """Return it as one line for under a figure."""
        parts = [self.relation]
        if self.version:
            parts.append(f"version {self.version}")
        parts.append(f"newest change {self.changed_at}" if self.changed_at else "no rows of these sessions")
        parts.append(f"built by Dagster run {self.run_id[:8]}, {self.built_at}" if self.run_id else "not by Dagster")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: ``is_number`` is set to the right."""

    key: str
    title: str
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row: ``key`` tells it from the others of the table whenever the report is made, ``mood`` is good, bad or empty."""

    key: str
    cells: tuple[str, ...]
    mood: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures; without rows it says why by ``empty``."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sources: tuple[Source, ...]
    empty: str = ""
    note: str = ""
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as SVG; ``says`` is for who cannot see it, ``digest`` tells the data of one from those of another."""

    key: str
    title: str
    svg: str
    says: str
    digest: str
    sources: tuple[Source, ...]
    kind: str = "chart"


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence."""

    key: str
    text: str
    kind: str = "note"


Block = Table | Chart | Note


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A row, chart or sentence as a later revision is compared with it: what it is called, and its cells by title."""

    label: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What is not as it was in the revision before: a figure, a row that came or went, a chart."""

    where: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes
    ----------
    kind
        session, week or month.
    name
        What the period is called, and so the folder: ``2013-10-07``, ``2013-W41``, ``2013-10``.
    until
        Close of its last session, in ISO 8601.
    asked_at
        When the transaction read that all figures are from.
    snapshot
        PostgreSQL's name of what that transaction saw.
    headline
        The main figures in a few lines, for channels that take text only.
    """

    kind: str
    name: str
    title: str
    subtitle: str
    until: str
    asked_at: str
    snapshot: str
    headline: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    revision: int = 1
    made_at: str = ""
    changes: tuple[Change, ...] = ()
    format: str = FORMAT
    figures: Mapping[str, Figure] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept, charts without their drawing; lineage as a line under each figure, too."""
        document = asdict(self)
        for chapter in document["chapters"]:
            for block in chapter["blocks"]:
                block.pop("svg", None)
        for block, shown in zip(_blocks(document["chapters"]), blocks(self.chapters), strict=True):
            if not isinstance(shown, Note):
                block["lineage"] = lineage_of(shown)
        return document


def blocks(chapters: Sequence[Chapter]) -> Iterator[Block]:
    """Yield every part of every chapter, in order."""
    for chapter in chapters:
        yield from chapter.blocks


def lineage_of(block: Table | Chart) -> list[str]:
    """Return where a figure is from, a line a table."""
    return [source.says() for source in block.sources]


def collect_figures(chapters: Sequence[Chapter]) -> dict[str, Figure]:
    """Return every row, chart and sentence by a name that is the same whenever the report is made; lineage is none."""
    found: dict[str, Figure] = {}
    for chapter in chapters:
        for block in chapter.blocks:
            place = f"{chapter.key}/{block.key}"
            if isinstance(block, Chart):
                found[place] = Figure(f"{chapter.title}: {block.title}", {"version": block.digest})
            elif isinstance(block, Note):
                found[place] = Figure(chapter.title, {"": block.text})
            else:
                titles = [column.title for column in block.columns]
                # What begins with a time is told by what follows, too.
                named = 3 if block.columns[0].key in _TIMES else 1
                for row in block.rows:
                    label = f"{chapter.title}, {block.title}: {' '.join(row.cells[:named])}"
                    found[f"{place}/{row.key}"] = Figure(label, dict(zip(titles[1:], row.cells[1:], strict=True)))
    return found


def changes_between(before: Mapping[str, Figure], after: Mapping[str, Figure]) -> tuple[Change, ...]:
    """Return which figures are not as they were, those that are new or gone among them."""
    changes = []
    for name in (*after, *(name for name in before if name not in after)):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            label = (new or old or Figure("", {})).label
            changes.append(Change(label, _told(old), _told(new)))
        elif old.cells != new.cells:
            names = [title for title in {**old.cells, **new.cells} if old.cells.get(title) != new.cells.get(title)]
            changes.append(Change(new.label, _told(old, names), _told(new, names)))
    return tuple(changes)


def digest(*parts: object) -> str:
    """Return eight letters that tell some data from others."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _told(figure: Figure | None, titles: Sequence[str] | None = None) -> str:
    if figure is None:
        return "not there"
    cells = {title: figure.cells.get(title, "not there") for title in (figure.cells if titles is None else titles)}
    return ", ".join(f"{title} {cell}".strip() for title, cell in cells.items())


def _blocks(chapters: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for chapter in chapters:
        yield from chapter["blocks"]
