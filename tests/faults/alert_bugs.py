"""Bugs that alerting of this kind is known for, planted into the processes that are killed: the verdict has to name each."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from alerts.delivery import attempt, outbox
from alerts.delivery.message import Message
from alerts.evaluation import evaluate, recording

_MARKED: Final = "update app.alert_outbox set status = 'delivered', delivered_at = now() where delivery_id = %s"


@dataclass(frozen=True)
class Bug:
    """A planted bug.

    Attributes
    ----------
    plant
        Replaces what is replaced.
    caught_as
        Whether it shows as something ``missed`` or ``doubled``.
    needs
        The kind of kill without which it does not show; any shows it if there is none.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    caught_as: str
    needs: str | None = None


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


BUGS: Final = {
    "marked_before_sent": Bug(_marked_before_sent, "missed"),
    "mark_forgotten": Bug(_mark_forgotten, "doubled"),
    "id_of_the_attempt": Bug(_id_of_the_attempt, "doubled"),
    "row_dropped": Bug(_row_dropped, "missed"),
    "taken_apart": Bug(_taken_apart, "missed", needs="run killed"),
    "retraction_forgotten": Bug(_retraction_forgotten, "missed"),
}
