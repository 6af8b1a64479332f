from pathlib import Path

import pytest

from cli.services import feed_service
from infra.local.home import Home
from market.settings import Settings


def arguments_of(tmp_path: Path, feed: str, symbols: str | None = None, speed: float | None = None) -> list[str]:
    settings = Settings().model_copy(update={"home": tmp_path})
    service = feed_service(Home(tmp_path), settings, feed=feed, closed="wait", symbols=symbols, speed=speed)
    return [str(argument) for argument in service.command.arguments][1:]


def test_the_process_is_told_the_feed_and_what_goes_with_it(tmp_path: Path) -> None:
    start = ["-m", "ingest.live", "--feed"]
    assert arguments_of(tmp_path, "auto") == [*start, "auto", "--closed", "wait"]
    assert arguments_of(tmp_path, "simulated", "SPY", 10.0)[3:] == [
        *("simulated", "--closed", "wait", "--symbols", "SPY", "--speed", "10")
    ]


@pytest.mark.parametrize(
    ("feed", "is_final"), [("simulated", False), ("alpaca", True), ("yahoo", True), ("auto", True)]
)
def test_a_real_feed_that_is_refused_is_not_started_again(tmp_path: Path, feed: str, is_final: bool) -> None:
    settings = Settings().model_copy(update={"home": tmp_path})
    service = feed_service(Home(tmp_path), settings, feed=feed, closed="wait", symbols=None, speed=None)
    assert (service.is_task, 2 in service.final_statuses) == (is_final, is_final)
    assert 1 not in service.final_statuses, "what crashes is started again"
