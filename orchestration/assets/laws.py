"""The laws as checks of the assets that they speak of: ``./run verify``, every night and whenever it is asked for."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import dagster as dg

from market.alert_tables import ALERTS
from market.tables import FEED_STATUS, MESSAGES, PG_BARS
from orchestration.assets.keys import table_key
from orchestration.resources import Laws
from verify.results import LawResult


class Check(NamedTuple):
    """The check of a law: its name, the asset that it is shown on, and what it says."""

    name: str
    asset: dg.AssetKey
    says: str


CHECKS: Final[Mapping[int, Check]] = MappingProxyType(
    {
        1: Check(
            "law_1_every_message_once",
            table_key(MESSAGES),
            "Every message that the broker acknowledged is in the lake exactly once, and in one table behind bronze.",
        ),
        2: Check(
            "law_2_same_bars",
            table_key(PG_BARS),
            "The bars, in the lake, in PostgreSQL and in the mart, are those of one pass over the trades of bronze.",
        ),
        3: Check(
            "law_3_same_indicators",
            table_key(PG_BARS),
            "The indicators are those of a full refresh and of the textbook; every row says whether it is past its warm-up.",
        ),
        4: Check(
            "law_4_alerts",
            table_key(ALERTS),
            "Each rule has one alert for each bar that it fires on, none else, and each is sent or about the past.",
        ),
        5: Check(
            "law_5_no_silent_gap",
            table_key(FEED_STATUS),
            "Every expected bar of every session is there or has a reason: no trade, halted, feed down, not collected.",
        ),
    }
)
"""The laws that are proved, by number: each law of :func:`verify.laws.verify_all` has an entry. None is shown on a mart: whoever
builds a mart would have to prove the laws as well."""


def _specs() -> list[dg.AssetCheckSpec]:
    return [dg.AssetCheckSpec(check.name, asset=check.asset, description=check.says) for check in CHECKS.values()]


@dg.multi_asset_check(name="laws", specs=_specs(), description="Proves the laws over the data at hand.")
def law_checks(laws: dg.ResourceParam[Laws]) -> Iterator[dg.AssetCheckResult]:
    """Prove every law; one that is broken fails its check and shows the first rows that break it."""
    for result in laws.prove():
        yield check_result(result)


def check_result(result: LawResult) -> dg.AssetCheckResult:
    """Return the outcome of a law as Dagster shows it."""
    check = CHECKS[result.law]
    metadata: dict[str, dg.MetadataValue] = {
        "says": dg.MetadataValue.text(result.title),
        "rows_that_break_it": dg.MetadataValue.int(result.total_offending),
        **{name: dg.MetadataValue.int(number) for name, number in result.counts.items()},
    }
    if result.note:
        metadata["note"] = dg.MetadataValue.text(result.note)
    if result.offending:
        records = [
            dg.TableRecord(
                {
                    "problem": str(row["problem"]),
                    "where": ", ".join(f"{name} {value}" for name, value in row.items() if name != "problem"),
                }
            )
            for row in result.offending
        ]
        metadata["offending"] = dg.MetadataValue.table(records)
        metadata["problems"] = dg.MetadataValue.json(result.problems)
    return dg.AssetCheckResult(
        passed=result.holds,
        asset_key=check.asset,
        check_name=check.name,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )
