"""verify's own choice of sources beside dbt's, after any changes; and a mart that shows another one is seen."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import polars as pl
import psycopg
import pytest

from market import tables
from market.sessions import find_session
from market.settings import Settings
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import DAYS, change_something, put_bar, put_vendor_bar
from tests.integration.test_dbt_marts import RUN_MARTS
from verify.days import DayProof
from verify.lake import Lake
from verify.marts import MartProof
from verify.origins import RealSymbols
from verify.published import PostgresSnapshot, open_snapshot
from verify.reconciliation import ReconciliationProof
from verify.results import Findings

pytestmark = pytest.mark.integration


class LakeOfRows:
    """A lake whose revisions are the bars of PostgreSQL."""

    def __init__(self, revisions: pl.DataFrame) -> None:
        self._revisions = revisions

    def scan(self, table: tables.Table) -> pl.LazyFrame:
        assert table is tables.BAR_REVISIONS
        return self._revisions.lazy()

    def read(self, rows: pl.LazyFrame) -> pl.DataFrame:
        return rows.collect()


def versions_of(published: PostgresSnapshot) -> pl.DataFrame:
    """Return as many versions of each vendor bar as it counts."""
    stored = published.vendor_bars()
    columns = [name for name in tables.VENDOR_BARS.column_names if name in stored.columns]
    return stored.select(pl.col(columns).repeat_by("revision")).explode(columns).select(columns)


def breaks(settings: Settings) -> list[Any]:
    return list(proved(settings).result(2, "marts").offending)


def proved(settings: Settings) -> Findings:
    """Return what the proofs of marts find, with what PostgreSQL has in place of the lake."""
    findings = Findings()
    with open_snapshot(settings) as published:
        bars = pl.concat([published.bars(day) for day in DAYS])
        versions = versions_of(published)
        lake = cast("Lake", LakeOfRows(bars))
        real = RealSymbols(lake, versions)
        marts, days = MartProof(findings, lake, published, real), DayProof(findings, lake, published, real)
        reconciliation = ReconciliationProof(findings, lake, published, real)
        for day in DAYS:
            session = find_session(day)
            assert session is not None
            own = pl.col("session_date") == day
            of_vendors = versions.filter(own & (pl.col("interval") != "1d"))
            marts.check(bars.filter(own), of_vendors, published.mart_bars(day), session)
            reconciliation.check(bars.filter(own), of_vendors, published.reconciliation(day), session)
            days.add(bars.filter(own), session)
        days.check(versions, published.corporate_actions())
        reconciliation.check_days(versions)
    return findings


def test_what_dbt_shows_is_what_verify_would_after_any_changes(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    for step in range(10):
        for _ in range(chance.randrange(1, 6)):
            change_something(connection, chance)
        dbt(*RUN_MARTS)
        assert breaks(settings) == [], f"seed {seed}, step {step}"


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (
            {"vendor_completeness_percent": 1},
            {"marts.intraday_ohlcv", "marts.historical_ohlcv", "marts.realtime_prices", "marts.bar_reconciliation"},
        ),
        ({"source_priority": ["yahoo", "*", "simulated"]}, {"marts.intraday_ohlcv", "marts.bar_reconciliation"}),
        ({"source_priority": ["lean", "sample", "*"]}, {"marts.intraday_ohlcv"}),
        ({"feed_margin_minutes": 7}, {"marts.intraday_ohlcv", "marts.historical_ohlcv", "marts.realtime_prices"}),
    ],
)
def test_a_mart_that_was_built_by_another_rule_is_seen(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings, rule: dict[str, object], wrong: set[str]
) -> None:
    """IBM has a vendor with three bars beside one with all, SPY two whole ones and a made-up session of its own.

    GE has two feeds of one rank, of which the first by name stopped.
    """
    first, second, third = (session_of(day) for day in DAYS)
    for number in range(42):
        bar_at = second.open_at + number * timedelta(minutes=5)
        for symbol, source, most in (
            ("IBM", "sample", 3),
            ("IBM", "yahoo", 42),
            ("SPY", "sample", 42),
            ("SPY", "yahoo", 42),
        ):
            if number < most:
                put_vendor_bar(connection, source, symbol, DAYS[1], Decimal(9), interval="5m", bar_at=bar_at)
    for minute in range(10):
        for source, most in (("alpaca", 4), ("yahoo", 10)):
            if minute < most:
                put_bar(connection, source, "GE", second.open_at + minute * timedelta(minutes=1), (Decimal(most),) * 4)
    put_bar(connection, "simulated", "SPY", first.open_at, (Decimal(2),) * 4)
    put_bar(connection, "simulated", "SPY", third.open_at, (Decimal(2),) * 4)
    dbt("run")
    assert breaks(settings) == []
    assert "mart_comparisons_behind" not in proved(settings).counts
    dbt("run", variables=rule)
    assert {offence["problem"].split(" in ")[-1] for offence in breaks(settings)} == wrong
    dbt("run")


def test_an_emptied_reconciliation_is_behind_by_all_that_it_lacks(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    for source in ("sample", "yahoo"):
        put_vendor_bar(connection, source, "IBM", DAYS[1], Decimal(9))
        put_vendor_bar(
            connection, source, "IBM", DAYS[1], Decimal(9), interval="5m", bar_at=session_of(DAYS[1]).open_at
        )
    dbt("run")
    connection.execute("truncate marts.bar_reconciliation")
    findings = proved(settings)
    assert (findings.counts["mart_comparisons_behind"], findings.result(2, "").offending) == (2, [])
