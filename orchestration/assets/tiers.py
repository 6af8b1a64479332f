"""The tiers of the marts: moved on every night, and checked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg

from market.settings import Settings
from market.tiers import DAILY, INTRADAY, PG_TIERS, TIERS, Tier
from orchestration.assets.keys import Group, asset_key, table_key
from orchestration.assets.lake import table_spec
from orchestration.history import History, Series
from orchestration.resources import TierStore
from warehouse.tiers import Held, Uncollected

TIERS_KEY: Final = table_key(PG_TIERS)
KEPT_CHECK: Final = "intraday_holds_what_it_keeps"
COLLECTED_CHECKS: Final = {DAILY.name: "daily_is_collected", INTRADAY.name: "intraday_is_collected"}

_SHOWN: Final = 50


def tier_assets(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset of the tiers: a run says since when each of them keeps sessions."""

    @dg.multi_asset(name="move_tiers", specs=[table_spec(PG_TIERS, settings)])
    def move_tiers(tier_store: dg.ResourceParam[TierStore]) -> dg.MaterializeResult[Any]:
        now = datetime.now(UTC)
        since = {tier.name: tier.keep_from(now) for tier in as_set(settings)}
        tier_store.move(since, now)
        return dg.MaterializeResult(
            metadata={
                name: dg.MetadataValue.text("everything" if moment is None else f"from {moment:%Y-%m-%d}")
                for name, moment in since.items()
            }
        )

    return move_tiers


@dg.multi_asset_check(
    name="tier_checks",
    specs=[
        dg.AssetCheckSpec(
            KEPT_CHECK,
            asset=TIERS_KEY,
            additional_deps=[asset_key(Group.MARTS, INTRADAY.mart)],
            description="No session is in the mart that its tier keeps no longer.",
        ),
        *(
            dg.AssetCheckSpec(
                COLLECTED_CHECKS[tier.name],
                asset=TIERS_KEY,
                additional_deps=[asset_key(Group.MARTS, tier.mart)],
                description="Every session of the watchlist is there or was asked for, as far as tier and source go back.",
            )
            for tier in (DAILY, INTRADAY)
        ),
    ],
    description="Compares what the marts hold with what their tiers say.",
)
def tier_checks(
    tier_store: dg.ResourceParam[TierStore], history: dg.ResourceParam[History]
) -> Iterator[dg.AssetCheckResult]:
    """Compare what the marts hold with what their tiers say."""
    yield kept_result(tier_store.held())
    now = datetime.now(UTC)
    for tier, series in zip((DAILY, INTRADAY), history.series, strict=True):
        reach = history.reach(series, now)
        yield collected_result(tier, series, reach, tier_store.uncollected(tier, now, reach))


def kept_result(held: Held) -> dg.AssetCheckResult:
    """Return the outcome for what the tier of intraday bars holds."""
    first = {"first_session": held.first_session, "first_expired": held.first_expired}
    return dg.AssetCheckResult(
        passed=held.expired == 0,
        asset_key=TIERS_KEY,
        check_name=KEPT_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "sessions": held.sessions,
            "expired": held.expired,
            **{name: day.isoformat() for name, day in first.items() if day is not None},
        },
    )


def collected_result(
    tier: Tier, series: Series, reach: date | None, uncollected: Sequence[Uncollected]
) -> dg.AssetCheckResult:
    """Return the outcome for what a tier lacks. It warns only: a backfill is on its way, or the user's to start.

    What lies before ``reach``, the first day that the tier's source may have, is said only: it will never come.
    """
    lacking = [one for one in uncollected if one.first_session is not None]
    records = [
        dg.TableRecord({"symbol": one.symbol, "sessions": one.sessions, "first_session": str(one.first_session)})
        for one in lacking[:_SHOWN]
    ]
    return dg.AssetCheckResult(
        passed=not lacking,
        asset_key=TIERS_KEY,
        check_name=COLLECTED_CHECKS[tier.name],
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "symbols": len(lacking),
            "sessions": sum(one.sessions for one in lacking),
            "source": series.feed or "none",
            "source_reaches_back_to": str(reach) if reach is not None else "the first session of the tier",
            "sessions_before_that": sum(one.too_old for one in uncollected),
            **({"lacking": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def as_set(settings: Settings) -> list[Tier]:
    """Return the tiers, the one of intraday bars with the days that are set."""
    keeps = timedelta(days=settings.intraday_days) if settings.intraday_days else None
    return [replace(tier, keeps=keeps) if tier == INTRADAY else tier for tier in TIERS]
