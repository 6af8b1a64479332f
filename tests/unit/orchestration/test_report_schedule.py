"""When which report is asked for. Expected closes come from the exchange's published calendar, not from the code."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from alerts.reports.document import Report
from alerts.reports.made import Made
from market.errors import NoDataError
from orchestration.assets.reports import REPORT, report, report_result
from orchestration.report_schedule import REPORT_CRONS, session_reports

NEW_YORK = ZoneInfo("America/New_York")
DOCUMENT = Report(
    "session",
    "2013-10-07",
    "Session",
    "Regular",
    "2013-10-07T20:00:00+00:00",
    "now",
    "1:1:",
    ("1 up", "2 down"),
    (),
    figures={},
)


def ticks_of(day: str) -> list[datetime]:
    """Return the moments at which the schedule's crons fire on a weekday; asked for a weekend, as if they fired then too."""
    assert REPORT_CRONS == ("30 13-16 * * 1-5", "55 17-20 * * 1-5")
    times = [f"{hour}:30" for hour in (13, 14, 15, 16)] + [f"{hour}:55" for hour in (17, 18, 19, 20)]
    return [datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=NEW_YORK) for time in times]


def requested_at(day: str) -> dict[str, list[str]]:
    """Return by the exchange's time of that day which reports the schedule asks for."""
    found = {}
    for tick in ticks_of(day):
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick.astimezone(UTC))
            answer: Any = session_reports(context)
        if isinstance(answer, dg.SkipReason):
            continue
        found[f"{tick:%H:%M}"] = [request.tags["tapehouse/report"] for request in answer]
        assert all(request.tags["tapehouse/session_date"] == day for request in answer)
        assert len({request.run_key for request in answer}) == len(answer)
    return found


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-11-25", {"16:30": ["session"], "20:55": ["session"]}),  # an ordinary Wednesday
        (
            "2026-11-27",
            {"13:30": ["session", "week"], "17:55": ["session", "week"]},
        ),  # half-day, Friday; Monday is the 30th
        (
            "2026-12-24",
            {"13:30": ["session", "week"], "17:55": ["session", "week"]},
        ),  # half-day, Thursday; Christmas is Friday
        ("2026-11-30", {"16:30": ["session", "month"], "20:55": ["session", "month"]}),  # a Monday that ends a month
        (
            "2026-12-31",
            {"16:30": ["session", "week", "month"], "20:55": ["session", "week", "month"]},
        ),  # no Friday session
        ("2026-07-02", {"16:30": ["session", "week"], "20:55": ["session", "week"]}),  # the 3rd is a holiday
        (
            "2026-05-29",
            {"16:30": ["session", "week", "month"], "20:55": ["session", "week", "month"]},
        ),  # Friday, the 31st Sunday
        ("2026-11-26", {}),  # Thanksgiving
        ("2026-11-21", {}),  # a Saturday
    ],
)
def test_reports_are_asked_for_after_the_close_and_after_the_end_of_each_session(
    day: str, expected: dict[str, list[str]]
) -> None:
    assert requested_at(day) == expected


def test_the_close_and_the_end_ask_by_different_keys_so_that_what_was_corrected_meanwhile_is_told() -> None:
    keys = []
    for tick in ticks_of("2026-11-30"):
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick.astimezone(UTC))
            answer: Any = session_reports(context)
        keys += [] if isinstance(answer, dg.SkipReason) else [request.run_key for request in answer]
    assert len(keys) == len(set(keys)) == 4


class FixedReports:
    """Gives the same report, and keeps what was asked for and sent; without one there is no data."""

    def __init__(self, made: Made | None) -> None:
        self.made = made
        self.sent: list[Made] = []
        self.asked: list[tuple[str, date | None]] = []

    def make(self, now: datetime, kind: str, day: date | None) -> Made:
        assert now.tzinfo is not None
        self.asked.append((kind, day))
        if self.made is None:
            msg = "There is no data."
            raise NoDataError(msg)
        return self.made

    def send(self, made: Made, now: datetime) -> bool:
        assert now.tzinfo is not None
        self.sent.append(made)
        return True


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def materialize(
    instance: dg.DagsterInstance, reports: FixedReports, config: dict[str, Any]
) -> dg.ExecuteInProcessResult:
    run_config = {"ops": {REPORT.to_python_identifier(): {"config": config}}}
    return dg.materialize(
        [report],
        instance=instance,
        resources={"reports": reports},
        run_config=run_config,
        raise_on_error=False,
    )


def test_a_run_says_where_the_report_is_and_what_is_in_it(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    reports = FixedReports(Made(replace(DOCUMENT, revision=3), tmp_path, is_new=True))
    assert materialize(instance, reports, {"kind": "week", "session": "2013-10-07"}).success
    assert reports.asked == [("week", date(2013, 10, 7))]
    assert reports.sent == []
    event = instance.get_latest_materialization_event(REPORT)
    assert event is not None
    assert event.asset_materialization is not None
    said = event.asset_materialization.metadata
    assert said["page"].value == str(tmp_path / "2013-10-07" / "report.html")
    assert said["url"].value == (tmp_path / "2013-10-07" / "report.html").as_uri()
    assert said["pdf"].value == str(tmp_path / "2013-10-07" / "report.pdf")
    assert (said["revision"].value, said["is_new_revision"].value) == (3, True)
    assert said["headline"].value == "1 up\n\n2 down"


def test_a_report_is_sent_where_the_run_says_so_as_the_schedule_s_do(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    made = Made(DOCUMENT, tmp_path, is_new=True)
    reports = FixedReports(made)
    tick = datetime(2026, 11, 25, 21, 30, tzinfo=UTC)
    answer: Any = session_reports(dg.build_schedule_context(instance=instance, scheduled_execution_time=tick))
    (config,) = answer[0].run_config["ops"].values()
    assert materialize(instance, reports, config["config"]).success
    assert reports.asked == [("session", date(2026, 11, 25))]
    assert reports.sent == [made]


def test_a_period_without_data_is_no_failure_and_no_report(instance: dg.DagsterInstance) -> None:
    assert materialize(instance, FixedReports(None), {}).success
    assert instance.get_latest_materialization_event(REPORT) is None


@pytest.mark.parametrize("config", [{"kind": "year"}, {"session": "7.10.2013"}])
def test_a_wrong_config_fails_and_is_not_asked_for(
    instance: dg.DagsterInstance, config: dict[str, Any], tmp_path: Path
) -> None:
    reports = FixedReports(Made(DOCUMENT, tmp_path, is_new=True))
    assert not materialize(instance, reports, config).success
    assert reports.asked == []


def test_a_report_that_did_not_change_says_so(tmp_path: Path) -> None:
    said = report_result(Made(DOCUMENT, tmp_path, is_new=False)).metadata
    assert said is not None
    assert said["is_new_revision"] is False
