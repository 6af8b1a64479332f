"""The jobs. Their steps run one after the other in the run's own process; the deep path starts a process of its own."""

from typing import Any, Final

import dagster as dg

from orchestration.assets.alerts import EVALUATION
from orchestration.assets.arrivals import ARRIVALS_KEY
from orchestration.assets.full_refresh import full_refresh_check
from orchestration.assets.keys import (
    COLLECTED_ACTIONS,
    DAILY_BARS,
    INTRADAY_BARS,
    RECOMPUTED_SESSIONS,
    SAMPLE_DAILY_BARS,
)
from orchestration.assets.laws import law_checks
from orchestration.assets.marts import TOUCHED_MODELS
from orchestration.assets.quality import AWAITED, lake_quality, postgres_quality
from orchestration.assets.reports import REPORT
from orchestration.assets.tiers import TIERS_KEY, tier_checks

HISTORY: Final = "history"
COLLECT_HISTORY: Final = "collect_history"
COLLECT_ACTIONS: Final = "collect_actions"
MARTS: Final = "marts"
TOUCHED_MARTS: Final = "touched_marts"
RUN_RETENTION: Final = "run_retention"
RECOMPUTE: Final = "recompute"
TIERS: Final = "tiers"
VERIFY: Final = "verify"
FULL_REFRESH: Final = "full_refresh"
ARRIVALS: Final = "arrivals"
REPORTS: Final = "reports"

_LONGEST_RECOMPUTE_SECONDS: Final = 24 * 3600
"""Years of sessions take longer than what other runs may."""

COLLECT_JOBS: Final = (
    dg.define_asset_job(
        COLLECT_HISTORY,
        selection=dg.AssetSelection.assets(DAILY_BARS, INTRADAY_BARS),
        description="Fetches what is missing of the watchlist's bars, of some sessions and a group of symbols.",
        executor_def=dg.in_process_executor,
    ),
    dg.define_asset_job(
        COLLECT_ACTIONS,
        selection=dg.AssetSelection.assets(COLLECTED_ACTIONS),
        description="Fetches the splits and dividends of the watchlist's symbols that were not asked for since a session ended.",
        executor_def=dg.in_process_executor,
    ),
)
"""The jobs that ask vendors for what is missing of the watchlist."""


def build_jobs(marts: dg.AssetsDefinition) -> list[Any]:
    """Return the jobs.

    ``history`` publishes the sample's daily bars, ``collect_history`` fetches the bars of the watchlist, ``collect_actions`` its
    splits and dividends, ``marts`` builds and tests every dbt model of ``marts``, ``touched_marts`` builds of those that can what
    was queued as changed, ``recompute`` works sessions out again, ``tiers`` removes what the marts keep no longer, ``verify``
    proves the laws, ``full_refresh`` compares the marts with what they are when built anew, ``arrivals`` counts how messages
    came, and ``reports`` makes the report of a period.
    """
    return [
        dg.define_asset_job(
            HISTORY,
            selection=dg.AssetSelection.assets(SAMPLE_DAILY_BARS),
            description="Publishes the real daily bars of the sample feed and waits until the lake has them.",
            executor_def=dg.in_process_executor,
        ),
        *COLLECT_JOBS,
        dg.define_asset_job(
            MARTS,
            selection=dg.AssetSelection.assets(marts)
            | dg.AssetSelection.assets(EVALUATION)
            | dg.AssetSelection.checks(postgres_quality),
            description="Looks at what the marts are made from, builds and tests all dbt models, and has rules look at changes.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            TOUCHED_MARTS,
            selection=dg.AssetSelection.assets(
                *(key for key in marts.keys if key.path[-1] in TOUCHED_MODELS)
            ).without_checks()
            | dg.AssetSelection.assets(EVALUATION)
            | dg.AssetSelection.checks(*AWAITED),
            config={"ops": {marts.op.name: {"config": {"touched": True}}}},
            description="Looks at what changed, and builds the sessions that are queued, of the models that can, without tests.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            RECOMPUTE,
            selection=dg.AssetSelection.assets(RECOMPUTED_SESSIONS),
            description="Works a range of sessions out again from bronze, compares, and repairs what differs.",
            executor_def=dg.in_process_executor,
            tags={"dagster/max_runtime": str(_LONGEST_RECOMPUTE_SECONDS)},
        ),
        dg.define_asset_job(
            TIERS,
            selection=dg.AssetSelection.assets(TIERS_KEY)
            | dg.AssetSelection.assets(marts)
            | dg.AssetSelection.assets(EVALUATION)
            | dg.AssetSelection.checks(postgres_quality)
            | dg.AssetSelection.checks(tier_checks),
            description="Moves the tiers of the marts on, removes what they keep no longer, and checks them.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            VERIFY,
            selection=dg.AssetSelection.checks(law_checks, lake_quality),
            description="Proves the laws over the data at hand, and looks at the values that came into the lake.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            ARRIVALS,
            selection=dg.AssetSelection.assets(ARRIVALS_KEY).without_checks(),
            description="Counts how messages came: late trades and rejected messages by symbol and session.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            REPORTS,
            selection=dg.AssetSelection.assets(REPORT),
            description="Makes the report of a session, a week or a month: the newest session, unless the config says another.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            FULL_REFRESH,
            selection=dg.AssetSelection.checks(full_refresh_check),
            description="Builds the marts anew, and compares them with what was built step by step.",
            executor_def=dg.in_process_executor,
            tags={"dagster/max_runtime": str(_LONGEST_RECOMPUTE_SECONDS)},
        ),
    ]
