"""Corporate actions of the watchlist: from whom, of which symbols they are due, and one collection to the lake.

What belongs here: the wiring of ``ingest.actions`` and ``warehouse.actions`` for Dagster. What does not: runs and metadata
(:mod:`orchestration.assets.collected_actions`), and when they are asked for (:mod:`orchestration.history_requests`).
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ingest.actions.collect import WHOLE, Collected, collect
from ingest.actions.door import stored_of, take_in
from ingest.actions.source import ActionSource
from ingest.actions.sources import get_action_source
from ingest.history.fetch import Pace
from ingest.history.source import SourceError
from market.sessions import EXCHANGE_ZONE
from market.settings import Settings
from warehouse.actions import asked_symbols
from warehouse.watchlist import Watched, watchlist

SETTING: Final = "TAPEHOUSE_ACTIONS_FEED"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a source answered, all that the lake takes of it there; how many requests and seconds that took."""

    found: Collected
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Actions:
    """The watchlist, when its symbols were asked for, and the source that is asked."""

    settings: Settings
    find_source: Callable[[str, Settings], ActionSource] = get_action_source

    def watchlist(self) -> list[Watched]:
        """Return the symbols and their groups."""
        return watchlist(self.settings)

    def source(self) -> ActionSource:
        """Return the source, after a look whether it can be asked at all.

        Raises
        ------
        SourceError
            If it cannot: the message says what to do.
        """
        if not self.settings.actions_feed:
            msg = f"No source is set for corporate actions. Set {SETTING} to one, as in .env.example."
            raise SourceError(msg)
        source = self.find_source(self.settings.actions_feed, self.settings)
        source.check()
        return source

    def due(self, watched: Sequence[Watched], since: datetime) -> list[Watched]:
        """Return those of which the source was not asked for all actions since a moment, with its answer in the lake."""
        asked = asked_symbols(self.settings, self.settings.actions_feed)
        return [one for one in watched if one.symbol not in asked or asked[one.symbol] < since]

    def collect(
        self, symbols: Sequence[str], *, now: datetime, stop: threading.Event, on_answer: Callable[[int], None]
    ) -> Outcome:
        """Ask for all actions of some symbols, publish what the lake lacks, and wait until the lake has it.

        The whole past is asked for each time: it costs no more requests, and a vendor corrects what is long ago, too.

        Raises
        ------
        SourceError
            If the source refuses the first request.
        PublishError
            If the broker did not take the actions.
        ServiceError
            If the lake does not take them in, or the database cannot be reached.
        """
        started = time.monotonic()
        source = self.source()
        stored = stored_of(self.settings, source.name)
        today = now.astimezone(EXCHANGE_ZONE).date()
        pace = Pace(source.limit, self.settings.home / "run" / "limits" / f"{source.name}.sqlite", stop)
        try:
            found = collect(source, symbols, WHOLE, stored, today=today, pace=pace, stop=stop, on_answer=on_answer)
        finally:
            pace.close()
        found = take_in(self.settings, source.name, found, asked_at=now)
        return Outcome(found, pace.requests, time.monotonic() - started)
