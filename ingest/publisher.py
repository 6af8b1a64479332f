"""The one wrapper of the Kafka producer: idempotent, keyed by symbol, delivery-checked.

What belongs here: handing records to the broker and knowing what became of each. What does not: where records come
from, or when they are due.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Event
from types import MappingProxyType, TracebackType
from typing import Any, Final, NoReturn, Self

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from ingest.summary import PublishSummary as PublishSummary  # noqa: PLC0414 - whoever publishes gets one
from ingest.topics import TOPIC_OF
from market.errors import PublishError, ServiceError
from market.records import Heartbeat, Record, encode

LINGER_MS: Final = 30
"""Messages wait this long for company: batches of a few messages cost several times as much to read."""
QUEUE_MESSAGES: Final = 200_000
"""Messages that may wait in this process before ``publish`` blocks."""
POLL_EVERY: Final = 512
"""Delivery reports are served after this many records."""
SETTLE_EVERY: Final = 50_000
"""Heartbeats are held back for so many records at most: each time the queue has to run empty, which costs some milliseconds."""
ROOM_POLL_SECONDS: Final = 0.05
FLUSH_SLICE_SECONDS: Final = 0.2
"""A flush is cut into slices of this length, so that signals and stop events are seen in between."""

_UNCERTAIN: Final = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - the client's own names of its local errors
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - it may have been sent before and be queued for a retry
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)
"""Errors after which nobody can say whether the broker has the message."""

_log = structlog.get_logger(__name__)


def producer_settings(bootstrap_servers: str) -> dict[str, Any]:
    """Return the producer's settings that matter for speed and safety."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "tapehouse-publisher",
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": LINGER_MS,
        "partitioner": "murmur2",  # what Java clients use: a symbol has one partition, whoever publishes
        "queue.buffering.max.messages": QUEUE_MESSAGES,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,  # what matters arrives as errors and delivery reports
    }


class Publisher:
    """Publishes records and accounts for each of them.

    Every record goes to the topic of its type with its symbol as key, so records of one symbol keep their order. A heartbeat
    is held back until everything before it is acknowledged: what it says of the trades before it is true wherever it is read.
    Nothing connects before :meth:`open`. One thread uses a publisher.

    Parameters
    ----------
    bootstrap_servers
        The broker's address.
    connect_timeout_seconds
        How long :meth:`open` waits for the broker's answer.
    delivery_timeout_seconds
        How long a record may wait for its acknowledgement, retries included, before it counts as unknown.
    stall_seconds
        How long :meth:`publish` waits for room while the broker acknowledges nothing.
    stop_event
        When set, waits end early and :meth:`publish_all` stops.

    Examples
    --------
    >>> with Publisher("127.0.0.1:9092") as publisher:  # doctest: +SKIP
    ...     publisher.publish_all(records)
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        connect_timeout_seconds: float = 15.0,
        delivery_timeout_seconds: float = 120.0,
        stall_seconds: float = 60.0,
        stop_event: Event | None = None,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._connect_timeout = connect_timeout_seconds
        self._delivery_timeout = delivery_timeout_seconds
        self._stall_seconds = stall_seconds
        self._stop_event = stop_event or Event()
        self._producer: Any = None
        self._summary: PublishSummary | None = None
        self._opened_at = 0.0
        self._sent = self._failed = self._unknown = self._settled = 0
        self._held: list[Heartbeat] = []
        self._held_since = 0
        self._first_error: str | None = None
        self._is_down = False

    def open(self) -> Self:
        """Connect to the broker.

        Raises
        ------
        ServiceError
            If the broker does not answer in time.
        """
        producer = Producer(
            {
                **producer_settings(self._bootstrap_servers),
                "delivery.timeout.ms": int(self._delivery_timeout * 1000),
                "on_delivery": self._not_delivered,
                "delivery.report.only.error": True,
                "error_cb": self._broker_error,
            }
        )
        try:
            producer.list_topics(timeout=self._connect_timeout)
        except KafkaException as error:
            msg = (
                f"Kafka at {self._bootstrap_servers} did not answer within {self._connect_timeout:g} s "
                f"({error.args[0].str()}). Is it running? ./run status shows what is."
            )
            raise ServiceError(msg) from error
        self._producer = producer
        self._opened_at = time.monotonic()
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        summary = self.close()
        if kind is None:
            summary.require_complete()

    @property
    def in_flight(self) -> int:
        """Records handed in whose fate is not known yet.

        The client counts a message until its report was served, and reports waiting to be served besides, so this is
        never too low: a record is not taken for acknowledged before it is.
        """
        if self._producer is None:
            return 0
        return min(len(self._producer), self._sent - self._failed - self._unknown)

    @property
    def has_losses(self) -> bool:
        """Whether a record failed or became unknown so far."""
        return bool(self._failed or self._unknown)

    def publish(self, record: Record) -> bool:
        """Hand one record to the producer and return whether it was taken; wait for room if its queue is full.

        It is not taken if the stop event is set while there is no room.

        Raises
        ------
        PublishError
            If there was no room for too long, or the producer cannot go on.
        """
        return self.publish_all((record,)) == 1

    def publish_all(
        self,
        records: Iterable[Record],
        total: int | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> int:
        """Hand in all records, or as many as come before the stop event is set.

        Parameters
        ----------
        records
            What to publish, in order.
        total
            How many there will be, if known: only passed on to ``progress``.
        progress
            Called now and then, and at the end, with the number handed in by this call and ``total``.

        Returns
        -------
        int
            How many of the first of them were handed in, all, and maybe more. They are settled after :meth:`flush` or
            :meth:`close`.

        Raises
        ------
        PublishError
            If a record was not delivered meanwhile, or as for :meth:`publish`.
        """
        names, count = {kind: topic.name for kind, topic in TOPIC_OF.items()}, 0
        produce, stopping = self._producer.produce, self._stop_event.is_set
        self._held, started = [], self._sent
        for record in self._with_heartbeats_last(records):
            topic, value, key = names[type(record)], encode(record), record.symbol
            try:
                produce(topic, value, key)
            except BufferError:
                if not self._produce_when_there_is_room(topic, value, key):
                    break
            except KafkaException as error:
                self._refused(error.args[0])
            self._sent += 1
            count += 1
            if count % POLL_EVERY == 0:
                self._serve()
                if progress is not None:
                    progress(count, total)
                if stopping():
                    break
        self._serve()
        if progress is not None:
            progress(count, total)
        return min(count, self._held_since - started) if self._held else count

    def publish_bytes(
        self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, bytes] = MappingProxyType({})
    ) -> bool:
        """Hand in one message as it is, such as one that was published before; otherwise as :meth:`publish`."""
        try:
            self._producer.produce(topic, value, key, headers=dict(headers))
        except BufferError:
            if not self._produce_when_there_is_room(topic, value, key, headers):
                return False
        except KafkaException as error:
            self._refused(error.args[0])
        self._sent += 1
        self._serve()
        return True

    def flush(self, timeout_seconds: float) -> int:
        """Wait until everything is settled, at most ``timeout_seconds``, and return how many records are not."""
        deadline = time.monotonic() + timeout_seconds
        while self.in_flight and (left := deadline - time.monotonic()) > 0:
            self._producer.flush(min(left, FLUSH_SLICE_SECONDS))
        if self._is_down and not self.in_flight and not self.has_losses:
            self._is_down = False
            _log.info("broker_back", bootstrap_servers=self._bootstrap_servers)
        return self.in_flight

    def close(self, deadline_seconds: float = 30.0) -> PublishSummary:
        """Wait for what is in flight, at most ``deadline_seconds``, give up the rest as unknown, and disconnect.

        Closing twice is harmless.
        """
        if self._summary is None:
            if self._producer is not None:
                self._give_up_after(deadline_seconds)
            self._summary = self.summary()
            self._producer = None
        return self._summary

    def summary(self) -> PublishSummary:
        """Return the account so far; what is in flight counts as unknown."""
        if self._summary is not None:
            return self._summary
        unknown = self._unknown + self.in_flight
        return PublishSummary(
            sent=self._sent,
            acknowledged=self._sent - self._failed - unknown,
            failed=self._failed,
            unknown=unknown,
            seconds=time.monotonic() - self._opened_at if self._opened_at else 0.0,
            first_error=self._first_error,
        )

    def _give_up_after(self, deadline_seconds: float) -> None:
        if self.flush(deadline_seconds):
            self._first_error = self._first_error or f"no acknowledgement within {deadline_seconds:g} s of the end"
            self._producer.purge()
            self.flush(2.0)

    def _serve(self) -> None:
        self._producer.poll(0)
        if self.has_losses:
            msg = (
                f"Publishing stopped after {self._sent:,} records: {self._failed:,} failed and {self._unknown:,} are "
                f"unknown; the first cause: {self._first_error}."
            )
            raise PublishError(msg)

    def _with_heartbeats_last(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records, each heartbeat when all before it is acknowledged; end if the stop event comes before that.

        What was held back and not handed in stays in ``_held``; before the first of it, ``_held_since`` were handed in.
        """
        passed = 0
        for record in records:
            if type(record) is Heartbeat:
                self._held_since = self._held_since if self._held else self._sent
                self._held.append(record)
            else:
                yield record
                passed += 1
            if passed >= SETTLE_EVERY and self._held:
                yield from self._release()
                passed = 0
        yield from self._release()

    def _release(self) -> Iterator[Heartbeat]:
        if self._held and self._settle():
            yield from self._held
            self._settled = self._sent
            self._held = []

    def _settle(self) -> bool:
        """Wait until all but heartbeats that was handed in is acknowledged; return whether it is before the stop event."""
        while self._settled != self._sent and self.flush(FLUSH_SLICE_SECONDS):
            self._serve()
            if self._stop_event.is_set():
                return False
        self._serve()
        return True

    def _produce_when_there_is_room(
        self, topic: str, value: bytes, key: str | bytes | None, headers: Mapping[str, bytes] = MappingProxyType({})
    ) -> bool:
        """Wait for room in the queue; return whether the record was taken before the stop event."""
        waiting, deadline = self.in_flight, time.monotonic() + self._stall_seconds
        while not self._stop_event.is_set():
            self._producer.poll(ROOM_POLL_SECONDS)
            if self.in_flight < waiting:
                waiting, deadline = self.in_flight, time.monotonic() + self._stall_seconds
            try:
                self._producer.produce(topic, value, key, headers=dict(headers))
            except BufferError:
                if time.monotonic() > deadline:
                    self._give_up(
                        f"{self.in_flight:,} records wait for Kafka at {self._bootstrap_servers}, which has "
                        f"acknowledged none for {self._stall_seconds:g} s. See ./run status."
                    )
            except KafkaException as error:
                self._refused(error.args[0])
                return True
            else:
                return True
        return False

    def _refused(self, error: Any) -> None:  # noqa: ANN401 - the client library is untyped
        """Count a record that the producer itself refused, such as one that is too large; a fatal error ends it all."""
        if error.fatal():
            self._give_up(f"The Kafka producer cannot go on: {error.str()}. Publish again.")
        self._failed += 1
        self._first_error = self._first_error or error.str()

    def _give_up(self, reason: str) -> NoReturn:
        """Count the record at hand as failed and raise."""
        self._sent += 1
        self._failed += 1
        self._first_error = self._first_error or reason
        raise PublishError(reason)

    def _not_delivered(self, error: Any, _message: Any) -> None:  # noqa: ANN401 - the client library is untyped
        """Count a record by the client's report; reports of success are not passed on (``delivery.report.only.error``)."""
        if error.code() in _UNCERTAIN:
            self._unknown += 1
        else:
            self._failed += 1
        if self._first_error is None:
            self._first_error = error.str()
            _log.error("record_not_delivered", cause=self._first_error, code=error.name())

    def _broker_error(self, error: Any) -> None:  # noqa: ANN401 - the client library is untyped
        """Log the loss of the broker once; the client keeps on trying by itself."""
        if not self._is_down:
            self._is_down = True
            _log.warning("broker_unreachable", bootstrap_servers=self._bootstrap_servers, cause=error.str())
