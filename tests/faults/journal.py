"""What was sent and what the broker acknowledged, noted by whoever sends: the outside witness of what must be in the lake."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import Producer

from tests.faults.tape import Meaning, Message, Tape

_SLICE_SECONDS: Final = 0.1
_SETTLE_SECONDS: Final = 120.0

Place = tuple[str, int, int]
"""Topic, partition, offset."""


@dataclass
class Entry:
    """One message that was handed to a producer.

    Attributes
    ----------
    acknowledged
        Whether the producer was told that the broker has it.
    place
        Where, if the broker said so.
    """

    message: Message
    acknowledged: bool = False
    place: Place | None = None


@dataclass
class Journal:
    """Everything that was sent in one scenario."""

    entries: list[Entry] = field(default_factory=list)

    def meanings(self) -> dict[tuple[str, bytes | None], Meaning]:
        return {(entry.message.topic, entry.message.value): entry.message.meaning for entry in self.entries}

    def note(self, message: Message) -> Entry:
        entry = Entry(message)
        self.entries.append(entry)
        return entry

    def acknowledged(self) -> int:
        return sum(entry.acknowledged for entry in self.entries)


class Sender:
    """A producer that keeps the journal; ``config`` may change its settings."""

    def __init__(self, servers: str, journal: Journal, **config: Any) -> None:
        settings = {
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "delivery.timeout.ms": 300_000,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
            "error_cb": lambda _error: None,
        }
        self._producer = Producer({**settings, **config})
        self._journal = journal

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            entry = self._journal.note(message)
            self._producer.produce(message.topic, message.value, message.key, on_delivery=_reporter(entry))
            self._producer.poll(0)

    def flush(self, seconds: float = _SETTLE_SECONDS) -> None:
        """Wait until the fate of everything that was sent is known."""
        assert self._producer.flush(seconds) == 0, "the broker did not acknowledge what was sent"


def _reporter(entry: Entry) -> Any:
    def report(error: Any, sent: Any) -> None:
        if error is None:
            entry.acknowledged = True
            if sent.offset() is not None and sent.offset() >= 0:
                entry.place = (sent.topic(), sent.partition(), sent.offset())

    return report


class Load:
    """Sends a tape at a pace from a thread, until the block ends; what was sent is settled then.

    Parameters
    ----------
    rate
        Messages a second.
    """

    def __init__(self, servers: str, tape: Tape, journal: Journal, rate: int) -> None:
        self._sender = Sender(servers, journal)
        self._tape = tape
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_SETTLE_SECONDS)
        if kind is None:
            self._sender.flush()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += _SLICE_SECONDS
            with suppress(BufferError):
                self._sender.send(self._tape.take(max(1, round(self._rate * _SLICE_SECONDS))))
