"""Two backfills of one source and bar length take turns; others do not wait for each other."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.history.source import StoppedError
from ingest.history.turn import turn


def nobody_waits() -> None:
    pytest.fail("somebody waits")


def test_the_second_says_that_it_waits_and_begins_when_the_first_has_ended(tmp_path: Path) -> None:
    stop, waits, order = threading.Event(), threading.Event(), list[str]()

    def second() -> None:
        with turn(tmp_path, "yahoo", "1d", stop, waits.set):
            order.append("second begins")

    with ThreadPoolExecutor(1) as pool:
        with turn(tmp_path, "yahoo", "1d", stop, nobody_waits):
            ended = pool.submit(second)
            assert waits.wait(10)
            order.append("first ends")
        ended.result(10)
    assert order == ["first ends", "second begins"]


@pytest.mark.parametrize(("source", "interval"), [("alpaca", "1d"), ("yahoo", "5m")])
def test_another_source_or_length_does_not_wait(tmp_path: Path, source: str, interval: str) -> None:
    stop = threading.Event()
    with turn(tmp_path, "yahoo", "1d", stop, nobody_waits), turn(tmp_path, source, interval, stop, nobody_waits):
        pass


def test_a_stop_ends_the_wait_and_leaves_the_turn_with_the_first(tmp_path: Path) -> None:
    stop = threading.Event()
    with turn(tmp_path, "yahoo", "1d", threading.Event(), nobody_waits):
        with pytest.raises(StoppedError), turn(tmp_path, "yahoo", "1d", stop, stop.set):
            pytest.fail("it is not its turn")
        with pytest.raises(StoppedError), turn(tmp_path, "yahoo", "1d", stop, stop.set):
            pytest.fail("it is not its turn either")
    with turn(tmp_path, "yahoo", "1d", threading.Event(), nobody_waits):
        pass
