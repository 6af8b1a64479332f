"""What the price marts have to hold, computed from the lake's rows in plain Python: the oracle of the marts' tests."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg

from market.sessions import Session, find_session, sessions_between
from tests.integration.origin_oracle import LAST_RESORT, choose, compare_days, own_feed, rank, without_last_resort

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


def combine(minutes: list[Row]) -> Row:
    """Return the bar of some minutes, in plain Python."""
    minutes = sorted(minutes, key=lambda minute: minute["bar_at"])
    priced = [minute for minute in minutes if minute["open"] is not None]
    ranged = [minute for minute in minutes if minute["high"] is not None]
    volume = sum(minute["volume"] for minute in minutes)
    vwap = sum(minute["notional"] for minute in minutes) / volume if volume else None
    return {
        "open": priced[0]["open"] if priced else None,
        "high": max((minute["high"] for minute in ranged), default=None),
        "low": min((minute["low"] for minute in ranged), default=None),
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
    intraday, historical, _ = expected_bars(connection)
    return intraday, historical


def expected_reconciliation(connection: psycopg.Connection[Any]) -> list[Row]:
    """Return bar_reconciliation as it has to be, computed without SQL."""
    _, _, compared = expected_bars(connection)
    return compared


def expected_bars(connection: psycopg.Connection[Any]) -> tuple[list[Row], list[Row], list[Row]]:
    """Return the bars shorter than a day, the days, and the reconciliation of both."""
    minutes = read(connection, "select * from lake.bars_1m")
    vendor_bars = read(connection, "select * from lake.vendor_bars")
    coverage = read(
        connection,
        "select source, symbol, session_date, lower(span) as since, upper(span) as until "
        "from lake.feed_coverage, unnest(covered) as span",
    )
    own, own_days = bars_of_minutes(minutes, coverage)
    rows = [row for row in (*minutes, *vendor_bars) if row["source"] != LAST_RESORT]
    real = {row["symbol"] for row in rows}
    intraday, compared = choose(
        own, vendor_bars, coverage, {row["symbol"] for row in rows if row.get("interval") != "1d"}
    )
    sources: dict[tuple[str, date], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for minute in minutes:
        sources[minute["symbol"], minute["session_date"]][minute["source"]][minute["segment"]] += (
            minute["open"] is not None
        )
    preferred = {key: own_feed(counts) for key, counts in sources.items()}
    own_days = [day for day in own_days if preferred[day["symbol"], day["session_date"]] == day["origin"]]
    own_days = without_last_resort(own_days, real)
    historical = {(day["symbol"], day["session_date"]): day for day in own_days}
    vendor_days = [vendor_day(row) for row in vendor_bars if row["interval"] == "1d"]
    vendor_days = without_last_resort(vendor_days, real)
    for day in sorted(vendor_days, key=lambda day: rank(day["origin"]), reverse=True):
        historical[day["symbol"], day["session_date"]] = day
    days = list(historical.values())
    return intraday, days, [*compared, *compare_days(days, [*own_days, *vendor_days])]


def bars_of_minutes(minutes: list[Row], coverage: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the bars shorter than a day, and the days, that the minutes of every source come to."""
    tapes: dict[str, datetime] = {}
    for minute in minutes:
        tapes[minute["source"]] = max(minute["bar_at"], tapes.get(minute["source"], minute["bar_at"]))
    for span in coverage:
        tapes[span["source"]] = max(span["until"], tapes.get(span["source"], span["until"]))
    buckets: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    days: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for minute in minutes:
        starts_at, _ = segment_bounds(session_of(minute["session_date"]), minute["segment"])
        for interval, step in STEPS.items():
            number = (minute["bar_at"] - starts_at) // timedelta(minutes=step)
            start = starts_at + number * timedelta(minutes=step)
            buckets[minute["source"], minute["symbol"], interval, start, minute["segment"]].append(minute)
        if minute["segment"] == "regular":
            days[minute["source"], minute["symbol"], minute["session_date"]].append(minute)
    intraday = []
    for (_, _, interval, start, segment), parts in buckets.items():
        bar = combine(parts)
        _, ends_at = segment_bounds(session_of(bar["session_date"]), segment)
        intraday.append({**bar, "interval": interval, "bar_at": start, "is_final": tapes[bar["origin"]] >= ends_at})
    own_days = []
    for (_, _, session_date), parts in days.items():
        session, bar = session_of(session_date), combine(parts)
        is_final = tapes[bar["origin"]] >= session.close_at
        settled = {"interval": "1d", "bar_at": session.open_at, "is_final": is_final, "is_vendor_bar": False}
        own_days.append({**bar, **settled})
    return intraday, own_days


def vendor_day(row: Row) -> Row:
    """Return a vendor's day as the mart shows it."""
    names = ("symbol", "open", "high", "low", "close", "volume", "session_date", "revision")
    bar = {name: row[name] for name in names}
    bar |= {"vwap": None, "trade_count": None, "segment": "regular", "origin": row["source"], "is_final": True}
    bar |= {"interval": "1d", "bar_at": session_of(row["session_date"]).open_at, "revised_at": row["ingested_at"]}
    return {**bar, "is_vendor_bar": True}


def expected_gaps(connection: psycopg.Connection[Any]) -> list[Row]:
    """Return bar_gaps as they have to be, minute by minute, in the order of origin, symbol and time."""
    bars = read(connection, "select source, symbol, session_date, bar_at from lake.bars_1m")
    beats = read(
        connection,
        "select source, symbol, session_date, lower(span) as since, upper(span) as until "
        "from lake.feed_coverage, unnest(covered) as span",
    )
    changes = read(
        connection, "select source, symbol, changed_at, kind from lake.trading_halts order by changed_at, kind"
    )
    there = {(bar["source"], bar["symbol"], bar["bar_at"]) for bar in bars}
    known: dict[tuple[str, str], set[date]] = defaultdict(set)
    for row in (*bars, *beats):
        known[row["source"], row["symbol"]].add(row["session_date"])
    gaps: list[Row] = []
    for source, symbol in sorted(known):
        newest = max(day for (own, _), days in known.items() if own == source for day in days)
        in_newest = [row for row in (*beats, *bars) if row["source"] == source and row["session_date"] == newest]
        tape = max((row["until"] for row in in_newest if "until" in row), default=None)
        tape = tape or max(row["bar_at"] for row in in_newest)
        own_changes = [row for row in changes if (row["source"], row["symbol"]) == (source, symbol)]
        halts = halts_of(own_changes, [bar_at for (*own, bar_at) in there if own == [source, symbol]])
        for session in sessions_between(min(known[source, symbol]), max(known[source, symbol])):
            key = (source, symbol, session.session_date)
            spans = [(r["since"], r["until"]) for r in beats if (r["source"], r["symbol"], r["session_date"]) == key]
            for minute in session.expected_bars(60):
                ends_at = minute + timedelta(minutes=1)
                if ends_at <= tape and (source, symbol, minute) not in there:
                    reason = reason_of(minute, ends_at, spans, halts)
                    add_minute(gaps, {"origin": source, "symbol": symbol, "reason": reason}, session, minute)
    names = (
        "symbol",
        "interval",
        "session_date",
        "segment",
        "gap_at",
        "gap_end_at",
        "missing_bars",
        "reason",
        "origin",
    )
    return [{name: gap[name] for name in names} for gap in gaps]


def reason_of(
    minute: datetime, ends_at: datetime, spans: list[tuple[datetime, datetime]], halts: list[tuple[datetime, datetime]]
) -> str:
    """Return why a minute has no bar, by when the feed covered the session and when trading was halted."""
    if not any(since <= minute and ends_at <= until for since, until in spans):
        return "feed_down" if spans else "not_collected"
    return "halted" if any(start < ends_at and minute < end and start < end for start, end in halts) else "no_trade"


def halts_of(changes: list[Row], traded: list[datetime]) -> list[tuple[datetime, datetime]]:
    """Return when trading was halted: until the resume that follows, else until it resumes or trades at last."""
    halts = []
    for number, change in enumerate(changes):
        if change["kind"] == "halt":
            later = changes[number + 1 :]
            ends = [other["changed_at"] for other in later if other["kind"] == "resume"]
            if not later or later[0]["kind"] == "halt":
                ends += [bar_at for bar_at in traded if bar_at > change["changed_at"]]
            halts.append((change["changed_at"], min(ends, default=datetime.max.replace(tzinfo=UTC))))
    return halts


def add_minute(gaps: list[Row], what: Row, session: Session, minute: datetime) -> None:
    """Add a missing minute to the gap that it goes on, or begin another."""
    last = gaps[-1] if gaps else {}
    if last.get("gap_end_at") == minute and all(last[name] == value for name, value in what.items()):
        last["gap_end_at"] += timedelta(minutes=1)
        last["missing_bars"] += 1
    else:
        gap = {"interval": "1m", "segment": "regular", "session_date": session.session_date, "gap_at": minute}
        gaps.append({**what, **gap, "gap_end_at": minute + timedelta(minutes=1), "missing_bars": 1})
