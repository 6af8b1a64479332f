"""The one door for corporate actions: Kafka, and what the lake and PostgreSQL have of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from ingest.actions.collect import WHOLE, Collected
from ingest.actions.source import Key, Range, key_of, kind_of
from ingest.history.source import Problem
from ingest.publisher import Publisher
from ingest.topics import end_offsets, ensure_topics
from market.errors import PublishError
from market.records import CorporateAction, Dividend, Split, SymbolChange, Withdrawal
from market.settings import Settings
from market.topics import ACTIONS
from warehouse.actions import JudgedAction, StoredAction, remember_asked, stored_versions
from warehouse.progress import wait_for_offsets

SETTLE_SECONDS: Final = 60.0
"""How long the broker, and then the stream, may take."""
REJECTED: Final = "rejected"


def stored_of(settings: Settings, source: str) -> dict[Key, list[CorporateAction]]:
    """Return all versions of each action that the lake has of a source, the one that counts last.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    found: dict[Key, list[CorporateAction]] = {}
    for row in stored_versions(settings, source):
        versions = found.setdefault((row.symbol, row.action, row.effective_date), [])
        versions.append(record_of(source, row, is_withdrawn=row.is_withdrawn))
    return found


def record_of(source: str, row: StoredAction | JudgedAction, *, is_withdrawn: bool = False) -> CorporateAction:
    """Return a row of PostgreSQL as the record that a source would publish."""
    ts = int(row.known_at.timestamp()) * 1_000_000 + row.known_at.microsecond
    base = (source, row.symbol, ts, row.effective_date.isoformat())
    if is_withdrawn:
        return Withdrawal(*base, row.action)
    if row.action == "split":
        return Split(*base, row.new_shares or Decimal(0), row.old_shares or Decimal(0))
    if row.action == "dividend":
        return Dividend(*base, row.cash or Decimal(0))
    return SymbolChange(*base, row.new_symbol or "")


def publish(settings: Settings, actions: Sequence[CorporateAction]) -> list[CorporateAction]:
    """Publish actions, wait until the lake and PostgreSQL have them, and return those that the stream rejected instead.

    Raises
    ------
    PublishError
        If the broker does not take them.
    ServiceError
        If the stream does not within a minute.
    """
    if not actions:
        return []
    servers = settings.require_kafka()
    ensure_topics(servers)
    with Publisher(servers) as publisher:
        publisher.publish_all(actions)
        left = publisher.flush(SETTLE_SECONDS)
        if left or publisher.has_losses:
            msg = f"Kafka has not acknowledged {left:,} actions within {SETTLE_SECONDS:g} s. See ./run status, and run it again."
            raise PublishError(msg)
    wait_for_offsets(settings, end_offsets(servers, topics=(ACTIONS,)), timeout_seconds=SETTLE_SECONDS)
    stored = {source: stored_of(settings, source) for source in {action.source for action in actions}}
    return [action for action in actions if action not in stored[action.source].get(key_of(action), ())]


def take_in(
    settings: Settings,
    source: str,
    found: Collected,
    *,
    taken_back: Sequence[CorporateAction] = (),
    within: Range = WHOLE,
    asked_at: datetime,
) -> Collected:
    """Publish what the lake lacks and, when it is there, remember the symbols whose whole past was answered.

    What is returned has a problem more for each action that the stream rejected.

    Raises
    ------
    PublishError, ServiceError
        As :func:`publish`; then nothing is remembered, and the same is asked for again.
    """
    rejected = [
        Problem(
            action.symbol,
            REJECTED,
            f"{kind_of(action)} of {action.effective_date}: the stream has put it into quarantine: ./run quarantine list",
        )
        for action in publish(settings, [*found.missing.actions, *taken_back])
    ]
    if within == WHOLE:
        remember_asked(settings, source, found.answered, found.unknown, asked_at)
    return replace(found, problems=(*found.problems, *rejected))
