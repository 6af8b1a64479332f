"""How far back users find bars ready for questions: the tiers, and the table that says since when each keeps what it has.

What belongs here: which marts are a tier, and for how long it keeps a session. What does not: the lake, which keeps everything
for ever; who moves a tier on, which is ``orchestration/assets/tiers.py``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from market.columns import Column, DataType, Store, Table


@dataclass(frozen=True, slots=True)
class Tier:
    """Marts that go back equally far.

    Attributes
    ----------
    name
        What it is called.
    mart
        The mart that it is found in.
    keeps
        How long it keeps a session after the later of two days: the session's own, and that of the newest batch that changed one
        of its bars. ``None`` means for ever.
    says
        What it holds, in words.
    """

    name: str
    mart: str
    keeps: timedelta | None
    says: str

    def keep_from(self, now: datetime) -> datetime | None:
        """Return since when sessions and changes of them are kept at a moment; ``None`` means all are."""
        return None if self.keeps is None else now - self.keeps


REALTIME: Final = Tier("realtime", "realtime_prices", None, "One row per symbol: its current session.")
INTRADAY: Final = Tier(
    "intraday", "intraday_ohlcv", timedelta(days=549), "Bars of minutes to hours, of eighteen months."
)
DAILY: Final = Tier("daily", "historical_ohlcv", None, "Daily bars, for ever; ten years are collected.")
TIERS: Final = (REALTIME, INTRADAY, DAILY)
COLLECTED_DAYS: Final = {DAILY.name: 3_653, INTRADAY.name: 549}
"""How many days back history is collected for a tier if nothing else is said."""

PG_TIERS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="tiers",
    grain="one row per tier of the marts",
    key=("tier",),
    columns=(
        Column("tier", DataType.TEXT, "realtime, intraday or daily."),
        Column(
            "kept_since_at",
            DataType.TIMESTAMP,
            "A session stays in the marts if it, or the newest batch that changed a bar of it, is not older; null keeps all.",
            nullable=True,
        ),
        Column("moved_at", DataType.TIMESTAMP, "When that was said."),
    ),
)
