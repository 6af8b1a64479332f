"""The context of Great Expectations: nothing of it is kept but the outcomes, which make the pages that people read.

What belongs here: where outcomes and pages lie, and for how long. What does not: what is checked.
"""

import logging
import shutil
from pathlib import Path
from typing import Any, Final

from quality.library import DataContextConfig, ProgressBarsConfig, gx
from quality.overview import PAGE, write_list

KEPT_RUNS: Final = 3
"""How many outcomes of a suite stay on the pages."""

_IN_MEMORY: Final = {"class_name": "InMemoryStoreBackend"}


def open_context(folder: Path) -> Any:  # noqa: ANN401 - the library's own types follow its releases
    """Return a context with the outcomes of earlier checks, whose pages are in ``folder``.

    Suites follow from declarations, and addresses from settings: neither is written to a file, and with them no password.
    """
    for name in ("great_expectations", "great_expectations.data_context"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # An outcome that another look has just forgotten has no page: nothing to warn of.
    logging.getLogger("great_expectations.render.renderer.site_builder").setLevel(logging.ERROR)
    outcomes = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder / "outcomes")}
    pages = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder / "pages")}
    config = DataContextConfig(
        analytics_enabled=False,  # it would report to its makers
        progress_bars=ProgressBarsConfig(globally=False),
        expectations_store_name="expectations",
        validation_results_store_name="outcomes",
        checkpoint_store_name="checkpoints",
        stores={
            "expectations": {"class_name": "ExpectationsStore", "store_backend": _IN_MEMORY},
            "outcomes": {"class_name": "ValidationResultsStore", "store_backend": outcomes},
            "checkpoints": {"class_name": "CheckpointStore", "store_backend": _IN_MEMORY},
            "validation_definition_store": {"class_name": "ValidationDefinitionStore", "store_backend": _IN_MEMORY},
        },
        data_docs_sites={
            "pages": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": pages,
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def build_pages(context: Any, folder: Path) -> None:  # noqa: ANN401
    """Forget the oldest outcomes, and write the pages of the others; those of suites that were not looked at stay."""
    outcomes, pages = folder / "outcomes", folder / "pages"
    for suite in outcomes.glob("*/*/*"):  # layer, table, name of the run
        for outdated in sorted(suite.iterdir())[:-KEPT_RUNS]:
            shutil.rmtree(outdated, ignore_errors=True)  # another look may be about to do the same
            shutil.rmtree(pages / "validations" / outdated.relative_to(outcomes), ignore_errors=True)
    context.build_data_docs(build_index=False)  # building it removes the pages of all suites but those of this look
    _copy_icon(pages)
    write_list(pages / PAGE)  # in the place of the library's, to which its pages lead back


def _copy_icon(pages: Path) -> None:
    """Put the icon where the pages of outcomes look for it: one folder short, for a suite's name with a point is two folders."""
    icon = Path("static", "images", "favicon.ico")
    wanted = pages / "validations" / icon
    wanted.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pages / icon, wanted)
