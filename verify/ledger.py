"""Law 1: every message that the broker acknowledged is in bronze once, and once in one of the tables behind it.

What belongs here: offsets and places. What does not: the values of rows, which are :mod:`verify.bars`.
"""

import itertools
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

import polars as pl

from market import tables, topics
from verify.decisions import Decisions
from verify.lake import Lake
from verify.questions import Place, Published
from verify.records import ENTRY, NOWHERE
from verify.results import SHOWN_OFFENCES, Findings, LawResult

TITLE: Final = "Every message is in the lake exactly once"

MOST_MESSAGES: Final = 1_000_000
"""So many messages are looked at at once: memory grows with them."""

_PLACES: Final = (
    tables.TRADES,
    tables.AMENDMENTS,
    tables.FEED_STATUS,
    tables.QUOTES,
    tables.VENDOR_BARS,
    tables.CORPORATE_ACTIONS,
    tables.DUPLICATES,
    tables.QUARANTINE,
)
_POLL_SECONDS: Final = 0.25


def prove_ledger(
    lake: Lake,
    published: Published,
    decisions: Decisions,
    *,
    broker_ends: Mapping[Place, int] | None = None,
    broker_starts: Mapping[Place, int] | None = None,
    complete: bool = False,
    patience_seconds: float = 30.0,
) -> LawResult:
    """Prove law 1.

    Parameters
    ----------
    lake
        The lake, cut at the newest batches that PostgreSQL has.
    published
        PostgreSQL.
    decisions
        Where each message belongs.
    broker_ends
        The broker's next offsets, if it is known: what lies below them was acknowledged.
    broker_starts
        The first offsets that the broker still holds, if they are known.
    complete
        Whether everything that was acknowledged must be in already; otherwise it is counted as lag.
    patience_seconds
        How long a batch that is in the lake may take to reach PostgreSQL.
    """
    findings = Findings()
    findings.count("awaiting_retry", decisions.awaiting_retry)
    if decisions.awaiting_retry:
        findings.notes.append(
            f"{decisions.awaiting_retry:,} rejected messages are valid by today's rules: ./run quarantine retry publishes them."
        )
    _check_offsets(findings, lake)
    _check_places(findings, lake, decisions)
    in_flight = _in_flight(lake)
    _check_progress(findings, lake, published, in_flight, 0.0 if complete else patience_seconds)
    _check_in_flight(findings, lake, published, in_flight)
    if broker_ends is not None:
        _check_broker(findings, lake, broker_ends, complete=complete)
    _check_beginning(findings, lake, broker_starts or {})
    return findings.result(1, TITLE)


def _ranges(lake: Lake, *, whole: bool) -> pl.DataFrame:
    """Return first, last and number of offsets by topic and partition; ``whole`` takes in what is in flight."""
    rows = lake.scan_whole(tables.MESSAGES) if whole else lake.scan(tables.MESSAGES)
    grouped = rows.group_by("topic", "partition").agg(
        pl.col("offset").min().alias("first"), pl.col("offset").max().alias("last"), pl.len().alias("messages")
    )
    return lake.read(grouped.sort("topic", "partition"))


def _check_offsets(findings: Findings, lake: Lake) -> None:
    """Check that each partition's offsets, from the first that was taken in, are there once and without gaps."""
    ranges = _ranges(lake, whole=False)
    findings.count("messages", int(ranges["messages"].sum()))
    findings.count("partitions", ranges.height)
    for topic, partition, _first, _last, _count in ranges.iter_rows():
        own = lake.scan(tables.MESSAGES).filter(pl.col("topic") == topic, pl.col("partition") == partition)
        offsets = lake.read(own.select(pl.col("offset").sort())).get_column("offset")
        step = offsets.diff()
        gaps = pl.DataFrame({"after": offsets.shift(1), "before": offsets, "step": step}).filter(pl.col("step") > 1)
        findings.break_law(
            "messages are missing in bronze/messages",
            (
                {"topic": topic, "partition": partition, "offset": after + 1, "last_offset": before - 1}
                for after, before, _ in gaps.head(SHOWN_OFFENCES).iter_rows()
            ),
            total=int((gaps["step"] - 1).sum()),
        )
        doubled = offsets.filter(step == 0)
        findings.break_law(
            "message is more than once in bronze/messages",
            ({"topic": topic, "partition": partition, "offset": offset} for offset in doubled.head(SHOWN_OFFENCES)),
            total=doubled.len(),
        )


def _check_places(findings: Findings, lake: Lake, decisions: Decisions) -> None:
    """Check that each message is in one table behind bronze, once, and in the one where it belongs."""
    for table in _PLACES:
        findings.count(table.name, 0)
    for part in parts_by_offset(decisions.messages["offset"]):
        _check_part(findings, lake, part, decisions.places(part))


def parts_by_offset(offsets: pl.Series) -> Iterator[pl.Expr]:
    """Yield conditions on ``offset`` that divide messages with these offsets: each row meets one of them."""
    parts = max(1, -(-len(offsets) // MOST_MESSAGES))
    if parts == 1:
        yield pl.lit(value=True)
        return
    bounds = [int(offsets.quantile(number / parts, "lower") or 0) for number in range(1, parts)]
    offset = pl.col("offset")
    yield offset.is_null() | (offset < bounds[0])
    for start, end in itertools.pairwise(bounds):
        yield (offset >= start) & (offset < end)
    yield offset >= bounds[-1]


def _check_part(findings: Findings, lake: Lake, part: pl.Expr, places: pl.DataFrame) -> None:
    is_expired = pl.col("place") == NOWHERE
    expired, belongs = places.filter(is_expired).select(ENTRY), places.filter(~is_expired)
    entry = [*ENTRY, "ingested_at"]
    found = pl.concat(
        [
            lake.read(lake.scan(table).filter(part).select(*entry, pl.lit(table.path).alias("found_in")))
            for table in _PLACES
        ]
    ).join(expired, on=ENTRY, how="anti")
    if expired.height:
        findings.count("kept_no_longer", expired.height)
    for path, rows in found.group_by("found_in").len().iter_rows():
        findings.count(path.split("/")[-1], rows)
    doubled = found.filter(pl.struct(ENTRY).is_duplicated()).group_by(ENTRY).agg(pl.col("found_in").sort())
    _record(findings, "message is in the tables behind bronze more than once", doubled.sort(ENTRY))
    missing = belongs.join(found, on=ENTRY, how="anti").rename({"place": "belongs_in"})
    _record(findings, "message is in none of the tables behind bronze", missing.sort(ENTRY))
    unknown = found.join(belongs, on=ENTRY, how="anti").drop("ingested_at")
    _record(findings, "row has no message in bronze/messages", unknown.sort(ENTRY))
    both = found.join(belongs.rename({"place": "belongs_in"}), on=ENTRY, how="inner")
    misplaced = both.filter(pl.col("found_in") != pl.col("belongs_in")).drop("ingested_at")
    _record(findings, "message is in another table than it belongs in", misplaced.sort(ENTRY))
    bronze = lake.read(lake.scan(tables.MESSAGES).filter(part).select(entry)).rename({"ingested_at": "taken_in_at"})
    other = found.join(bronze, on=ENTRY, how="inner").filter(pl.col("ingested_at") != pl.col("taken_in_at"))
    _record(findings, "row has another ingested_at than its message", other.sort(ENTRY))


def _in_flight(lake: Lake) -> pl.DataFrame:
    """Return what lies beyond the newest batches of PostgreSQL: :data:`ENTRY`, ``ingested_at`` and ``found_in``."""
    entry = [*ENTRY, "ingested_at"]
    bars = lake.scan_beyond(tables.BAR_REVISIONS, ["revised_at"]).unique().rename({"revised_at": "ingested_at"})
    return pl.concat(
        [
            *(
                lake.read(lake.scan_beyond(table, entry)).with_columns(pl.lit(table.path).alias("found_in"))
                for table in (tables.MESSAGES, *_PLACES)
            ),
            lake.read(bars).with_columns(
                pl.lit(topics.TRADES.name).alias("topic"), pl.lit(tables.BAR_REVISIONS.path).alias("found_in")
            ),
        ],
        how="diagonal",
    )


def _check_in_flight(findings: Findings, lake: Lake, published: Published, in_flight: pl.DataFrame) -> None:
    """Check that what lies beyond the newest batch of PostgreSQL is of batches that came after it, with their messages.

    The tables of a batch are committed in any order: only when it has arrived its messages have to be in bronze.
    """
    if in_flight.is_empty():
        return
    entry = [*ENTRY, "ingested_at"]
    passed = _of_passed_offsets(in_flight, published.next_offsets())
    _record(findings, "row of a newer batch has an offset that was taken in before", passed.sort(entry))
    in_flight = in_flight.join(passed, on=entry, how="anti")
    arrived = _of_passed_offsets(in_flight, published.next_offsets_now())
    known = pl.DataFrame(
        {"ingested_at": list(published.batches_now())}, schema={"ingested_at": in_flight.schema["ingested_at"]}
    )
    unknown = arrived.join(known, on="ingested_at", how="anti")
    _record(findings, "row of a batch that PostgreSQL does not know", unknown.sort(entry))
    # Delta states the greatest moment of a file cut to milliseconds: a comparison with the exact one would pass over it.
    oldest = pl.lit(in_flight["ingested_at"].min(), in_flight.schema["ingested_at"]) - timedelta(milliseconds=1)
    now = lake.reopened()
    messages = now.read(now.scan_whole(tables.MESSAGES).select(entry).filter(pl.col("ingested_at") >= oldest))
    behind = in_flight.filter(pl.col("found_in") != tables.MESSAGES.path)
    is_bar = pl.col("found_in") == tables.BAR_REVISIONS.path
    rows = behind.filter(~is_bar).join(messages, on=entry, how="anti")
    _record(findings, "row of a newer batch has no message in bronze/messages", rows.sort(entry))
    bars = behind.filter(is_bar).join(messages, on=["topic", "ingested_at"], how="anti")
    problem = f"bars of a batch that is not in bronze/messages, in {tables.BAR_REVISIONS.path}"
    _record(findings, problem, bars.select(pl.col("ingested_at").alias("revised_at")).sort("revised_at"))


def _of_passed_offsets(messages: pl.DataFrame, next_offsets: Mapping[Place, int]) -> pl.DataFrame:
    """Return the messages whose offsets lie below the next ones of their partitions."""
    ends = pl.DataFrame(
        [(*place, end) for place, end in next_offsets.items()],
        schema={name: messages.schema[name] for name in ENTRY},
        orient="row",
    ).rename({"offset": "next_offset"})
    known = messages.join(ends, on=["topic", "partition"])
    return known.filter(pl.col("offset") < pl.col("next_offset")).select(messages.columns)


def _check_progress(
    findings: Findings, lake: Lake, published: Published, in_flight: pl.DataFrame, patience_seconds: float
) -> None:
    """Check that PostgreSQL's offsets are those of bronze; a batch in flight gets time to arrive."""
    whole = {(topic, partition): last + 1 for topic, partition, _, last, _ in _ranges(lake, whole=True).iter_rows()}
    seen = {(topic, partition): last + 1 for topic, partition, _, last, _ in _ranges(lake, whole=False).iter_rows()}
    findings.count("in_flight", sum(end - seen.get(place, end) for place, end in whole.items()))
    at_snapshot = published.next_offsets()
    ahead = {place: end for place, end in at_snapshot.items() if end > whole.get(place, 0)}
    findings.break_law(
        "PostgreSQL is ahead of bronze/messages",
        (
            {**_named(place), "next_offset": end, "bronze_next": whole.get(place, 0)}
            for place, end in sorted(ahead.items())
        ),
    )
    deadline = time.monotonic() + patience_seconds
    behind = _behind(whole, published)
    stamps = set(in_flight["ingested_at"].drop_nulls())
    while (behind or stamps - published.batches_now()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        behind = _behind(whole, published)
    findings.break_law(
        "PostgreSQL is behind bronze/messages",
        (
            {**_named(place), "next_offset": found, "bronze_next": whole[place]}
            for place, found in sorted(behind.items())
        ),
    )


def _behind(ends: Mapping[Place, int], published: Published) -> dict[Place, int]:
    now = published.next_offsets_now()
    return {place: now.get(place, 0) for place, end in ends.items() if now.get(place, 0) < end}


def _check_broker(findings: Findings, lake: Lake, broker_ends: Mapping[Place, int], *, complete: bool) -> None:
    """Check that what the broker acknowledged is in; unless ``complete``, what is not yet in is the lag."""
    whole = {(topic, partition): last + 1 for topic, partition, _, last, _ in _ranges(lake, whole=True).iter_rows()}
    lag = {place: end - whole.get(place, 0) for place, end in broker_ends.items() if end > whole.get(place, 0)}
    findings.count("lag", sum(lag.values()))
    if not complete:
        return
    findings.break_law(
        "acknowledged messages are not in bronze/messages",
        (
            {**_named(place), "offset": whole.get(place, 0), "last_offset": broker_ends[place] - 1}
            for place in sorted(lag)
        ),
        total=sum(lag.values()),
    )
    never_given = {place: end for place, end in whole.items() if end > broker_ends.get(place, 0)}
    findings.break_law(
        "bronze/messages has offsets that the broker never gave",
        (
            {**_named(place), "broker_next": broker_ends.get(place, 0), "bronze_next": end}
            for place, end in sorted(never_given.items())
        ),
    )


def _check_beginning(findings: Findings, lake: Lake, broker_starts: Mapping[Place, int]) -> None:
    """Check that nothing that the broker still holds lies before the first message that was taken in."""
    firsts = {(topic, partition): first for topic, partition, first, _, _ in _ranges(lake, whole=True).iter_rows()}
    skipped = {place: start for place, start in broker_starts.items() if start < firsts.get(place, start)}
    findings.break_law(
        "messages before the first of bronze/messages were never taken in",
        (
            {**_named(place), "offset": start, "last_offset": firsts[place] - 1}
            for place, start in sorted(skipped.items())
        ),
        total=sum(firsts[place] - start for place, start in skipped.items()),
    )


def _named(place: Place) -> dict[str, object]:
    return {"topic": place[0], "partition": place[1]}


def _record(findings: Findings, problem: str, rows: pl.DataFrame) -> None:
    findings.break_law(problem, rows.head(SHOWN_OFFENCES).iter_rows(named=True), total=rows.height)
