"""The laws as asset checks, on the tiny lake that is written out by hand."""

from pathlib import Path
from typing import Any

import dagster as dg

from market import tables
from orchestration.assets.laws import CHECKS, law_checks
from tests.unit.verify.tiny_lake import (
    BARS_TOPIC,
    QUOTES_TOPIC,
    TRADES_TOPIC,
    TinyLake,
    fill_bars,
    fill_others,
    fill_trades,
)
from verify.alert_snapshot import AlertSnapshot
from verify.alerts import prove_alerts
from verify.results import LawResult


class NothingRecorded(AlertSnapshot):
    """A database from before there were alerts."""

    def has_alerts(self) -> bool:
        return False


class PlayedLaws:
    """Proves the laws of a tiny lake."""

    def __init__(self, lake: TinyLake) -> None:
        self.lake = lake

    def prove(self) -> list[LawResult]:
        again = tiny_lake(self.lake.folder / "again")
        return [*self.lake.prove(), again.prove_indicators(), prove_alerts(NothingRecorded()), again.prove_gaps()]


def tiny_lake(folder: Path) -> TinyLake:
    lake = TinyLake(folder)
    fill_trades(lake)
    fill_bars(lake)
    fill_others(lake)
    lake.published.offsets = {(TRADES_TOPIC, 0): 11, (QUOTES_TOPIC, 0): 1, (BARS_TOPIC, 0): 2}
    return lake


def outcomes(lake: TinyLake) -> dict[str, Any]:
    job = dg.Definitions(
        asset_checks=[law_checks], resources={"laws": PlayedLaws(lake)}
    ).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=False)
    return {
        f"{event.asset_key.to_user_string()} {event.check_name}": event
        for event in result.get_asset_check_evaluations()
    }


def test_laws_that_hold_pass_their_checks_and_say_what_was_looked_at(tmp_path: Path) -> None:
    found = outcomes(tiny_lake(tmp_path / "lake"))
    assert {name: event.passed for name, event in found.items()} == {
        "lake/bronze_messages law_1_every_message_once": True,
        "postgres/bars_1m law_2_same_bars": True,
        "postgres/bars_1m law_3_same_indicators": True,
        "postgres/alerts law_4_alerts": True,
        "lake/feed_status law_5_no_silent_gap": True,
    }
    bars = found["postgres/bars_1m law_2_same_bars"].metadata
    assert (bars["trades"].value, bars["bars"].value, bars["rows_that_break_it"].value) == (4, 2, 0)


def test_a_broken_law_fails_its_check_and_shows_the_rows(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake")
    lake.published.bar_rows[0]["volume"] = 1
    found = outcomes(lake)
    assert found["lake/bronze_messages law_1_every_message_once"].passed
    broken = found["postgres/bars_1m law_2_same_bars"]
    assert not broken.passed
    assert broken.severity is dg.AssetCheckSeverity.ERROR
    (record,) = broken.metadata["offending"].records
    problem = f"bar differs in {tables.PG_BARS.qualified_name}"
    assert (record.data["problem"], broken.metadata["problems"].value) == (problem, {problem: 1})
    assert "volume" in record.data["where"]


def test_every_law_that_is_proved_has_a_check(tmp_path: Path) -> None:
    assert {result.law for result in PlayedLaws(tiny_lake(tmp_path / "lake")).prove()} == set(CHECKS)
