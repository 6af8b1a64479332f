"""The page and the paper: valid, whole without a network, safe against names, with the same figures."""

from dataclasses import replace

import pytest

from alerts.reports.build import build_report
from alerts.reports.document import Change, Report, Table, blocks
from alerts.reports.html import Listed, index_html, report_html
from alerts.reports.pdf import report_pdf
from tests.unit.alerts.reports.report_facts import NASTY, NOW, facts
from tests.unit.alerts.reports.report_pages import Page, paper, squeezed


@pytest.fixture(scope="module")
def report() -> Report:
    made = build_report(facts(), NOW)
    return replace(made, revision=2, changes=(Change("Movers: AAA", "Close 1.00", "Close 2.00"),))


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report_html(report))


def test_the_page_is_one_file_whose_links_all_lead_somewhere_in_it(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "@import" not in page.text
    assert "http" not in page.text.replace('xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace(
        'xmlns="http://www.w3.org/2000/svg"', ""
    )


def test_the_page_is_made_for_a_phone_and_for_paper(page: Page) -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page.text
    assert "@media print" in page.text
    assert "<!doctype html>" in page.text[:200].lower()


def test_a_name_is_shown_as_it_is_and_never_run(page: Page) -> None:
    assert (page.scripts, page.handlers) == (0, [])
    assert NASTY in "".join(page.words)


def test_each_chart_is_a_well_formed_drawing_with_text_that_can_be_read(page: Page) -> None:
    drawings = page.drawings()
    assert len(drawings) == 2
    for drawing in drawings:
        words = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
        assert {"10:00", "13:00", "alert"} <= {word.strip() for word in words if word}


def test_page_and_paper_have_every_cell_of_every_table(report: Report, page: Page) -> None:
    pages, text = paper(report_pdf(report))
    shown = squeezed("".join(page.words))
    assert pages > 1
    for block in blocks(report.chapters):
        if isinstance(block, Table):
            for row in block.rows:
                for cell in row.cells:
                    assert squeezed(cell) in shown, (block.key, cell)
                    assert squeezed(cell) in text, (block.key, cell)


def test_both_say_what_changed_since_the_revision_before(report: Report, page: Page) -> None:
    _, text = paper(report_pdf(report))
    for words in (squeezed("".join(page.words)), text):
        assert "Sincerevision1" in words
        assert squeezed("Movers: AAA: Close 1.00 → Close 2.00") in words


def test_lineage_stands_under_the_figures_of_both(report: Report, page: Page) -> None:
    _, text = paper(report_pdf(report))
    line = squeezed(
        "marts.market_breadth, version abcd1234, newest change 2013-12-03 10:00:00 UTC, built by Dagster run 0f1e2d3c"
    )
    assert line in squeezed("".join(page.words))
    assert line in text


def test_the_list_leads_to_every_report() -> None:
    listed = [Listed("session", "2013-11-29", "Session", 2, "now", 3), Listed("week", "2013-W48", "Week", 1, "now", 0)]
    page = Page(index_html(listed))
    assert page.links == [
        "2013-11-29/report.html",
        "2013-11-29/report.pdf",
        "2013-W48/report.html",
        "2013-W48/report.pdf",
    ]
    assert "There is no report yet" in "".join(Page(index_html([])).words)
