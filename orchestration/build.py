"""The assembly: everything that Dagster knows, put together by one function."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from infra.local.home import connected_settings
from market.settings import Settings, load_settings
from orchestration.assets.alerts import evaluation
from orchestration.assets.arrivals import arrival_assets
from orchestration.assets.collected import collected_bars
from orchestration.assets.collected_actions import collected_actions
from orchestration.assets.full_refresh import full_refresh_check
from orchestration.assets.history import sample_daily_bars
from orchestration.assets.lake import stream_assets
from orchestration.assets.laws import law_checks
from orchestration.assets.marts import mart_assets
from orchestration.assets.quality import lake_quality, mart_quality, postgres_quality
from orchestration.assets.recomputed import recomputed_sessions
from orchestration.assets.reports import report
from orchestration.assets.tiers import tier_assets, tier_checks
from orchestration.dbt import Dbt
from orchestration.history_requests import daily_actions, daily_history, history_gaps
from orchestration.intraday import intraday_marts
from orchestration.jobs import build_jobs
from orchestration.operators import Operators, operators
from orchestration.report_schedule import session_reports
from orchestration.resources import default_resources
from orchestration.retention import nightly_retention, run_retention
from orchestration.schedules import (
    hourly_arrivals,
    nightly_recompute,
    nightly_tiers,
    nightly_verify,
    session_close,
    weekly_full_refresh,
)
from orchestration.sensors import lake_progress
from orchestration.touched import touched_sessions


def build_definitions(
    *, settings: Settings | None = None, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Return the definitions.

    Parameters
    ----------
    settings
        Where everything is; read from the environment, and from the platform that runs on this home, when absent.
    resource_overrides
        Resources that replace those of :func:`orchestration.resources.default_resources`, by name.

    Raises
    ------
    SettingsError
        If the settings cannot be read.
    ServiceError
        If the dbt project cannot be parsed.
    """
    settings = settings or connected_settings(load_settings())
    manifest = Dbt(settings).manifest()
    marts = mart_assets(manifest)
    return dg.Definitions(
        assets=[
            *stream_assets(settings),
            sample_daily_bars,
            *collected_bars(settings),
            collected_actions(settings),
            recomputed_sessions,
            tier_assets(settings),
            arrival_assets(settings),
            marts,
            evaluation,
            report,
        ],
        asset_checks=[
            law_checks,
            tier_checks,
            postgres_quality,
            mart_quality(manifest),
            lake_quality,
            full_refresh_check,
        ],
        jobs=[*build_jobs(marts), run_retention],
        schedules=[
            session_close,
            session_reports,
            daily_history,
            daily_actions,
            hourly_arrivals,
            nightly_recompute,
            nightly_verify,
            nightly_tiers,
            weekly_full_refresh,
            nightly_retention,
        ],
        sensors=[lake_progress, touched_sessions, intraday_marts, history_gaps, operators],
        resources={**default_resources(settings), "operators": Operators(settings), **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )
