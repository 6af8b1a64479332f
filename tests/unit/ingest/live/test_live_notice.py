from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.figures import gather
from infra.local.home import Home, Phase
from ingest.live.notice import FeedState, Notice, NoticeBoard, clear_notice, notice_file, read_notice
from market.settings import Settings

NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)


def test_what_a_feed_says_is_read_until_it_is_cleared(tmp_path: Path) -> None:
    assert read_notice(tmp_path) is None
    NoticeBoard(tmp_path, lambda: NOON).tell("alpaca", FeedState.DISCONNECTED, "the connection broke")
    assert read_notice(tmp_path) == Notice("alpaca", FeedState.DISCONNECTED, NOON, "the connection broke")
    clear_notice(tmp_path)
    clear_notice(tmp_path)
    assert read_notice(tmp_path) is None


def test_saying_the_same_again_keeps_since_when(tmp_path: Path) -> None:
    moments = iter([NOON, NOON.replace(hour=18)])
    board = NoticeBoard(tmp_path, lambda: next(moments))
    board.tell("alpaca", FeedState.LIVE)
    board.tell("alpaca", FeedState.LIVE)
    notice = read_notice(tmp_path)
    assert notice is not None
    assert notice.since == NOON


def test_a_disk_that_takes_nothing_does_not_stop_the_feed(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    NoticeBoard(tmp_path).tell("alpaca", FeedState.LIVE)
    assert read_notice(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"source": "alpaca"}', '{"source": "a", "state": "odd", "since": "2026", "detail": ""}']
)
def test_a_notice_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    notice_file(tmp_path).parent.mkdir()
    notice_file(tmp_path).write_text(text)
    assert read_notice(tmp_path) is None


def test_the_status_says_that_a_feed_was_refused_while_the_platform_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    NoticeBoard(tmp_path, lambda: NOON).tell("alpaca", FeedState.REFUSED, "Alpaca refuses the keys")
    settings = Settings().model_copy(update={"home": tmp_path, "kafka_bootstrap_servers": None, "database_url": None})
    assert gather(home, settings).live_feed is None
    with home.lock("./run up"):
        home.write_phase(Phase.RUNNING)
        figures = gather(home, settings)
    (problem,) = figures.problems
    assert problem == (
        "The live feed has ended: Alpaca refuses the keys. Once this is mended, stop the platform and start it again "
        "(./run down, ./run up --feed alpaca): what was missed is fetched then."
    )
    assert not figures.is_well
    assert figures.as_json()["live_feed"] == {
        "source": "alpaca",
        "state": "refused",
        "since": "2026-11-20T17:00:00+00:00",
        "detail": "Alpaca refuses the keys",
        "warnings": (),
    }


def test_the_status_says_what_is_to_be_mended_until_it_is(tmp_path: Path) -> None:
    home = Home(tmp_path)
    settings = Settings().model_copy(update={"home": tmp_path, "kafka_bootstrap_servers": None, "database_url": None})
    board = NoticeBoard(tmp_path, lambda: NOON)
    board.warn("alpaca", "Alpaca refuses the keys. See whether they are right.")
    board.tell("yahoo", FeedState.LIVE)
    with home.lock("./run up"):
        home.write_phase(Phase.RUNNING)
        figures = gather(home, settings)
        assert figures.problems == ["The live feed: Alpaca refuses the keys. See whether they are right."]
        assert not figures.is_well
        board.warn("alpaca", "")
        assert gather(home, settings).problems == []
