"""Bars and days of which indicators are made, as a stream, a vendor or a person might put them."""

import csv
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

import psycopg

from market.sessions import find_session
from market.tables import PG_VENDOR_BARS
from tests.integration.mart_oracle import Row, session_of
from tests.integration.mart_rows import DAYS, put, put_bar

Day = tuple[Any, ...]
"""Date, open, high, low, close, volume."""
DAILY: Final = ("daily_analytics", "daily_analytics_raw", "daily_analytics_total_return")
ALL_PRICES: Final = {"daily_prices": ["split_adjusted", "raw", "total_return"]}
"""The variable of the dbt project with which all of these are built."""
RUN: Final = ("run", "--select", "intraday_ohlcv", "intraday_analytics")
RUN_DAYS: Final = ("run", "--select", "int_daily_bars", "historical_ohlcv", *DAILY)
INTRADAY: Final = "select * from marts.intraday_analytics order by symbol, interval, bar_at"


def walk(chance: random.Random, price: float) -> tuple[Decimal, ...]:
    """Return open, high, low and close of a bar near a price."""
    first, last = price, price * (1 + chance.gauss(0, 0.002))
    spread = [first, last, first * (1 + chance.random() / 500), last * (1 - chance.random() / 500)]
    return tuple(Decimal(f"{value:.6f}") for value in (first, max(spread), min(spread), last))


def some_moment(chance: random.Random) -> datetime:
    session = session_of(chance.choice(DAYS))
    minutes = int((session.close_at - session.open_at).total_seconds() // 60)
    return session.open_at + timedelta(minutes=chance.randrange(minutes))


def fill(connection: psycopg.Connection[Any], chance: random.Random, symbol: str, share: float) -> None:
    """Put bars of some of the minutes of every session."""
    price = 100.0
    with connection.transaction():
        for day in DAYS:
            session = session_of(day)
            at = session.open_at
            while at < session.close_at:
                if chance.random() < share:
                    prices = walk(chance, price)
                    price = float(prices[3])
                    put_bar(connection, "lean", symbol, at, prices, volume=chance.randrange(1, 10_000))
                at += timedelta(minutes=1)


def put_days(connection: psycopg.Connection[Any], symbol: str, bars: list[Day]) -> None:
    """Put a vendor's days."""
    with connection.transaction():
        for day, *prices, volume in bars:
            session = find_session(day)
            assert session is not None
            place = {
                "source": "yahoo",
                "symbol": symbol,
                "interval": "1d",
                "bar_at": session.open_at,
                "session_date": day,
            }
            values = dict(zip(("open", "high", "low", "close"), map(Decimal, prices), strict=True))
            ledger = {"topic": "t", "partition": 0, "offset": 0, "ingested_at": session.close_at, "revision": 1}
            put(connection, "lake.vendor_bars", PG_VENDOR_BARS.key, {**place, **values, "volume": volume, **ledger})


def sample_days(symbol: str) -> list[Day]:
    """Return the real days of a share from 2000 to 2013, as the package has them."""
    with (files("bokeh_sampledata") / "_data" / f"{symbol}.csv").open() as file:
        rows = [
            (date.fromisoformat(row["Date"]), row["Open"], row["High"], row["Low"], row["Close"], int(row["Volume"]))
            for row in csv.DictReader(file)
        ]
    return sorted(rows)


def put_action(connection: psycopg.Connection[Any], symbol: str, action: str, day: date, **others: Any) -> None:
    """Put a corporate action that was known from its day on."""
    row: Row = {
        "source": "lean",
        "symbol": symbol,
        "action": action,
        "session_date": day,
        "is_withdrawn": False,
        "known_at": datetime(day.year, day.month, day.day, tzinfo=UTC),
        "ingested_at": datetime(2026, 1, 1, tzinfo=UTC),
        "topic": "market.actions.v1",
        "partition": 0,
        "offset": 1,
        **others,
    }
    names = ", ".join(f'"{name}"' for name in row)
    values = ", ".join(["%s"] * len(row))
    connection.execute(f"insert into lake.corporate_actions ({names}) values ({values})".encode(), list(row.values()))


def differences(expected: list[Row], found: list[Row]) -> list[tuple[Any, ...]]:
    """Return the first rows and columns that differ: key, column, expected, found."""
    key = ("symbol", "interval", "bar_at")  # of days too
    by_key = [{tuple(row[name] for name in key): row for row in rows} for rows in (expected, found)]
    lacking = [(place, "row", place in by_key[0], place in by_key[1]) for place in by_key[0].keys() ^ by_key[1].keys()]
    other = [
        (place, name, value, by_key[1][place][name])
        for place, row in by_key[0].items()
        for name, value in row.items()
        if place in by_key[1] and by_key[1][place][name] != value
    ]
    return [*lacking, *other][:12]
