"""Days of made-up companies, put into the lake as a vendor's: what tests of the marts of analytics and of reports share."""

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg

from tests.integration.analytics_oracle import Day
from tests.integration.mart_oracle import session_of


def put_days(connection: psycopg.Connection[Any], days: list[Day], *, source: str = "lean") -> None:
    """Put days into the lake as a vendor's, in the place of those that are there."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into lake.vendor_bars (source, symbol, interval, bar_at, session_date, open, high, low, close, volume, "
            'topic, partition, "offset", ingested_at, revision) '
            "values (%s, %s, '1d', %s, %s, %s, %s, %s, %s, %s, 't', 0, 0, %s, 1) "
            "on conflict (source, symbol, interval, bar_at) do update set (open, high, low, close, volume) = "
            "(excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)",
            [
                (
                    *(source, day.symbol, session_of(day.session_date).open_at, day.session_date),
                    *(day.open, max(day.open, day.close), min(day.open, day.close), day.close, day.volume),
                    datetime(2026, 1, 1, tzinfo=UTC),
                )
                for day in days
            ],
        )


def walk(chance: random.Random, symbol: str, price: str, sessions: list[date], *, volume: int = 10_000) -> list[Day]:
    """Return a random walk with some returns and volumes far off; prices have six decimals."""
    days, close = [], Decimal(price)
    for session_date in sessions:
        step = chance.gauss(0, 0.2 if chance.random() < 0.02 else 0.01)
        gap = chance.gauss(0, 0.1 if chance.random() < 0.02 else 0.004)
        first = max((close * Decimal(1 + max(gap, -0.3))).quantize(Decimal("0.000001")), Decimal("0.000001"))
        close = max((close * Decimal(1 + max(step, -0.3))).quantize(Decimal("0.000001")), Decimal("0.000001"))
        shares = int(volume * chance.lognormvariate(0, 2 if chance.random() < 0.02 else 0.4))
        days.append(Day(symbol, session_date, first, close, shares))
    return days
