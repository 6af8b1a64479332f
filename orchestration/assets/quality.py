"""The values of tables as asset checks: what changed is held against what is possible, before and after the marts are built."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from market.tables import (
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_CORPORATE_ACTIONS,
    PG_QUOTES_1M,
    PG_VENDOR_BAR_SESSIONS,
    PG_VENDOR_BARS,
    TABLES,
)
from orchestration.assets.keys import Group, asset_key, table_key
from orchestration.assets.marts import IS_FINAL
from quality.checks import Quality
from quality.outcomes import Outcome, refusal_of
from quality.stored import LAKE, POSTGRES

CHECK: Final = "possible_values"
"""The name of the check of every table."""

_KEYS: Final[Mapping[str, dg.AssetKey]] = {table.qualified_name: table_key(table) for table in TABLES}
AWAITED: Final = tuple(
    dg.AssetCheckKey(table_key(table), CHECK)
    for table in (
        PG_BARS,
        PG_BAR_SESSIONS,
        PG_CORPORATE_ACTIONS,
        PG_QUOTES_1M,
        PG_VENDOR_BARS,
        PG_VENDOR_BAR_SESSIONS,
    )
)
"""Of the tables whose rows a build of what is queued takes up, or the rules after it: alerts wait for these."""
_SAYS: Final = "Every value that changed is one that its column may have: suites of Great Expectations."


def _specs(keys: Sequence[dg.AssetKey], *, blocking: bool) -> list[dg.AssetCheckSpec]:
    return [dg.AssetCheckSpec(CHECK, asset=key, description=_SAYS, blocking=blocking) for key in keys]


@dg.multi_asset_check(
    name="postgres_quality",
    specs=_specs([_KEYS[table.name] for table in POSTGRES], blocking=True),
    description="Looks at what the marts are about to be made from; what cannot be holds their build up until it is mended.",
    can_subset=True,
)
def postgres_quality(
    context: dg.AssetCheckExecutionContext, quality: dg.ResourceParam[Quality]
) -> Iterator[dg.AssetCheckResult]:
    """Check the tables that the marts are made from, or those of them that the run asks for.

    Raises
    ------
    dagster.Failure
        If a value is not possible; it would be made into marts.
    """
    asked = {key.asset_key for key in context.selected_asset_check_keys}
    names = {table.name for table in POSTGRES if _KEYS[table.name] in asked}
    outcomes = quality.check_postgres(None if len(names) == len(POSTGRES) else names)
    yield from results(outcomes, _KEYS, quality)
    refusal = refusal_of(outcomes)
    if refusal is not None:
        raise dg.Failure(refusal, metadata={IS_FINAL: True}, allow_retries=False)


@dg.multi_asset_check(
    name="lake_quality",
    specs=_specs([_KEYS[table.name] for table in LAKE], blocking=False),
    description="Looks at what came into the lake.",
)
def lake_quality(quality: dg.ResourceParam[Quality]) -> Iterator[dg.AssetCheckResult]:
    """Check the tables of the lake."""
    yield from results(quality.check_lake(), _KEYS, quality)


def mart_quality(manifest: Mapping[str, Any]) -> dg.AssetChecksDefinition:
    """Return the check of the marts of a manifest: models, and snapshots of such."""
    keys = {
        f"marts.{node['alias']}": asset_key(Group.MARTS, node["name"])
        for node in manifest["nodes"].values()
        if node["resource_type"] in {"model", "snapshot"} and node["schema"] == "marts"
    }

    @dg.multi_asset_check(
        name="mart_quality",
        specs=_specs(list(keys.values()), blocking=False),
        description="Looks at the marts: from the session on that changed, or whole if they do not say when a row changed.",
    )
    def mart_quality(quality: dg.ResourceParam[Quality]) -> Iterator[dg.AssetCheckResult]:
        yield from results(quality.check_marts(), keys, quality)

    return mart_quality


def results(
    outcomes: Sequence[Outcome], keys: Mapping[str, dg.AssetKey], quality: Quality
) -> Iterator[dg.AssetCheckResult]:
    """Yield the outcome for each of the tables as Dagster shows it, with rows that have an impossible value."""
    for outcome in outcomes:
        if outcome.table not in keys:
            continue
        metadata: dict[str, Any] = {
            "rows_looked_at": outcome.rows,
            "expectations": outcome.expectations,
            "page": dg.MetadataValue.path(str(quality.page)),
        }
        if not outcome.holds:
            records = [
                dg.TableRecord(
                    {
                        "expected": broken.says,
                        "rows": broken.rows,
                        "row": ", ".join(f"{name} {value}" for name, value in row.items()),
                    }
                )
                for broken in outcome.broken
                for row in broken.examples or ({},)
            ]
            metadata["offending"] = dg.MetadataValue.table(records)
        yield dg.AssetCheckResult(
            passed=outcome.holds,
            asset_key=keys[outcome.table],
            check_name=CHECK,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata=metadata,
        )
