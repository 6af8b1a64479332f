"""The asset graph: what is in it, what comes from what, and that it loads without any engine."""

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from market.alert_tables import ALERTS
from market.app_tables import WATCHLIST
from market.tables import LAKE_TABLES, TABLES, Store
from market.topics import TOPICS
from orchestration.assets.alerts import EVALUATION
from orchestration.assets.arrivals import ARRIVALS_KEY
from orchestration.assets.keys import OWNER, table_key, topic_key
from orchestration.assets.reports import REPORT
from orchestration.assets.tiers import COLLECTED_CHECKS, KEPT_CHECK, TIERS_KEY
from orchestration.freshness import POLICIES

OF_ACTIONS = ["marts/corporate_actions", "marts/unexplained_jumps"]
"""They change when an action does, which may be never."""
DIMENSIONS = ["marts/dim_instrument", "marts/dim_session"]
"""They change when a symbol or the calendar does."""
QUOTES = "marts/intraday_quotes"
MARTS = [
    "marts/anomalies",
    "marts/bar_gaps",
    "marts/bar_reconciliation",
    "marts/correlations",
    "marts/data_quality",
    "marts/historical_ohlcv",
    "marts/intraday_ohlcv",
    QUOTES,
    "marts/market_breadth",
    "marts/realtime_prices",
    "marts/top_movers",
    *OF_ACTIONS,
    *DIMENSIONS,
]
BARS = ["history/daily_bars", "history/intraday_bars", "history/sample_daily_bars"]
HISTORY = ["history/corporate_actions", *BARS]
STREAM_KEYS = [
    "kafka/market_actions_v1",
    "kafka/market_bars_v1",
    "kafka/market_quotes_v1",
    "kafka/market_trades_v1",
    "lake/amendments",
    "lake/bar_revisions_1m",
    "lake/bronze_messages",
    "lake/corporate_actions",
    "lake/duplicates",
    "lake/feed_status",
    "lake/quarantine",
    "lake/quotes",
    "lake/trades",
    "lake/vendor_bars",
    "postgres/alerts",
    "postgres/bar_sessions",
    "postgres/bars_1m",
    "postgres/corporate_actions",
    "postgres/feed_coverage",
    "postgres/latest_quotes",
    "postgres/quotes_1m",
    "postgres/sessions",
    "postgres/stream_batches",
    "postgres/stream_offsets",
    "postgres/trading_halts",
    "postgres/vendor_bar_sessions",
    "postgres/vendor_bars",
    "postgres/watchlist",
]


@pytest.fixture(scope="session")
def graph(definitions: dg.Definitions) -> AssetGraph:
    return definitions.resolve_asset_graph()


def key(text: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(text)


def ancestors(graph: AssetGraph, text: str) -> set[str]:
    return {ancestor.to_user_string() for ancestor in graph.get_ancestor_asset_keys(key(text))}


def test_the_definitions_load_without_an_engine(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_jobs_schedules_and_sensors_are_these(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")) == [
        "arrivals",
        "collect_actions",
        "collect_history",
        "full_refresh",
        "history",
        "marts",
        "recompute",
        "reports",
        "run_retention",
        "tiers",
        "touched_marts",
        "verify",
    ]
    assert {
        schedule.name: (schedule.cron_schedule, schedule.execution_timezone) for schedule in repository.schedule_defs
    } == {
        "daily_actions": ("45 17-20 * * 1-5", "America/New_York"),
        "daily_history": ("45 17-20 * * 1-5", "America/New_York"),
        "hourly_arrivals": ("5 * * * *", None),
        "nightly_recompute": ("30 20 * * *", "America/New_York"),
        "nightly_retention": ("30 3 * * *", None),
        "nightly_tiers": ("0 3 * * *", "America/New_York"),
        "nightly_verify": ("30 21 * * *", "America/New_York"),
        "session_close": ("15 13-16 * * 1-5", "America/New_York"),
        "session_reports": (["30 13-16 * * 1-5", "55 17-20 * * 1-5"], "America/New_York"),
        "weekly_full_refresh": ("0 5 * * 0", "America/New_York"),
    }
    assert sorted(sensor.name for sensor in repository.sensor_defs) == [
        "history_gaps",
        "intraday_marts",
        "lake_progress",
        "operators",
        "touched_sessions",
    ]


def test_the_assets_of_the_stream_are_these(graph: AssetGraph) -> None:
    external = sorted(node.to_user_string() for node in graph.external_asset_keys)
    assert external == STREAM_KEYS
    assert sorted(node.to_user_string() for node in graph.get_all_asset_keys() if node.path[0] == "history") == HISTORY


def test_every_declared_table_and_topic_is_an_asset(graph: AssetGraph) -> None:
    declared = {table_key(table) for table in (*TABLES, WATCHLIST, ALERTS)} | {topic_key(topic) for topic in TOPICS}
    assert declared == graph.external_asset_keys | {TIERS_KEY, ARRIVALS_KEY}
    assert len(declared) == len(TABLES) + 2 + len(TOPICS)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.qualified_name)
def test_a_table_says_its_grain_and_its_columns(graph: AssetGraph, table) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a parameter of pytest
    node = graph.get(table_key(table))
    assert node.metadata["grain"] == table.grain
    schema = node.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == list(table.column_names)
    assert all(column.description for column in schema.columns)
    assert node.group_name == ("lake" if table.store is Store.LAKE else "postgres")
    assert table.grain[1:] in (node.description or "")


def test_a_lake_table_says_where_it_is(graph: AssetGraph) -> None:
    for table in LAKE_TABLES:
        assert graph.get(table_key(table)).metadata["dagster/uri"] == f"s3://bucket/lake/{table.path}"


@pytest.mark.parametrize("mart", [mart for mart in MARTS if mart not in {*DIMENSIONS[1:], QUOTES}])
def test_lineage_reaches_from_the_topics_to_every_mart(graph: AssetGraph, mart: str) -> None:
    behind = ancestors(graph, mart)
    assert {
        "kafka/market_trades_v1",
        "lake/bronze_messages",
        "lake/trades",
        "lake/amendments",
        "lake/bar_revisions_1m",
        "postgres/bars_1m",
    } <= behind


def test_lineage_of_quotes_reaches_from_their_topic_to_their_mart(graph: AssetGraph) -> None:
    behind = ancestors(graph, QUOTES)
    assert {"kafka/market_quotes_v1", "lake/bronze_messages", "lake/quotes", "postgres/quotes_1m"} <= behind


def test_history_reaches_the_daily_mart_through_kafka_and_the_lake(graph: AssetGraph) -> None:
    behind = ancestors(graph, "marts/historical_ohlcv")
    assert {
        *HISTORY,
        "kafka/market_bars_v1",
        "kafka/market_actions_v1",
        "lake/bronze_messages",
        "lake/vendor_bars",
        "postgres/vendor_bars",
        "postgres/corporate_actions",
    } <= behind
    assert graph.get(key("kafka/market_bars_v1")).parent_keys == {key(name) for name in BARS}
    assert graph.get(key("kafka/market_actions_v1")).parent_keys == {key("history/corporate_actions")}


def test_nothing_but_topics_the_calendar_and_definitions_comes_from_nowhere(graph: AssetGraph) -> None:
    roots = {node.to_user_string() for node in graph.get_all_asset_keys() if not graph.get(node).parent_keys}
    assert roots == {
        *HISTORY,
        "kafka/market_quotes_v1",
        "kafka/market_trades_v1",
        "marts/indicator_definitions",
        "postgres/alerts",
        "postgres/sessions",
        "postgres/tiers",
        "postgres/watchlist",
    }


def test_every_model_is_in_the_group_of_its_folder(graph: AssetGraph) -> None:
    models = [graph.get(node) for node in graph.executable_asset_keys if "dbt" in graph.get(node).kinds]
    assert {model.key.path[0] for model in models} == {"staging", "intermediate", "marts"}
    assert all(model.group_name == model.key.path[0] for model in models)
    assert set(MARTS) <= {model.key.to_user_string() for model in models}


def test_a_snapshot_is_a_mart_with_its_tests_and_its_lineage(graph: AssetGraph) -> None:
    node = graph.get(key("marts/dim_instrument"))
    assert node.kinds == {"dbt", "postgres", "table"}
    assert node.parent_keys == {key("intermediate/int_instruments")}
    assert "postgres/watchlist" in ancestors(graph, "marts/dim_instrument")


def test_every_asset_is_described_and_owned(graph: AssetGraph) -> None:
    for node_key in graph.get_all_asset_keys():
        node = graph.get(node_key)
        assert node.description, node_key
        assert node.owners == [OWNER]
        assert node.kinds


@pytest.mark.parametrize("mart", MARTS)
def test_the_tests_of_a_mart_are_its_checks(graph: AssetGraph, mart: str) -> None:
    names = {check.name for check in graph.asset_check_keys if check.asset_key == key(mart)}
    assert any(name.startswith("not_null") for name in names)


def test_every_freshness_policy_is_on_an_asset(graph: AssetGraph) -> None:
    fresh = {node for node in graph.get_all_asset_keys() if graph.get(node).freshness_policy is not None}
    marts = {node for node in graph.get_all_asset_keys() if node.path[0] == "marts"}
    assert {key(mart) for mart in MARTS} <= marts
    assert fresh == set(POLICIES) | marts


def test_a_job_runs_what_its_name_says(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    history = definitions.resolve_job_def("history").asset_layer.executable_asset_keys
    marts = definitions.resolve_job_def("marts").asset_layer.executable_asset_keys
    assert {node.to_user_string() for node in history} == {"history/sample_daily_bars"}
    recompute = definitions.resolve_job_def("recompute").asset_layer.executable_asset_keys
    assert {node.to_user_string() for node in recompute} == {"lake/recomputed_sessions"}
    collected = definitions.resolve_job_def("collect_history").asset_layer.executable_asset_keys
    assert {node.to_user_string() for node in collected} == {"history/daily_bars", "history/intraday_bars"}
    actions = definitions.resolve_job_def("collect_actions").asset_layer.executable_asset_keys
    assert {node.to_user_string() for node in actions} == {"history/corporate_actions"}
    assert definitions.resolve_job_def("reports").asset_layer.executable_asset_keys == {REPORT}
    others = {*history, *recompute, *collected, *actions, TIERS_KEY, ARRIVALS_KEY, REPORT}
    assert marts == set(graph.executable_asset_keys) - others
    assert EVALUATION in marts
    touched = definitions.resolve_job_def("touched_marts").asset_layer
    assert EVALUATION in touched.executable_asset_keys
    assert set(touched.asset_graph.get(EVALUATION).parent_keys) <= set(touched.executable_asset_keys)
    moved = definitions.resolve_job_def("tiers").asset_layer
    assert moved.executable_asset_keys == {*marts, TIERS_KEY}
    assert {check.name for check in moved.asset_graph.asset_check_keys} >= {KEPT_CHECK, *COLLECTED_CHECKS.values()}
    checks = definitions.resolve_job_def("verify").asset_layer.asset_graph.asset_check_keys
    laws = {check.asset_key.to_user_string() for check in checks if check.name.startswith("law_")}
    assert laws == {"lake/bronze_messages", "lake/feed_status", "postgres/bars_1m", "postgres/alerts"}
    looked_at = {check.asset_key for check in checks if check.name == "possible_values"}
    assert looked_at == {table_key(table) for table in LAKE_TABLES}
    (compared,) = definitions.resolve_job_def("full_refresh").asset_layer.asset_graph.asset_check_keys
    assert compared.name == "same_as_full_refresh"


def test_a_build_of_the_marts_looks_at_values_before_and_after(definitions: dg.Definitions) -> None:
    for job in ("marts", "tiers"):
        built = definitions.resolve_job_def(job)
        checks = {
            check.asset_key.to_user_string()
            for check in built.asset_layer.asset_graph.asset_check_keys
            if check.name == "possible_values"
        }
        assert checks >= {"postgres/bars_1m", "postgres/vendor_bars", "marts/intraday_ohlcv", "marts/daily_analytics"}
        assert "same_as_full_refresh" not in {check.name for check in built.asset_layer.asset_graph.asset_check_keys}
    fast = definitions.resolve_job_def("touched_marts").asset_layer.asset_graph.asset_check_keys
    assert {check.name for check in fast} == {"possible_values"}
    counted = {"bar_sessions", "vendor_bar_sessions"}
    rows = {"bars_1m", "vendor_bars", "corporate_actions", "quotes_1m"}
    assert {check.asset_key.path[1] for check in fast} == rows | counted


@pytest.mark.parametrize("job", ["marts", "tiers", "touched_marts"])
def test_no_model_is_built_before_the_values_that_it_is_made_of_were_looked_at(
    definitions: dg.Definitions, job: str
) -> None:
    dependencies = definitions.resolve_job_def(job).graph.dependency_structure
    assert "postgres_quality" in {
        output.node_name
        for sources in dependencies.input_to_upstream_outputs_for_node("dbt").values()
        for output in sources
    }
