"""The locks of a home."""

from collections.abc import Callable
from pathlib import Path

import pytest

from market.errors import HomeBusyError, ServiceError
from market.settings import Settings, load_settings
from spark_jobs.jobs.locks import BatchLock, BesideRepairs, single_writer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings().model_copy(update={"home": tmp_path / "home"})


def test_a_second_stream_of_a_home_is_refused(settings: Settings) -> None:
    with single_writer(settings), pytest.raises(HomeBusyError, match="Another stream"), single_writer(settings):
        pass
    with single_writer(settings):
        pass


def test_a_batch_waits_for_a_repair_and_a_repair_for_a_batch(settings: Settings) -> None:
    with BatchLock(settings, "trade").held():
        with (
            pytest.raises(ServiceError, match=r"trades\.lock"),
            BatchLock(settings, "trade").held(timeout_seconds=0.05),
        ):
            pass
        with BatchLock(settings, "quote").held(timeout_seconds=0):  # each topic has batches of its own
            pass
        with (
            pytest.raises(KeyboardInterrupt),
            BatchLock(settings, "trade").held(while_waiting=raising(KeyboardInterrupt)),
        ):
            pass
    with BatchLock(settings, "trade").held(timeout_seconds=0):
        pass


def raising(kind: type[BaseException]) -> Callable[[], None]:
    def act() -> None:
        raise kind

    return act


def test_a_batch_after_a_repair_was_begun_forgets_and_the_next_one_does_not(settings: Settings) -> None:
    forgotten: list[int] = []
    batches = BesideRepairs(BatchLock(settings, "trade"), lambda: forgotten.append(1), lambda: None)

    def forgets() -> int:
        forgotten.clear()
        with batches.batch():
            return len(forgotten)

    assert forgets() == 1  # nothing is known of what was before
    assert forgets() == 0
    with BatchLock(settings, "trade").held() as held:
        held.begin_repair()
        held.begin_repair()
    assert forgets() == 1
    assert forgets() == 0
    with BatchLock(settings, "trade").held() as held:
        assert held.repairs == 2
