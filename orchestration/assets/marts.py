"""The dbt models as assets, and their tests as asset checks."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from pydantic import Field

from market.errors import ImpossibleValuesError, ModelsFailedError, ServiceError, SettingsError, UsageError
from market.instruments import parse_symbols
from market.tables import PG_BARS, PG_CORPORATE_ACTIONS, PG_VENDOR_BARS
from orchestration.assets.keys import OWNER, Group, asset_key, table_key
from orchestration.dbt import Dbt, Event
from orchestration.freshness import policy_of
from quality.checks import Quality
from warehouse.dbt_sources import SOURCE_TABLES
from warehouse.marts import Rebuild

DBT_POOL: Final = "dbt"
"""Runs that need this pool run one after the other."""

_SOURCES: Final = {table.name: table_key(table) for table in SOURCE_TABLES}
_CHECKED_FIRST: Final = (PG_BARS.name, PG_VENDOR_BARS.name, PG_CORPORATE_ACTIONS.name)

TOUCHED_MODELS: Final = (
    "intraday_ohlcv",
    "intraday_analytics",
    "int_daily_bars",
    "historical_ohlcv",
    "daily_analytics",
    "daily_analytics_raw",
    "daily_analytics_total_return",
)
"""The models that can look at the sessions alone that are queued as changed."""

TAKE_THE_LAKE_UP: Final = frozenset({"intraday_ohlcv", "int_daily_bars", "historical_ohlcv"})
"""Of these, the ones that read the lake by what is queued, and so wait for the look at its values, whatever else is built."""

IS_FINAL: Final = "is_final"
"""In the metadata of a failed step: whether it would fail again."""


class MartsConfig(dg.Config):
    """Whether to build what is there again."""

    rebuild: bool = Field(
        default=False,
        description="Build sessions again, whatever they were built from. Without it those are built that changed.",
    )
    start: str | None = Field(
        default=None, description="With rebuild: the first session, as 2013-10-07; all without it."
    )
    end: str | None = Field(default=None, description="With rebuild: the last session.")
    symbols: list[str] = Field(default=[], description="With rebuild: the symbols; none means all.")
    touched: bool = Field(
        default=False, description="Look at the sessions alone that are queued as changed, and run no tests."
    )

    def sessions(self) -> Rebuild | None:
        """Return the sessions to build again, or ``None`` if none is asked for.

        Raises
        ------
        UsageError
            If they are not named rightly, or without ``rebuild``.
        """
        if not self.rebuild:
            if self.start or self.end or self.symbols:
                msg = "start, end and symbols go with rebuild: true."
                raise UsageError(msg)
            return None
        try:
            first, last = (date.fromisoformat(day) if day else None for day in (self.start, self.end))
        except ValueError as error:
            msg = f"start and end are dates, written as 2013-10-07: {error}."
            raise UsageError(msg) from error
        return Rebuild(first, last, parse_symbols(self.symbols) if self.symbols else ())


class Translator(DagsterDbtTranslator):
    """Names, groups and describes the models: a model's group is its first folder, a source is its PostgreSQL table."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_metadata=False))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Return the key: of a source, the key of its table; of a model, its group and its name."""
        if dbt_resource_props["resource_type"] == "source":
            return _SOURCES[dbt_resource_props["identifier"]]
        return asset_key(Group(self.get_group_name(dbt_resource_props)), dbt_resource_props["name"])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the model's first folder, which must be a group."""
        if dbt_resource_props["resource_type"] == "source":
            return Group.POSTGRES.value
        return Group(dbt_resource_props["fqn"][1]).value

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: None) -> dg.AssetSpec:
        """Return the model's spec with its freshness policy and owner.

        A run that builds some models only knows of no way from the lake's tables to them, if those between are not built: what
        takes the lake up says itself that it comes after them, and after their blocking checks.
        """
        spec = super().get_asset_spec(manifest, unique_id, project)
        if self.get_resource_props(manifest, unique_id)["name"] in TAKE_THE_LAKE_UP:
            spec = spec.merge_attributes(deps=[_SOURCES[name] for name in _CHECKED_FIRST])
        materialized = str(self.get_resource_props(manifest, unique_id).get("config", {}).get("materialized", "table"))
        return spec.replace_attributes(
            freshness_policy=policy_of(spec.key),
            owners=[OWNER],
            kinds={"dbt", "postgres", "view" if materialized == "view" else "table"},
        )


def mart_assets(manifest: Mapping[str, Any]) -> dg.AssetsDefinition:
    """Return every model of the manifest as an asset; building some of them builds just those."""

    @dbt_assets(manifest=manifest, name="dbt", dagster_dbt_translator=Translator(), pool=DBT_POOL)
    def dbt_models(
        context: dg.AssetExecutionContext,
        config: MartsConfig,
        dbt: dg.ResourceParam[Dbt],
        quality: dg.ResourceParam[Quality],
    ) -> Iterator[Any]:
        rebuild = config.sessions()
        if rebuild is not None:
            require_possible(quality)
            context.log.info(f"{dbt.forget_builds(rebuild):,} sessions are built again.")
        chosen = get_updated_cli_invocation_params_for_context(context, manifest, Translator())
        indirect = ["--indirect-selection", chosen.indirect_selection] if chosen.indirect_selection else []
        events: list[Event] = []
        failure: ServiceError | SettingsError | None = None
        try:
            options = ["--exclude-resource-type", "test"] if config.touched else []
            dbt.build([*chosen.selection_args, *indirect, *options], events.append, touched=config.touched)
        except (ServiceError, SettingsError) as error:
            failure = error
        for event in events:  # what was built before a failure is built, so it is reported all the same
            yield from asset_events(event, context, chosen.manifest, chosen.dagster_dbt_translator)
        if failure is not None:
            metadata = {IS_FINAL: isinstance(failure, (ModelsFailedError, SettingsError))}
            raise dg.Failure(str(failure), metadata=metadata, allow_retries=False) from failure

    return dbt_models


def require_possible(quality: Quality) -> None:
    """Look at all that the marts are built from anew: what nobody queued was not looked at before.

    Raises
    ------
    dagster.Failure
        If a value is not possible; it would be made into marts.
    """
    try:
        quality.require_possible()
    except ImpossibleValuesError as error:
        raise dg.Failure(str(error), metadata={IS_FINAL: True}, allow_retries=False) from error


def asset_events(
    event: Event, context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: DagsterDbtTranslator
) -> Iterator[Any]:
    """Return what an event of dbt means to Dagster: a model was built, a test passed or failed, or nothing.

    A model that the project got since Dagster was started is built, and is no asset before the next start.
    """
    node = event.get("data", {}).get("node_info")
    if node and node.get("unique_id") not in manifest["nodes"]:
        if event["info"]["name"] == "NodeFinished":  # one of a dozen events
            context.log.warning(f"{node.get('unique_id')} is new: start ./run up again, and Dagster knows it.")
    elif node:
        message = DbtCoreCliEventMessage(raw_event=event, event_history_metadata={})
        yield from message.to_default_asset_events(manifest, translator, context)
