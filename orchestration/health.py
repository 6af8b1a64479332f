"""What is wrong with the platform, as operators are told: of the live feed, the stream, the marts, runs and checks.

What belongs here: finding out, and the words. What does not: recording it and sending it (:mod:`alerts.notices`), and when one
looks (:mod:`orchestration.operators`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg

from alerts.notices import Incident
from infra.local.home import Home
from ingest.live.notice import FeedState, read_notice
from ingest.live.sources import LIVE_SOURCE_NAMES
from ingest.topics import end_offsets
from market.errors import ServiceError
from market.sessions import Session, find_session
from market.settings import Settings
from orchestration.jobs import MARTS, TOUCHED_MARTS
from warehouse.connection import connect

FEED_SILENCE: Final = timedelta(minutes=5)
"""A live feed proves in less than a minute what it covers, and the stream takes seconds more."""
STREAM_SILENCE: Final = timedelta(minutes=3)
"""A batch takes seconds; after a start of Spark the first takes half a minute."""
MARTS_BEHIND: Final = timedelta(minutes=20)
"""All marts are built every quarter of an hour, which takes minutes."""

FAMILIES: Final = frozenset({"stream", "marts"})
"""What is looked at whole each time: what is not broken is well."""

_APPLICATION: Final = "tapehouse health"
_COVERED: Final = """
select source, max(upper(covered)) from lake.feed_coverage
where session_date = %(day)s and source = any(%(sources)s) group by source
"""
_STREAM: Final = """
select
    (select max(published_at) from lake.stream_batches),
    coalesce((select jsonb_object_agg(topic || '/' || partition, next_offset) from lake.stream_offsets), '{}')
"""
_OLDEST_UNSEEN: Final = """
select min(published_at), count(*) from lake.stream_batches
where (bars > 0 or vendor_bars > 0 or corporate_actions > 0 or quotes > 0)
    and published_at > coalesce(%(seen)s, '-infinity'::timestamptz)
"""


@dataclass(frozen=True, slots=True)
class Health:
    """What a look found: what is wrong, and what was looked at and is well; both by subject."""

    broken: tuple[Incident, ...]
    well: frozenset[str]

    def __add__(self, other: "Health") -> "Health":
        return Health(self.broken + other.broken, self.well | other.well)


def feed_health(settings: Settings, now: datetime) -> Health:
    """Look at the live feed: whether it was refused, and in regular hours whether it says what it covers.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    notice = read_notice(settings.home)
    if notice is not None and notice.state is FeedState.REFUSED:
        incident = Incident(
            f"feed:{notice.source}",
            f"The feed {notice.source} is down: it was refused",
            f"{notice.detail}\nWhen that is mended, start the platform again: ./run down, ./run up --feed {notice.source}",
            notice.since,
            {"since": notice.since.isoformat()},
        )
        return Health((incident,), frozenset())
    session = find_session(now.date())
    if session is None or not session.open_at + FEED_SILENCE < now <= session.close_at:
        return Health((), frozenset())
    covered = _covered(settings, session.session_date)
    if notice is not None and notice.source in LIVE_SOURCE_NAMES:
        covered.setdefault(notice.source, session.open_at)
    silent = tuple(
        _silent(source, until, session, now) for source, until in sorted(covered.items()) if now - until > FEED_SILENCE
    )
    return Health(silent, frozenset(f"feed:{source}" for source in LIVE_SOURCE_NAMES) - _subjects(silent))


def stream_health(settings: Settings, now: datetime) -> Health:
    """Look whether the stream takes in what waits for it in Kafka.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached. A broker that cannot be reached is an incident.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        ((newest, taken_in),) = connection.execute(_STREAM).fetchall()
    if newest is None or settings.kafka_bootstrap_servers is None or now - newest <= STREAM_SILENCE:
        return Health((), frozenset())
    try:
        ends = end_offsets(settings.kafka_bootstrap_servers)
    except ServiceError as error:
        return Health((Incident("stream:kafka", "Kafka cannot be reached", str(error), now),), frozenset())
    waiting = sum(max(0, end - int(taken_in.get(f"{topic}/{number}", end))) for (topic, number), end in ends.items())
    if not waiting:
        return Health((), frozenset())
    incident = Incident(
        "stream:lake",
        f"The stream stands still: {waiting:,} messages wait",
        "Nothing was taken in since the last batch. See ./run status and ./run logs stream; ./run up starts it again.",
        newest,
        {"messages waiting": waiting, "last batch": newest.isoformat()},
    )
    return Health((incident,), frozenset())


def marts_health(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> Health:
    """Look whether the marts have seen what the stream brought.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    begun = [start for job in (MARTS, TOUCHED_MARTS) if (start := _last_success(instance, job)) is not None]
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        ((oldest, batches),) = connection.execute(_OLDEST_UNSEEN, {"seen": max(begun, default=None)}).fetchall()
    if oldest is None or now - oldest <= MARTS_BEHIND:
        return Health((), frozenset())
    incident = Incident(
        "marts:behind",
        "The marts are behind the bars",
        f"No run of {MARTS} or {TOUCHED_MARTS} that began since has succeeded. See the runs in Dagster; ./run marts builds them.",
        oldest,
        {"batches not seen": batches, "oldest": oldest.isoformat()},
    )
    return Health((incident,), frozenset())


def run_health(instance: dg.DagsterInstance, since: datetime, address: str | None) -> tuple[Health, datetime]:
    """Look at the runs that ended since a moment: of each job the last says how it is; return too how far one has looked.

    A run that Dagster tries again is no news until its last attempt has failed.
    """
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    records = instance.get_run_records(
        dg.RunsFilter(statuses=ended, updated_after=since), order_by="update_timestamp", ascending=True
    )
    newest = {record.dagster_run.job_name: record for record in records}
    broken, well = [], set()
    for job, record in newest.items():
        run = record.dagster_run
        if run.status is dg.DagsterRunStatus.SUCCESS:
            well.add(f"run:{job}")
        elif run.tags.get("dagster/will_retry") != "true":
            link = _link(address, run.run_id)
            text = f"The next run that succeeds ends this. {link}"
            evidence = {"run": run.run_id, "ended": _moment(record.end_time)}
            broken.append(
                Incident(f"run:{job}", f"A run of {job} failed", text, _aware(record.update_timestamp), evidence)
            )
    looked_until = max((_aware(record.update_timestamp) for record in records), default=since)
    return Health(tuple(broken), frozenset(well)), looked_until


def check_health(instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey], address: str | None) -> Health:
    """Look at the last outcome of each asset check; one that only warns is well."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    broken, well = [], set()
    for key, record in records.items():
        subject = f"check:{key.asset_key.to_user_string()}/{key.name}"
        if record.status.value == "PLANNED":  # under way, or its run died, which is told of the run
            continue
        found = record.event.asset_check_evaluation if record.event and record.event.dagster_event else None
        if record.status.value == "SUCCEEDED" or (found and found.severity is dg.AssetCheckSeverity.WARN):
            well.add(subject)
            continue
        at = datetime.fromtimestamp(record.create_timestamp, UTC)
        said = (found and found.description) or "It found rows that should not be there."
        text = f"{said} {_link(address, record.run_id)}"
        title = f"The check {key.name} of {key.asset_key.to_user_string()} is broken"
        broken.append(Incident(subject, title, text, at, {"run": record.run_id}))
    return Health(tuple(broken), frozenset(well))


def pages_address(settings: Settings) -> str | None:
    """Return where Dagster's pages are, if they are of this home."""
    return Home(settings.home).addresses().get("DAGSTER_URL")


def _covered(settings: Settings, day: date) -> dict[str, datetime]:
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        rows = connection.execute(_COVERED, {"day": day, "sources": list(LIVE_SOURCE_NAMES)})
        return dict(rows.fetchall())


def _silent(source: str, until: datetime, session: Session, now: datetime) -> Incident:
    minutes = int((now - until).total_seconds() // 60)
    return Incident(
        f"feed:{source}",
        f"The feed {source} is down: nothing for {minutes} minutes",
        "The market is open, and the feed says nothing of what it covers. See ./run status and ./run logs feed.",
        max(until, session.open_at),
        {"covered until": until.isoformat(), "session": session.session_date.isoformat()},
    )


def _subjects(broken: Sequence[Incident]) -> frozenset[str]:
    return frozenset(incident.subject for incident in broken)


def _last_success(instance: dg.DagsterInstance, job: str) -> datetime | None:
    """Return when the last successful run of a job began."""
    found = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)
    return datetime.fromtimestamp(found[0].start_time, UTC) if found and found[0].start_time else None


def _link(address: str | None, run_id: str) -> str:
    return f"See {address}/runs/{run_id}" if address else f"See the run {run_id} in Dagster."


def _moment(timestamp: float | None) -> Any:  # noqa: ANN401 - a text, or null
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds") if timestamp else None


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
