"""Real trades and the same vendor's minutes of the same sessions: the marts, their agreement, and the proof of both."""

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from ingest.feeds import FeedRequest, Kind, get_feed
from ingest.feeds.lean.history import LeanHistory
from ingest.history.source import Ask
from market.records import Bar, encode
from market.sessions import sessions_between
from market.settings import CHECKOUT, Settings
from spark_jobs.jobs.recompute import recompute
from spark_jobs.report import RecomputeRequest
from spark_jobs.transforms.kinds import TRADES, VENDOR_BARS, RecordKind
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import assert_marts_as_expected
from tests.integration.test_deep_path_postgres import RealPostgres
from tests.unit.spark_jobs import fake_platform
from tests.unit.spark_jobs.fake_platform import Platform
from verify.laws import verify_bars
from warehouse.connection import connect
from warehouse.schema import migrate

REAL = CHECKOUT.parent / "shared" / "data" / "lean"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not REAL.is_dir(), reason="the real LEAN data are not at hand (../shared/data/lean)"),
]
MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
SYMBOL_DAYS = (("IBM", MONDAY), ("IBM", TUESDAY))
KNOWN = {("IBM", MONDAY): (389, 390), ("IBM", TUESDAY): (390, 389)}
"""Of 390 regular minutes those whose four prices, and whose volume, are the vendor's: docs/decisions/0001."""
BATCH = 50_000


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    """Settings of a lake and a PostgreSQL with the trades, the vendor's minutes and days, and a second vendor's 5 minutes."""
    migrate(settings_with_database)
    platform = Platform(Path(settings_with_database.lake), postgres=RealPostgres(settings_with_database))  # type: ignore[arg-type]
    trades = [
        encode(record)
        for symbol, day in SYMBOL_DAYS
        for record in get_feed("lean").read(FeedRequest((symbol,), day, day, REAL, frozenset({Kind.TRADES})))
    ]
    bars = vendor_bars("1m", "lean") + vendor_bars("1d", "lean")
    # A vendor whose close is always a cent higher, of 5 minutes of one symbol.
    others = [
        replaced(bar, source="other", interval="5m") for bar in bars if bar.symbol == "IBM" and starts_five_minutes(bar)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_platform, "_CHUNK", BATCH)
        take_in(platform, TRADES, trades)
        take_in(platform, VENDOR_BARS, [encode(bar) for bar in (*bars, *others)])
    return settings_with_database


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings) as run:
        run("run")
        yield run


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with connect(settings) as connection:
        connection.autocommit = True
        yield connection


def vendor_bars(interval: str, source: str) -> list[Bar]:
    ask = Ask(("IBM", "SPY"), interval, tuple(sessions_between(MONDAY, TUESDAY)))
    found = LeanHistory(REAL).fetch(ask, lambda: None).bars
    return [replaced(bar, source=source) for bar in found if of_symbol_days(bar)]


def of_symbol_days(bar: Bar) -> bool:
    return (bar.symbol, datetime.fromtimestamp(bar.ts / 10**6, UTC).date()) in SYMBOL_DAYS


def starts_five_minutes(bar: Bar) -> bool:
    return bar.interval == "1m" and bar.ts % (300 * 10**6) == 0


def replaced(bar: Bar, *, source: str, interval: str | None = None) -> Bar:
    cent = Decimal("0.01") if source == "other" else 0
    prices = (bar.open, bar.high + cent, bar.low, bar.close + cent)
    return Bar(source, bar.symbol, interval or bar.interval, bar.ts, *prices, bar.volume)


def take_in(platform: Platform, kind: RecordKind, messages: list[bytes]) -> None:
    for number, first in enumerate(range(0, len(messages), BATCH)):
        platform.run(kind, number, messages[first : first + BATCH], first)


def equal_minutes(connection: psycopg.Connection[Any], symbol: str, day: date) -> tuple[int, int]:
    """Count the minutes of regular hours with equal prices, and with equal volumes, of the vendor's file and our table."""
    with zipfile.ZipFile(REAL / "equity" / "usa" / "minute" / symbol.lower() / f"{day:%Y%m%d}_trade.zip") as archive:
        text = archive.read(archive.namelist()[0])
    names = ["ms", "open", "high", "low", "close", "volume"]
    theirs = pl.read_csv(io.BytesIO(text), has_header=False, new_columns=names)
    session = session_of(day)
    rows = read(
        connection,
        f"select * from lake.bars_1m where symbol = '{symbol}' and session_date = '{day}' and segment = 'regular'",
    )
    opens_ms = 34_200_000
    ours = {opens_ms + (row["bar_at"] - session.open_at) // timedelta(milliseconds=1): row for row in rows}
    prices = volumes = 0
    for bar in theirs.iter_rows(named=True):
        row = ours.get(bar["ms"])
        if row is not None:
            prices += all(row[name] == Decimal(bar[name]) / 10_000 for name in names[1:5])
            volumes += row["volume"] == bar["volume"]
    return prices, volumes


def test_the_vendors_minutes_agree_with_ours_as_the_eligibility_rule_was_found_to(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    del dbt
    found = read(
        connection,
        "select symbol, session_date, count(*) as minutes, count(*) filter (where (open_difference, high_difference, "
        "low_difference, close_difference) = (0, 0, 0, 0)) as prices, count(*) filter (where volume_ratio = 1 and "
        "volume = other_volume) as volumes from marts.bar_reconciliation where interval = '1m' and segment = 'regular' "
        "and (not is_vendor_bar or not is_other_vendor_bar) and 'other' not in (origin, other_origin) group by 1, 2",
    )
    equal = {(row["symbol"], row["session_date"]): (row["prices"], row["volumes"]) for row in found}
    assert equal == {key: equal_minutes(connection, *key) for key in KNOWN}
    assert equal == KNOWN
    assert {row["minutes"] for row in found} == {390}


def test_every_row_is_what_plain_python_makes_of_the_rule(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    assert_marts_as_expected(connection, "real data")
    days = read(connection, "select * from marts.bar_reconciliation where interval = '1d'")
    assert {(row["is_vendor_bar"], row["is_other_vendor_bar"]) for row in days} == {(True, False)}
    assert len(days) == len(SYMBOL_DAYS)
    dbt("test", "--select", "bar_reconciliation,test_type:generic", "intraday_ohlcv,test_type:generic")


def test_the_proof_holds_and_sees_each_damaged_row(
    settings: Settings, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    bars = verify_bars(settings)
    assert bars.offending == []
    rows = read(connection, "select count(*) from marts.bar_reconciliation")
    assert bars.counts["mart_comparisons"] == rows[0]["count"] > 1000
    where = "where symbol = 'IBM' and interval = '5m' and bar_at = '2013-10-07 14:00+00'"
    for damage, problem in (
        (f"update marts.bar_reconciliation set agreement = 'agrees' {where}", "comparison differs"),
        (f"update marts.bar_reconciliation set close_difference_bps = 0.6 {where}", "comparison differs"),
        (f"update marts.bar_reconciliation set volume_ratio = null {where}", "comparison differs"),
        (f"delete from marts.bar_reconciliation {where}", "comparison is missing"),
        (
            "delete from marts.bar_reconciliation where session_date = '2013-10-08' and interval = '1d'",
            "comparison is missing",
        ),
        (f"update marts.intraday_ohlcv set close = close + 0.01 {where}", "bar differs"),
        ("update lake.vendor_bar_sessions set bar_count = 1 where source = 'other'", "session differs"),
    ):
        connection.execute(damage.encode())
        broken = verify_bars(settings)
        assert {row["problem"].split(" in ")[0] for row in broken.offending} == {problem}, damage
        if problem == "session differs":
            recompute(settings, RecomputeRequest(MONDAY, TUESDAY), lambda _report: None)
        dbt("run", "--select", "intraday_ohlcv", "bar_reconciliation")
        assert verify_bars(settings).offending == [], damage


def test_a_restated_bar_is_carried_to_the_comparison(
    settings: Settings, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    bar = next(bar for bar in vendor_bars("1m", "other") if bar.symbol == "IBM" and starts_five_minutes(bar))
    restated = Bar("other", bar.symbol, "5m", bar.ts, bar.open, bar.high + 50, bar.low, bar.close + 50, bar.volume)
    platform = Platform(Path(settings.lake), postgres=RealPostgres(settings))  # type: ignore[arg-type]
    first = sum(1 for _ in connection.execute("select from lake.vendor_bars"))
    built = "select session_date, symbol, min(xmin::text) as xmin from marts.bar_reconciliation group by 1, 2"
    before = read(connection, built)
    platform.run(VENDOR_BARS, 1, [encode(restated)], first)
    assert "behind" in verify_bars(settings).note or verify_bars(settings).offending == []
    dbt("run", "--select", "intraday_ohlcv", "bar_reconciliation")
    worst = read(
        connection, "select * from marts.bar_reconciliation order by close_difference_bps desc nulls last limit 1"
    )
    assert (worst[0]["other_origin"], worst[0]["agreement"]) == ("other", "prices_differ")
    assert worst[0]["close_difference"] > 49
    rebuilt = [new for new in read(connection, built) if new not in before]
    assert [(row["symbol"], row["session_date"]) for row in rebuilt] == [("IBM", MONDAY)]
    assert verify_bars(settings).offending == []
