"""What the price marts have to hold, computed from the lake's rows in plain Python: the oracle of the marts' tests."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg

from market.sessions import Session, find_session

Row = dict[str, Any]

STEPS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}


def read(connection: psycopg.Connection[Any], query: str) -> list[Row]:
    cursor = connection.execute(query.encode())
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def session_of(day: date) -> Session:
    session = find_session(day)
    assert session is not None
    return session


def rank(source: str) -> int:
    return {"lean": 0, "sample": 1, "simulated": 3}.get(source, 2)


def combine(minutes: list[Row]) -> Row:
    """Return the bar of some minutes, in plain Python."""
    minutes = sorted(minutes, key=lambda minute: minute["bar_at"])
    priced = [minute for minute in minutes if minute["open"] is not None]
    volume = sum(minute["volume"] for minute in minutes)
    vwap = sum(minute["notional"] for minute in minutes) / volume if volume else None
    return {
        "open": priced[0]["open"] if priced else None,
        "high": max((minute["high"] for minute in priced), default=None),
        "low": min((minute["low"] for minute in priced), default=None),
        "close": priced[-1]["close"] if priced else None,
        "volume": volume,
        "vwap": None if vwap is None else vwap.quantize(Decimal("0.000001"), ROUND_HALF_UP),
        "trade_count": sum(minute["trade_count"] for minute in minutes),
        "revision": sum(minute["revision"] for minute in minutes),
        "revised_at": max(minute["revised_at"] for minute in minutes),
        "session_date": minutes[0]["session_date"],
        "segment": minutes[0]["segment"],
        "origin": minutes[0]["source"],
        "symbol": minutes[0]["symbol"],
    }


def segment_bounds(session: Session, segment: str) -> tuple[datetime, datetime]:
    return {
        "pre": (session.pre_open_at, session.open_at),
        "regular": (session.open_at, session.close_at),
        "post": (session.close_at, session.post_close_at),
    }[segment]


def expected_marts(connection: psycopg.Connection[Any]) -> tuple[list[Row], list[Row]]:
    """Return intraday_ohlcv and historical_ohlcv as they have to be, computed without SQL."""
    minutes = read(connection, "select * from lake.bars_1m")
    tapes: dict[str, datetime] = {}
    for minute in minutes:
        tapes[minute["source"]] = max(minute["bar_at"], tapes.get(minute["source"], minute["bar_at"]))
    sources: dict[tuple[str, date], set[str]] = defaultdict(set)
    for minute in minutes:
        sources[minute["symbol"], minute["session_date"]].add(minute["source"])
    shown = [
        minute
        for minute in minutes
        if minute["source"] == min(sources[minute["symbol"], minute["session_date"]], key=lambda s: (rank(s), s))
    ]
    buckets: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    days: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for minute in shown:
        starts_at, _ = segment_bounds(session_of(minute["session_date"]), minute["segment"])
        for interval, step in STEPS.items():
            number = (minute["bar_at"] - starts_at) // timedelta(minutes=step)
            start = starts_at + number * timedelta(minutes=step)
            buckets[minute["symbol"], interval, start, minute["segment"]].append(minute)
        if minute["segment"] == "regular":
            days[minute["symbol"], minute["session_date"]].append(minute)
    intraday = []
    for (_, interval, start, segment), parts in buckets.items():
        bar = combine(parts)
        _, ends_at = segment_bounds(session_of(bar["session_date"]), segment)
        intraday.append({**bar, "interval": interval, "bar_at": start, "is_final": tapes[bar["origin"]] >= ends_at})
    historical = {}
    for key, parts in days.items():
        session = session_of(key[1])
        bar = combine(parts)
        is_final = tapes[bar["origin"]] >= session.close_at
        historical[key] = {
            **bar,
            "interval": "1d",
            "bar_at": session.open_at,
            "is_final": is_final,
            "is_vendor_bar": False,
        }
    for row in sorted(
        read(connection, "select * from lake.vendor_bars"), key=lambda r: (-rank(r["source"]), r["source"])
    ):
        bar = {
            name: row[name] for name in ("symbol", "open", "high", "low", "close", "volume", "session_date", "revision")
        }
        bar |= {"vwap": None, "trade_count": None, "segment": "regular", "origin": row["source"], "is_final": True}
        bar |= {"interval": "1d", "bar_at": session_of(row["session_date"]).open_at, "revised_at": row["ingested_at"]}
        historical[row["symbol"], row["session_date"]] = {**bar, "is_vendor_bar": True}
    return intraday, list(historical.values())
