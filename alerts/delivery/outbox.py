"""The outbox in PostgreSQL, as the relay sees it: what is to be sent next of a channel, and what became of it.

What belongs here: each step from ``pending`` on, every one a transaction of its own. Whoever calls holds the channel
(:func:`try_hold`), so that one relay at a time works on it and its messages keep their order.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from alerts.delivery.backoff import MOST_FINAL_ERROR
from alerts.delivery.message import Alert, Notice

WAKES: Final = "alert_outbox"
"""The channel of PostgreSQL's notifications that says that something is to be sent."""
_LOCK_CLASS: Final = 0x616C6572  # the letters "aler": any constant that no other program uses in this database

_DUE: Final = """
select channel from app.alert_outbox where status = 'pending' and next_attempt_at <= %(now)s
union
select channel from app.alert_digests where status = 'pending' and next_attempt_at <= %(now)s
order by channel
"""
_ALERT: Final = """
{0}.alert_id, {0}.rule_id, {0}.rule_name, {0}.rule_version, {0}.symbol, {0}."interval", {0}.bar_at, {0}.session_date,
{0}.revision, {0}.kind, {0}.refers_to, {0}.message, {0}.evidence, {0}.triggered_at, {0}.recorded_at
"""
_ALERT_WIDTH: Final = len(fields(Alert))
_NOTICE: Final = """
notices.notice_id, notices.kind, notices.subject, notices.refers_to, notices.title, notices.text, notices.evidence, notices.path,
notices.happened_at, notices.recorded_at
"""
# A retraction waits for an alert that is still being tried: nobody can say that no attempt arrived. Attempts are counted before
# they are made, so an alert without any was never handed to anybody.
_TAKE: Final = f"""
with next as (
    select outbox.delivery_id, outbox.alert_id, outbox.channel, outbox.kind, outbox.refers_to, outbox.attempts
    from app.alert_outbox as outbox
    where outbox.channel = %(channel)s and outbox.status = 'pending' and outbox.next_attempt_at <= %(now)s
        and not exists (
            select from app.alert_outbox as earlier
            where earlier.alert_id = outbox.refers_to and earlier.channel = outbox.channel
                and earlier.status = 'pending' and earlier.attempts > 0
        )
    order by outbox.created_at, outbox.triggered_at, outbox.delivery_id
    limit 1
    for update of outbox skip locked
)
select
    next.delivery_id, next.attempts,
    exists (select from app.alert_held as held where held.delivery_id = next.delivery_id) as was_held,
    case
        when next.kind = 'retraction' then coalesce(earlier.status, 'absent')
        when next.attempts = 0 and exists (
            select from app.alert_outbox as later
            where later.refers_to = next.alert_id and later.channel = next.channel and later.kind = 'retraction'
        ) then 'retracted'
        else 'stands'
    end as standing,
    earlier.last_error,
    {_ALERT.format("alerts")}, {_ALERT.format("original")}, {_NOTICE}
from next
left join app.alerts as alerts on alerts.alert_id = next.alert_id
left join app.notices as notices on notices.notice_id = next.alert_id
left join app.alert_outbox as earlier on earlier.alert_id = next.refers_to and earlier.channel = next.channel
left join app.alerts as original on original.alert_id = next.refers_to
"""  # noqa: S608 - names of columns
_BEGIN: Final = "update app.alert_outbox set attempts = attempts + 1 where delivery_id = %s"
_DELIVERED: Final = """
update app.alert_outbox set status = 'delivered', delivered_at = %s, last_error = null where delivery_id = %s
"""
_FAILED: Final = """
update app.alert_outbox set next_attempt_at = %s, last_error = %s where delivery_id = %s
"""
_DEAD: Final = "update app.alert_outbox set status = 'dead', last_error = %s where delivery_id = %s"
_ALL_DEAD: Final = """
update app.alert_outbox set status = 'dead', last_error = %s
where channel = %s and status = 'pending'
"""
_DIGESTS_DEAD: Final = """
update app.alert_digests set status = 'dead', last_error = %s where channel = %s and status = 'pending'
"""
_VOID: Final = "update app.alert_outbox set status = 'void', last_error = %s where delivery_id = %s"
_SOONER: Final = """
update app.alert_outbox set next_attempt_at = %(now)s
where channel = %(channel)s and status = 'pending' and next_attempt_at > %(now)s and attempts > 0
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come.

    Attributes
    ----------
    attempts
        How often it was tried before.
    was_held
        Whether it was held back once, and somebody wants it all the same.
    standing
        Of an alert: ``retracted``, if it was before anybody was told; else ``stands``. Of a retraction: the status of the alert
        that it takes back, ``absent`` if that does not go to this channel.
    reason
        Of a retraction: why the alert that it takes back was not delivered.
    told
        The alert, retraction or notice.
    original
        Of a retraction: the alert that it takes back.
    """

    delivery_id: UUID
    attempts: int
    was_held: bool
    standing: str
    reason: str | None
    told: Alert | Notice
    original: Alert | None


def try_hold(connection: Any, channel: str) -> bool:  # noqa: ANN401 - psycopg is known to warehouse only
    """Take the channel for this connection, if no other relay has it; it is given back with the connection."""
    row = connection.execute("select pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK_CLASS, channel]).fetchone()
    return bool(row[0])


def channels_due(connection: Any, now: datetime) -> list[str]:  # noqa: ANN401
    """Return the channels for which something is to be sent."""
    return [channel for (channel,) in connection.execute(_DUE, {"now": now})]


def take(connection: Any, channel: str, now: datetime) -> Due | None:  # noqa: ANN401
    """Return the next delivery of a channel, or ``None``; what somebody else has locked is passed over."""
    row = connection.execute(_TAKE, {"channel": channel, "now": now}).fetchone()
    if row is None:
        return None
    delivery_id, attempts, was_held, standing, reason, *others = row
    alert, original, notice = others[:_ALERT_WIDTH], others[_ALERT_WIDTH : 2 * _ALERT_WIDTH], others[2 * _ALERT_WIDTH :]
    told: Alert | Notice = Alert(*alert) if alert[0] is not None else Notice(*notice)
    return Due(
        delivery_id, attempts, was_held, standing, reason, told, Alert(*original) if original[0] is not None else None
    )


def settled(connection: Any, due: Due) -> bool:  # noqa: ANN401
    """Decide about what need not be sent, for nobody was told of the alert; return whether it is decided.

    A retraction is never sent before its alert. Where that is dead, so is the retraction; where it was not handed to anybody yet,
    neither is sent: both are void, each when its turn comes.
    """
    match due.standing:
        case "retracted":
            connection.execute(_VOID, ["It was retracted before it was sent.", due.delivery_id])
        case "absent":
            connection.execute(_VOID, ["The alert that it takes back does not go to this channel.", due.delivery_id])
        case "void" | "pending":  # nobody was told of it, nor will be
            connection.execute(_VOID, ["The alert that it takes back was not sent.", due.delivery_id])
        case "dead":
            reason = due.reason or "no reason is known"
            dead(connection, due.delivery_id, f"The alert that it takes back was never delivered: {reason}")
        case _:
            return False
    return True


def begin(connection: Any, delivery_id: UUID) -> None:  # noqa: ANN401
    """Count an attempt before it is made, so that what was never handed to anybody is known for sure."""
    connection.execute(_BEGIN, [delivery_id])


def delivered(connection: Any, delivery_id: UUID, now: datetime) -> None:  # noqa: ANN401
    """Mark a delivery as taken by its receiver."""
    connection.execute(_DELIVERED, [now, delivery_id])


def failed(connection: Any, delivery_id: UUID, error: str, again_at: datetime) -> None:  # noqa: ANN401
    """Note why an attempt failed, and when the next one is."""
    connection.execute(_FAILED, [again_at, error[:MOST_FINAL_ERROR], delivery_id])


def dead(connection: Any, delivery_id: UUID, error: str) -> None:  # noqa: ANN401
    """Give up a delivery: it is kept with its error, and can be resent."""
    connection.execute(_DEAD, [error[:MOST_FINAL_ERROR], delivery_id])


def give_up_channel(connection: Any, channel: str, error: str) -> None:  # noqa: ANN401
    """Give up whatever waits for a channel that there is not."""
    connection.execute(_ALL_DEAD, [error, channel])
    connection.execute(_DIGESTS_DEAD, [error, channel])


def try_sooner(connection: Any, channel: str, now: datetime) -> None:  # noqa: ANN401
    """Try at once what waits for a later attempt: the receiver is there again, or the channel is another."""
    connection.execute(_SOONER, {"channel": channel, "now": now})
