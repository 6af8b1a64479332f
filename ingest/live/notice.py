"""What the live feed is doing now, in a file for ``./run status``."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


class FeedState(StrEnum):
    """How a feed is."""

    STARTING = "starting"
    CONNECTING = "connecting"
    LIVE = "live"
    DISCONNECTED = "disconnected"
    CLOSED = "closed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is shown since when: a source, how it is, and why it is not live if it is not."""

    source: str
    state: FeedState
    since: datetime
    detail: str = ""


class NoticeBoard:
    """Says what the feed is doing; only changes are written.

    Parameters
    ----------
    home
        Where the platform is.
    now
        The clock.
    """

    def __init__(self, home: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = notice_file(home)
        self._now = now
        self._last: tuple[str, FeedState, str] | None = None

    def tell(self, source: str, state: FeedState, detail: str = "") -> None:
        """Say it; a disk that does not take it is no reason to stop."""
        if (source, state, detail) == self._last:
            return
        self._last = (source, state, detail)
        content = {"source": source, "state": state, "since": self._now().isoformat(), "detail": detail}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
            new.write_text(json.dumps(content) + "\n", encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            _log.warning("live_notice_not_written", path=str(self._path), cause=str(error))


def notice_file(home: Path) -> Path:
    """Return where it is kept."""
    return home / "run" / "feed.json"


def read_notice(home: Path) -> Notice | None:
    """Return what the feed said last; ``None`` if it said nothing that can be read."""
    try:
        content = json.loads(notice_file(home).read_text(encoding="utf-8"))
        since = datetime.fromisoformat(content["since"])
        return Notice(str(content["source"]), FeedState(content["state"]), since, str(content["detail"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def clear_notice(home: Path) -> None:
    """Forget it: what comes next is another run."""
    notice_file(home).unlink(missing_ok=True)
