"""Whether each alert that ought to be is there and was told, once: by the bars, what is recorded, and what was taken."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from tests.faults import alert_at_once
from tests.faults.alert_inbox import Inbox
from tests.faults.alert_market import Key, Market
from tests.faults.alert_rules import WATCHED

_ALERTS: Final = """
select alert_id::text, rule_name, symbol, interval, bar_at, kind, refers_to::text, revision, is_historical
from app.alerts order by revision, kind
"""
# What operators are told of the platform is in the outbox too, and no alert of a rule.
_OUTBOX: Final = """
select delivery_id::text, alert_id::text, channel, outbox.status
from app.alert_outbox as outbox inner join app.alerts using (alert_id)
"""
_SHOWN: Final = 5
_READ_LATE_SECONDS: Final = 2.0
"""A receiver on a busy machine may read a request so long after its sender was killed."""


@dataclass
class Verdict:
    """What was found.

    Attributes
    ----------
    missed
        Alerts and retractions that ought to be recorded or told, and are not.
    doubled
        Two alerts that stand for one bar and rule, in the database or for whoever acts once an id; two contents of one id; an
        id that nobody recorded; and a repeat that no kill and no receiver is to blame for.
    false
        Alerts that were recorded at once without a reason that the topic has, and such as were taken back without one.
    repeated
        Messages that were taken again with their id, because of a kill or of a receiver that did not say so in time.
    alerts, retractions, taken
        How many were recorded, and how many ids were taken by all receivers.
    at_once, at_once_retracted
        How many of them were recorded ahead of the marts, and how many of rules that fire at once were taken back.
    statuses
        How many deliveries are in each.
    """

    missed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    repeated: int = 0
    alerts: int = 0
    retractions: int = 0
    taken: int = 0
    at_once: int = 0
    at_once_retracted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = (
            f"{len(self.missed)} missed, {len(self.doubled)} doubled, {len(self.false)} false; "
            f"{self.alerts:,} alerts ({self.at_once:,} at once, {self.at_once_retracted:,} of such rules taken back), "
            f"{self.retractions:,} retractions, "
            f"{self.taken:,} ids taken, {self.repeated} of them again; "
            + ", ".join(f"{number:,} {status}" for status, number in sorted(self.statuses.items()))
        )
        return "\n".join([counts, *self.missed[:_SHOWN], *self.doubled[:_SHOWN], *self.false[:_SHOWN]])


def judge(
    market: Market, inboxes: Mapping[str, Inbox], kills: Sequence[float], watches: Iterable[alert_at_once.Lifetime]
) -> Verdict:
    """Judge a platform at rest, all of it delivered; ``kills`` are the moments at which relays were killed."""
    verdict = Verdict()
    with psycopg.connect(market.connection.info.dsn, password=market.connection.info.password) as connection:
        connection.execute("set time zone 'UTC'")
        recorded = _Recorded(
            {row[0]: row for row in connection.execute(_ALERTS).fetchall()}, connection.execute(_OUTBOX).fetchall()
        )
    verdict.alerts = sum(row[5] == "alert" for row in recorded.alerts.values())
    verdict.retractions = len(recorded.alerts) - verdict.alerts
    verdict.statuses = Counter(status for *_, status in recorded.outbox)
    _judge_records(verdict, market.expected() | (market.may_be_told() & recorded.standing.keys()), recorded)
    _judge_outbox(verdict, recorded, inboxes)
    for name, inbox in inboxes.items():
        told = market.may_be_told(name) & recorded.standing.keys()
        _judge_inbox(verdict, name, inbox, market.expected(name) | told)
        _judge_repeats(verdict, name, inbox, kills)
    at_once = alert_at_once.judge(market.tape, watches)
    verdict.false += at_once.false
    verdict.at_once, verdict.at_once_retracted = at_once.recorded, at_once.retracted
    return verdict


@dataclass(frozen=True)
class _Recorded:
    alerts: Mapping[str, tuple[Any, ...]]
    outbox: Sequence[tuple[str, str, str, str]]

    @property
    def retracted(self) -> Counter[str]:
        return Counter(row[6] for row in self.alerts.values() if row[5] == "retraction")

    @property
    def standing(self) -> Counter[Key]:
        retracted = self.retracted
        return Counter(
            (row[1], row[2], row[3], row[4])
            for alert_id, row in self.alerts.items()
            if row[5] == "alert" and not retracted[alert_id]
        )


def _judge_records(verdict: Verdict, expected: set[Key], recorded: _Recorded) -> None:
    retracted, standing = recorded.retracted, recorded.standing
    verdict.missed += [f"not recorded: {_named(key)}" for key in sorted(expected - set(standing))]
    verdict.missed += [f"not taken back: {_named(key)}" for key in sorted(set(standing) - expected)]
    verdict.doubled += [f"stands {number} times: {_named(key)}" for key, number in standing.items() if number > 1]
    verdict.doubled += [f"taken back {number} times: {one}" for one, number in retracted.items() if number > 1]
    verdict.missed += [f"takes back what there is not: {one}" for one in retracted if one not in recorded.alerts]


def _judge_outbox(verdict: Verdict, recorded: _Recorded, inboxes: Mapping[str, Inbox]) -> None:
    channels = {watched.rule.name: set(watched.rule.channels) for watched in WATCHED}
    wanted = Counter(
        (alert_id, channel) for alert_id, row in recorded.alerts.items() if not row[8] for channel in channels[row[1]]
    )
    queued = Counter((alert_id, channel) for _, alert_id, channel, _ in recorded.outbox)
    verdict.missed += [f"not queued for {channel}: {alert_id}" for alert_id, channel in wanted - queued]
    verdict.doubled += [f"queued too often for {channel}: {alert_id}" for alert_id, channel in queued - wanted]
    retracted = recorded.retracted
    voided = {(alert_id, channel) for _, alert_id, channel, status in recorded.outbox if status == "void"}
    for delivery_id, alert_id, channel, status in recorded.outbox:
        inbox, (kind, refers_to) = inboxes[channel], recorded.alerts[alert_id][5:7]
        if status == "void":  # of an alert that was retracted before it was tried, and of its retraction
            pair = retracted[alert_id] if kind == "alert" else (refers_to, channel) in voided
            if not pair or delivery_id in inbox.asked:
                verdict.missed.append(f"void without a reason, for {channel}: {delivery_id}")
        elif delivery_id not in inbox.ids:
            verdict.missed.append(f"{status}, but {channel} never took it: {delivery_id}")
        elif status != "delivered":
            verdict.doubled.append(f"{status}, but {channel} took it: {delivery_id}")
    known = {delivery_id for delivery_id, *_ in recorded.outbox}
    for name, inbox in inboxes.items():
        verdict.doubled += [f"taken by {name}, and recorded nowhere: {one}" for one in inbox.ids - known]


def _judge_inbox(verdict: Verdict, name: str, inbox: Inbox, expected: set[Key]) -> None:
    believed, untold = inbox.believed()
    verdict.taken += len(inbox.ids)
    verdict.missed += [f"{name} was not told: {_named(key)}" for key in sorted(expected - set(believed))]
    verdict.missed += [
        f"{name} was not told that it is no more: {_named(key)}" for key in sorted(set(believed) - expected)
    ]
    verdict.missed += [f"{name} was told of a retraction before its alert: {one}" for one in untold]
    verdict.doubled += [
        f"{name} believes it {number} times: {_named(key)}" for key, number in believed.items() if number > 1
    ]


def _judge_repeats(verdict: Verdict, name: str, inbox: Inbox, kills: Sequence[float]) -> None:
    """Explain each repeat by a receiver that did not say so, or by a kill meanwhile, of which each explains one a channel."""
    left = sorted(kills)
    for before, again in inbox.repeats():
        verdict.repeated += 1
        if before.body != again.body:
            verdict.doubled.append(f"{name} took two contents of {again.delivery_id}")
        if not before.is_told:
            continue
        since = before.arrived_at - _READ_LATE_SECONDS
        kill = next((at for at in left if since <= at <= again.arrived_at), None)
        if kill is None:
            verdict.doubled.append(f"{name} took it again though no relay was killed: {again.delivery_id}")
        else:
            left.remove(kill)


def _named(key: Key) -> str:
    rule, symbol, interval, bar_at = key
    return f"{rule} on {symbol} {interval} at {bar_at:%H:%M}"
