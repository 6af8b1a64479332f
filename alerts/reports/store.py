"""Where reports are kept: each revision whole in a folder, the newest under the name of its period, and a page that lists all.

What belongs here: files. ``reports/2013-10-07`` leads to ``reports/revisions/2013-10-07-r2``: it is turned to a new revision at
once, so that page, PDF and figures are always of one revision, and what was sent earlier can still be read.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from alerts.reports.document import FORMAT, Figure, Report, changes_between
from alerts.reports.html import Listed, index_html, report_html
from alerts.reports.made import FIGURES, INDEX, PAGE, PAPER
from alerts.reports.pdf import report_pdf

_REVISIONS: Final = "revisions"


def keep(folder: Path, report: Report) -> tuple[Report, bool]:
    """Keep a report, and return it with its revision and changes, and whether there was anything new.

    A report whose figures are those of the newest revision is not kept again: that one stands.
    """
    with _alone(folder):
        kept = read_kept(folder, report.name)
        if kept is not None:
            before = (
                {name: Figure(**figure) for name, figure in kept["figures"].items()} if kept["format"] == FORMAT else {}
            )
            changes = changes_between(before, report.figures)
            if not changes:
                return replace(report, revision=kept["revision"], made_at=kept["made_at"]), False
            report = replace(report, revision=kept["revision"] + 1, changes=changes)
        _write(folder, report)
        _write_index(folder)
        return report, True


def read_kept(folder: Path, name: str) -> Mapping[str, Any] | None:
    """Return what is kept of the newest revision of a report, or ``None``."""
    try:
        kept: Mapping[str, Any] = json.loads((folder / name / FIGURES).read_bytes())
    except FileNotFoundError:
        return None
    return kept


def _write(folder: Path, report: Report) -> None:
    revisions = folder / _REVISIONS
    revisions.mkdir(parents=True, exist_ok=True)
    whole = Path(tempfile.mkdtemp(prefix=f".{report.name}-", dir=revisions))
    try:
        (whole / PAGE).write_text(report_html(report), encoding="utf-8")
        (whole / PAPER).write_bytes(report_pdf(report))
        (whole / FIGURES).write_text(json.dumps(report.as_json(), indent=1), encoding="utf-8")
        whole.chmod(0o755)
        place = revisions / f"{report.name}-r{report.revision}"
        shutil.rmtree(place, ignore_errors=True)  # of a run that died before it turned the name to it
        whole.rename(place)
    except BaseException:
        shutil.rmtree(whole, ignore_errors=True)
        raise
    _turn(folder / report.name, Path(_REVISIONS) / place.name)


def _turn(link: Path, target: Path) -> None:
    """Have a name lead elsewhere, at once."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _write_index(folder: Path) -> None:
    kept = [read_kept(folder, link.name) for link in folder.iterdir() if link.is_symlink()]
    listed = [
        Listed(
            kind=one["kind"],
            name=one["name"],
            title=one["title"],
            revision=one["revision"],
            made_at=one["made_at"],
            changes=len(one["changes"]),
        )
        for one in kept
        if one is not None
    ]
    listed.sort(key=lambda one: one.name, reverse=True)
    new = folder / f".{INDEX}.new"
    new.write_text(index_html(listed), encoding="utf-8")
    new.replace(folder / INDEX)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from keeping reports meanwhile: two would take the same number. The lock goes with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
