"""The comparison of the marts with what a full refresh makes of them, as an asset check."""

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from market.tables import PG_BARS
from orchestration.assets.keys import table_key
from orchestration.assets.marts import DBT_POOL, require_possible
from orchestration.dbt import Dbt
from quality.checks import Quality
from warehouse.full_refresh import Difference, differences, kept_copies

CHECK: Final = "same_as_full_refresh"

_NO_TESTS: Final = ("--exclude-resource-type", "test")


@dg.asset_check(
    # On what the marts are made from: shown on a mart, it would run with every build of it.
    asset=table_key(PG_BARS),
    name=CHECK,
    description="Builds every mart anew, and compares it with what was built step by step: to the last bit.",
    pool=DBT_POOL,
)
def full_refresh_check(
    context: dg.AssetCheckExecutionContext, dbt: dg.ResourceParam[Dbt], quality: dg.ResourceParam[Quality]
) -> dg.AssetCheckResult:
    """Bring the marts up to date, build them anew, and compare; the new ones stay."""
    require_possible(quality)
    dbt.build(_NO_TESTS, _ignore)
    with kept_copies(dbt.settings):
        dbt.build([*_NO_TESTS, "--full-refresh"], _ignore)
        found = differences(dbt.settings)
    context.log.info(f"{len(found)} marts were built anew and compared.")
    return comparison_result(found)


def comparison_result(found: Sequence[Difference]) -> dg.AssetCheckResult:
    """Return the outcome as Dagster shows it: by mart how many rows differ, and some of them."""
    metadata: dict[str, Any] = {one.mart: f"{one.rows:,} rows, {one.gone + one.new:,} differ" for one in found}
    records = [
        dg.TableRecord(
            {
                "mart": one.mart,
                "is_new": bool(row["is_new"]),
                "row": ", ".join(f"{name} {value}" for name, value in row.items() if name != "is_new"),
            }
        )
        for one in found
        for row in one.examples
    ]
    if records:
        metadata["differing"] = dg.MetadataValue.table(records)
    return dg.AssetCheckResult(
        passed=not records,
        asset_key=table_key(PG_BARS),
        check_name=CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def _ignore(_event: object) -> None:
    """Nothing is told of what dbt does."""
