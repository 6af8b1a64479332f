"""A run of the job ``marts`` that builds sessions again, as its configuration says; dbt is played by the test."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from market.errors import ImpossibleValuesError, ModelsFailedError, ServiceError, UsageError
from orchestration.assets.marts import IS_FINAL, MartsConfig, Translator, asset_events
from orchestration.run import _raise_failure
from quality.outcomes import Outcome
from quality.stored import POSTGRES
from warehouse.marts import Rebuild


class PlayedDbt:
    """Notes what is asked of it, and builds nothing."""

    def __init__(self, failure: ServiceError) -> None:
        self.asked: list[object] = []
        self.failure = failure
        self.arguments: Sequence[str] = ()

    def forget_builds(self, rebuild: Rebuild) -> int:
        self.asked.append(rebuild)
        return 3

    def build(self, arguments: Sequence[str], _on_event: object, *, touched: bool = False) -> None:
        self.asked.append("build touched" if touched else "build")
        self.arguments = arguments
        raise self.failure


class NothingToLookAt:
    """The checks of values when nothing changed; what nobody queued may be impossible all the same."""

    def __init__(self, *, is_possible: bool = True) -> None:
        self.is_possible = is_possible

    def check_postgres(self, names: AbstractSet[str] | None = None) -> list[Outcome]:
        return [Outcome(checked.name, 0, 0, ()) for checked in POSTGRES if names is None or checked.name in names]

    def require_possible(self) -> None:
        if not self.is_possible:
            msg = "lake.vendor_bars: low is above 0; not so in 1 row"
            raise ImpossibleValuesError(msg)

    page = "nowhere"


def run(definitions: dg.Definitions, dbt: PlayedDbt, **config: Any) -> dg.ExecuteInProcessResult:
    return definitions.resolve_job_def("marts").execute_in_process(
        resources={"dbt": dbt, "quality": NothingToLookAt()},
        run_config={"ops": {"dbt": {"config": config}}},
        raise_on_error=False,
    )


def test_sessions_are_forgotten_before_the_models_are_built(definitions: dg.Definitions) -> None:
    dbt = PlayedDbt(ServiceError("enough"))
    run(definitions, dbt, rebuild=True, start="2013-10-07", end="2013-10-08", symbols=["spy"])
    assert dbt.asked == [Rebuild(date(2013, 10, 7), date(2013, 10, 8), ("SPY",)), "build"]
    dbt.asked.clear()
    run(definitions, dbt)
    assert dbt.asked == ["build"]
    dbt.asked.clear()
    run(definitions, dbt, start="2013-10-07")
    assert dbt.asked == [], "a range without rebuild is a mistake"


@pytest.mark.parametrize(
    ("job", "config"),
    [("marts", {"ops": {"dbt": {"config": {"rebuild": True}}}}), ("full_refresh", {})],
)
def test_nothing_is_built_anew_from_values_that_are_not_possible(
    definitions: dg.Definitions, job: str, config: dict[str, Any]
) -> None:
    dbt = PlayedDbt(ServiceError("enough"))
    result = definitions.resolve_job_def(job).execute_in_process(
        resources={"dbt": dbt, "quality": NothingToLookAt(is_possible=False)}, run_config=config, raise_on_error=False
    )
    assert dbt.asked == []
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None
    assert "low is above 0; not so in 1 row" in str(failed.user_failure_data.description)


def test_a_model_that_is_new_since_dagster_was_started_is_built_and_not_reported() -> None:
    said: list[str] = []
    context: Any = SimpleNamespace(log=SimpleNamespace(warning=said.append))
    node = {"unique_id": "model.tapehouse.daily_analytics_raw"}
    for name in ("NodeStart", "LogStartLine", "LogModelResult", "NodeFinished"):
        event = {"info": {"name": name}, "data": {"node_info": node}}
        assert list(asset_events(event, context, {"nodes": {}}, Translator())) == []
    (told,) = said
    assert "start ./run up again" in told


def test_what_was_touched_is_built_of_the_models_that_can_and_nothing_is_tested(definitions: dg.Definitions) -> None:
    dbt = PlayedDbt(ServiceError("enough"))
    played = {"dbt": dbt, "quality": NothingToLookAt()}
    definitions.resolve_job_def("touched_marts").execute_in_process(resources=played, raise_on_error=False)
    assert dbt.asked == ["build touched"]
    models = {name.rpartition(".")[2] for argument in dbt.arguments for name in argument.split()}
    assert {"intraday_ohlcv", "intraday_analytics", "int_daily_bars", "historical_ohlcv", "daily_analytics"} <= models
    assert models.isdisjoint({"bar_gaps", "bar_reconciliation", "realtime_prices", "stg_bars_1m"})
    assert list(dbt.arguments[-2:]) == ["--exclude-resource-type", "test"]


@pytest.mark.parametrize(("failure", "is_final"), [(ModelsFailedError("2 rows"), True), (ServiceError("away"), False)])
def test_a_failure_says_whether_it_would_come_again(
    definitions: dg.Definitions, failure: ServiceError, *, is_final: bool
) -> None:
    result = run(definitions, PlayedDbt(failure))
    assert not result.success
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None
    assert failed.user_failure_data.description == str(failure)
    assert failed.user_failure_data.metadata[IS_FINAL].value is is_final


def test_a_build_that_was_interrupted_is_not_told_as_a_failure(definitions: dg.Definitions) -> None:
    interrupted = ServiceError("dbt build failed")
    interrupted.__cause__ = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        _raise_failure("marts", run(definitions, PlayedDbt(interrupted)))
    with pytest.raises(ModelsFailedError, match="2 rows"):
        _raise_failure("marts", run(definitions, PlayedDbt(ModelsFailedError("2 rows"))))


def test_a_run_names_its_sessions() -> None:
    rebuild = MartsConfig(rebuild=True, start="2013-10-07", symbols=["spy"]).sessions()
    assert rebuild is not None
    assert (str(rebuild), rebuild.symbols) == (" of SPY from 2013-10-07", ("SPY",))
    assert MartsConfig(rebuild=True).sessions() == Rebuild()
    assert MartsConfig().sessions() is None
    wrong: tuple[dict[str, Any], ...] = (
        {"start": "2013-10-07"},
        {"symbols": ["spy"]},
        {"rebuild": True, "end": "yesterday"},
    )
    for options in wrong:
        with pytest.raises(UsageError):
            MartsConfig(**options).sessions()
