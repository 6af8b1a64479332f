"""What the broker has of a live source's session, kept across restarts."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import structlog

from ingest.live.spans import Spans

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
    """Write it, whole or not at all."""
    content = {
        "session_date": covered.session_date.isoformat(),
        "covered": {symbol: list(spans) for symbol, spans in covered.spans.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(json.dumps(content) + "\n", encoding="utf-8")
    new.replace(path)


def load_covered(path: Path) -> Covered | None:
    """Return what was saved; ``None`` if there is nothing or it cannot be used, which is logged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Covered(
            session_date=date.fromisoformat(content["session_date"]),
            spans={
                str(symbol): Spans((int(since), int(until)) for since, until in spans)
                for symbol, spans in content["covered"].items()
            },
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        consequence = "what the session has is asked for again"
        _log.warning("live_covered_unreadable", path=str(path), cause=repr(error), consequence=consequence)
        return None
