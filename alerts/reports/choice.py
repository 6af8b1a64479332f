"""Which symbols move most, and of which there is a chart: pure functions on the rows of the moves."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

RANKINGS: Final[Mapping[str, Callable[[Row], float | None]]] = {
    "gainers": lambda row: row["change_pct"] if _above(row["change_pct"]) else None,
    "losers": lambda row: -row["change_pct"] if row["change_pct"] is not None and row["change_pct"] < 0 else None,
    "most_active": lambda row: float(row["volume"]) if _above(row["volume"]) else None,
    "unusual_volume": lambda row: row["volume_ratio"] if _above(row["volume_ratio"]) else None,
}
"""What each ranking goes by, as in ``marts.top_movers``; what has none is not in it."""
SHOWN: Final = 10
"""How many of each ranking are listed."""
CHARTED: Final[Mapping[str, int]] = {"gainers": 3, "losers": 3, "most_active": 1, "unusual_volume": 1}
"""How many of each ranking have a chart."""
MOST_CHARTS: Final = 16


def ranked(moves: Sequence[Row], ranking: str) -> list[Row]:
    """Return the rows of a ranking, the first first; equal ones by the alphabet."""
    measured = [(measure, row) for row in moves if (measure := RANKINGS[ranking](row)) is not None]
    return [row for _, row in sorted(measured, key=lambda pair: (-pair[0], pair[1]["symbol"]))]


def not_compared(moves: Sequence[Row]) -> list[Row]:
    """Return the rows without a close of the session before, but with an older one; what is furthest from it first."""
    rows = [row for row in moves if row["since"] is not None]
    return sorted(rows, key=lambda row: (-abs(row["change_since_pct"] or 0), row["symbol"]))


def charted_symbols(moves: Sequence[Row], alerts: Sequence[Row]) -> tuple[list[str], int]:
    """Return of which symbols there is a chart, and how many with alerts have none for want of room.

    First the movers, of real and then of simulated symbols, then the symbols with alerts, those with most first; movers leave
    half of the room to symbols with alerts.
    """
    movers: list[str] = []
    for is_simulated in (False, True):
        some = [row for row in moves if row["is_simulated"] == is_simulated]
        movers += [row["symbol"] for ranking, number in CHARTED.items() for row in ranked(some, ranking)[:number]]
    counts = Counter(alert["symbol"] for alert in alerts)
    alerted = [symbol for symbol, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    movers = list(dict.fromkeys(movers))
    others = [symbol for symbol in alerted if symbol not in movers]
    room = MOST_CHARTS - min(len(others), MOST_CHARTS // 2)
    chosen = [*movers[:room], *others][:MOST_CHARTS]
    return chosen, len(set(alerted) - set(chosen))


def _above(value: Any) -> bool:  # noqa: ANN401 - a number or none
    return value is not None and value > 0
