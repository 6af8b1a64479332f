"""Rows of the lake as a stream, a repair or a person might put them, and what a person might do to a mart."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from market.settings import Settings
from market.tables import PG_BARS, PG_VENDOR_BARS
from tests.integration.mart_oracle import (
    STEPS,
    Row,
    expected_gaps,
    expected_marts,
    expected_reconciliation,
    read,
    session_of,
)
from warehouse.connection import connect

HALF_DAY = date(2013, 11, 29)
DAYS = (date(2013, 11, 27), HALF_DAY, date(2013, 12, 2))
SYMBOLS = ("IBM", "SPY")
SOURCES = ("lean", "anotherfeed", "otherfeed", "simulated")  # those between are of one rank
BAR_COLUMNS = (
    *("symbol", "interval", "bar_at", "open", "high", "low", "close", "volume", "vwap", "trade_count"),
    *("session_date", "segment", "is_final", "revision", "origin", "is_vendor_bar", "revised_at"),
)
RECONCILIATION_KEY = ("symbol", "interval", "bar_at", "other_origin", "is_other_vendor_bar")
HALF_OF_THEM = "extract(minute from bar_at)::integer % 2 = 0"
COPIED = (
    "interval, bar_at, open, high, low, close, volume, vwap, trade_count, session_date, segment, is_final, revision, origin, "
    "is_vendor_bar, revised_at, built_from"
)
STRANGERS = (
    f"insert into marts.intraday_ohlcv (symbol, {COPIED}) "
    f"select 'NONE', {COPIED} from marts.intraday_ohlcv where symbol = 'IBM'"
)
MEDDLING = (
    f"delete from marts.intraday_ohlcv where {HALF_OF_THEM}",
    f"update marts.intraday_ohlcv set volume = volume + 1 where {HALF_OF_THEM}",
    "delete from marts.intraday_ohlcv where symbol = 'IBM'",
    "truncate marts.intraday_ohlcv",
    # Moved to another session that there is, or to one that there is not; a copy under a symbol that there is not.
    "update marts.intraday_ohlcv set session_date = '2013-12-02' where session_date = '2013-11-27' and symbol = 'SPY'",
    f"update marts.intraday_ohlcv set session_date = '2013-12-24' where {HALF_OF_THEM}",
    STRANGERS,
    "update marts.historical_ohlcv set close = high",
    "delete from marts.historical_ohlcv where symbol = 'IBM'",
    "update staging.int_daily_bars set close = high",
    "delete from staging.int_daily_bars where symbol = 'SPY'",
    "update staging.int_session_gaps set no_trade = '{}', not_collected = '{}' where symbol = 'SPY'",
    "delete from staging.int_session_gaps",
    "update marts.bar_reconciliation set agreement = 'agrees' where interval = '5m'",
    "delete from marts.bar_reconciliation where extract(minute from bar_at)::integer % 2 = 0",
    "truncate marts.bar_reconciliation",
)
"""What a person might do to a mart."""


@contextmanager
def emptied_lake(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Empty what the marts are made from, and give a connection that commits each statement."""
    with connect(settings) as connection:
        connection.autocommit = True
        connection.execute(
            "truncate lake.bars_1m, lake.vendor_bars, lake.corporate_actions, lake.latest_quotes, lake.quotes_1m, "
            "lake.feed_coverage, lake.trading_halts, lake.session_arrivals"
        )
        yield connection


def put(connection: psycopg.Connection[Any], table: str, key: tuple[str, ...], row: Row) -> None:
    names = [f'"{name}"' for name in row]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name.strip('"') not in key)
    connection.execute(
        f"insert into {table} ({', '.join(names)}) values ({', '.join(['%s'] * len(row))}) "
        f"on conflict ({', '.join(key)}) do update set {changes}".encode(),
        list(row.values()),
    )


def put_bar(
    connection: psycopg.Connection[Any],
    source: str,
    symbol: str,
    bar_at: datetime,
    prices: tuple[Decimal | None, ...] | None,
    *,
    volume: int = 100,
    revision: int = 1,
    revised_at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> None:
    session = session_of((bar_at - timedelta(hours=5)).date())
    segment = session.segment(bar_at)
    assert segment is not None
    first, high, low, last = prices or (None,) * 4
    notional = (low or Decimal("1.234567")) * volume
    values = (source, symbol, bar_at, session.session_date, str(segment), first, high, low, last, volume, notional)
    rest = (None if volume == 0 else low or Decimal("1.234567"), 3, 0, None, 0, 0, revision, revised_at)
    put(connection, "lake.bars_1m", PG_BARS.key, dict(zip(PG_BARS.column_names, (*values, *rest), strict=True)))


def put_vendor_bar(
    connection: psycopg.Connection[Any],
    source: str,
    symbol: str,
    day: date,
    close: Decimal,
    *,
    interval: str = "1d",
    bar_at: datetime | None = None,
    volume: int = 7,
    revision: int = 1,
) -> None:
    row = dict.fromkeys(PG_VENDOR_BARS.column_names)
    row |= {
        "source": source,
        "symbol": symbol,
        "interval": interval,
        "bar_at": bar_at or session_of(day).open_at,
        "session_date": day,
    }
    row |= {"open": close, "high": close + 1, "low": close / 2, "close": close, "volume": volume, "revision": revision}
    row |= {
        "topic": "market.bars.v1",
        "partition": 0,
        "offset": revision,
        "ingested_at": datetime(2026, 1, revision, tzinfo=UTC),
    }
    put(connection, "lake.vendor_bars", PG_VENDOR_BARS.key, row)


def put_vendor_bars(
    connection: psycopg.Connection[Any], chance: random.Random, source: str, symbol: str, day: date
) -> None:
    """Put bars of one length, some of a stretch of a session or all; a few lie where none of their length begins."""
    interval, session = chance.choice(list(STEPS)), session_of(day)
    step = timedelta(minutes=STEPS[interval])
    first, last = chance.choice(
        [(session.open_at, session.close_at), (session.pre_open_at, session.post_close_at), (session.open_at, None)]
    )
    moments = [first + number * step for number in range(((last or first + 12 * step) - first) // step)]
    for bar_at in chance.sample(moments, min(len(moments), chance.choice([3, 20]))):
        start = bar_at + timedelta(minutes=chance.choice([0] * 20 + [1]))
        if session.segment(start):
            close = Decimal(chance.randrange(1, 10**8)) / 10**6
            put_vendor_bar(
                connection,
                source,
                symbol,
                day,
                max(close, Decimal("0.000002")),
                interval=interval,
                bar_at=start,
                volume=chance.choice([0, 1, 100, 12345]),
                revision=chance.randrange(1, 9),
            )


def agree_with_own(connection: psycopg.Connection[Any], chance: random.Random, symbol: str, day: date) -> None:
    """Put a vendor's minutes that are own ones, some of them slightly off."""
    minutes = read(
        connection,
        "select * from lake.bars_1m where open is not null and source = 'lean' and low > 0.1 order by bar_at",
    )
    for minute in minutes:
        if (minute["symbol"], minute["session_date"]) != (symbol, day):
            continue
        row = {name: minute.get(name) for name in PG_VENDOR_BARS.column_names}
        factor = 1 + Decimal(chance.choice([0, 0, 5, 15])) / 100_000
        row |= {name: round(minute[name] * factor, 6) for name in ("open", "high", "low", "close")}
        row |= {
            "source": "vendor",
            "interval": "1m",
            "topic": "market.bars.v1",
            "partition": 0,
            "offset": 0,
            "revision": 1,
        }
        row |= {"volume": minute["volume"] + chance.choice([0, 0, 1, 100]), "ingested_at": minute["revised_at"]}
        put(connection, "lake.vendor_bars", PG_VENDOR_BARS.key, row)


def change_something(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    """Insert, revise or delete what a stream, a repair or a person might."""
    symbol, source, day = chance.choice(SYMBOLS), chance.choice(SOURCES), chance.choice(DAYS)
    session = session_of(day)
    action = chance.choice(
        ["bars"] * 6
        + ["cover"] * 4
        + ["vendor day"] * 2
        + ["vendor"] * 4
        + ["agree"] * 2
        + ["halt", "delete", "delete vendor", "uncover"]
    )
    if action == "bars":
        edges = [session.pre_open_at, session.open_at, session.close_at, session.post_close_at]
        minutes = int((session.post_close_at - session.pre_open_at) / timedelta(minutes=1))
        # Around the edges, where a bar could straddle, and anywhere.
        near = [edge + timedelta(minutes=n) for edge in edges for n in range(-6, 6)]
        anywhere = [session.pre_open_at + timedelta(minutes=chance.randrange(minutes)) for _ in range(20)]
        for bar_at in chance.sample([m for m in near if session.segment(m)], 15) + anywhere:
            prices = sorted(Decimal(chance.randrange(1, 10**9)) / 10**6 for _ in range(4))
            low, first, last, high = prices
            priced = chance.choices([(first, high, low, last), (None, high, low, None), None], [7, 1, 2])[0]
            put_bar(
                connection,
                source,
                symbol,
                bar_at,
                priced,
                volume=chance.choice([0, 1, 3, 100, 12345]),
                revision=chance.randrange(1, 9),
                # Earlier than what was built before, too: a repair keeps the times.
                revised_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(1000)),
            )
    elif action in {"cover", "halt", "uncover"}:
        change_status(connection, chance, action, (source, symbol, day))
    elif action == "vendor":
        put_vendor_bars(connection, chance, source, symbol, day)
    elif action == "agree":
        agree_with_own(connection, chance, symbol, day)
    elif action == "vendor day":
        put_vendor_bar(
            connection,
            chance.choice(SOURCES),
            symbol,
            day,
            Decimal(chance.randrange(1, 99)),
            revision=chance.randrange(1, 9),
        )
    elif action == "delete":
        connection.execute(
            "delete from lake.bars_1m where symbol = %s and session_date = %s and segment = any(%s)",
            [symbol, day, chance.choice([["regular"], ["pre", "regular", "post"]])],
        )
    else:
        connection.execute(
            "delete from lake.vendor_bars where symbol = %s and session_date = %s and source = any(%s)",
            [symbol, day, chance.choice([[source], [*SOURCES, "vendor"]])],
        )


def change_status(
    connection: psycopg.Connection[Any], chance: random.Random, action: str, key: tuple[str, str, date]
) -> None:
    """Cover a part of a session, or nothing of it any more, or halt and resume trading."""
    session, second = session_of(key[2]), timedelta(seconds=1)
    length = (session.post_close_at - session.pre_open_at) // second
    moments = sorted(session.pre_open_at + chance.randrange(length + 1) * second for _ in range(2))
    if chance.random() < 0.3:
        moments = [moment.replace(second=0) for moment in moments]
    if action == "uncover":
        connection.execute("delete from lake.feed_coverage where (source, symbol, session_date) = (%s, %s, %s)", key)
    elif action == "halt":
        for moment in moments:
            change = [*key[:2], moment, chance.choice(["halt", "resume"]), chance.choice(["", "LUDP"])]
            connection.execute(
                "insert into lake.trading_halts values (%s, %s, %s, %s, %s) on conflict do nothing", change
            )
    elif moments[0] < moments[1]:
        connection.execute(
            "insert into lake.feed_coverage as stored values (%s, %s, %s, tstzmultirange(tstzrange(%s, %s))) "
            "on conflict (source, symbol, session_date) do update set covered = stored.covered + excluded.covered",
            [*key, *moments],
        )


def in_order(rows: list[Row], columns: tuple[str, ...], key: int = 3) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in columns) for row in rows), key=lambda row: row[:key])


def assert_marts_as_expected(connection: psycopg.Connection[Any], where: str) -> None:
    intraday, historical = expected_marts(connection)
    found = read(connection, "select * from marts.intraday_ohlcv")
    assert in_order(found, BAR_COLUMNS) == in_order(intraday, BAR_COLUMNS), where
    gaps = read(connection, "select * from marts.bar_gaps order by origin, symbol, gap_at")
    assert gaps == expected_gaps(connection), where
    found = read(connection, "select * from marts.historical_ohlcv")
    assert in_order(found, BAR_COLUMNS) == in_order(historical, BAR_COLUMNS), where
    found = read(connection, "select * from marts.bar_reconciliation")
    compared = expected_reconciliation(connection)
    columns = (
        (*RECONCILIATION_KEY, *(name for name in found[0] if name not in {*RECONCILIATION_KEY, "built_from"}))
        if found
        else ()
    )
    key = len(RECONCILIATION_KEY)
    assert in_order(found, columns, key) == in_order(compared, columns, key), where
    assert len(found) == len(compared), where
