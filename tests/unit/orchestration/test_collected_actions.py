"""The asset of corporate actions in Dagster, with a source, a lake and a watchlist that are played by the test."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ingest.actions.collect import Collected
from ingest.actions.missing import Missing
from ingest.actions.source import start_of
from ingest.history.source import Limit, Problem, SourceError
from market.records import Split
from market.settings import Settings
from orchestration.actions import Outcome
from orchestration.assets import collected_actions
from orchestration.assets.keys import COLLECTED_ACTIONS
from orchestration.attempts import HAS_MORE_TAG, UNANSWERED_TAG, whole_attempts_at
from orchestration.history_requests import _actions_request, daily_actions
from orchestration.jobs import COLLECT_ACTIONS
from orchestration.session_ticks import newest_end
from warehouse.watchlist import Watched

NEW_YORK = ZoneInfo("America/New_York")
SETTINGS = Settings(_env_file=None)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BEGUN = LONG_AGO
SPLIT = Split("yahoo", "IBM", start_of(date(2014, 6, 9)), "2014-06-09", Decimal(2), Decimal(1))


class PlayedSource:
    name = "yahoo"
    limit = Limit(60, 60.0)


class PlayedActions:
    """A watchlist of IBM and SPY; ``asked_at`` says when each was asked for, ``found`` what a collection brings."""

    def __init__(self, **found: Any) -> None:
        self.found = {"missing": Missing([SPLIT], known=3), "problems": (), "unknown": frozenset(), **found}
        self.since = {"IBM": LONG_AGO, "SPY": LONG_AGO}
        self.asked_at: dict[str, datetime] = {}
        self.asked: list[tuple[str, ...]] = []
        self.refusal: SourceError | None = None
        self.during: Callable[[threading.Event], None] = lambda _stop: None

    def watchlist(self) -> list[Watched]:
        return [Watched(symbol, "default", since) for symbol, since in self.since.items()]

    def source(self) -> PlayedSource:
        if self.refusal is not None:
            raise self.refusal
        return PlayedSource()

    def due(self, watched: Sequence[Watched], since: datetime) -> list[Watched]:
        return [one for one in watched if self.asked_at.get(one.symbol, LONG_AGO) < since]

    def collect(
        self, symbols: Sequence[str], *, now: datetime, stop: threading.Event, on_answer: Callable[[int], None]
    ) -> Outcome:
        assert now <= datetime.now(UTC)
        self.asked.append(tuple(symbols))
        on_answer(len(symbols))
        self.during(stop)
        return Outcome(Collected(**{"answered": frozenset(symbols), **self.found}), len(symbols), 1.5)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def materialize(
    instance: dg.DagsterInstance, actions: PlayedActions, *, again: bool = False
) -> dg.ExecuteInProcessResult:
    asset = collected_actions.collected_actions(SETTINGS)
    config = {"ops": {"history__corporate_actions": {"config": {"again": again}}}}
    return dg.materialize(
        [asset], resources={"actions": actions}, instance=instance, run_config=config, raise_on_error=False
    )


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("history__corporate_actions")
    return {name: value.value for name, value in event.metadata.items()}


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data
    assert said is not None
    return said.description or ""


def test_a_run_asks_for_what_is_due_and_says_what_came_and_what_it_cost(instance: dg.DagsterInstance) -> None:
    actions = PlayedActions()
    actions.asked_at = {"SPY": datetime.now(UTC)}
    result = materialize(instance, actions)
    assert result.success
    assert actions.asked == [("IBM",)]
    found = metadata_of(result)
    assert {name: found[name] for name in ("symbols", "actions", "known_actions", "requests", "refused_rows")} == {
        "symbols": 1,
        "actions": 1,
        "known_actions": 3,
        "requests": 1,
        "refused_rows": 0,
    }
    assert found["source_allows"] == "60 requests in 60 s (1.7% of them)"
    assert [record.data for record in found["symbol_results"].records] == [{"symbol": "IBM", "actions": 1, "wrong": ""}]
    assert check_of(result).passed


def test_when_nothing_is_due_nobody_is_asked_unless_it_is_asked_for_again(instance: dg.DagsterInstance) -> None:
    actions = PlayedActions()
    actions.asked_at = dict.fromkeys(actions.since, datetime.now(UTC))
    result = materialize(instance, actions)
    assert result.success
    assert actions.asked == []
    assert "Nobody was asked." in metadata_of(result)["run"]
    assert materialize(instance, actions, again=True).success
    assert actions.asked == [("IBM", "SPY")]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"problems": (Problem("IBM", "no_session", "split of 2014-06-08"),)}, "no_session: split of 2014-06-08"),
        ({"unknown": frozenset({"IBM"})}, "the source does not know it"),
        (
            {"missing": Missing([], not_listed=[SPLIT])},
            "lists no more what it said of 2014-06-09: ./run actions fetch --withdraw takes it back",
        ),
    ],
)
def test_what_is_wrong_warns_by_symbol_and_the_run_succeeds(
    instance: dg.DagsterInstance, found: dict[str, Any], said: str
) -> None:
    result = materialize(instance, PlayedActions(**found))
    assert result.success
    check = check_of(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == "Something is wrong with IBM."
    assert metadata_of(result)["symbol_results"].records[0].data["wrong"] == said


def test_a_source_that_is_down_fails_at_once_and_says_of_which_symbols(instance: dg.DagsterInstance) -> None:
    actions = PlayedActions(answered=frozenset({"IBM"}), problems=(Problem("SPY", "no_answer", "yahoo answered 503."),))
    result = materialize(instance, actions)
    assert failure(result).startswith("yahoo did not answer for SPY: yahoo answered 503.")
    assert len(actions.asked) == 1
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[UNANSWERED_TAG] == "true"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_source_that_refuses_fails_once_and_says_what_to_do(instance: dg.DagsterInstance, is_first: bool) -> None:
    refusal = SourceError("alpaca needs a key. Set APCA_API_KEY_ID.")
    actions = PlayedActions() if is_first else PlayedActions(refusal=refusal, answered=frozenset({"IBM"}))
    actions.refusal = refusal if is_first else None
    assert failure(materialize(instance, actions)).startswith("alpaca needs a key. Set APCA_API_KEY_ID.")
    assert len(actions.asked) == (0 if is_first else 1)


def test_a_run_whose_time_is_up_fails_and_says_that_there_is_more(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collected_actions, "RUN_SECONDS", 0.0)
    actions = PlayedActions(answered=frozenset({"IBM"}), is_stopped=True)
    actions.during = lambda stop: _assert(stop.wait(10))
    result = materialize(instance, actions)
    assert failure(result).startswith("The time was up")
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[HAS_MORE_TAG] == "true"


def test_an_empty_watchlist_is_refused(instance: dg.DagsterInstance) -> None:
    actions = PlayedActions()
    actions.since = {}
    assert "./run watchlist add" in failure(materialize(instance, actions))


def requested(instance: dg.DagsterInstance, actions: PlayedActions, now: datetime) -> list[dg.RunRequest]:
    found, _ = _actions_request(instance, actions, actions.watchlist(), now, begun_at=BEGUN)  # type: ignore[arg-type]
    return found


def begin(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.DagsterRun:
    assert request.job_name == COLLECT_ACTIONS
    return instance.add_run(dg.DagsterRun(job_name=COLLECT_ACTIONS, status=dg.DagsterRunStatus.STARTED))


def test_a_symbol_that_is_added_is_asked_for_at_the_next_tick_and_once(instance: dg.DagsterInstance) -> None:
    actions, now = PlayedActions(), datetime.now(UTC)
    actions.asked_at = {"SPY": now}
    actions.since["IBM"] = now - timedelta(minutes=1)
    (request,) = requested(instance, actions, now)
    assert [again.run_key for again in requested(instance, actions, now)] == [request.run_key]
    run = begin(instance, request)
    assert requested(instance, actions, now) == []
    instance.report_run_failed(run)
    assert requested(instance, actions, now) == [], "it was asked for a moment ago"
    (later,) = requested(instance, actions, datetime.now(UTC) + timedelta(hours=1, minutes=1))
    assert later.run_key != request.run_key
    actions.since["NVDA"] = datetime.now(UTC) + timedelta(seconds=1)
    (for_new,) = requested(instance, actions, datetime.now(UTC) + timedelta(seconds=2))
    assert for_new.run_key not in {request.run_key, later.run_key}


def test_an_answer_holds_until_a_session_has_ended_and_then_for_the_time_of_the_schedule(
    instance: dg.DagsterInstance,
) -> None:
    actions = PlayedActions()
    ended = datetime(2026, 11, 25, 20, 0, tzinfo=NEW_YORK)
    actions.asked_at = dict.fromkeys(actions.since, ended - timedelta(hours=1))
    assert requested(instance, actions, ended + timedelta(minutes=89)) == []
    assert len(requested(instance, actions, ended + timedelta(minutes=90))) == 1
    actions.asked_at = dict.fromkeys(actions.since, newest_end(ended))
    assert requested(instance, actions, ended + timedelta(hours=12)) == []


def test_a_source_that_cannot_be_asked_is_not_asked(instance: dg.DagsterInstance) -> None:
    actions = PlayedActions()
    actions.refusal = SourceError("No key.")
    watched, now = actions.watchlist(), datetime.now(UTC)
    found, said = _actions_request(instance, actions, watched, now, begun_at=BEGUN)  # type: ignore[arg-type]
    assert (found, said) == ([], "No key.")


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        ("2026-11-25", [20]),  # an ordinary Wednesday
        ("2026-11-27", [17]),  # a half-day
        ("2026-11-26", []),  # Thanksgiving
    ],
)
def test_each_session_is_followed_by_one_run(day: str, hours: list[int]) -> None:
    def at(hour: int, actions: PlayedActions) -> dg.RunRequest | dg.SkipReason:
        moment = datetime.fromisoformat(f"{day}T{hour}:45").replace(tzinfo=NEW_YORK)
        with dg.build_schedule_context(scheduled_execution_time=moment) as context:
            found = daily_actions(context, actions=actions)
        assert isinstance(found, dg.RunRequest | dg.SkipReason)
        return found

    answers = {hour: at(hour, PlayedActions()) for hour in (17, 18, 19, 20)}
    assert [hour for hour, found in answers.items() if isinstance(found, dg.RunRequest)] == hours
    refused, empty = PlayedActions(), PlayedActions()
    refused.refusal, empty.since = SourceError("No key."), {}
    for hour in hours:
        assert answers[hour].run_key == f"{day} corporate_actions"  # type: ignore[union-attr]
        assert at(hour, refused) == dg.SkipReason("No key.")
        assert isinstance(at(hour, empty), dg.SkipReason)


def test_runs_from_the_job_and_from_the_page_of_the_asset_are_found(instance: dg.DagsterInstance) -> None:
    for job, selection in (
        (COLLECT_ACTIONS, None),
        ("__ASSET_JOB", frozenset({COLLECTED_ACTIONS})),
        ("__ASSET_JOB", frozenset({dg.AssetKey("other")})),
    ):
        status = dg.DagsterRunStatus.STARTED
        instance.add_run(dg.DagsterRun(job_name=job, status=status, asset_selection=selection))
    found = whole_attempts_at(instance, COLLECTED_ACTIONS, COLLECT_ACTIONS, LONG_AGO)
    assert [run.ended_at for run in found] == [None, None]


def _assert(is_true: bool) -> None:
    assert is_true
