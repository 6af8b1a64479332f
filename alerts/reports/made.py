"""A report that was made, and where it is: what others need to know of it, without what draws it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alerts.reports.document import Report

PAGE: Final = "report.html"
PAPER: Final = "report.pdf"
FIGURES: Final = "report.json"
INDEX: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Made:
    """A report that was made.

    Attributes
    ----------
    is_new
        Whether it is a new revision; if not, the figures are those of the one that is kept.
    """

    report: Report
    folder: Path
    is_new: bool

    @property
    def page(self) -> Path:
        """The HTML."""
        return self.folder / self.report.name / PAGE

    @property
    def paper(self) -> Path:
        """The PDF."""
        return self.folder / self.report.name / PAPER

    @property
    def index(self) -> Path:
        """The page that lists all reports."""
        return self.folder / INDEX
