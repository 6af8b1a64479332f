"""When reports are made: after the close of each session, and again when it has ended, with what was corrected meanwhile."""

from datetime import timedelta
from typing import Final

import dagster as dg

from alerts.reports.period import MONTH, SESSION, WEEK
from market.sessions import EXCHANGE_ZONE, Session, sessions_between
from orchestration.assets.reports import REPORT
from orchestration.jobs import REPORTS
from orchestration.session_ticks import session_closed_before, session_ended_before

REPORT_CRONS: Final = ("30 13-16 * * 1-5", "55 17-20 * * 1-5")
"""Exchange time: a quarter of an hour after the marts are built that follow the close; and after the post segment has ended."""

_LONGEST_PAUSE: Final = timedelta(days=14)
"""There is a session in any two weeks."""


@dg.schedule(
    name="session_reports",
    cron_schedule=list(REPORT_CRONS),
    execution_timezone=str(EXCHANGE_ZONE),
    job_name=REPORTS,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Makes the report of every session after its close, half-days included, and of the week and the month after "
    "their last; again when it has ended, if figures changed.",
)
def session_reports(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each report that the session makes due which has just closed, or ended."""
    tick = context.scheduled_execution_time
    for moment, session in (("closed", session_closed_before(tick)), ("ended", session_ended_before(tick))):
        if session is not None:
            day = session.session_date.isoformat()
            return [
                dg.RunRequest(
                    run_key=f"{kind} {day} {moment}",
                    run_config={
                        "ops": {REPORT.to_python_identifier(): {"config": {"kind": kind, "session": day, "send": True}}}
                    },
                    tags={"tapehouse/session_date": day, "tapehouse/report": kind},
                )
                for kind in reports_due(session)
            ]
    return dg.SkipReason("No session closed or ended in the hour before.")


def reports_due(session: Session) -> list[str]:
    """Return of which kinds a report is due after a session: of the week and the month after their last session."""
    day = session.session_date
    following = next(
        (one.session_date for one in sessions_between(day + timedelta(days=1), day + _LONGEST_PAUSE)),
        day + _LONGEST_PAUSE,
    )
    kinds = [SESSION]
    if following.isocalendar()[:2] != day.isocalendar()[:2]:
        kinds.append(WEEK)
    if (following.year, following.month) != (day.year, day.month):
        kinds.append(MONTH)
    return kinds
