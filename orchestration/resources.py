"""What assets, sensors and schedules use of the other packages: one small object for each, replaceable in tests."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from alerts.evaluation.evaluate import Evaluated, evaluate
from alerts.recent import Recent, recent
from alerts.reports.made import Made
from infra.local.processes import dies_with_parent
from ingest.feeds import FeedRequest, get_feed
from ingest.publisher import Publisher, PublishSummary
from ingest.topics import beginning_offsets, end_offsets
from market.records import Bar, Record
from market.sessions import EXCHANGE_ZONE
from market.settings import Settings
from market.tiers import Tier
from market.topics import TOPICS, Topic
from orchestration.actions import Actions
from orchestration.dbt import Dbt
from orchestration.history import History
from orchestration.progress import (
    Advance,
    Mark,
    advance_after,
    are_built,
    has_bars_for_rules,
    has_intraday_rules,
    newest_arrivals,
    newest_changes,
    queued,
    queued_for_rules,
    vendor_bars,
)
from quality.arrivals import Counted, count_arrivals
from quality.checks import Quality
from spark_jobs.report import RecomputeRequest, SessionReport, recompute, touched
from verify.results import LawResult
from warehouse.progress import wait_for_offsets
from warehouse.tiers import Held, Uncollected, held, move_tiers, uncollected

Offsets = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Lake:
    """The stream's progress."""

    settings: Settings

    def advance_after(self, mark: Mark | None) -> Advance | None:
        """Return what the stream did after ``mark``; ``None`` if nothing."""
        return advance_after(self.settings, mark)

    def newest_changes(self) -> str | None:
        """Return the newest batches that changed what the marts are made from, as one text."""
        return newest_changes(self.settings)

    def newest_arrivals(self) -> str | None:
        """Return the newest batches with trades or rejected messages, as one text."""
        return newest_arrivals(self.settings)

    def queued(self, marts: Sequence[str] | None = None) -> str | None:
        """Return what is queued for some of the marts, or for all, as a digest; ``None`` if nothing is."""
        return queued(self.settings, marts)

    def are_built(self, models: Sequence[str]) -> bool:
        """Return whether models have been built at all."""
        return are_built(self.settings, models)

    def queued_for_rules(self) -> str | None:
        """Return what is queued for rules and can be looked at, as a digest; ``None`` if nothing is."""
        return queued_for_rules(self.settings)

    def has_intraday_rules(self) -> bool:
        """Return whether there is a rule about bars within the day."""
        return has_intraday_rules(self.settings)

    def has_bars_for_rules(self) -> bool:
        """Return whether a bar has ended since the marts were built, and there is a rule about bars within the day."""
        return has_bars_for_rules(self.settings)

    def touched(self) -> dict[str, dict[date, int]]:
        """Return by topic and session the stamp of the newest batch that stored something of it, in epoch microseconds."""
        return touched(self.settings)

    def vendor_bars(self, source: str) -> set[Bar]:
        """Return the vendor bars of a source that are in PostgreSQL, as they were published."""
        return vendor_bars(self.settings, source)

    def wait_for(
        self, ends: Offsets, *, timeout_seconds: float, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Wait until everything below ``ends`` is in the lake and in PostgreSQL; ``on_progress`` gets what remains."""
        wait_for_offsets(self.settings, ends, timeout_seconds=timeout_seconds, on_progress=on_progress)


@dataclass(frozen=True, slots=True)
class Broker:
    """Kafka: publishing records, and how far the topics reach."""

    settings: Settings

    def publish(self, records: list[Record]) -> PublishSummary:
        """Publish the records; every one is acknowledged when this returns."""
        with Publisher(self.settings.require_kafka()) as publisher:
            publisher.publish_all(records)
        return publisher.close()

    def end_offsets(self, *topics: Topic) -> Offsets:
        """Return the next offset of every partition of the topics, or of all topics."""
        return end_offsets(self.settings.require_kafka(), topics=topics or TOPICS)


@dataclass(frozen=True, slots=True)
class DeepPath:
    """Works sessions out again from bronze, in a process of its own."""

    settings: Settings

    def recompute(self, request: RecomputeRequest, on_log: Callable[[str], None]) -> Iterator[SessionReport]:
        """Yield what was found of each session, and repaired, as it comes; ``on_log`` gets what the process logs."""
        return recompute(self.settings, request, on_log, prefix=dies_with_parent(signal.SIGTERM))


@dataclass(frozen=True, slots=True)
class Laws:
    """The proof of the laws over the data at hand."""

    settings: Settings

    def prove(self) -> list[LawResult]:
        """Return the outcome of every law; what a broker has acknowledged and is not in yet is counted as lag."""
        from verify.laws import verify_all  # slow to import, and used once a day

        servers = self.settings.kafka_bootstrap_servers
        if servers is None:
            return verify_all(self.settings)
        return verify_all(self.settings, end_offsets(servers), broker_starts=beginning_offsets(servers))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How messages came."""

    settings: Settings

    def count(self) -> Counted:
        """Count again how those of the sessions came of which a batch brought some since the last count."""
        return count_arrivals(self.settings)


@dataclass(frozen=True, slots=True)
class TierStore:
    """How far back the marts go."""

    settings: Settings

    def move(self, keep_from: Mapping[str, datetime | None], now: datetime) -> None:
        """Say by tier since when it keeps sessions; ``None`` keeps all."""
        move_tiers(self.settings, keep_from, now)

    def held(self) -> Held:
        """Return what the tier of intraday bars holds."""
        return held(self.settings)

    def uncollected(self, tier: Tier, now: datetime, reach: date | None) -> list[Uncollected]:
        """Return what a tier lacks of the symbols of the watchlist; ``reach`` is the first day that its source may have."""
        return uncollected(self.settings, tier, now, reach)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of users."""

    settings: Settings

    def evaluate(self, now: datetime) -> Evaluated:
        """Have all rules look at the bars that are queued for them; ``now`` is the time by the wall clock."""
        return evaluate(self.settings, now)

    def recent(self, now: datetime) -> Recent:
        """Return what the evaluation of a moment recorded, and how messages stand."""
        return recent(self.settings, now)


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports of sessions, weeks and months."""

    settings: Settings

    def make(self, now: datetime, kind: str, day: date | None) -> Made:
        """Make the report of a period, and keep it; see :func:`alerts.reports.make.make_report`."""
        from alerts.reports.make import make_report  # matplotlib is slow to import, and used after a close

        return make_report(self.settings, now, kind, day)

    def send(self, made: Made, now: datetime) -> bool:
        """Have a report sent to the channels that want reports, and return whether it was not before."""
        from alerts.reports.make import send_report

        return send_report(self.settings, made, now)


@dataclass(frozen=True, slots=True)
class SampleHistory:
    """The real daily bars that come with the package of the feed ``sample``."""

    def read(self) -> list[Record]:
        """Return all bars of all symbols."""
        return list(get_feed("sample").read(FeedRequest()))


def session_dates(records: list[Record]) -> tuple[date, date]:
    """Return the first and the last session date of the records, of which there is one at least."""
    stamps = [record.ts for record in records]
    first, last = (
        datetime.fromtimestamp(ts // 1_000_000, UTC).astimezone(EXCHANGE_ZONE).date()
        for ts in (min(stamps), max(stamps))
    )
    return first, last


def default_resources(settings: Settings) -> dict[str, Any]:
    """Return the resources by the names under which assets, sensors and schedules ask for them."""
    return {
        "lake": Lake(settings),
        "broker": Broker(settings),
        "sample_history": SampleHistory(),
        "history": History(settings),
        "actions": Actions(settings),
        "deep_path": DeepPath(settings),
        "laws": Laws(settings),
        "quality": Quality(settings),
        "arrivals": Arrivals(settings),
        "tier_store": TierStore(settings),
        "dbt": Dbt(settings),
        "rules": Rules(settings),
        "reports": Reports(settings),
    }
