"""The deep path: sessions worked out again from bronze, compared with what is stored, and repaired."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, cast

import dagster as dg
from pydantic import Field

from market.instruments import parse_symbols
from market.tables import MESSAGES
from orchestration.assets.keys import OWNER, RECOMPUTED_SESSIONS, Group, table_key
from orchestration.partitions import session_partitions
from orchestration.resources import DeepPath
from spark_jobs.report import RecomputeRequest, SessionReport

RECOMPUTED_UNTIL: Final = "until"
"""The metadata that say up to which batch of each topic all of a session was worked out."""
_RECORDS_AT_ONCE: Final = 500
RECOMPUTE_POOL: Final = "recompute"
"""Runs that need this pool run one after the other: each reads bronze."""

# Without a range in one run bronze would be read once a session; that the parameter may change is for the tests to find out.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)


class RecomputeConfig(dg.Config):
    """What to work out again of the chosen sessions, and whether to repair it."""

    symbols: list[str] = Field(default=[], description="The symbols; none means all.")
    dry_run: bool = Field(default=False, description="Compare only; leave everything as it is.")


@dg.asset(
    key=RECOMPUTED_SESSIONS,
    partitions_def=session_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[table_key(MESSAGES)],
    group_name=Group.LAKE.value,
    kinds={"deltalake", "postgres"},
    owners=[OWNER],
    pool=RECOMPUTE_POOL,
)
def recomputed_sessions(
    context: dg.AssetExecutionContext, config: RecomputeConfig, deep_path: dg.ResourceParam[DeepPath]
) -> dg.MaterializeResult[Any]:
    """Everything that follows from the messages about a session, worked out again from bronze.

    One partition per trading session. What differs in the lake or in PostgreSQL is repaired, unless it is a dry run. The stream
    goes on meanwhile. A range of sessions is one run: bronze is read once. Each session bears up to which batches it was worked
    out; the nights ask for it.
    """
    keys = context.partition_key_range
    request = RecomputeRequest(
        date.fromisoformat(keys.start),
        date.fromisoformat(keys.end),
        parse_symbols(",".join(config.symbols)) if config.symbols else (),
        config.dry_run,
    )
    reports = []
    for report in deep_path.recompute(request, context.log.info):
        reports.append(report)
        if report.differing:
            context.log.warning(f"{report.session_date or 'Beside the sessions'}: {report.differing:,} rows differed.")
        if report.session_date is not None:
            day = report.session_date.isoformat()
            context.add_asset_metadata(_metadata([report]), asset_key=RECOMPUTED_SESSIONS, partition_key=day)
    total = f"{keys.start} to {keys.end}: {sum(report.differing for report in reports):,} rows differed."
    context.log.info(total)
    is_whole = bool(reports) and not config.dry_run and not config.symbols
    seen = {RECOMPUTED_UNTIL: dg.MetadataValue.json(dict(reports[0].until))} if is_whole else {}
    return dg.MaterializeResult(metadata={"run": total, "dry_run": config.dry_run, **seen})


def recomputed_until(instance: dg.DagsterInstance, sessions: Sequence[date]) -> dict[date, Mapping[str, int]]:
    """Return up to which batch of each topic sessions were worked out by the newest run of them, in epoch microseconds.

    A run that failed counts for nothing, nor does one that compared only, or some symbols only: it hides those before it, and the
    session is worked out once more.
    """
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        RECOMPUTED_SESSIONS, dg.DagsterEventType.ASSET_MATERIALIZATION, {day.isoformat() for day in sessions}
    )
    found: dict[date, Mapping[str, int]] = {}
    every = sorted(newest.values())
    for start in range(0, len(every), _RECORDS_AT_ONCE):
        ids = every[start : start + _RECORDS_AT_ONCE]
        wanted = dg.AssetRecordsFilter(asset_key=RECOMPUTED_SESSIONS, storage_ids=ids)
        for record in instance.fetch_materializations(wanted, limit=len(ids)).records:
            event = record.asset_materialization
            until = event.metadata.get(RECOMPUTED_UNTIL) if event is not None else None
            if event is not None and event.partition is not None and isinstance(until, dg.JsonMetadataValue):
                found[date.fromisoformat(event.partition)] = dict(cast("Mapping[str, int]", until.data))
    return found


def _metadata(reports: Sequence[SessionReport]) -> dict[str, Any]:
    """Return the counts of some sessions, and where rows differed, as a table."""
    records = [
        dg.TableRecord(
            {"table": table, "missing": found.missing, "unexpected": found.unexpected, "different": found.different}
        )
        for report in reports
        for table, found in sorted(report.differences.items())
    ]
    return {
        "trades": sum(report.trades for report in reports),
        "revisions": sum(report.revisions for report in reports),
        "bars": sum(report.bars for report in reports),
        "quotes": sum(report.quotes for report in reports),
        "differing": sum(report.differing for report in reports),
        "repaired": sum(report.differing for report in reports if report.is_repaired),
        "seconds": round(sum(report.seconds for report in reports), 1),
        **({"differences": dg.MetadataValue.table(records)} if records else {}),
    }
