"""The files of the business questions: what each may ask, and what the documentation of the models says of them."""

import re
from pathlib import Path

import pytest
import yaml

from market.settings import CHECKOUT
from warehouse.dbt import DBT_PROJECT
from warehouse.questions import read_questions

QUESTIONS = read_questions()


def test_there_are_twenty_and_each_asks_the_marts_alone() -> None:
    assert [question.name[:2] for question in QUESTIONS] == [f"{number:02}" for number in range(1, 21)]
    for question in QUESTIONS:
        assert question.marts, question.name
        assert ";" not in question.sql
        assert not any(f"{schema}." in question.sql for schema in ("lake", "staging", "app", "dagster"))


def test_the_exposure_names_exactly_the_marts_that_the_questions_ask() -> None:
    asked = {mart.removesuffix("_as_known") for question in QUESTIONS for mart in question.marts}
    assert _marts_of_exposure("business_questions") == asked


def test_the_exposure_of_reports_names_exactly_the_marts_that_they_read() -> None:
    sources = "".join(path.read_text() for path in (CHECKOUT / "alerts" / "reports").rglob("*.py"))
    assert _marts_of_exposure("session_reports") == set(re.findall(r"\bmarts\.([a-z_0-9]+)", sources))


def _marts_of_exposure(name: str) -> set[str]:
    exposures = yaml.safe_load((DBT_PROJECT / "models" / "exposures.yml").read_text())["exposures"]
    (found,) = [exposure["depends_on"] for exposure in exposures if exposure["name"] == name]
    return {reference.removeprefix("ref('").removesuffix("')") for reference in found}


def test_a_file_that_does_not_begin_with_its_question_is_refused(tmp_path: Path) -> None:
    (tmp_path / "01_silent.sql").write_text("select 1;\n")
    with pytest.raises(ValueError, match=r"01_silent\.sql does not begin with its question"):
        read_questions(tmp_path)
