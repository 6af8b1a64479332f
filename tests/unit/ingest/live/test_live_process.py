"""The process of a real feed as it is in earnest: real clock, real threads, the vendor's protocol; only the broker is not."""

import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgpack
import pytest
from pydantic import SecretStr

from ingest.live import __main__ as process
from ingest.live.covered_file import covered_file, load_covered
from ingest.live.notice import FeedState, read_notice
from ingest.publisher import PublishSummary
from market.records import Record, Trade
from market.sessions import Session
from market.settings import Settings
from tests.unit.ingest.history.alpaca_server import KEY_ID, SECRET_KEY, AlpacaServer
from tests.unit.ingest.live.alpaca_stream import frame, raw_trade, refusing, session
from tests.unit.ingest.live.stream_server import Peer, StreamServer

DEADLINE_SECONDS = 20.0


class Kept:
    """A broker that keeps what it gets."""

    has_losses = False

    def __init__(self) -> None:
        self.records: list[Record] = []

    def publish_all(self, records: Iterable[Record]) -> int:
        before = len(self.records)
        self.records += records
        return len(self.records) - before

    def flush(self, timeout_seconds: float) -> int:
        return 0 if timeout_seconds > 0 else 1

    def close(self, deadline_seconds: float) -> PublishSummary:
        count = len(self.records) if deadline_seconds > 0 else 0
        return PublishSummary(sent=count, acknowledged=count)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """The broker, in the middle of a session that is on now; the next one is a day later, whatever the calendar has."""
    kept, now, day = Kept(), datetime.now(UTC), timedelta(days=1)
    on_now, next_day = _session_around(now), _session_around(now + day)
    monkeypatch.setattr(process, "_connect", lambda _servers, _stop: kept)
    monkeypatch.setattr("ingest.live.rota.session_at", lambda _: on_now)
    monkeypatch.setattr("ingest.live.rota.all_sessions", lambda: (on_now, next_day))
    return kept


def _session_around(moment: datetime) -> Session:
    hour = timedelta(hours=1)
    borders = (moment - 2 * hour, moment - hour, moment + hour, moment + 2 * hour)
    return Session(moment.date(), *borders, is_half_day=False)


def settings_at(home: Path, stream: StreamServer, history: AlpacaServer) -> Settings:
    return Settings().model_copy(
        update={
            "home": home,
            "alpaca_key_id": SecretStr(KEY_ID),
            "alpaca_secret_key": SecretStr(SECRET_KEY),
            "alpaca_stream_url": stream.url,
            "alpaca_url": history.url,
        }
    )


def test_a_trade_goes_from_the_stream_to_the_broker_until_the_process_is_told_to_stop(
    broker: Kept, tmp_path: Path
) -> None:
    stamp = msgpack.Timestamp(int(time.time()), 0)
    script = session(frame(raw_trade("SPY", stamp, 7)), Peer.stay_silent)
    stop, ended = threading.Event(), list[PublishSummary]()
    with StreamServer(script) as stream, AlpacaServer() as history:
        settings = settings_at(tmp_path, stream, history)
        choice = process._choice(settings, ["--feed", "alpaca", "--symbols", "spy"])
        sources = process.live_sources("alpaca", settings)
        thread = threading.Thread(target=lambda: ended.append(process._run(settings, choice, sources, "unused", stop)))
        thread.start()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not any(isinstance(record, Trade) for record in broker.records):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        notice = read_notice(tmp_path)
        stop.set()
        thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    assert notice is not None
    assert (notice.source, notice.state) == ("alpaca", FeedState.LIVE)
    assert ended[0].is_complete
    assert load_covered(covered_file(tmp_path, "alpaca"), datetime.now(UTC).date()) is not None


def test_auto_waits_when_every_source_refuses_and_the_status_says_what_to_do(broker: Kept, tmp_path: Path) -> None:
    stop = threading.Event()
    with (
        StreamServer(refusing(402, "auth failed")) as alpaca,
        StreamServer(Peer.stay_silent) as yahoo,
        AlpacaServer() as history,
    ):
        yahoo.refusals.append(403)
        settings = settings_at(tmp_path, alpaca, history).model_copy(update={"yahoo_stream_url": yahoo.url})
        choice = process._choice(settings, ["--feed", "auto", "--closed", "wait", "--symbols", "spy"])
        sources = process.live_sources("auto", settings)
        thread = threading.Thread(target=process._run, args=(settings, choice, sources, "unused", stop))
        thread.start()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (notice := read_notice(tmp_path)) is None or notice.state is not FeedState.WAITING:
            assert time.monotonic() < deadline, notice
            time.sleep(0.01)
        stop.set()
        thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    assert not broker.records
    assert "every real source refuses" in notice.detail
    assert "See whether APCA_API_KEY_ID and APCA_API_SECRET_KEY are right" in notice.warnings[0]
    assert notice.warnings[1].startswith("yahoo is not asked again before the next session: Yahoo has no stream for us")


def test_without_a_broker_the_process_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(_env_file=None).model_copy(update={"home": tmp_path, "kafka_bootstrap_servers": None})
    monkeypatch.setattr(process, "load_settings", lambda: settings)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(process, "_configure_logging", lambda _: None)
    assert process.main(["--feed", "alpaca", "--symbols", "spy"]) == 2
    said = capsys.readouterr().out
    assert "KAFKA_BOOTSTRAP_SERVERS is not set. ./run up sets it for the processes that it starts" in said
    assert "not running" not in said


def test_a_refused_key_ends_the_process_with_a_clear_error(
    broker: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with StreamServer(refusing(402, "auth failed")) as stream, AlpacaServer() as history:
        settings = settings_at(tmp_path, stream, history).model_copy(update={"kafka_bootstrap_servers": "unused:1"})
        monkeypatch.setattr(process, "load_settings", lambda: settings)
        monkeypatch.setattr("signal.signal", lambda *_: None)
        monkeypatch.setattr(process, "_configure_logging", lambda _: None)
        assert process.main(["--feed", "alpaca", "--symbols", "spy"]) == 2
    assert "See whether APCA_API_KEY_ID and APCA_API_SECRET_KEY are right" in capsys.readouterr().out
    assert not broker.records
    notice = read_notice(tmp_path)
    assert notice is not None
    assert notice.state is FeedState.REFUSED
