"""What the platform itself has to tell: what is wrong with it, what is well again, and that a report is there.

What belongs here: recording notices, each with its rows in the outbox by the same transaction. What does not: finding out what is
wrong (``orchestration``), and sending (:mod:`alerts.delivery`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from alerts.delivery.channels.channel import ChannelSettings
from alerts.delivery.channels.opening import BUILT_IN
from alerts.delivery.outbox import WAKES
from market.settings import Settings
from warehouse.connection import connect

INCIDENT: Final = "incident"
RESOLVED: Final = "resolved"
REPORT: Final = "report"

_APPLICATION: Final = "tapehouse notices"
_NAMESPACE: Final = UUID("5f0c8f0e-8a53-4b0e-9d8d-0f1f6d1c7a11")
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('tapehouse notices'))"
_OPEN: Final = """
select notices.notice_id, notices.subject, notices.title, notices.evidence, notices.happened_at
from app.notices as notices
where notices.kind = 'incident'
    and not exists (select from app.notices as later where later.refers_to = notices.notice_id and later.kind = 'resolved')
order by notices.recorded_at, notices.subject
"""
_RECORD: Final = """
insert into app.notices (notice_id, kind, subject, refers_to, title, text, evidence, path, happened_at, recorded_at)
values (
    %(notice_id)s, %(kind)s, %(subject)s, %(refers_to)s, %(title)s, %(text)s, %(evidence)s, %(path)s, %(happened_at)s, %(now)s
)
on conflict (notice_id) do nothing
"""
_OUTBOX: Final = """
insert into app.alert_outbox (
    delivery_id, alert_id, channel, kind, refers_to, triggered_at, status, attempts, next_attempt_at, created_at
)
select
    md5(%(notice_id)s::text || '/' || channel)::uuid, %(notice_id)s, channel, 'notice', %(refers_to)s, %(happened_at)s,
    'pending', 0, %(now)s, %(now)s
from unnest(%(channels)s::text[]) as channels (channel)
"""
_CHANNELS: Final = "select channel from app.alert_channels where is_for_{0} order by channel"
_HISTORY: Final = """
select
    incidents.subject, incidents.title, incidents.text, incidents.evidence, incidents.happened_at, incidents.recorded_at,
    resolved.recorded_at as resolved_at
from app.notices as incidents
left join app.notices as resolved on resolved.refers_to = incidents.notice_id and resolved.kind = 'resolved'
where incidents.kind = 'incident' and (%(all)s or resolved.notice_id is null)
order by incidents.recorded_at desc, incidents.subject
limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is wrong with the platform.

    Attributes
    ----------
    subject
        What it is about, as ``family:name``; there is one open incident of a subject at most.
    title, text
        It in one line, and in full, with the remedy.
    evidence
        What was seen, by name.
    happened_at
        When it began, as far as is known.
    """

    subject: str
    title: str
    text: str
    happened_at: datetime
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """What stands before the colon of the subject."""
        return self.subject.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Report:
    """A report that is there.

    Attributes
    ----------
    subject
        Which report and which revision of it, as ``report:…``.
    title, text
        It in one line, and its main figures.
    path
        Where it is: channels that carry files carry it.
    happened_at
        The end of what it is about.
    evidence
        Its figures by name.
    """

    subject: str
    title: str
    text: str
    path: Path
    happened_at: datetime
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a look at the platform changed: the incidents that began and ended, and those that are open now."""

    opened: tuple[str, ...]
    resolved: tuple[str, ...]
    open: tuple[str, ...]


def settle_incidents(
    settings: Settings,
    now: datetime,
    broken: Sequence[Incident],
    *,
    well: Collection[str] = (),
    families: Collection[str] = (),
) -> Settled:
    """Record what is wrong and was not yet, and what was and is well again; the same look twice changes nothing.

    Parameters
    ----------
    now
        The time.
    broken
        What is wrong.
    well
        Subjects that were looked at and are well.
    families
        Families of which all was looked at: what is not broken is well.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, application_name=_APPLICATION) as connection:
        connection.execute(_LOCK)  # two looks at once: the second sees what the first recorded
        before = {row[1]: row for row in connection.execute(_OPEN).fetchall()}
        wrong = {incident.subject: incident for incident in broken}
        opened = [incident for subject, incident in sorted(wrong.items()) if subject not in before]
        resolved = [
            row
            for subject, row in before.items()
            if subject not in wrong and (subject in well or subject.partition(":")[0] in families)
        ]
        channels = _channels(connection, "operators") if opened or resolved else []
        for incident in opened:
            _record(connection, now, channels, _opening(incident, now))
        for row in resolved:
            _record(connection, now, channels, _resolution(row, now))
        if opened or resolved:
            connection.execute("select pg_notify(%s, '')", [WAKES])
    gone = {row[1] for row in resolved}
    return Settled(
        tuple(incident.subject for incident in opened),
        tuple(sorted(gone)),
        tuple(sorted((set(before) - gone) | {incident.subject for incident in opened})),
    )


def announce_report(connection: Any, now: datetime, report: Report) -> bool:  # noqa: ANN401 - psycopg is known to warehouse only
    """Have a report sent to the channels that want reports, and return whether it is news; of one subject it is once."""
    values = {
        "notice_id": uuid5(_NAMESPACE, f"{REPORT} {report.subject}"),
        "kind": REPORT,
        "subject": report.subject,
        "refers_to": None,
        "title": report.title,
        "text": report.text,
        "evidence": json.dumps(report.evidence, default=str),
        "path": str(report.path),
        "happened_at": report.happened_at,
    }
    is_news = _record(connection, now, _channels(connection, "reports"), values)
    if is_news:
        connection.execute("select pg_notify(%s, '')", [WAKES])
    return is_news


def incidents(settings: Settings, *, with_resolved: bool, limit: int) -> list[dict[str, Any]]:
    """Return the open incidents, or those that ended too, the newest first, as mappings of columns to values.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        cursor = connection.execute(_HISTORY, {"all": with_resolved, "limit": limit})
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _channels(connection: Any, audience: str) -> list[str]:  # noqa: ANN401
    built_in = [name for name, channel in BUILT_IN.items() if _is_for(channel, audience)]
    return built_in + [name for (name,) in connection.execute(_CHANNELS.format(audience)).fetchall()]


def _is_for(channel: ChannelSettings, audience: str) -> bool:
    return channel.is_for_operators if audience == "operators" else channel.is_for_reports


def _opening(incident: Incident, now: datetime) -> dict[str, Any]:
    return {
        "notice_id": uuid5(_NAMESPACE, f"{INCIDENT} {incident.subject} {now.isoformat()}"),
        "kind": INCIDENT,
        "subject": incident.subject,
        "refers_to": None,
        "title": incident.title,
        "text": incident.text,
        "evidence": json.dumps(incident.evidence, default=str),
        "path": None,
        "happened_at": incident.happened_at,
    }


def _resolution(row: Sequence[Any], now: datetime) -> dict[str, Any]:
    notice_id, subject, title, evidence, happened_at = row
    return {
        "notice_id": uuid5(_NAMESPACE, f"{RESOLVED} {notice_id}"),
        "kind": RESOLVED,
        "subject": subject,
        "refers_to": notice_id,
        "title": f"Well again: {title}",
        "text": f"It began at {happened_at:%Y-%m-%d %H:%M} UTC, and was seen to be well at {now:%Y-%m-%d %H:%M} UTC.",
        "evidence": json.dumps(evidence, default=str),
        "path": None,
        "happened_at": now,
    }


def _record(connection: Any, now: datetime, channels: Sequence[str], values: Mapping[str, Any]) -> bool:  # noqa: ANN401
    if connection.execute(_RECORD, {**values, "now": now}).rowcount == 0:
        return False
    connection.execute(_OUTBOX, {**values, "channels": list(channels), "now": now})
    return True
