"""Where reports are kept: revisions, and that nobody ever sees a half of one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerts.reports import store
from alerts.reports.build import build_report
from alerts.reports.document import Report
from market.errors import ServiceError
from tests.unit.alerts.reports.report_facts import NOW, facts, move

NAME = "2013-11-29"


@pytest.fixture(autouse=True)
def quick_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "report_pdf", lambda report: f"paper of revision {report.revision}".encode())


def document(**changes: Any) -> Report:
    return build_report(facts(series=[], **changes), NOW)


def corrected() -> Report:
    return document(moves=[move("AAA", "10.75", 7.5, 1_000, 2.0)])


def test_a_report_is_kept_with_its_page_its_paper_and_its_figures(tmp_path: Path) -> None:
    kept, is_new = store.keep(tmp_path, document())
    assert (kept.revision, is_new) == (1, True)
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == ["report.html", "report.json", "report.pdf"]
    assert f'href="{NAME}/report.html"' in (tmp_path / "index.html").read_text()


def test_a_report_made_again_without_a_change_is_the_same_one(tmp_path: Path) -> None:
    store.keep(tmp_path, document())
    before = (tmp_path / NAME).readlink(), (tmp_path / NAME / "report.html").stat().st_mtime_ns
    kept, is_new = store.keep(tmp_path, replace(document(), asked_at="later", snapshot="2:2:"))
    assert (kept.revision, is_new) == (1, False)
    assert ((tmp_path / NAME).readlink(), (tmp_path / NAME / "report.html").stat().st_mtime_ns) == before


def test_a_correction_makes_a_new_revision_that_says_what_changed_and_keeps_the_old_one(tmp_path: Path) -> None:
    store.keep(tmp_path, document())
    kept, is_new = store.keep(tmp_path, corrected())
    assert (kept.revision, is_new) == (2, True)
    assert any(change.after == "Close 10.75, Change +7.50 %" for change in kept.changes)
    page = (tmp_path / NAME / "report.html").read_text()
    assert "Since revision 1" in page
    assert (tmp_path / NAME / "report.pdf").read_text() == "paper of revision 2"
    assert json.loads((tmp_path / "revisions" / f"{NAME}-r1" / "report.json").read_text())["revision"] == 1
    assert store.keep(tmp_path, document())[0].revision == 3


def test_a_report_that_fails_half_way_leaves_the_one_before_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(tmp_path, document())

    def fail(_report: Report) -> bytes:
        msg = "no paper"
        raise ServiceError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(store, "report_pdf", fail)
        with pytest.raises(ServiceError, match="no paper"):
            store.keep(tmp_path, corrected())
    assert json.loads((tmp_path / NAME / "report.json").read_text())["revision"] == 1
    assert [path.name for path in (tmp_path / "revisions").iterdir()] == [f"{NAME}-r1"]
    assert store.keep(tmp_path, corrected())[0].revision == 2


def test_what_a_run_left_that_died_before_it_turned_the_name_does_not_stand_in_the_way(tmp_path: Path) -> None:
    store.keep(tmp_path, document())
    (tmp_path / "revisions" / f"{NAME}-r2").mkdir()
    (tmp_path / f".{NAME}.new").symlink_to("revisions/nowhere")
    assert store.keep(tmp_path, corrected())[0].revision == 2
    assert (tmp_path / NAME / "report.html").is_file()


def test_a_report_of_an_older_format_is_made_again(tmp_path: Path) -> None:
    store.keep(tmp_path, document())
    path = tmp_path / NAME / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "older", "figures": {"x": "1"}}))
    assert store.keep(tmp_path, document())[0].revision == 2
