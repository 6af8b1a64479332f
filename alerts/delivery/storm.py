"""Storm protection: what is held back of a channel, and the digest that says so.

What belongs here: limits and digests. An alert over a limit becomes ``held`` and is counted in the channel's open digest, which
is sent once its time has come; so nothing is dropped in silence. Retractions are never held back for a limit: there is at most
one for an alert that was sent, and who was told the one has to be told the other. Nor are alerts that were tried before: they may
have arrived, and a retraction is held back with its alert. A channel that is away is tried once a minute, which bounds them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from alerts.delivery.backoff import MOST_FINAL_ERROR
from alerts.delivery.channels.channel import ChannelSettings
from alerts.delivery.message import Alert, HeldCount
from alerts.delivery.outbox import Due

WINDOW: Final = timedelta(hours=1)

_SENT: Final = """
select count(*) filter (where alerts.rule_id = %(rule_id)s), count(*)
from app.alert_outbox as outbox
left join app.alerts as alerts on alerts.alert_id = outbox.alert_id
where outbox.channel = %(channel)s and outbox.status = 'delivered' and outbox.delivered_at > %(since)s
    and outbox.kind <> 'retraction'
"""
_OPEN: Final = """
select digest_id from app.alert_digests
where channel = %(channel)s and status = 'pending' and attempts = 0 and next_attempt_at > %(now)s
order by opened_at desc limit 1
"""
_OPENED: Final = """
insert into app.alert_digests (digest_id, channel, opened_at, status, attempts, next_attempt_at)
values (%(digest_id)s, %(channel)s, %(now)s, 'pending', 0, %(due_at)s)
"""
# Never more than is due now: the limits move on. What somebody had resent is sent, whatever the limits say.
_HOLD: Final = """
with chosen as (
    select outbox.delivery_id
    from app.alert_outbox as outbox
    left join app.alerts as alerts on alerts.alert_id = outbox.alert_id
    where outbox.channel = %(channel)s and outbox.status = 'pending' and outbox.attempts = 0 and outbox.kind <> 'retraction'
        and outbox.next_attempt_at <= %(now)s and (%(rule_id)s::bigint is null or alerts.rule_id = %(rule_id)s)
        and not exists (select from app.alert_held as held where held.delivery_id = outbox.delivery_id)
    for update of outbox skip locked
), marked as (
    update app.alert_outbox as outbox set status = 'held', last_error = %(reason)s
    from chosen where outbox.delivery_id = chosen.delivery_id
    returning outbox.delivery_id
)
insert into app.alert_held (delivery_id, digest_id, held_at) select delivery_id, %(digest_id)s, %(now)s from marked
"""
_HOLD_RETRACTION: Final = """
with marked as (
    update app.alert_outbox set status = 'held', last_error = 'The alert that it takes back was held back.'
    where delivery_id = %(delivery_id)s returning delivery_id
)
insert into app.alert_held (delivery_id, digest_id, held_at) select delivery_id, %(digest_id)s, %(now)s from marked
on conflict (delivery_id) do update set digest_id = excluded.digest_id, held_at = excluded.held_at
"""
_DUE: Final = """
select digest_id, opened_at, attempts from app.alert_digests
where channel = %(channel)s and status = 'pending' and next_attempt_at <= %(now)s
order by opened_at limit 1
for update skip locked
"""
_COUNTS: Final = """
select
    coalesce(alerts.rule_name, notices.title) as what, count(*), count(distinct alerts.symbol), min(outbox.triggered_at),
    max(outbox.triggered_at)
from app.alert_held as held
inner join app.alert_outbox as outbox on outbox.delivery_id = held.delivery_id and outbox.status = 'held'
left join app.alerts as alerts on alerts.alert_id = outbox.alert_id
left join app.notices as notices on notices.notice_id = outbox.alert_id
where held.digest_id = %s
group by alerts.rule_id, what
order by count(*) desc, what
"""


@dataclass(frozen=True, slots=True)
class DueDigest:
    """A digest whose time has come; without counts there is nothing to say any more."""

    digest_id: UUID
    opened_at: datetime
    attempts: int
    counts: tuple[HeldCount, ...]


def held_back(connection: Any, channel: ChannelSettings, due: Due, now: datetime) -> bool:  # noqa: ANN401
    """Hold an alert back if it is over a limit, with all of that rule, or of the channel, that are due now; return whether.

    The retraction of an alert that was held back is held back with it: the digest counts both.
    """
    if due.standing == "held":
        values = {"delivery_id": due.delivery_id, "digest_id": _open_digest(connection, channel, now), "now": now}
        connection.execute(_HOLD_RETRACTION, values)
        return True
    if (
        due.told.kind == "retraction"
        or due.was_held
        or due.attempts
        or not (channel.rule_limit or channel.channel_limit)
    ):
        return False
    rule_id = due.told.rule_id if isinstance(due.told, Alert) else None
    values = {"channel": channel.name, "rule_id": rule_id, "since": now - WINDOW, "now": now}
    of_rule, of_channel = connection.execute(_SENT, values).fetchone()
    if channel.channel_limit and of_channel >= channel.channel_limit:
        values |= {"rule_id": None, "reason": f"Held back: more than {channel.channel_limit} alerts in an hour."}
    elif rule_id is not None and channel.rule_limit and of_rule >= channel.rule_limit:
        values |= {"reason": f"Held back: more than {channel.rule_limit} alerts of its rule in an hour."}
    else:
        return False
    connection.execute(_HOLD, {**values, "digest_id": _open_digest(connection, channel, now)})
    return True


def due_digest(connection: Any, channel: str, now: datetime) -> DueDigest | None:  # noqa: ANN401
    """Return the channel's digest whose time has come, or ``None``."""
    row = connection.execute(_DUE, {"channel": channel, "now": now}).fetchone()
    if row is None:
        return None
    digest_id, opened_at, attempts = row
    counts = tuple(HeldCount(*count) for count in connection.execute(_COUNTS, [digest_id]))
    return DueDigest(digest_id, opened_at, attempts, counts)


def begin_digest(connection: Any, digest_id: UUID) -> None:  # noqa: ANN401
    """Count an attempt before it is made: from now on nothing is added to the digest."""
    connection.execute("update app.alert_digests set attempts = attempts + 1 where digest_id = %s", [digest_id])


def close_digest(connection: Any, digest_id: UUID, status: str, error: str | None, now: datetime) -> None:  # noqa: ANN401
    """Note that a digest was delivered, or is given up."""
    connection.execute(
        "update app.alert_digests set status = %s, last_error = %s, delivered_at = %s where digest_id = %s",
        [status, error and error[:MOST_FINAL_ERROR], now if status == "delivered" else None, digest_id],
    )


def postpone_digest(connection: Any, digest_id: UUID, error: str, again_at: datetime) -> None:  # noqa: ANN401
    """Note why an attempt failed, and when the next one is."""
    connection.execute(
        "update app.alert_digests set next_attempt_at = %s, last_error = %s where digest_id = %s",
        [again_at, error[:MOST_FINAL_ERROR], digest_id],
    )


def _open_digest(connection: Any, channel: ChannelSettings, now: datetime) -> UUID:  # noqa: ANN401
    """Return the digest of the channel that is not due yet, a new one if there is none."""
    values = {"channel": channel.name, "now": now}
    row = connection.execute(_OPEN, values).fetchone()
    if row is not None:
        return UUID(str(row[0]))
    digest_id = uuid4()
    due_at = now + timedelta(seconds=channel.digest_seconds)
    connection.execute(_OPENED, {**values, "digest_id": digest_id, "due_at": due_at})
    return digest_id
