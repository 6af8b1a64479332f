"""What the broker has of a live source's newest sessions, kept across restarts."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import structlog

from ingest.live.spans import Spans

KEPT_SESSIONS: Final = 5
"""What is missing of older ones is not asked for any more."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Covered:
    """Of each symbol's part of the session, what the broker has acknowledged."""

    session_date: date
    spans: Mapping[str, Spans]


def covered_file(home: Path, source: str) -> Path:
    """Return where it is kept: one file a source."""
    return home / "run" / f"live-{source}.json"


def save_covered(path: Path, covered: Covered) -> None:
    """Write it beside what is there of other sessions, whole or not at all."""
    kept = {**_load(path), covered.session_date: covered.spans}
    content = {
        session_date.isoformat(): {symbol: list(spans) for symbol, spans in kept[session_date].items()}
        for session_date in sorted(kept)[-KEPT_SESSIONS:]
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(json.dumps(content) + "\n", encoding="utf-8")
    new.replace(path)


def load_covered(path: Path, session_date: date) -> Covered | None:
    """Return what was saved of a session; ``None`` if there is nothing or it cannot be used, which is logged."""
    spans = _load(path).get(session_date)
    return Covered(session_date, spans) if spans is not None else None


def _load(path: Path) -> dict[date, Mapping[str, Spans]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            date.fromisoformat(session_date): {
                symbol: Spans((int(since), int(until)) for since, until in spans) for symbol, spans in covered.items()
            }
            for session_date, covered in content.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        consequence = "what the session has is asked for again"
        _log.warning("live_covered_unreadable", path=str(path), cause=repr(error), consequence=consequence)
        return {}
