"""Bugs that alerting of this kind is known for, planted into the processes that are killed: the verdict has to name each."""

import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, TopicPartition

from alerts.at_once.loading import load_beginning
from alerts.at_once.minutes import Minutes
from alerts.delivery import attempt, outbox
from alerts.delivery.message import Message
from alerts.evaluation import evaluate, recording
from ingest.tail import Tail
from market.records import Received
from market.topics import TRADES
from tests.faults.alert_tape import Tilt

_MARKED: Final = "update app.alert_outbox set status = 'delivered', delivered_at = now() where delivery_id = %s"


@dataclass(frozen=True)
class Bug:
    """A planted bug.

    Attributes
    ----------
    plant
        Replaces what is replaced.
    caught_as
        Whether it shows as something ``missed``, ``doubled`` or ``false``.
    needs
        The kinds of kill without which it does not show; any of relays and runs shows it if there are none.
    tilt
        What happens most, so that it shows soon.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    caught_as: str
    needs: tuple[str, ...] = ()
    tilt: Tilt = field(default_factory=Tilt)


def _marked_before_sent(patch: pytest.MonkeyPatch) -> None:
    """Mark a message as delivered before it is sent."""
    begin = outbox.begin

    def begin_and_mark(connection: Any, delivery_id: uuid.UUID) -> None:
        begin(connection, delivery_id)
        connection.execute(_MARKED, [delivery_id])

    patch.setattr(outbox, "begin", begin_and_mark)


def _mark_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Send a message again now and then, though the receiver has said that it took it."""
    delivered = outbox.delivered
    forgotten: set[uuid.UUID] = set()

    def forgetful(connection: Any, delivery_id: uuid.UUID, *rest: Any) -> None:
        if delivery_id.int % 4 or delivery_id in forgotten:
            delivered(connection, delivery_id, *rest)
        forgotten.add(delivery_id)

    patch.setattr(outbox, "delivered", forgetful)


def _id_of_the_attempt(patch: pytest.MonkeyPatch) -> None:
    """Give a message another id at each attempt."""
    make = attempt._message

    def renamed(due: outbox.Due) -> Message:
        return replace(make(due), delivery_id=uuid.uuid4())

    patch.setattr(attempt, "_message", renamed)


def _row_dropped(patch: pytest.MonkeyPatch) -> None:
    """Record an alert without what is to be sent of it."""
    patch.setattr(recording, "_OUTBOX", f"{recording._OUTBOX} and recorded.symbol <> 'MSFT'")


def _taken_apart(patch: pytest.MonkeyPatch) -> None:
    """Take off what is queued in one transaction, and evaluate it in the next."""
    take = evaluate._TAKE.replace("on commit drop", "")
    patch.setattr(evaluate, "_TAKE", f"{take}; commit; select pg_sleep(1)")


def _retraction_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Let an alert stand whose bar is gone."""
    patch.setattr(recording, "_RETRACTED", f"{recording._RETRACTED} and bars.bar_at is not null")


def _position_before_alert(patch: pytest.MonkeyPatch) -> None:
    """Commit the position in Kafka before what fires is recorded, and go on from there."""
    begin, read = Tail.open, Tail.read

    def begin_where_it_was(tail: Tail) -> Tail:
        asking = Consumer({"bootstrap.servers": tail._bootstrap_servers, "group.id": "tapehouse-tail"})
        places = [TopicPartition(TRADES.name, partition) for partition in range(TRADES.partitions)]
        known = {one.partition: one.offset for one in asking.committed(places, timeout=30)}
        asking.close()
        tail._offsets = {at: max(offset, known[at]) for at, offset in tail._offsets.items()}
        return begin(tail)

    def read_and_commit(tail: Tail, timeout_seconds: float) -> list[Received]:
        received = read(tail, timeout_seconds)
        ends = {one.partition: one.offset + 1 for one in received}
        if ends:
            tail._consumer.commit(
                offsets=[TopicPartition(TRADES.name, *end) for end in ends.items()], asynchronous=False
            )
        return received

    patch.setattr(Tail, "open", begin_where_it_was)
    patch.setattr(Tail, "read", read_and_commit)


def _repeats_recorded(patch: pytest.MonkeyPatch) -> None:
    """Record what fires at once without a look at what is recorded of it."""
    statement = recording.alert_statement

    def unchecked(*, at_once: bool) -> str:
        head, _, rest = statement(at_once=at_once).partition("\n    where not exists (")
        return f"{head}\n{rest[rest.index(') as fresh') :]}"

    patch.setattr("alerts.at_once.recording.alert_statement", unchecked)


def _judged_unread(patch: pytest.MonkeyPatch) -> None:
    """Judge an alert once the tape has passed its bar, though the marts have not read the message with which it fired."""
    awaited = recording._IS_AWAITED
    head, _, rest = awaited.partition("\n        or standing.evidence ? 'fired_by'")
    assert rest
    patch.setattr(recording, "_IS_AWAITED", f"{head}\n    )")
    patch.setattr(recording, "_AWAIT", recording._AWAIT.replace(awaited, f"{head}\n    )"))


def _bars_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Begin without the bars that there are."""
    patch.setattr(
        "alerts.at_once.process.load_beginning", lambda *those: dataclasses.replace(load_beginning(*those), minutes=[])
    )


def _amendments_passed_over(patch: pytest.MonkeyPatch) -> None:
    """Let a minute count though a trade of it was cancelled or corrected."""
    patch.setattr(Minutes, "doubt", lambda *_: None)


WATCH: Final = ("watch killed around its commit", "watch killed")
BUGS: Final = {
    "marked_before_sent": Bug(_marked_before_sent, "missed"),
    "mark_forgotten": Bug(_mark_forgotten, "doubled"),
    "id_of_the_attempt": Bug(_id_of_the_attempt, "doubled"),
    "row_dropped": Bug(_row_dropped, "missed"),
    "taken_apart": Bug(_taken_apart, "missed", needs=("run killed",)),
    "retraction_forgotten": Bug(_retraction_forgotten, "missed"),
    "position_before_alert": Bug(
        _position_before_alert, "missed", needs=("watch killed as it records",), tilt=Tilt(landed=0)
    ),
    "repeats_recorded": Bug(_repeats_recorded, "doubled", needs=WATCH, tilt=Tilt(landed=0)),
    "judged_unread": Bug(_judged_unread, "false", needs=("watch killed while the stream stands still",)),
    "bars_forgotten": Bug(_bars_forgotten, "missed", needs=WATCH, tilt=Tilt(landed=1, amended=0)),
    "amendments_passed_over": Bug(_amendments_passed_over, "false", needs=WATCH, tilt=Tilt(landed=0, amended=1)),
}
