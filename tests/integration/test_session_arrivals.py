"""How messages came, counted in a lake that is written out by hand, and where an analyst sees it."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from deltalake import write_deltalake
from pydantic import SecretStr

from market.settings import Settings
from market.tables import QUARANTINE, TRADES, DataType, Table
from quality.arrivals import ROWS_AT_ONCE, count_arrivals
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

SESSION, LATER_SESSION, SATURDAY = date(2013, 10, 7), date(2013, 10, 8), date(2013, 10, 12)
OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
BATCH = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TYPES: dict[DataType, pl.DataType] = {
    DataType.PRICE: pl.Decimal(18, 6),
    DataType.INTEGER: pl.Int32(),
    DataType.BIGINT: pl.Int64(),
    DataType.DATE: pl.Date(),
    DataType.TIMESTAMP: pl.Datetime("us", "UTC"),
}

Key = tuple[str, str, date]


@pytest.fixture
def settings(settings_with_database: Settings, database_url: str, tmp_path: Path) -> Settings:
    found = settings_with_database.model_copy(
        update={"lake_uri": str(tmp_path / "lake"), "database_url": SecretStr(database_url)}
    )
    migrate(found)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("truncate lake.session_arrivals, app.quality_marks")
    return found


def put(settings: Settings, table: Table, rows: list[dict[str, Any]]) -> None:
    schema = {
        column.name: TYPES.get(
            column.type, pl.Datetime("us", "UTC") if column.type is DataType.TIMESTAMP else pl.String
        )
        for column in table.columns
        if column.type is not DataType.BOOLEAN
    }
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    write_deltalake(f"{settings.lake}/{table.path}", frame.to_arrow(), mode="append")


def trade(offset: int, at: datetime, symbol: str = "SPY", came: datetime = BATCH, **values: Any) -> dict[str, Any]:
    place = {"topic": "market.trades.v1", "partition": 0, "offset": offset, "ingested_at": came}
    own = {"source": "lean", "symbol": symbol, "traded_at": at, "session_date": at.date(), "trade_id": str(offset)}
    return {**place, **own, "price": None, **values}


def rejected(offset: int, detail: str | None, came: datetime = BATCH) -> dict[str, Any]:
    place = {"topic": "market.trades.v1", "partition": 0, "offset": offset, "ingested_at": came}
    return {**place, "reason": "bad_price", "detail": detail, "rules_version": 1}


def counts(settings: Settings) -> dict[Key, tuple[int, int, int]]:
    question = "select source, symbol, session_date, trades, late_trades, rejected_messages from lake.session_arrivals"
    with psycopg.connect(settings.require_database()) as connection:
        return {row[:3]: row[3:] for row in connection.execute(question)}


def late_by_hand(trades: list[dict[str, Any]]) -> dict[Key, tuple[int, int, int]]:
    """Return the counts, one trade after the other in the order of the ledger."""
    newest: dict[Key, datetime] = {}
    total: Counter[Key] = Counter()
    late: Counter[Key] = Counter()
    for row in sorted(trades, key=lambda row: (row["ingested_at"], row["partition"], row["offset"])):
        key = (row["source"], row["symbol"], row["session_date"])
        minute = row["traded_at"].replace(second=0, microsecond=0)
        total[key] += 1
        late[key] += minute < newest.get(key, minute)
        newest[key] = max(minute, newest.get(key, minute))
    return {key: (number, late[key], 0) for key, number in total.items()}


def test_a_trade_is_late_behind_one_of_a_later_minute_however_messages_fell_into_batches(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    trades = [
        trade(
            offset,
            OPEN + timedelta(days=chance.randrange(2), seconds=offset // 4 - chance.choice([0] * 9 + [90])),
            chance.choice(["SPY", "IBM", "BAC"]),
            BATCH + offset // 50 * SECOND,
        )
        for offset in range(2_000)
    ]
    put(settings, TRADES, trades)
    count_arrivals(settings)
    by_hand = late_by_hand(trades)
    assert counts(settings) == by_hand
    assert all(0 < late < total for total, late, _ in by_hand.values())
    monkeypatch.setattr("quality.arrivals.ROWS_AT_ONCE", 300)
    assert ROWS_AT_ONCE > 300
    count_arrivals(settings, everything=True)
    assert counts(settings) == by_hand


def test_a_rejected_message_counts_for_whom_it_names_and_when_it_was_or_came(settings: Settings) -> None:
    micros = int(OPEN.timestamp()) * 1_000_000
    put(
        settings,
        QUARANTINE,
        [
            rejected(0, f'{{"source":"lean","symbol":"SPY","ts":"{micros}","price":"-1"}}'),
            rejected(
                1, '{"source": "lean", "symbol": "SPY", "trade_id": "t1", "traded_at": "2013-10-07T14:00:00+00:00"}'
            ),
            rejected(2, '{"source":"lean","symbol":"SPY","ts":"soon"}'),
            rejected(3, '{"source":"lean","symbol":"SPY"}', datetime(2026, 1, 6, 1, tzinfo=UTC)),
            rejected(4, '{"source":"lean","symbol":"SPY","ts":"99999999999999999999"}'),
            rejected(5, '{"source":"lean","symbol":"no ticker","ts":"1"}'),
            rejected(6, '{"value":"no JSON"}'),
            rejected(7, None),
            rejected(8, f'{{"source":"lean","symbol":"SPY","ts":"{micros + 5 * 86_400_000_000}"}}'),
        ],
    )
    count_arrivals(settings)
    monday = date(2026, 1, 5)  # in New York, where the fourth came on Monday evening
    assert counts(settings) == {("lean", "SPY", SESSION): (0, 0, 2), ("lean", "SPY", monday): (0, 0, 3)}


def test_only_sessions_with_news_are_counted_again_and_what_is_counted_stays(settings: Settings) -> None:
    assert count_arrivals(settings).sessions == 0  # no lake yet
    put(settings, TRADES, [trade(0, OPEN), trade(1, OPEN + timedelta(days=1))])
    assert count_arrivals(settings).sessions == 2
    much_later = BATCH + timedelta(hours=5)
    late = [trade(2, OPEN + 60 * SECOND, came=much_later), trade(3, OPEN, came=much_later)]
    put(settings, TRADES, late)
    put(settings, QUARANTINE, [rejected(4, '{"source":"lean","symbol":"IBM"}', much_later)])
    counted = count_arrivals(settings)
    assert counted.sessions == 3, "the hour before the newest batch of the count before is looked at again"
    assert counts(settings) == {
        ("lean", "SPY", SESSION): (3, 1, 0),
        ("lean", "SPY", LATER_SESSION): (1, 0, 0),
        ("lean", "IBM", much_later.date()): (0, 0, 1),
    }
    counted = count_arrivals(settings)
    assert (counted.sessions, counted.trades, counted.late_trades, counted.rejected_messages) == (2, 3, 1, 1)
    assert count_arrivals(settings, everything=True).sessions == 3
