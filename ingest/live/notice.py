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
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is shown since when.

    Attributes
    ----------
    source, state, since
        Which feed it is, and how it is since when.
    detail
        Why it is not live, if it is not.
    warnings
        What else somebody has to mend, with the remedy.
    """

    source: str
    state: FeedState
    since: datetime
    detail: str = ""
    warnings: tuple[str, ...] = ()


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
        self._said: Notice | None = None
        self._warnings: dict[str, str] = {}

    def tell(self, source: str, state: FeedState, detail: str = "") -> None:
        """Say how a feed is; a disk that does not take it is no reason to stop."""
        said = self._said
        if said is None or (source, state, detail) != (said.source, said.state, said.detail):
            self._said = Notice(source, state, self._now(), detail)
            self._write()

    def warn(self, about: str, text: str) -> None:
        """Say what is to be mended about something, such as a source; nothing takes it back."""
        if text != self._warnings.get(about, ""):
            self._warnings[about] = text
            self._write()

    def _write(self) -> None:
        if self._said is None:
            return
        content = {
            "source": self._said.source,
            "state": self._said.state,
            "since": self._said.since.isoformat(),
            "detail": self._said.detail,
            "warnings": [text for text in self._warnings.values() if text],
        }
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
        warnings = tuple(str(text) for text in content["warnings"])
        return Notice(str(content["source"]), FeedState(content["state"]), since, str(content["detail"]), warnings)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def clear_notice(home: Path) -> None:
    """Forget it: what comes next is another run."""
    notice_file(home).unlink(missing_ok=True)
