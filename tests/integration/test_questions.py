"""The twenty business questions: asked by the analyst, answered as the raw files say, and shown so in the docs."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from cli.sql import write_table
from market.settings import Settings
from tests.integration.dbt_runs import dbt_runs
from tests.integration.question_oracle import Sample, answer, plain
from tests.integration.sample_marts import LEAN, load_sample
from warehouse.analyst import admit_analyst
from warehouse.query import Answer
from warehouse.questions import QUESTIONS_FOLDER, Question, read_questions
from warehouse.schema import migrate

QUESTIONS = read_questions()
PAGE = QUESTIONS_FOLDER / "README.md"
PASSWORD = "of-the-analyst"
HAS_TICKS = pytest.mark.skipif(not LEAN.is_dir(), reason="the real LEAN data are not at hand (../shared/data/lean)")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def analyst(settings_with_database: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A session of the analyst in a database with the sample data."""
    settings = settings_with_database
    migrate(settings)
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        load_sample(connection)
    with dbt_runs(settings) as dbt:
        dbt("run")
    assert admit_analyst(settings, lambda: PASSWORD, owns_server=True).is_well
    url = urlsplit(settings.require_database())
    with psycopg.connect(url._replace(netloc=f"analyst:{PASSWORD}@{url.hostname}:{url.port}").geturl()) as connection:
        yield connection


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample()


@HAS_TICKS
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_question_is_answered_as_the_raw_files_say(
    question: Question, analyst: psycopg.Connection[Any], sample: Sample
) -> None:
    found = analyst.execute(question.sql.encode()).fetchall()
    assert found
    assert plain(found) == plain(answer(sample, question.name))


@HAS_TICKS
def test_the_page_shows_these_answers(analyst: psycopg.Connection[Any], tmp_path: Path) -> None:
    shown = tmp_path / "README.md"
    head, _, _ = PAGE.read_text().partition("\n## ")
    shown.write_text(head + "".join(section(question, analyst) for question in QUESTIONS))
    assert PAGE.read_text() == shown.read_text(), f"look at the new page, and keep it: cp {shown} {PAGE}"


def section(question: Question, connection: psycopg.Connection[Any]) -> str:
    cursor = connection.execute(question.sql.encode())
    out = io.StringIO()
    write_table(
        Answer(tuple(column.name for column in cursor.description or ()), iter(cursor.fetchall())), out, limit=0
    )
    number, title = question.name[:2], question.name[3:].replace("_", " ")
    return f"\n## {int(number)}. {title}\n{question.asks} ([SQL]({question.path.name}))\n```\n{out.getvalue()}```\n"
