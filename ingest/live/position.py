"""How far the simulated market has come, and keeping it across restarts."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import structlog

from market.sessions import find_session

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LivePosition:
    """Everything of the session up to and including ``shown_through`` has been acknowledged by the broker.

    ``seed`` and ``trades_per_day`` belong to the session: with others its records would differ under equal identities.
    """

    session_date: date
    shown_through: datetime
    symbols: tuple[str, ...]
    seed: int
    trades_per_day: int


def position_file(home: Path) -> Path:
    """Return where the position is kept."""
    return home / "run" / "live.json"


def save_position(path: Path, position: LivePosition) -> None:
    """Write the position, whole or not at all."""
    content = {
        "session_date": position.session_date.isoformat(),
        "shown_through": position.shown_through.isoformat(),
        "symbols": list(position.symbols),
        "seed": position.seed,
        "trades_per_day": position.trades_per_day,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(json.dumps(content) + "\n", encoding="utf-8")
    new.replace(path)


def load_position(path: Path) -> LivePosition | None:
    """Return the saved position; ``None`` if there is none or it cannot be used, which is logged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        position = LivePosition(
            session_date=date.fromisoformat(content["session_date"]),
            shown_through=datetime.fromisoformat(content["shown_through"]).astimezone(UTC),
            symbols=tuple(str(symbol) for symbol in content["symbols"]),
            seed=int(content["seed"]),
            trades_per_day=int(content["trades_per_day"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning(
            "live_position_unreadable", path=str(path), cause=repr(error), consequence="the market starts anew"
        )
        return None
    if find_session(position.session_date) is None:
        _log.warning("live_position_unknown_session", session_date=str(position.session_date))
        return None
    return position
