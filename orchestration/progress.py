"""How far the stream has come, as Dagster needs it: which batches are new, and which changed what the marts are made from.

The stream has one query for each topic, and the queries commit side by side: a batch that began earlier may show later. So
batches are told apart by query and number, and the time of publishing only limits how far back one looks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from market.records import Bar
from market.settings import Settings
from warehouse.connection import connect

COUNTS: Final = (
    "messages",
    "trades",
    "statuses",
    "quotes",
    "vendor_bars",
    "corporate_actions",
    "quarantined",
    "duplicates",
    "bars",
)
"""The counts of :data:`market.tables.PG_STREAM_BATCHES`."""
LONGEST_TRANSACTION: Final = timedelta(minutes=10)
"""A batch shows at most so long after its publishing began."""

_APPLICATION: Final = "tapehouse dagster"
_NEW_BATCHES: Final = """
select query_id, max(batch_id), max(published_at), count(*), max(newest_event_at), max(duration_ms),
    sum(messages)::bigint, sum(trades)::bigint, sum(statuses)::bigint, sum(quotes)::bigint, sum(vendor_bars)::bigint,
    sum(corporate_actions)::bigint, sum(quarantined)::bigint, sum(duplicates)::bigint, sum(bars)::bigint
from lake.stream_batches
where published_at >= coalesce(%(since)s, '-infinity'::timestamptz)
    and batch_id > coalesce((%(seen)s::jsonb ->> query_id)::bigint, -1)
group by query_id
"""
"""The sums are in the order of :data:`COUNTS`."""
_OFFSETS: Final = "select topic, sum(next_offset)::bigint from lake.stream_offsets group by topic"
_CHANGES: Final = """
with changes as not materialized (
    select query_id, batch_id, published_at
    from lake.stream_batches
    where bars > 0 or statuses > 0 or quotes > 0 or vendor_bars > 0 or corporate_actions > 0
)
select query_id, max(batch_id)
from changes
where published_at >= (select published_at from changes order by published_at desc limit 1) - %(margin)s
group by query_id
"""
_BAR_CHANGES: Final = """
select 'bars', max(change_number) from lake.bar_sessions having max(change_number) is not null
union all select 'vendors', max(change_number) from lake.vendor_bar_sessions having max(change_number) is not null
union all select 'repairs', last_value from lake.repair_number where is_called
"""
_ARRIVED: Final = """
select query_id, max(batch_id)
from lake.stream_batches
where trades > 0 or quarantined > 0
group by query_id
"""
_QUEUED: Final = """
select md5(string_agg(concat_ws('/', mart, symbol, session_date, xmin), ',' order by mart, symbol, session_date, xmin::text))
from staging.pending_sessions where %(marts)s::text[] is null or mart = any(%(marts)s)
"""
_BUILT: Final = """
select bool_and(coalesce(to_regclass('marts.' || model), to_regclass('staging.' || model)) is not null)
from unnest(%(models)s::text[]) as model
"""
# What fired at once is of interest from the moment on that its message is in the lake; each evaluation that has to wait queues it
# anew. Of anything else it matters whether it was queued again.
_QUEUED_FOR_RULES: Final = """
with queued as (
    select
        pending.mart, pending.series, pending.interval, pending.source, pending.from_at,
        case when alerts.alert_id is null then pending.xmin::text end as written_by
    from app.pending_evaluations as pending
    left join app.alerts as alerts
        on alerts.alert_id = case when pending.series <> '*' and pending.source <> '' then pending.source::uuid end
    where to_regclass('marts.' || pending.mart) is not null and (
        alerts.alert_id is null or not alerts.evidence ? 'fired_by' or exists (
            select from lake.stream_offsets as landed
            where landed.topic = alerts.evidence -> 'fired_by' ->> 'topic'
                and landed.partition = (alerts.evidence -> 'fired_by' ->> 'partition')::integer
                and landed.next_offset > (alerts.evidence -> 'fired_by' ->> 'offset')::bigint
        )
    )
)
select md5(string_agg(
    concat_ws('/', mart, series, interval, source, from_at, written_by), ',' order by mart, series, interval, source, written_by
)) from (
    select * from queued
    union all
    select 'intraday_analytics', symbol, '*', source, from_at, xmin::text from staging.pending_quotes
    where to_regclass('marts.intraday_analytics') is not null
) as every
"""
_INTRADAY_RULES: Final = """
select exists (
    select from app.alert_rule_versions as versions
    where versions.interval <> '1d' and (versions.until_at is null or versions.until_at > now())
)
"""
_BARS_FOR_RULES: Final = f"""
{_INTRADAY_RULES}
and exists (
    select from staging.built_tapes as built
    where built.mart = 'intraday_ohlcv' and (
        exists (
            select from lake.bar_sessions as known
            where known.source = built.source and known.session_date >= (built.tape_at at time zone 'UTC')::date
                and known.bar_count > 0 and known.newest_bar_at > built.tape_at
        )
        or exists (
            select from lake.feed_coverage as feed
            where feed.source = built.source and feed.session_date >= (built.tape_at at time zone 'UTC')::date
                and upper(feed.covered) >= date_trunc('minute', built.tape_at) + interval '1 minute'
        )
    )
    union all
    select from staging.pending_quotes where symbol = '*'
)
"""  # noqa: S608 - a constant of this module
"""What a tape is that passes the end of a bar, :code:`macros/shared/intraday_sessions.sql` says too."""
_VENDOR_BARS: Final = """
select source, symbol, interval, (extract(epoch from bar_at) * 1000000)::bigint, open, high, low, close, volume
from lake.vendor_bars where source = %(source)s
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """What has been seen of the stream.

    Attributes
    ----------
    batches
        Number of the newest batch of each query.
    published_at
        Newest time of publishing.
    messages
        For each topic the sum of the offsets that were reached.
    """

    batches: Mapping[str, int]
    published_at: datetime
    messages: Mapping[str, int]

    def to_cursor(self) -> str:
        """Return the mark as the text that a sensor keeps between its ticks."""
        return json.dumps([self.batches, self.published_at.isoformat(), self.messages])

    @classmethod
    def from_cursor(cls, cursor: str) -> Self:
        """Return the mark of a sensor's text."""
        batches, published_at, messages = json.loads(cursor)
        return cls(batches, datetime.fromisoformat(published_at), messages)


@dataclass(frozen=True, slots=True)
class Advance:
    """What the stream did after a mark.

    Attributes
    ----------
    mark
        All that has been seen now.
    new_batches
        The newest of the new batches, as text.
    batch_count
        Number of new batches.
    rows
        Sum of each of :data:`COUNTS` over the new batches.
    messages
        For each topic the messages that were taken in.
    newest_event_at
        Newest trade or quote time in the new batches.
    longest_batch_ms
        Milliseconds that the longest of them took.
    """

    mark: Mark
    new_batches: str
    batch_count: int
    rows: Mapping[str, int]
    messages: Mapping[str, int]
    newest_event_at: datetime | None
    longest_batch_ms: int


def advance_after(settings: Settings, mark: Mark | None) -> Advance | None:
    """Return what the stream did after ``mark``, or since ever; ``None`` if nothing.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    values: dict[str, Any] = {"since": None, "seen": "{}"}
    if mark is not None:
        values = {"since": mark.published_at - LONGEST_TRANSACTION, "seen": json.dumps(dict(mark.batches))}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        connection.execute("set transaction isolation level repeatable read")
        queries = connection.execute(_NEW_BATCHES, values).fetchall()
        offsets = connection.execute(_OFFSETS).fetchall()
    return summarize(mark, queries, dict(offsets)) if queries else None


def summarize(mark: Mark | None, queries: list[tuple[Any, ...]], offsets: Mapping[str, int]) -> Advance:
    """Return the advance from ``mark`` by new batches.

    Parameters
    ----------
    mark
        What had been seen.
    queries
        For each query with new batches: its id, the newest batch, the newest time of publishing, the number of batches, the
        newest event, the longest duration, and the sum of each of :data:`COUNTS`. There is one at least.
    offsets
        For each topic the sum of the offsets reached now.
    """
    ids, batches, published, counts, events, durations, *sums = zip(*queries, strict=True)
    newest = dict(zip(ids, batches, strict=True))
    before = mark.messages if mark is not None else {}
    return Advance(
        mark=Mark(
            batches={**(mark.batches if mark is not None else {}), **newest},
            published_at=max(published) if mark is None else max(mark.published_at, *published),
            messages=dict(offsets),
        ),
        new_batches=_names(newest),
        batch_count=sum(counts),
        rows={name: sum(values) for name, values in zip(COUNTS, sums, strict=True)},
        messages={topic: reached - before.get(topic, 0) for topic, reached in offsets.items()},
        newest_event_at=max((event for event in events if event is not None), default=None),
        longest_batch_ms=max(durations),
    )


def newest_changes(settings: Settings) -> str | None:
    """Return the newest changes of what the marts are made from, as one text, or ``None`` if there are none.

    Every later change shows as another text, whichever query it is of; a repair as well, which is no batch.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        newest = connection.execute(_CHANGES, {"margin": LONGEST_TRANSACTION}).fetchall()
        bars = connection.execute(_BAR_CHANGES).fetchall()
    return _names(dict([*newest, *bars])) if newest or bars else None


def newest_arrivals(settings: Settings) -> str | None:
    """Return the newest batches with trades or rejected messages, as one text, or ``None`` if there are none.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        newest = dict(connection.execute(_ARRIVED).fetchall())
    return _names(newest) if newest else None


def queued(settings: Settings, marts: Sequence[str] | None = None) -> str | None:
    """Return what is queued for some marts, or for all, as a digest that tells one queue from another; ``None`` if nothing is.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    return _digest(_value(settings, _QUEUED, {"marts": list(marts) if marts is not None else None}))


def are_built(settings: Settings, models: Sequence[str]) -> bool:
    """Return whether models have been built at all.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    return bool(_value(settings, _BUILT, {"models": list(models)}))


def queued_for_rules(settings: Settings) -> str | None:
    """Return what is queued for rules and can be looked at, as a digest; ``None`` if nothing is.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    return _digest(_value(settings, _QUEUED_FOR_RULES))


def has_intraday_rules(settings: Settings) -> bool:
    """Return whether there is a rule about bars within the day.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    return bool(_value(settings, _INTRADAY_RULES))


def has_bars_for_rules(settings: Settings) -> bool:
    """Return whether a feed has passed the end of a bar since the marts were built, and a rule is about bars within the day.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    return bool(_value(settings, _BARS_FOR_RULES))


def vendor_bars(settings: Settings, source: str) -> set[Bar]:
    """Return the newest version of each vendor bar of a source.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return {Bar(*row) for row in connection.execute(_VENDOR_BARS, {"source": source})}


def _value(settings: Settings, query: str, parameters: Mapping[str, object] | None = None) -> object:
    """Return the one value that a query has."""
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        ((value,),) = connection.execute(query, parameters).fetchall()
    return value


def _digest(value: object) -> str | None:
    return None if value is None else str(value)[:8]


def _names(batches: Mapping[str, int]) -> str:
    """Return batches as text: the first letters of their query, which tell it apart, and their number."""
    return " ".join(f"{query_id[:8]}/{number}" for query_id, number in sorted(batches.items()))
