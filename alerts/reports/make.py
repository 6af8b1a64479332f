"""Making a report: read, build, keep. What the command line, Dagster and the delivery of reports call."""

from datetime import date, datetime
from typing import Final

from alerts.reports.build import build_report
from alerts.reports.made import Made
from alerts.reports.period import SESSION, period_of
from alerts.reports.reading import newest_session, read_facts
from alerts.reports.store import keep
from market.sessions import EXCHANGE_ZONE
from market.settings import Settings

FOLDER: Final = "reports"


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
    facts = read_facts(settings, period_of(kind, day, now))
    folder = settings.home / FOLDER
    report, is_new = keep(folder, build_report(facts, now))
    return Made(report, folder, is_new)
