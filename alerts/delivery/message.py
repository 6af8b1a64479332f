"""What is sent: subject, plain text, HTML and JSON of an alert, a retraction, a notice, a digest or a test; pure functions.

What belongs here: words. What does not: how they are sent.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

FORMAT: Final = "tapehouse.alert.v1"
"""What the JSON says that it is."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST_SUBJECT: Final = 150
_STYLE: Final = "font-family:sans-serif;font-size:15px;line-height:1.45;color:#222"


@dataclass(frozen=True, slots=True)
class Alert:
    """One row of ``app.alerts``."""

    alert_id: UUID
    rule_id: int
    rule_name: str
    rule_version: int
    symbol: str
    interval: str
    bar_at: datetime
    session_date: Any
    revision: int
    kind: str
    refers_to: UUID | None
    message: str
    evidence: Mapping[str, Any]
    triggered_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """One row of ``app.notices``."""

    notice_id: UUID
    kind: str
    subject: str
    refers_to: UUID | None
    title: str
    text: str
    evidence: Mapping[str, Any]
    path: str | None
    happened_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class HeldCount:
    """How many alerts of a rule were held back."""

    rule_name: str
    number: int
    symbols: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One message, rendered for every kind of channel.

    Attributes
    ----------
    delivery_id
        The same whenever this message is sent: receivers know a repeat by it.
    kind
        alert, retraction, incident, resolved, report, digest or test.
    key
        The symbol; of a notice what it is about; of what has neither the channel.
    attachment
        The file that it is about, such as a report: a channel that can carry files does.
    """

    delivery_id: UUID
    kind: str
    key: str
    subject: str
    text: str
    html: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    attachment: Path | None = None

    def body(self) -> bytes:
        """Return the JSON, in one line and always the same bytes."""
        return json.dumps(self.payload, sort_keys=True, separators=(",", ":"), default=str).encode()


def alert_message(delivery_id: UUID, alert: Alert, original: Alert | None = None) -> Message:
    """Return what is sent of an alert, or of a retraction with the alert that it takes back."""
    if alert.kind == "retraction":
        return _retraction(delivery_id, alert, original)
    where = f"{alert.symbol} {alert.interval}"
    lines = [
        alert.message,
        "",
        f"Rule: {alert.rule_name} (version {alert.rule_version})",
        f"Bar: {where}, {_moment(alert.bar_at)}, session {alert.session_date}",
        *_evidence_lines(alert.evidence),
        f"Alert: {alert.alert_id}",
    ]
    subject = f"{where}: {_first_line(alert.message)}"
    return _message(delivery_id, "alert", alert.symbol, subject=subject, lines=lines, payload=_json(alert))


def _retraction(delivery_id: UUID, alert: Alert, original: Alert | None) -> Message:
    where = f"{alert.symbol} {alert.interval}"
    is_gone = "bar" in alert.evidence and alert.evidence["bar"] is None
    why = "the bar is not there any more" if is_gone else "the data were revised, and the condition no longer holds"
    lines = [
        f"Retracted: {alert.rule_name} on {where}, bar of {_moment(alert.bar_at)}: {why}.",
        "",
        *([f"The alert said: {original.message}", *_evidence_lines(original.evidence, "Then")] if original else []),
        *_evidence_lines(alert.evidence, "Now"),
        f"Refers to alert: {alert.refers_to}",
        f"Retraction: {alert.alert_id}",
    ]
    payload = {**_json(alert), "retracted": _fields(original) if original else None}
    subject = f"Retracted: {where}: {alert.rule_name}"
    return _message(delivery_id, "retraction", alert.symbol, subject=subject, lines=lines, payload=payload)


def notice_message(delivery_id: UUID, notice: Notice) -> Message:
    """Return what is sent of a notice: that something is wrong with the platform, or well again, or that a report is there."""
    evidence = [f"{name.replace('_', ' ')}: {_number(value)}" for name, value in notice.evidence.items()]
    lines = [
        notice.title,
        "",
        *notice.text.splitlines(),
        "",
        *evidence,
        *([f"File: {notice.path}"] if notice.path else []),
        *([f"Refers to: {notice.refers_to}"] if notice.refers_to else []),
        f"About {notice.subject}, since {_moment(notice.happened_at)}",
        f"Notice: {notice.notice_id}",
    ]
    fields = {
        "notice_id": str(notice.notice_id),
        "subject": notice.subject,
        "refers_to": str(notice.refers_to) if notice.refers_to else None,
        "title": notice.title,
        "message": notice.text,
        "evidence": dict(notice.evidence),
        "path": notice.path,
        "happened_at": notice.happened_at.isoformat(),
        "recorded_at": notice.recorded_at.isoformat(),
    }
    payload = {"kind": notice.kind, "notice": fields}
    message = _message(delivery_id, notice.kind, notice.subject, subject=notice.title, lines=lines, payload=payload)
    return replace(message, attachment=Path(notice.path)) if notice.path else message


def digest_message(
    delivery_id: UUID, channel: str, opened_at: datetime, counts: Sequence[HeldCount], limits: tuple[int, int]
) -> Message:
    """Return what is sent once for all that was held back in a channel; ``limits`` are those of a rule and of the channel."""
    total = sum(count.number for count in counts)
    lines = [
        f"Held back since {_moment(opened_at)}, alerts and their retractions: {total:,}; rules: {len(counts):,}.",
        f"Alerts an hour that this channel is sent at most: {limits[0]} of one rule, {limits[1]} of all; 0 is no limit.",
        "",
        *(f"{count.rule_name}: {count.number:,}; symbols: {count.symbols:,}; {_span(count)}" for count in counts),
        "",
        f"See them: ./run alert deliveries --held --channel {channel}",
        f"Send them all the same: ./run alert resend --held --channel {channel}",
    ]
    rules = [
        {
            "rule": count.rule_name,
            "held": count.number,
            "symbols": count.symbols,
            "first_at": count.first_at.isoformat(),
            "last_at": count.last_at.isoformat(),
        }
        for count in counts
    ]
    payload = {"kind": "digest", "channel": channel, "since": opened_at.isoformat(), "held": total, "rules": rules}
    subject = f"{total:,} alerts were held back"
    return _message(delivery_id, "digest", channel, subject=subject, lines=lines, payload=payload)


def trial_message(delivery_id: UUID, channel: str) -> Message:
    """Return what ``./run alert channel test`` sends."""
    lines = [f"This is a test of the channel {channel} of Tapehouse. Alerts that name it arrive here."]
    subject, payload = f"Test of the channel {channel}", {"kind": "test", "channel": channel}
    return _message(delivery_id, "test", channel, subject=subject, lines=lines, payload=payload)


def one_line(text: str) -> str:
    """Return the text in one line, without control characters: fit for a header and a terminal."""
    return _CONTROL.sub(" ", text).strip()


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _message(
    delivery_id: UUID, kind: str, key: str, *, subject: str, lines: Sequence[str], payload: Mapping[str, Any]
) -> Message:
    text = "\n".join(_CONTROL.sub(" ", part) for line in lines for part in (line.splitlines() or [""]))
    full = {"format": FORMAT, "delivery_id": str(delivery_id), **payload, "text": text}
    subject = one_line(subject)[:_LONGEST_SUBJECT]
    return Message(delivery_id, kind, key, subject, text, _as_html(subject, text), full)


def _as_html(subject: str, text: str) -> str:
    first, *others = text.split("\n")
    body = "".join(f"<div>{html.escape(line) or '&nbsp;'}</div>" for line in others)
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{html.escape(subject)}</title></head>'
        f'<body style="{_STYLE}"><p style="font-size:17px;font-weight:600">{html.escape(first)}</p>{body}</body></html>'
    )


def _json(alert: Alert) -> dict[str, Any]:
    return {"kind": alert.kind, "alert": _fields(alert)}


def _fields(alert: Alert) -> dict[str, Any]:
    return {
        "alert_id": str(alert.alert_id),
        "rule_id": alert.rule_id,
        "rule": alert.rule_name,
        "rule_version": alert.rule_version,
        "symbol": alert.symbol,
        "interval": alert.interval,
        "bar_at": alert.bar_at.isoformat(),
        "session_date": str(alert.session_date),
        "revision": alert.revision,
        "refers_to": str(alert.refers_to) if alert.refers_to else None,
        "message": alert.message,
        "evidence": dict(alert.evidence),
        "triggered_at": alert.triggered_at.isoformat(),
        "recorded_at": alert.recorded_at.isoformat(),
    }


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC" if at.second else "%Y-%m-%d %H:%M UTC")


def _span(count: HeldCount) -> str:
    return f"the first at {_moment(count.first_at)}, the last at {_moment(count.last_at)}"


def _evidence_lines(evidence: Mapping[str, Any], title: str = "Values") -> list[str]:
    """Return the values that decided, the bar, and where it came from, as lines."""
    lines = []
    values = evidence.get("values")
    if isinstance(values, Mapping):
        lines += [f"{title}: {', '.join(_value(name, value) for name, value in sorted(values.items()))}"]
    bar = evidence.get("bar")
    if isinstance(bar, Mapping):
        lines += [f"{title}, bar: {', '.join(f'{name} {_number(value)}' for name, value in bar.items())}"]
    if evidence.get("origin"):
        revised = f", revised {evidence['revised_at']}" if evidence.get("revised_at") else ""
        lines += [f"{title}, source: {evidence['origin']}{revised}"]
    return lines


def _value(name: str, value: Any) -> str:  # noqa: ANN401 - as it came from JSON
    if isinstance(value, Mapping):
        return f"{name} {_number(value.get('now'))} (before {_number(value.get('before'))})"
    return f"{name} {_number(value)}"


def _number(value: Any) -> str:  # noqa: ANN401 - as it came from JSON
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else "-" if value is None else str(value)
