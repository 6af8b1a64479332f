"""The laws over one consistent view: PostgreSQL in a snapshot, the lake cut at each topic's newest batch that is in it.

While the stream runs, the lake is ahead of PostgreSQL by the batches in flight. They are left out of the comparisons and
must arrive while the proof runs.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

import polars as pl

from market.settings import Settings
from market.tables import MESSAGES
from verify import alerts, bars, gaps, indicators, ledger
from verify.decisions import Decisions, decide
from verify.lake import Lake
from verify.published import PostgresSnapshot, open_snapshot
from verify.questions import Place, Published
from verify.quiet import quiet_moment
from verify.results import LawResult

_NOTHING_YET: Final = "Nothing has been taken in yet."


def verify_all(
    settings: Settings,
    broker_ends: Mapping[Place, int] | None = None,
    *,
    broker_starts: Mapping[Place, int] | None = None,
    complete: bool = False,
) -> list[LawResult]:
    """Prove every law that there is.

    Parameters
    ----------
    settings
        Says where the lake and PostgreSQL are.
    broker_ends
        The broker's next offset by topic and partition, if the broker could be asked.
    broker_starts
        The first offset that the broker still holds, likewise.
    complete
        Whether everything that the broker acknowledged must be in by now; otherwise it is counted as lag.

    Raises
    ------
    ServiceError
        If the lake or PostgreSQL cannot be read.
    SettingsError
        If no PostgreSQL is set or running.
    """
    with _view(settings) as (lake, published, decisions):
        results = [
            ledger.prove_ledger(
                lake, published, decisions, broker_ends=broker_ends, broker_starts=broker_starts, complete=complete
            ),
            bars.prove_bars(lake, published, decisions),
            indicators.prove_indicators(published),
            alerts.prove_alerts(published),
            gaps.prove_gaps(lake, published, decisions),
        ]
        return [_remark(result, lake) for result in results]


def verify_ledger(
    settings: Settings, broker_ends: Mapping[Place, int] | None = None, *, complete: bool = False
) -> LawResult:
    """Prove law 1; see :func:`verify_all`."""
    with _view(settings) as (lake, published, decisions):
        proved = ledger.prove_ledger(lake, published, decisions, broker_ends=broker_ends, complete=complete)
        return _remark(proved, lake)


def verify_bars(settings: Settings) -> LawResult:
    """Prove law 2; see :func:`verify_all`."""
    with _view(settings) as (lake, published, decisions):
        return _remark(bars.prove_bars(lake, published, decisions), lake)


def verify_indicators(settings: Settings) -> LawResult:
    """Prove law 3, for which the lake is not looked at; see :func:`verify_all`."""
    with open_snapshot(settings) as published:
        return indicators.prove_indicators(published)


def verify_alerts(settings: Settings) -> LawResult:
    """Prove law 4, for which the lake is not looked at; see :func:`verify_all`."""
    with open_snapshot(settings) as published:
        return alerts.prove_alerts(published)


def verify_gaps(settings: Settings) -> LawResult:
    """Prove law 5; see :func:`verify_all`."""
    with _view(settings) as (lake, published, decisions):
        return _remark(gaps.prove_gaps(lake, published, decisions), lake)


@contextmanager
def _view(settings: Settings) -> Iterator[tuple[Lake, PostgresSnapshot, Decisions]]:
    with ExitStack() as opened:
        with quiet_moment(settings.home):
            published = opened.enter_context(open_snapshot(settings))
            lake = Lake(settings.lake)
        _cut(lake, published)
        yield lake, published, opened.enter_context(decide(lake))


def _remark(result: LawResult, lake: Lake) -> LawResult:
    return replace(result, note=f"{_NOTHING_YET} {result.note}".strip()) if lake.is_missing else result


def open_lake(uri: str, published: Published) -> Lake:
    """Open the lake and leave out the batches that are not in PostgreSQL yet."""
    lake = Lake(uri)
    _cut(lake, published)
    return lake


def _cut(lake: Lake, published: Published) -> None:
    next_offsets = published.next_offsets()
    batches = lake.read(
        lake.scan(MESSAGES).group_by("topic", "partition", "ingested_at").agg(pl.col("offset").max().alias("last"))
    )
    until: dict[str, datetime] = {}
    for topic, partition, ingested_at, last in batches.iter_rows():
        if last < next_offsets.get((topic, partition), 0):
            until[topic] = max(ingested_at, until.get(topic, ingested_at))
    lake.cut(until)
