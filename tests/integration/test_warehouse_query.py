"""Questions of a user: answered, refused plainly, and never able to change anything."""

import pytest

from market.errors import QueryError, UsageError
from market.settings import Settings
from warehouse.connection import connect
from warehouse.query import ask

pytestmark = pytest.mark.integration


def refusal(settings: Settings, question: str, timeout_seconds: float = 30) -> str:
    with pytest.raises(QueryError) as caught, ask(settings, question, timeout_seconds=timeout_seconds) as answer:
        list(answer.rows)
    return str(caught.value)


def test_an_answer_has_columns_and_rows_also_when_there_are_none(settings: Settings) -> None:
    with ask(settings, "select n as number from generate_series(1, 1200) n", timeout_seconds=30) as answer:
        assert answer.columns == ("number",)
        assert [n for (n,) in answer.rows] == list(range(1, 1201))
    with ask(settings, "select 1 as a, 2 as b where false", timeout_seconds=30) as answer:
        assert answer.columns == ("a", "b")
        assert list(answer.rows) == []


def test_an_answer_may_be_left_before_its_end(settings: Settings) -> None:
    with ask(settings, "select * from generate_series(1, 10000000)", timeout_seconds=30) as answer:
        assert next(answer.rows) == (1,)


@pytest.mark.parametrize(
    "question",
    [
        "delete from lake.sessions",
        "select 1; delete from lake.sessions",
        "commit; delete from lake.sessions",
        "set transaction read write",
        "with gone as (delete from lake.sessions returning 1) select * from gone",
        "create table lake.mine (n integer)",
        "do $$ begin delete from lake.sessions; end $$",
    ],
)
def test_nothing_can_be_changed(settings: Settings, question: str) -> None:
    assert refusal(settings, question)
    with connect(settings) as connection:
        assert connection.execute("select count(*) > 8000 from lake.sessions").fetchone() == (True,)


def test_a_mistake_is_pointed_at(settings: Settings) -> None:
    assert refusal(settings, "select session_date,\n  closes_at\nfrom lake.sessions").startswith(
        'PostgreSQL says: column "closes_at" does not exist.\nline 2:   closes_at\n          ^'
    )


def test_an_error_after_some_rows_is_plain_too(settings: Settings) -> None:
    assert "division by zero" in refusal(settings, "select 1 / (5000 - n) from generate_series(1, 6000) n")


def test_a_slow_question_is_stopped(settings: Settings) -> None:
    assert "longer than 0.2 s" in refusal(settings, "select pg_sleep(60)", timeout_seconds=0.2)


def test_an_empty_question_is_wrong_usage(settings: Settings) -> None:
    with pytest.raises(UsageError, match="empty"), ask(settings, " ; ", timeout_seconds=1):
        pass
