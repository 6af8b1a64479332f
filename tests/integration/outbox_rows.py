"""Alerts and what is to be sent of them, written into PostgreSQL as the evaluation of rules does."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from market.settings import Settings

BAR_AT = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)
_TABLES = ("alerts", "alert_outbox", "alert_channels", "alert_digests", "alert_held", "notices")


class Outbox:
    """Writes and reads the outbox past the code under test; each statement commits."""

    def __init__(self, settings: Settings) -> None:
        self.connection = psycopg.connect(settings.require_database(), autocommit=True)
        self.created = 0
        for table in _TABLES:
            self.connection.execute(f"truncate app.{table}")

    def alert(
        self,
        *channels: str,
        rule: int = 1,
        symbol: str = "IBM",
        refers_to: uuid.UUID | None = None,
        age_seconds: float = 0,
    ) -> uuid.UUID:
        """Record an alert, or the retraction of one, with its deliveries in one transaction; return its id."""
        self.created += 1
        alert_id = uuid.uuid4()
        kind = "alert" if refers_to is None else "retraction"
        at = datetime.now(UTC) - timedelta(seconds=age_seconds)
        with self.connection.transaction():
            self.connection.execute(
                "insert into app.alerts values (%s, %s, %s, 1, %s, '1m', %s, '2026-01-05', %s, %s, %s, false, %s, %s, %s, %s)",
                [
                    alert_id, rule, f"rule {rule}", symbol, BAR_AT, self.created, kind, refers_to,
                    f"message {self.created}", json.dumps({"values": {"close": {"now": 1.5, "before": 1}}}), BAR_AT, at,
                ],
            )  # fmt: skip
            for channel in channels:
                self.connection.execute(
                    "insert into app.alert_outbox "
                    "(delivery_id, alert_id, channel, kind, refers_to, triggered_at, status, attempts, next_attempt_at, "
                    "created_at) values (md5(%s)::uuid, %s, %s, %s, %s, %s, 'pending', 0, %s, %s)",
                    [f"{alert_id}/{channel}", alert_id, channel, kind, refers_to, BAR_AT, at, at],
                )
            self.connection.execute("select pg_notify('alert_outbox', '1')")
        return alert_id

    def channel(self, name: str, url: str, **options: Any) -> None:
        """Add a channel whose limits do not matter unless they are given."""
        values = {
            "rule_limit": 0, "channel_limit": 0, "digest_seconds": 900, "timeout_seconds": 5, "is_for_operators": False,
            "is_for_reports": False, **options,
        }  # fmt: skip
        self.connection.execute(
            "insert into app.alert_channels values (%s, %s, null, true, %s, %s, %s, %s, %s, %s, now())",
            [name, url, *values.values()],
        )

    def rows(self, columns: str = "status", where: str = "true") -> list[tuple[Any, ...]]:
        """Return deliveries in the order in which they were made."""
        tables = "app.alert_outbox as outbox inner join app.alerts using (alert_id)"
        query = f"select {columns} from {tables} where {where} order by revision"
        return self.connection.execute(query.encode()).fetchall()

    def statuses(self, channel: str | None = None) -> list[str]:
        return [status for (status,) in self.rows("status", f"channel = '{channel}'" if channel else "true")]

    def ids(self, channel: str) -> list[str]:
        return [str(one) for (one,) in self.rows("delivery_id", f"channel = '{channel}'")]
