"""How a rate follows from what was seen."""

import pytest

from benchmarks.progress import Progress


def progress(*samples: tuple[float, int]) -> Progress:
    noted = Progress()
    for at, done in samples:
        noted.note(at, done)
    return noted


def test_the_rate_leaves_the_warm_up_out() -> None:
    noted = progress((0.0, 10), (10.0, 100), (11.0, 300), (12.0, 500))
    assert noted.rate(after=50) == pytest.approx(200.0)


def test_the_rate_of_everything_begins_with_the_first_sample() -> None:
    assert progress((5.0, 100), (7.0, 200)).rate() == pytest.approx(50.0)


def test_what_is_seen_again_is_no_sample() -> None:
    noted = progress((0.0, 100), (1.0, 100), (2.0, 90), (3.0, 400))
    assert noted.samples == [(0.0, 100), (3.0, 400)]
    assert noted.done == 400


def test_there_is_no_rate_of_one_sample() -> None:
    assert progress((1.0, 100)).rate() == 0.0
    assert progress().rate() == 0.0
    assert progress((1.0, 100), (2.0, 200)).rate(after=1000) == 0.0


def test_the_parts_cover_the_time_after_the_warm_up() -> None:
    samples = [(float(second), second * second) for second in range(1, 10)]
    assert progress(*samples).rates(after=0) == [4.0, 8.0, 12.0, 16.0]
