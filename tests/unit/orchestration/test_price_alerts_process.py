"""How the process of alerts at once ends."""

from threading import Event

import pytest
from structlog.testing import capture_logs

from market.errors import RefusedStatementError
from market.settings import Settings
from orchestration import price_alerts


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
