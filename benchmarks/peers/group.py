"""How far a consumer group is, by the offsets that it commits: what any peer has certainly done, whatever it runs on."""

import threading
import time
from dataclasses import dataclass, field
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.progress import Progress
from market.topics import Topic

_POLL_SECONDS: Final = 0.05


@dataclass(slots=True)
class GroupWatch:
    """Notes when a group commits how many messages of a topic.

    Attributes
    ----------
    servers, group, topic
        Whose offsets of what, and where.
    progress
        What was seen so far.
    offsets
        Per partition the offset that was committed last.
    """

    servers: str
    group: str
    topic: Topic
    progress: Progress = field(default_factory=Progress)
    offsets: dict[int, int] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": self.group, "enable.auto.commit": False})
        places = [TopicPartition(self.topic.name, number) for number in range(self.topic.partitions)]
        try:
            while True:
                last = self._stopped.is_set()
                try:
                    found = consumer.committed(places, timeout=10)
                except KafkaException:
                    found = []  # the group's coordinator is being elected, or a transaction of the group is open
                self.offsets.update({place.partition: place.offset for place in found if place.offset > 0})
                self.progress.note(time.monotonic(), sum(self.offsets.values()))
                if last:
                    return
                self._stopped.wait(_POLL_SECONDS)
        finally:
            consumer.close()
