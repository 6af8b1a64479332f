"""History's assets in Dagster, with a source, a lake and a watchlist that are played by the test."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ingest.history.backfill import Progress
from ingest.history.plan import Missing, make_plan
from ingest.history.source import Limit, Offer, Problem, QuotaUsedUpError, SourceError
from ingest.history.summary import Summary, SymbolResult
from market.sessions import Session, sessions_between
from market.settings import Settings
from orchestration.assets import collected
from orchestration.assets.collected import collected_bars
from orchestration.assets.keys import DAILY_BARS
from orchestration.attempts import ASKED_AT_TAG, HAS_MORE_TAG, REFUSED_TAG, UNANSWERED_TAG
from orchestration.history import Outcome, Series, series_of
from orchestration.partitions import SYMBOL_GROUPS, history_key, history_partitions, history_range_tags
from warehouse.watchlist import Watched

FIRST, LAST = date(2026, 11, 16), date(2026, 11, 20)
SESSIONS = list(sessions_between(FIRST, LAST))
DAYS = [session.session_date.isoformat() for session in SESSIONS]
SETTINGS = Settings(_env_file=None)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class PlayedSource:
    """Has a name and a limit."""

    name = "yahoo"
    limit = Limit(60, 60.0)


class PlayedHistory:
    """A watchlist of three symbols in two groups; ``results`` and ``left`` are what a collection brings and leaves."""

    series = series_of(SETTINGS)

    def __init__(self, results: Mapping[str, SymbolResult] | None = None, left: Missing | None = None) -> None:
        self.results = dict(results or {})
        self.left = left or {}
        self.asked: list[tuple[tuple[str, ...], date, date]] = []
        self.asked_again: list[bool] = []
        self.accepted_jumps: list[bool] = []
        self.refusal: SourceError | None = None
        self.quota: QuotaUsedUpError | None = None
        self.during: Callable[[threading.Event], None] = lambda _stop: None

    def watchlist(self) -> list[Watched]:
        return [
            Watched("IBM", "default", LONG_AGO),
            Watched("SPY", "default", LONG_AGO),
            Watched("NVDA", "tech", LONG_AGO),
        ]

    def source(self, series: Series) -> PlayedSource:
        assert series in self.series
        if self.refusal is not None:
            raise self.refusal
        return PlayedSource()

    def stored(
        self, series: Series, symbols: Sequence[str], sessions: Sequence[Session]
    ) -> Mapping[tuple[str, date], int]:
        assert series in self.series
        return {(symbol, session.session_date): 1 for symbol in symbols for session in sessions}

    def collect(
        self,
        series: Series,
        symbols: Sequence[str],
        sessions: Sequence[Session],
        *,
        now: datetime,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        again: bool = False,
        accepts_jumps: bool = False,
    ) -> Outcome:
        self.asked_again.append(again)
        self.accepted_jumps.append(accepts_jumps)
        assert series in self.series
        assert all(session.post_close_at <= now for session in sessions)
        on_progress(Progress(0, 1, 0, 0))
        self.asked.append((tuple(symbols), sessions[0].session_date, sessions[-1].session_date))
        self.during(stop)
        missing = {symbol: [(0, len(sessions))] for symbol in self.results}
        plan = make_plan(symbols, sessions, missing, Offer("1d"), today=LAST, limit=PlayedSource.limit)
        results = {symbol: self.results.get(symbol, SymbolResult()) for symbol in symbols}
        return Outcome(plan, Summary(results, len(plan.asks), 1.5, stopped=stop.is_set(), quota=self.quota), self.left)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        local.add_dynamic_partitions(str(SYMBOL_GROUPS.name), ["default", "energy", "tech"])
        yield local


def done(asked: int = 5, **others: Any) -> SymbolResult:
    return SymbolResult(asked=asked, collected=asked, bars=asked, **others)


def materialize(
    instance: dg.DagsterInstance,
    history: PlayedHistory,
    *,
    group: str = "default",
    first: date = FIRST,
    last: date = LAST,
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    daily, _ = collected_bars(SETTINGS)
    range_tags = tags or history_range_tags(first, last, group)
    resources = {"history": history}
    return dg.materialize(
        [daily],
        resources=resources,
        instance=instance,
        tags=range_tags,
        raise_on_error=False,
        selection=[DAILY_BARS],
        run_config={"ops": {daily.op.name: {"config": dict(config or {})}}},
    )


def materialized(instance: dg.DagsterInstance) -> dict[str, dict[str, Any]]:
    """Return the metadata of each partition that was materialized."""
    found = instance.fetch_materializations(DAILY_BARS, limit=100).records
    events = [record.asset_materialization for record in found]
    return {
        str(event.partition): {name: value.value for name, value in event.metadata.items()} for event in events if event
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data
    assert said is not None
    return said.description or ""


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_partitions_are_sessions_by_groups_named_alike_in_tags_and_keys() -> None:
    partitions = history_partitions()
    assert partitions.partition_dimension_names == ["session", "symbol_group"]
    assert str(history_key(LAST, "tech")) == "2026-11-20|tech"
    assert history_range_tags(FIRST, LAST, "tech") == {
        "dagster/asset_partition_range_start": "2026-11-16|tech",
        "dagster/asset_partition_range_end": "2026-11-20|tech",
    }


def test_a_range_of_a_group_is_one_run_that_says_what_came_and_what_it_cost(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory({"IBM": done(), "SPY": done()})
    result = materialize(instance, history)
    assert result.success
    assert history.asked == [(("IBM", "SPY"), FIRST, LAST)]
    found = materialized(instance)
    assert set(found) == {f"{day}|default" for day in DAYS}
    assert {one["dagster/row_count"] for one in found.values()} == {2}
    newest = found["2026-11-20|default"]
    said = "2026-11-16 to 2026-11-20 (5 sessions), 2 symbols of default: 10 bars by 2 requests to yahoo in 1.5 s."
    assert newest["run"] == found["2026-11-16|default"]["run"] == said
    assert (newest["bars"], newest["requests"], newest["asked_sessions"]) == (10, 2, 10)
    assert newest["source_allows"] == "60 requests in 60 s (3.3% of them)"
    assert "requests" not in found["2026-11-19|default"]
    assert check_of(result).passed


def test_several_groups_may_be_one_run(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory()
    start, end = history_key(LAST, "default"), history_key(LAST, "tech")
    tags = {
        "dagster/asset_partition_range_start": str(start),
        "dagster/asset_partition_range_end": str(end),
    }
    assert materialize(instance, history, tags=tags).success
    assert history.asked == [(("IBM", "NVDA", "SPY"), LAST, LAST)]
    assert set(materialized(instance)) == {"2026-11-20|default", "2026-11-20|tech"}


def test_a_repetition_of_a_run_by_hand_is_for_the_symbols_that_were_watched_then(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory()
    asked = LONG_AGO + timedelta(days=3)
    tags = {**history_range_tags(FIRST, LAST, "default"), ASKED_AT_TAG: asked.isoformat()}
    symbols = [Watched("IBM", "default", LONG_AGO), Watched("SPY", "default", asked + timedelta(seconds=1))]
    history.watchlist = lambda: symbols  # type: ignore[method-assign]
    assert materialize(instance, history, tags=tags).success
    assert history.asked == [(("IBM",), FIRST, LAST)]
    assert materialize(instance, history).success
    assert history.asked[1:] == [(("IBM", "SPY"), FIRST, LAST)]


def test_partitions_of_which_nothing_was_missing_are_materialized(instance: dg.DagsterInstance) -> None:
    assert materialize(instance, PlayedHistory()).success
    assert len(materialized(instance)) == len(DAYS)
    assert materialized(instance)["2026-11-20|default"]["run"].endswith("nothing was missing. Nobody was asked.")


def test_sessions_without_a_bar_are_a_warning_that_says_which_and_the_partitions_are_done(
    instance: dg.DagsterInstance,
) -> None:
    days = [session.session_date for session in SESSIONS]
    results = {"IBM": done(), "SPY": done(without_bars=days[1:4])}
    result = materialize(instance, PlayedHistory(results))
    assert len(materialized(instance)) == len(SESSIONS)
    check = check_of(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    said = f"no bar of 3 sessions ({days[1]} … {days[3]}); --again asks once more"
    assert check.description == f"SPY: {said}."
    assert check.metadata["sessions_without_bars"].value == 3
    table = check.metadata["symbol_results"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [(record.data["symbol"], record.data["wrong"]) for record in table.records] == [("SPY", said), ("IBM", "")]


def test_what_is_wrong_with_a_symbol_is_a_warning_with_its_name_and_its_missing_sessions_are_not_materialized(
    instance: dg.DagsterInstance,
) -> None:
    wrong = SymbolResult(
        asked=5,
        bars=4,
        problems=[Problem("SPY", "prices_out_of_order", "high 1 below low 2")],
        problem_counts=Counter({"prices_out_of_order": 1}),
    )
    result = materialize(instance, PlayedHistory({"IBM": done(), "SPY": wrong}, {"SPY": [(2, 3)]}))
    assert result.success
    assert set(materialized(instance)) == {f"{day}|default" for day in (*DAYS[:2], *DAYS[3:])}
    check = check_of(result)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description == "Something is wrong with SPY."
    table = check.metadata["symbol_results"]
    assert isinstance(table, dg.TableMetadataValue)
    first = table.records[0].data
    assert (first["symbol"], first["wrong"]) == ("SPY", "once prices_out_of_order; high 1 below low 2")


def test_what_the_source_does_not_have_any_more_is_not_materialized(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory({"IBM": done(3, too_old=2)}, {"IBM": [(0, 2)]})
    result = materialize(instance, history)
    assert result.success
    assert set(materialized(instance)) == {f"{day}|default" for day in DAYS[2:]}
    check = check_of(result)
    assert not check.passed
    assert check.description == "2 sessions are too old for the source, and are not materialized."


def test_a_source_that_is_down_fails_at_once_says_of_which_symbols_and_keeps_what_it_answered(
    instance: dg.DagsterInstance,
) -> None:
    left = SymbolResult(asked=5, collected=2, bars=2, reason="yahoo answered 503.")
    history = PlayedHistory({"IBM": done(is_unknown=True), "SPY": left}, {"SPY": [(2, 5)]})
    result = materialize(instance, history)
    assert not result.success
    assert len(history.asked) == 1, "a run that waits for a retry would keep its place in the pool of the source"
    said = "yahoo did not answer everything. SPY: yahoo answered 503. What it answered is in the lake."
    assert failure(result) == said
    assert set(materialized(instance)) == {f"{day}|default" for day in DAYS[:2]}
    check = check_of(result)
    assert check.description == "There is no answer for SPY: yahoo answered 503. Something is wrong with IBM."
    table = check.metadata["symbol_results"]
    assert isinstance(table, dg.TableMetadataValue)
    assert {record.data["symbol"]: record.data["wrong"] for record in table.records} == {
        "IBM": "the source does not know it; --again asks once more",
        "SPY": "yahoo answered 503.",
    }
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[UNANSWERED_TAG] == "true"


@pytest.mark.parametrize("code", ["unreadable", "refused", "wrong_time_zone", "wrong_currency"])
def test_a_symbol_that_brought_nothing_is_a_warning_and_no_partition_of_its_group_is_materialized(
    instance: dg.DagsterInstance, code: str
) -> None:
    bad = SymbolResult(asked=5, problems=[Problem("SPY", code, "it is not one")], problem_counts=Counter({code: 1}))
    result = materialize(instance, PlayedHistory({"IBM": done(), "SPY": bad}, {"SPY": [(0, 5)]}))
    assert result.success
    assert materialized(instance) == {}
    assert check_of(result).description == "Something is wrong with SPY."


def test_what_is_for_other_plans_only_is_not_materialized_and_said(instance: dg.DagsterInstance) -> None:
    result = materialize(instance, PlayedHistory({"IBM": done(3, withheld=2)}, {"IBM": [(0, 2)]}))
    assert set(materialized(instance)) == {f"{day}|default" for day in DAYS[2:]}
    said = "2 sessions are for other plans of the source only, and are not materialized."
    assert check_of(result).description == said


@pytest.mark.parametrize("config", [{}, {"again": True}, {"accept_jumps": True}])
def test_a_run_can_be_told_to_ask_again_and_to_believe_jumps(
    instance: dg.DagsterInstance, config: dict[str, bool]
) -> None:
    history = PlayedHistory()
    assert materialize(instance, history, config=config).success
    assert history.asked_again == [config.get("again", False)]
    assert history.accepted_jumps == [config.get("accept_jumps", False)]


def test_a_quota_that_is_used_up_fails_once_says_when_to_come_again_and_keeps_what_came(
    instance: dg.DagsterInstance,
) -> None:
    left = SymbolResult(asked=5, collected=2, bars=2, reason="The requests are used up.")
    history = PlayedHistory({"IBM": done(), "SPY": left}, {"SPY": [(2, 5)]})
    history.quota = QuotaUsedUpError("The requests are used up.", datetime(2026, 11, 21, 8, 30, tzinfo=UTC))
    result = materialize(instance, history)
    assert len(history.asked) == 1
    assert failure(result).endswith("What it answered is in the lake. Come again after 2026-11-21 08:30 UTC.")
    assert set(materialized(instance)) == {f"{day}|default" for day in DAYS[:2]}


def test_a_source_that_cannot_be_asked_fails_once_and_says_what_to_do(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory()
    history.refusal = SourceError("alpaca needs a key. Set APCA_API_KEY_ID.")
    result = materialize(instance, history)
    assert failure(result) == "alpaca needs a key. Set APCA_API_KEY_ID."
    assert history.asked == []


def test_a_run_that_the_source_refuses_while_it_is_asked_says_so_of_itself(instance: dg.DagsterInstance) -> None:
    def refuse(_stop: threading.Event) -> None:
        msg = "alpaca refuses the keys."
        raise SourceError(msg)

    history = PlayedHistory()
    history.during = refuse
    result = materialize(instance, history)
    assert failure(result) == "alpaca refuses the keys."
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[REFUSED_TAG] == "true"


def test_a_group_without_symbols_is_refused_and_says_how_to_add_some(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory()
    assert "./run watchlist add --group energy" in failure(materialize(instance, history, group="energy"))
    assert history.asked == []


def test_a_run_whose_time_is_up_keeps_what_came_and_says_that_there_is_more(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collected, "RUN_SECONDS", 0.0)
    half = SymbolResult(asked=5, collected=3, bars=3)
    history = PlayedHistory({"IBM": done(), "SPY": half}, {"SPY": [(3, 5)]})
    history.during = _waits_for
    result = materialize(instance, history)
    assert failure(result).startswith("The time was up")
    assert len(history.asked) == 1
    assert set(materialized(instance)) == {f"{day}|default" for day in DAYS[:3]}
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[HAS_MORE_TAG] == "true"


def test_a_run_that_is_stopped_ends_the_fetch_and_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    history = PlayedHistory({"IBM": done(), "SPY": SymbolResult(asked=5, collected=3, bars=3)}, {"SPY": [(3, 5)]})
    ended = threading.Event()

    def stop_run(stop: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        _waits_for(stop)
        ended.set()

    history.during = stop_run
    result = materialize(instance, history)
    assert not result.success
    assert failure(result).startswith("Stopped; what was answered is in the lake.")
    assert ended.is_set()
    assert len(history.asked) == 1
    assert set(materialized(instance)) == {f"{day}|default" for day in DAYS[:3]}, "what was complete by then"


def _waits_for(stop: threading.Event) -> None:
    assert stop.wait(10), "Nobody asked to stop."
