"""A report as one HTML file that needs no network, and the page that lists all reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alerts.reports.document import Report, lineage_of

_FOLDER: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the page that lists all reports."""

    kind: str
    name: str
    title: str
    revision: int
    made_at: str
    changes: int


def report_html(report: Report) -> str:
    """Return the report as a page."""
    return _environment().get_template("report.html.j2").render(report=report)


def index_html(listed: Sequence[Listed]) -> str:
    """Return the page that lists reports."""
    return _environment().get_template("index.html.j2").render(listed=listed)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = Markup  # an SVG that matplotlib drew: its text is escaped already
    environment.filters["lineage"] = lineage_of
    return environment
