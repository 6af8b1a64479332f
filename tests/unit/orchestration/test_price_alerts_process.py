"""How the process of alerts at once ends."""

from threading import Event

import pytest
import structlog
from structlog.testing import capture_logs

from market.errors import RefusedStatementError, SettingsError
from market.settings import Settings
from orchestration import price_alerts
from orchestration.alert_relay import configure_logging


class PlayedWatch:
    """A watch that comes to an end by itself."""

    def __init__(self, failure: RefusedStatementError | None) -> None:
        self._failure = failure

    def run(self, _stop: Event) -> None:
        if self._failure is not None:
            raise self._failure


@pytest.mark.parametrize(
    ("failure", "exit_code", "told"),
    [
        (None, 0, [("price_alerts_stopped", None)]),
        (RefusedStatementError("refused"), 1, [("price_alerts_failed", "refused")]),
    ],
)
def test_a_watch_that_cannot_go_on_says_why_and_fails(
    monkeypatch: pytest.MonkeyPatch,
    failure: RefusedStatementError | None,
    exit_code: int,
    told: list[tuple[str, str | None]],
) -> None:
    def watch(_settings: Settings) -> PlayedWatch:
        return PlayedWatch(failure)

    monkeypatch.setattr(price_alerts, "price_watch", watch)
    monkeypatch.setattr(price_alerts, "configure_logging", lambda _settings: None)
    monkeypatch.setattr(price_alerts, "stop_at_signals", Event)
    with capture_logs() as logs:
        assert price_alerts.main() == exit_code
    assert [(entry["event"], entry.get("cause")) for entry in logs] == told


def test_a_failure_is_logged_with_its_traceback_and_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A URL that cannot be read is quoted by what reads it, and stands in the variables of every frame."""
    url = "postgresql://tape:S3cretPass%zz@127.0.0.1:1/tape"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(price_alerts, "stop_at_signals", Event)
    try:
        assert price_alerts.main() == SettingsError.exit_code
    finally:
        structlog.reset_defaults()
    printed = capfd.readouterr()
    assert "price_alerts_failed" in printed.err
    assert "Traceback" in printed.err
    assert "DATABASE_URL cannot be read" in printed.err
    assert "S3cret" not in printed.err + printed.out


def test_a_defect_in_a_channel_is_logged_with_its_traceback_and_without_a_secret(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging(Settings())
    secret = "".join(("S3", "cret", "Pass"))  # not in the line that a traceback shows
    try:
        _fail_with(secret)
    except ValueError:
        structlog.get_logger("alerts.delivery.relay").exception("channel_failed")
    finally:
        structlog.reset_defaults()
    printed = capfd.readouterr().err
    assert "_fail_with" in printed
    assert "S3cret" not in printed


def _fail_with(password: str) -> None:
    msg = f"a defect after {len(password)} characters"
    raise ValueError(msg)
