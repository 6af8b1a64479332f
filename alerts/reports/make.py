"""Making a report: read, build, keep; and handing it to the delivery. What the command line and Dagster call."""

from contextlib import suppress
from datetime import date, datetime
from typing import Final

from alerts.notices import Report as Announced
from alerts.notices import announce_report
from alerts.reports.build import build_report
from alerts.reports.made import Made
from alerts.reports.period import SESSION, Period, period_of
from alerts.reports.reading import nearest_session, newest_session, read_facts
from alerts.reports.store import keep
from market.errors import NoDataError, ServiceError, UsageError
from market.sessions import EXCHANGE_ZONE
from market.settings import Settings
from warehouse.connection import connect

FOLDER: Final = "reports"


def send_report(settings: Settings, made: Made, now: datetime) -> bool:
    """Have a report sent to the channels that want reports, each revision once, and return whether it was not before.

    The page that goes along is that of the revision, whatever becomes of the report later.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    report = made.report
    again = f", revision {report.revision}: figures are not as they were" if report.revision > 1 else ""
    page = (made.folder / report.name).resolve() / made.page.name
    announced = Announced(
        subject=f"report:{report.kind}/{report.name}/{report.revision}",
        title=f"{report.title}{again}",
        text="\n".join((*report.headline, "", f"The whole report: {page}")),
        path=page,
        happened_at=datetime.fromisoformat(report.until),
        evidence={
            "kind": report.kind,
            "name": report.name,
            "revision": report.revision,
            "headline": list(report.headline),
        },
    )
    with connect(settings, application_name="tapehouse report") as connection:
        return announce_report(connection, now, announced)


def make_report(settings: Settings, now: datetime, kind: str = SESSION, day: date | None = None) -> Made:
    """Make the report of the session, week or month in which a day lies; without a day of the newest session with data.

    Raises
    ------
    UsageError
        If the day is no session, or has not begun; NoDataError if the marts have nothing of the period.
    ServiceError
        If PostgreSQL cannot be reached, or the PDF cannot be set.
    """
    if day is None:
        day = newest_session(settings, now.astimezone(EXCHANGE_ZONE).date())
    facts = read_facts(settings, _period(settings, kind, day, now))
    folder = settings.home / FOLDER
    report, is_new = keep(folder, build_report(facts, now))
    return Made(report, folder, is_new)


def _period(settings: Settings, kind: str, day: date, now: datetime) -> Period:
    """Return the period; if a day is none, the refusal names the nearest session that has data, as far as that can be asked."""
    try:
        return period_of(kind, day, now)
    except UsageError as error:
        nearest = None
        with suppress(NoDataError, ServiceError):
            nearest = nearest_session(settings, day)
        if nearest is None:
            raise
        msg = f"{error} The nearest session with data is {nearest}: --session {nearest}"
        raise UsageError(msg) from error
