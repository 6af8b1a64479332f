"""What users ask of deliveries: which there are, and to send some again; and the alerts as they come, for the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any, Final
from uuid import UUID

from alerts.delivery.channels.opening import BUILT_IN
from alerts.delivery.outbox import WAKES
from market.errors import UsageError
from market.settings import Settings
from warehouse.connection import connect, lost_connections

STATUSES: Final = ("pending", "delivered", "dead", "held", "void")
RESENT: Final = ("dead", "held", "void")
"""What can be sent again: what was delivered was, and what is pending is on its way."""

_APPLICATION: Final = "tapehouse deliveries"
_LIST: Final = """
select
    outbox.delivery_id, outbox.status, outbox.channel, coalesce(alerts.kind, notices.kind) as kind,
    coalesce(alerts.rule_name, notices.title) as rule_name, alerts.symbol, alerts."interval",
    alerts.bar_at, outbox.attempts, outbox.created_at, outbox.delivered_at,
    case when outbox.status = 'pending' then outbox.next_attempt_at end as next_attempt_at, outbox.last_error
from app.alert_outbox as outbox
left join app.alerts as alerts on alerts.alert_id = outbox.alert_id
left join app.notices as notices on notices.notice_id = outbox.alert_id
where (%(status)s::text is null or outbox.status = %(status)s) and (%(channel)s::text is null or outbox.channel = %(channel)s)
order by outbox.created_at desc, outbox.delivery_id
limit %(limit)s
"""
_COUNTS: Final = """
select channel, status, count(*) from app.alert_outbox group by channel, status
union all
select channel, 'digests ' || status, count(*) from app.alert_digests group by channel, status
order by 1, 2
"""
# With an alert goes what takes it back. One attempt is left in the count: whoever resends may have been told already.
_RESEND: Final = """
with chosen as (
    select outbox.delivery_id, outbox.alert_id, outbox.channel
    from app.alert_outbox as outbox
    where outbox.status = any(%(statuses)s)
        and (%(ids)s::uuid[] is null or outbox.delivery_id = any(%(ids)s))
        and outbox.channel = any(%(channels)s)
), also as (
    select retracting.delivery_id
    from chosen
    inner join app.alerts as alerts on alerts.refers_to = chosen.alert_id
    inner join app.alert_outbox as retracting on retracting.alert_id = alerts.alert_id and retracting.channel = chosen.channel
    where retracting.status in ('dead', 'held', 'void')
    union
    select earlier.delivery_id
    from chosen
    inner join app.alerts as alerts on alerts.alert_id = chosen.alert_id
    inner join app.alert_outbox as earlier on earlier.alert_id = alerts.refers_to and earlier.channel = chosen.channel
    where earlier.status in ('dead', 'held', 'void')
)
update app.alert_outbox as outbox set status = 'pending', attempts = 1, next_attempt_at = %(now)s
where outbox.delivery_id in (select delivery_id from chosen union select delivery_id from also)
returning outbox.delivery_id
"""
_RESEND_DIGESTS: Final = """
update app.alert_digests set status = 'pending', attempts = 1, next_attempt_at = %(now)s
where status = 'dead' and (%(ids)s::uuid[] is null or digest_id = any(%(ids)s))
    and channel = any(%(channels)s)
returning digest_id
"""
_STATUS_OF: Final = "select delivery_id, status, channel from app.alert_outbox where delivery_id = any(%s)"
_CHANNELS: Final = "select channel from app.alert_channels order by channel"
_NEWS: Final = """
select alert_id, kind, rule_name, symbol, "interval", bar_at, is_historical, message, recorded_at
from app.alerts where recorded_at > %(since)s order by recorded_at, bar_at, symbol, rule_name
"""
_OVERLAP: Final = timedelta(minutes=5)
"""Alerts are dated before their transaction commits: later ones may show before them."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows with the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class News:
    """An alert or retraction that has just been recorded."""

    alert_id: UUID
    kind: str
    rule_name: str
    symbol: str
    interval: str
    bar_at: datetime
    is_historical: bool
    message: str
    recorded_at: datetime


def deliveries(settings: Settings, *, status: str | None, channel: str | None, limit: int) -> Listing:
    """Return deliveries, the newest first.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        cursor = connection.execute(_LIST, {"status": status, "channel": channel, "limit": limit})
        return Listing(tuple(column.name for column in cursor.description or ()), cursor.fetchall())


def delivery_counts(settings: Settings) -> Listing:
    """Return how many deliveries and digests of each channel there are in each status.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return Listing(("channel", "status", "number"), connection.execute(_COUNTS).fetchall())


def resend(
    settings: Settings, now: datetime, *, ids: Sequence[UUID] | None, statuses: Sequence[str], channel: str | None
) -> int:
    """Have deliveries sent again, each retraction with its alert, and return how many; none of a channel that there is not.

    Raises
    ------
    UsageError
        If there is no such channel, or one of the ids is not there, or was not given up: nothing is resent then.
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, application_name=_APPLICATION) as connection:
        known_channels = [*BUILT_IN, *(name for (name,) in connection.execute(_CHANNELS))]
        if channel is not None and channel not in known_channels:
            msg = f"There is no channel {channel}: there is {', '.join(known_channels)}. Add it first: ./run alert channel add."
            raise UsageError(msg)
        values = {
            "ids": list(ids) if ids is not None else None,
            "statuses": list(statuses),
            "channels": known_channels if channel is None else [channel],
            "now": now,
        }
        resent = {row[0] for row in connection.execute(_RESEND, values)}
        if "dead" in statuses:
            resent |= {row[0] for row in connection.execute(_RESEND_DIGESTS, values)}
        missed = [one for one in ids or () if one not in resent]
        if missed:
            known = {one: said for one, *said in connection.execute(_STATUS_OF, [missed])}
            connection.rollback()
            status, of_channel = known.get(missed[0], (None, None))
            if status is None:
                why = "is not a delivery"
            elif of_channel not in known_channels:
                why = f"is for the channel {of_channel}, which there is not: add it first"
            else:
                why = f"is {status}: only {', '.join(RESENT)} ones are sent again"
            msg = f"{missed[0]} {why}. ./run alert deliveries shows them; nothing was resent."
            raise UsageError(msg)
        connection.execute("select pg_notify(%s, '')", [WAKES])
    return len(resent)


def news(settings: Settings, since: datetime, stop: Event, *, poll_seconds: float = 1.0) -> Iterator[News]:
    """Yield each alert and retraction that is recorded after a moment, once, as they come, until ``stop`` is set.

    Raises
    ------
    ServiceError
        If the database cannot be reached, or goes away.
    """
    seen: dict[UUID, datetime] = {}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection, lost_connections():
        connection.autocommit = True
        connection.execute(f"listen {WAKES}")
        newest = since
        while not stop.is_set():
            for row in connection.execute(_NEWS, {"since": max(since, newest - _OVERLAP)}).fetchall():
                found = News(*row)
                newest = max(newest, found.recorded_at)
                if found.alert_id not in seen:
                    seen[found.alert_id] = found.recorded_at
                    yield found
            seen = {known: at for known, at in seen.items() if at > newest - _OVERLAP}
            for _ in connection.notifies(timeout=poll_seconds, stop_after=1):
                pass
