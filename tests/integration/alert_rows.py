"""Rules over a few minutes of the last session: what tests of alerts share."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg

from market.settings import Settings
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import DAYS, put_bar
from verify.laws import verify_alerts

MARTS: Final = (
    "run",
    "--select",
    *("intraday_ohlcv", "intraday_analytics", "int_daily_bars", "historical_ohlcv", "daily_analytics"),
)
MADE: Final = datetime(2013, 11, 20, tzinfo=UTC)
"""Before all bars: they are of the rules' present."""
LAST: Final = session_of(DAYS[-1])
EVENING: Final = LAST.post_close_at
NEXT_DAY: Final = LAST.close_at + timedelta(days=1)
TABLES: Final = (
    "app.alert_rules, app.alert_rule_versions, app.alert_clauses, app.alert_fields, app.alerts, app.alert_outbox, "
    "app.alert_rearms, app.pending_evaluations"
)


def assert_lawful(settings: Settings, where: str = "") -> None:
    result = verify_alerts(settings)
    assert result.holds, (where, result.problems, result.offending)


def put_closes(connection: psycopg.Connection[Any], closes: list[int], symbol: str = "IBM") -> None:
    """Put minutes from the open of the last session on."""
    for minute, close in enumerate(closes):
        at = LAST.open_at + timedelta(minutes=minute)
        put_bar(connection, "lean", symbol, at, (Decimal(close),) * 4)


def minutes_of(connection: psycopg.Connection[Any], name: str) -> list[int]:
    """Return on which minutes of the last session the alerts of a rule stand."""
    query = "select bar_at from marts.alerts where rule_name = %s and not is_retracted order by 1"
    found = connection.execute(query, [name]).fetchall()
    return [int((at - LAST.open_at).total_seconds() // 60) for (at,) in found]


def forget_rules(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    """Build the marts of an empty lake, and leave no rule and no alert."""
    dbt(*MARTS)
    connection.execute(f"truncate {TABLES}".encode())
    connection.execute("truncate app.watchlist")
