"""The deep path on the real PostgreSQL: every table is damaged, ``verify`` sees it, and everything is put right again."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from market import tables
from market.settings import Settings
from orchestration.progress import newest_changes
from spark_jobs.jobs.recompute import recompute
from spark_jobs.report import RecomputeRequest, SessionReport
from spark_jobs.transforms.kinds import QUOTES
from tests.unit.spark_jobs.fake_platform import Platform
from tests.unit.spark_jobs.messages import INGESTED
from tests.unit.spark_jobs.tapes import TAPES, quote
from verify.laws import verify_all
from warehouse.batch import BatchOutput, publish_batch
from warehouse.connection import connect
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
PUBLISHED = ("bars_1m", "vendor_bars", "feed_coverage", "trading_halts", "latest_quotes", "quotes_1m")
RECENT: list[bytes | None] = [quote(11, 1, symbol=symbol, ask=...) for symbol in ("QQQ", "MSFT", "AAPL")]
"""Quotes that are kept still: of the others nothing can be said any more."""


def forge(table: tables.Table) -> str:
    """Return the statement that says every row of a table again, of a feed that there is not."""
    others = ", ".join(f'"{name}"' for name in table.column_names if name != "source")
    return (
        f"insert into {table.qualified_name} (source, {others}) select 'forged', {others} from {table.qualified_name}"
    )


SPANS_AND_HALTS = (
    "delete from lake.feed_coverage where symbol = 'IBM'",
    "update lake.feed_coverage set covered = '{}'",
    forge(tables.PG_FEED_COVERAGE),
    "delete from lake.trading_halts where symbol = 'IBM'",
    "update lake.trading_halts set reason = 'forged'",
)
BARS = (
    "delete from lake.bars_1m where symbol = 'IBM'",
    "update lake.bars_1m set close = 1, left_out = 'x', revision = 99",
    forge(tables.PG_BARS),
    "update lake.vendor_bars set revision = 7, volume = 0 where interval = '1d'",
    "delete from lake.vendor_bars where interval = '1h'",
    forge(tables.PG_VENDOR_BARS),
)
SESSIONS = (
    "delete from lake.bar_sessions where symbol = 'IBM'",
    "update lake.bar_sessions set bar_count = 7, newest_bar_at = null where symbol = 'SPY'",
    f"{forge(tables.PG_BAR_SESSIONS)} on conflict do nothing",
    "update lake.vendor_bar_sessions set bar_count = bar_count + 7",
    f"{forge(tables.PG_VENDOR_BAR_SESSIONS)} on conflict do nothing",
)
IMPOSSIBLE = (
    "update lake.bars_1m set high = 'NaN', vwap = 'NaN' where symbol = 'IBM'",
    "update lake.bars_1m set notional = 'NaN', revised_at = 'infinity' where symbol = 'SPY'",
    "update lake.vendor_bars set open = 'NaN', ingested_at = '-infinity' where interval = '1d'",
    "update lake.feed_coverage set covered = '{(-infinity,infinity)}' where symbol = 'IBM'",
    "update lake.trading_halts set changed_at = 'infinity' where symbol = 'IBM'",
    "update lake.latest_quotes set bid = 'NaN', ask_at = 'infinity' where symbol = 'MSFT'",
    "update lake.quotes_1m set bid = 'NaN', ask_at = '-infinity', revised_at = 'infinity' where symbol = 'MSFT'",
    "update lake.bar_sessions set newest_bar_at = '-infinity' where symbol = 'IBM'",
    "update lake.bar_sessions set revised_at = revised_at + interval '1 hour' where symbol = 'SPY'",
)
"""Values that no right row can hold, and that cannot be read as they are."""
LATEST = (
    "delete from lake.latest_quotes where symbol = 'QQQ'",
    "update lake.latest_quotes set bid = 1, bid_size = null where symbol = 'MSFT'",
    "update lake.latest_quotes set ask = 1, ask_at = bid_at, ask_sequence = 0 where symbol = 'AAPL'",
    forge(tables.PG_LATEST_QUOTES),
    "delete from lake.quotes_1m where symbol = 'QQQ'",
    "update lake.quotes_1m set bid = 1, bid_size = null where symbol = 'MSFT'",
    forge(tables.PG_QUOTES_1M),
)
LOST = {
    # Of quotes nothing can be said: their rows are kept no longer.
    tables.QUARANTINE: "\"offset\" < 8 and topic <> 'market.quotes.v1'",
    tables.DUPLICATES: "topic <> 'market.quotes.v1'",
    tables.TRADES: "symbol = 'SPY'",
    tables.AMENDMENTS: "kind = 'cancel'",
    tables.FEED_STATUS: "kind <> 'halt'",
    tables.VENDOR_BARS: "\"interval\" = '1d'",
    tables.BAR_REVISIONS: "revision = 1",
}


class RealPostgres:
    """Publishes the batches of the stream without Spark to a real database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def publish(self, batch: BatchOutput, before_commit: Callable[[], None]) -> bool:
        with connect(self._settings) as connection:
            return publish_batch(connection, batch, before_commit)


@pytest.fixture
def platform(settings_with_database: Settings) -> Platform:
    migrate(settings_with_database)
    platform = Platform(Path(settings_with_database.lake), postgres=RealPostgres(settings_with_database))  # type: ignore[arg-type]
    for kind, tape in TAPES.items():
        first = 0
        for batch_id, values in enumerate(tape):
            platform.run(kind, batch_id, values, first)
            first += len(values)
        if kind is QUOTES:
            hour_ago = datetime.now(UTC) - timedelta(hours=1)
            platform.run(kind, int((hour_ago - INGESTED).total_seconds()), RECENT, first)
    return platform


def published(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with connect(settings) as connection:
        return {
            name: sorted(connection.execute(f"select * from lake.{name}").fetchall(), key=str) for name in PUBLISHED
        }


def counted_bars(settings: Settings) -> list[tuple[Any, ...]]:
    question = (
        "select source, symbol, session_date, '1m', bar_count, newest_bar_at, revised_at from lake.bar_sessions "
        "where bar_count <> 0 "
        "union all select source, symbol, session_date, interval || ' of vendors', bar_count, null, revised_at "
        "from lake.vendor_bar_sessions where bar_count <> 0"
    )
    with connect(settings) as connection:
        return sorted(connection.execute(question).fetchall(), key=str)


def broken(settings: Settings) -> list[int]:
    return [result.law for result in verify_all(settings) if not result.holds]


def run(settings: Settings, *, dry_run: bool = False) -> list[SessionReport]:
    return recompute(settings, RecomputeRequest(MONDAY, TUESDAY, dry_run=dry_run), lambda _report: None)


def test_whatever_is_damaged_is_put_right_in_one_transaction_a_part(
    settings_with_database: Settings, platform: Platform
) -> None:
    settings = settings_with_database
    rows, before = platform.everything(), published(settings)
    assert all(before.values())
    assert broken(settings) == []
    assert sum(report.differing for report in run(settings, dry_run=True)) == 0
    changes = newest_changes(settings)
    with connect(settings) as connection:
        for statement in SPANS_AND_HALTS:  # nothing but a repair tells of these
            connection.execute(statement)
    assert newest_changes(settings) == changes
    run(settings)
    assert published(settings) == before
    assert newest_changes(settings) != changes
    counted = counted_bars(settings)
    with connect(settings) as connection:
        for statement in SESSIONS:  # from these the marts know which sessions there are
            connection.execute(statement)
    assert (broken(settings), counted_bars(settings) == counted) == ([2], False)
    assert {name for report in run(settings) for name in report.differences} == {
        "lake.bar_sessions",
        "lake.vendor_bar_sessions",
    }
    assert (broken(settings), counted_bars(settings)) == ([], counted)
    with connect(settings) as connection:
        for statement in (*SESSIONS, *BARS, *SPANS_AND_HALTS, *LATEST):
            connection.execute(statement)
    for table, condition in LOST.items():
        DeltaTable(f"{settings.lake}/{table.path}").delete(condition)
    assert broken(settings) == [1, 2, 5]
    found = {name for report in run(settings) for name in report.differences}
    assert found == {
        *(table.path for table in LOST),
        *(f"lake.{name}" for name in (*PUBLISHED, "bar_sessions", "vendor_bar_sessions")),
    }
    assert (published(settings), counted_bars(settings)) == (before, counted)
    assert platform.everything() == rows
    assert broken(settings) == []
    assert list((settings.home / "scratch").glob("recompute-*")) == []
    for statement in IMPOSSIBLE:
        with connect(settings) as connection:
            connection.execute(statement)
        assert broken(settings) in ([2], [5]), statement
        assert sum(report.differing for report in run(settings)) > 0, statement
        assert (published(settings), counted_bars(settings)) == (before, counted), statement
        assert broken(settings) == [], statement
