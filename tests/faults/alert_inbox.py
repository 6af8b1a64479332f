"""A receiver of alerts that notes what it took and is at times slow, broken or gone; and what whoever reads it believes."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from tests.faults.alert_market import Key
from tests.receivers import Receiver, answers, closes, receiving

TIMEOUT_SECONDS: Final = 4
"""Long enough for a busy machine: an answer that comes in time has to be heard."""

_MOODS: Final = {"takes": 88.0, "slow": 5.0, "fails": 2.5, "hangs up": 2.0, "takes and hangs up": 2.0, "too late": 0.3}


@dataclass(frozen=True)
class Taken:
    """A message that was taken.

    Attributes
    ----------
    delivery_id, body
        What came.
    arrived_at
        When it came, by the monotonic clock.
    is_told
        Whether the sender was left alone to hear so: false if the receiver hung up, or answered after the time allowed.
    """

    delivery_id: str
    body: dict[str, Any]
    arrived_at: float
    is_told: bool


@dataclass
class Inbox:
    """What one channel's receiver took, in order; ``ambush`` is called around the next answer, once."""

    chance: random.Random
    receiver: Receiver
    taken: list[Taken] = field(default_factory=list)
    is_moody: bool = True
    ambush: Callable[[int, Callable[[], None]], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def behave(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request, which the receiver has noted last."""
        arrived_at = time.monotonic()
        with self._lock:
            delivery_id = request.headers["Idempotency-Key"]
            noted = next(
                one for one in reversed(self.receiver.requests) if one.headers["idempotency-key"] == delivery_id
            )
            ambush, self.ambush = self.ambush, None
            is_moody = self.is_moody and ambush is None
            mood = self.chance.choices(list(_MOODS), list(_MOODS.values()))[0] if is_moody else "takes"
        if mood == "fails":
            answers(500)(request)
            return
        if mood == "hangs up":
            closes(request)
            return
        is_told = mood not in {"takes and hangs up", "too late"}
        with self._lock:
            self.taken.append(Taken(delivery_id, json.loads(noted.body), arrived_at, is_told))
        if mood == "slow":
            time.sleep(self.chance.random() / 5)
        elif mood == "too late":
            time.sleep(TIMEOUT_SECONDS + 1)

        def answer() -> None:
            with suppress(OSError):  # the sender may be dead
                answers(200)(request)
                request.wfile.flush()

        if ambush is not None:
            ambush(request.client_address[1], answer)
        elif mood == "takes and hangs up":
            closes(request)
        else:
            answer()

    @property
    def ids(self) -> set[str]:
        return {taken.delivery_id for taken in self.taken}

    @property
    def asked(self) -> set[str]:
        """The ids that arrived, taken or not."""
        return set(self.receiver.ids)

    def first_of_each(self) -> list[Taken]:
        """Return what is left for whoever acts once an id."""
        found: dict[str, Taken] = {}
        for taken in self.taken:
            found.setdefault(taken.delivery_id, taken)
        return list(found.values())

    def repeats(self) -> list[tuple[Taken, Taken]]:
        """Return each message that was taken again, with the one before of its id."""
        last: dict[str, Taken] = {}
        found = []
        for taken in self.taken:
            if taken.delivery_id in last:
                found.append((last[taken.delivery_id], taken))
            last[taken.delivery_id] = taken
        return found

    def believed(self) -> tuple[Counter[Key], list[str]]:
        """Return how often each bar stands as alerted for whoever acts once an id; and the retractions of what was not told."""
        standing: dict[str, Key] = {}
        untold = []
        for taken in self.first_of_each():
            alert = taken.body["alert"]
            if taken.body["kind"] == "alert":
                at = datetime.fromisoformat(alert["bar_at"])
                standing[alert["alert_id"]] = (alert["rule"], alert["symbol"], alert["interval"], at)
            elif standing.pop(alert["refers_to"], None) is None:
                untold.append(taken.delivery_id)
        return Counter(standing.values()), untold


@contextmanager
def inbox(seed: int) -> Iterator[Inbox]:
    """Yield an inbox of its own server."""
    with receiving() as receiver:
        made = Inbox(random.Random(seed), receiver)
        receiver.behavior = made.behave
        yield made
