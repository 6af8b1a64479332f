"""A report as PDF, by Typst: the same document, handed over as data, so that no text of it is read as markup."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import typst

from alerts.reports.document import Chart, Report, blocks
from market.errors import ServiceError

_TEMPLATE: Final = Path(__file__).parent / "templates" / "report.typ"


def report_pdf(report: Report) -> bytes:
    """Return the report as PDF, A4.

    Raises
    ------
    ServiceError
        If Typst cannot set it.
    """
    with tempfile.TemporaryDirectory(prefix="tapehouse-report-") as folder:
        root = Path(folder)
        (root / "report.typ").write_bytes(_TEMPLATE.read_bytes())
        (root / "report.json").write_text(json.dumps(report.as_json()), encoding="utf-8")
        for block in blocks(report.chapters):
            if isinstance(block, Chart):
                (root / f"{block.key}.svg").write_text(block.svg, encoding="utf-8")
        # The fonts of the charts, for text and charts alike: none of the system's is relied on.
        fonts: list[Any] = [str(Path(mpl.get_data_path()) / "fonts" / "ttf")]
        try:
            pdf = typst.compile(str(root / "report.typ"), root=str(root), font_paths=fonts, ignore_system_fonts=True)
        except RuntimeError as error:
            msg = f"The report {report.name} cannot be set as PDF: {error}"
            raise ServiceError(msg) from error
    if not isinstance(pdf, bytes):
        msg = f"The report {report.name} came back from Typst as {type(pdf).__name__}, not as one PDF."
        raise ServiceError(msg)
    return pdf
