"""How the questions to the marts are timed, and when their goal holds."""

import time

import pytest

from benchmarks.marts import questions
from benchmarks.marts.universe import SYMBOLS
from cli.bench import benchmark_parts
from warehouse.questions import read_questions


def test_the_goal_is_the_median_of_the_repeats() -> None:
    kept, missed = (questions._figure("q", times, [10.0]) for times in ([90.0, 100.0, 500.0], [90.0, 100.1, 500.0]))
    assert (kept.value, kept.ratio, kept.holds) == (100.0, 10.0, True)
    assert (missed.value, missed.holds) == (100.1, False)


def test_a_first_asking_warms_up_and_one_that_takes_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def ask() -> None:
        asked.append(0.0)
        time.sleep(0.01)

    assert len(questions._times(ask)) == questions.REPEATS == len(asked) - 1
    asked.clear()
    monkeypatch.setattr(questions, "REPEATED_UP_TO_MS", 1.0)
    (once,) = questions._times(ask)
    assert len(asked) == 1
    assert once >= 10


def test_every_ticker_that_the_questions_name_is_among_the_symbols() -> None:
    assert len(set(SYMBOLS)) == 500
    named = {
        ticker
        for question in read_questions()
        for ticker in ("AAPL", "FB", "GOOG", "IBM", "MSFT", "SPY")
        if f"'{ticker}'" in question.sql
    }
    assert named
    assert named <= set(SYMBOLS)


def test_the_questions_can_be_had_alone() -> None:
    assert "marts.questions" in benchmark_parts()
