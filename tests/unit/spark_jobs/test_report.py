"""The deep path as a process: what it is asked, what it says, and how it ends."""

import json
from datetime import date
from pathlib import Path

import pytest

from market.errors import ServiceError, UsageError
from market.settings import Settings, load_settings
from spark_jobs import report
from spark_jobs.report import Differences, RecomputeRequest, SessionReport, recompute

MONDAY = date(2013, 10, 7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty home without any engine."""
    unset = {"database_url": None, "kafka_bootstrap_servers": None, "lake_uri": None}
    return load_settings().model_copy(update={"home": tmp_path, **unset})


@pytest.mark.parametrize("day", [None, MONDAY])
def test_a_report_is_the_same_after_its_way_as_json(day: date | None) -> None:
    sent = SessionReport(day, 5, 1, 3, 2, {"silver/trades": Differences(1, 2, 3)}, is_repaired=True, seconds=0.25)
    line = json.loads(json.dumps(sent.to_json()))
    assert SessionReport.from_json(line) == sent
    assert line["differing"] == 6
    assert line["session_date"] == (None if day is None else "2013-10-07")


def test_a_request_is_passed_on_whole() -> None:
    whole = RecomputeRequest(MONDAY, date(2013, 10, 8), ("SPY", "IBM"), dry_run=True)
    assert " ".join(whole.arguments()) == "--start 2013-10-07 --end 2013-10-08 --symbols SPY,IBM --dry-run"
    assert RecomputeRequest(MONDAY, MONDAY).arguments() == ["--start", "2013-10-07", "--end", "2013-10-07"]


def test_wrong_usage_is_told_as_the_process_says_it(settings: Settings) -> None:
    lines: list[str] = []
    with pytest.raises(UsageError, match="PostgreSQL is not running here"):
        list(recompute(settings, RecomputeRequest(MONDAY, MONDAY), lines.append))


def test_a_process_that_ends_too_early_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_MODULE", "no_such_module")
    with pytest.raises(ServiceError, match="ended with code 1 before it was done"):
        list(recompute(settings, RecomputeRequest(MONDAY, MONDAY), lambda _line: None))
