"""Reports as an asset: each materialisation is a report that was made, with where it is and what is in it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

import dagster as dg
from pydantic import Field

from alerts.reports.made import Made
from alerts.reports.period import KINDS, SESSION
from market.errors import NoDataError, UsageError
from orchestration.assets.alerts import EVALUATION
from orchestration.assets.keys import OWNER, Group, asset_key
from orchestration.assets.marts import DBT_POOL
from orchestration.resources import Reports

REPORT: Final = asset_key(Group.REPORTS, "report")
READ: Final = (
    "anomalies",
    "bar_gaps",
    "daily_analytics",
    "data_quality",
    "indicator_definitions",
    "intraday_analytics",
    "market_breadth",
)
"""The marts that a report reads, beside the alerts."""


class ReportConfig(dg.Config):
    """Of which period."""

    kind: str = Field(default=SESSION, description=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")
    session: str | None = Field(
        default=None, description="A session of it, as 2013-10-07; the newest with data if not given."
    )

    send: bool = Field(default=False, description="Send it to the channels that want reports, each revision once.")

    def day(self) -> date | None:
        """Return the session.

        Raises
        ------
        UsageError
            If kind or session are not named rightly.
        """
        if self.kind not in KINDS:
            msg = f"There is no report of kind {self.kind!r}: it is {', '.join(KINDS)}."
            raise UsageError(msg)
        try:
            return date.fromisoformat(self.session) if self.session else None
        except ValueError as error:
            msg = f"The session is {self.session!r}: write a date as 2013-10-07."
            raise UsageError(msg) from error


# In the pool of dbt, so that it reads what a build has left, and none that is under way.
@dg.asset(
    key=REPORT,
    deps=[EVALUATION, *(asset_key(Group.MARTS, name) for name in READ)],
    group_name=Group.REPORTS.value,
    kinds={"html", "pdf"},
    owners=[OWNER],
    pool=DBT_POOL,
    output_required=False,
    description="The report of a session, a week or a month, as a page and as PDF; made again, it says what changed.",
)
def report(
    context: dg.AssetExecutionContext, config: ReportConfig, reports: dg.ResourceParam[Reports]
) -> Iterator[Any]:
    """Make a report; of a period without data there is none, which is no failure."""
    try:
        made = reports.make(datetime.now(UTC), config.kind, config.day())
    except NoDataError as error:
        context.log.info(f"No report: {error}")
        return
    yield report_result(made, is_sent=config.send and reports.send(made, datetime.now(UTC)))


def report_result(made: Made, *, is_sent: bool = False) -> dg.MaterializeResult[Any]:
    """Return a report as Dagster shows it."""
    document = made.report
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(made.page),
            "pdf": dg.MetadataValue.path(made.paper),
            "url": dg.MetadataValue.url(made.page.absolute().as_uri()),
            "all_reports": dg.MetadataValue.url(made.index.absolute().as_uri()),
            "period": f"{document.kind} {document.name}",
            "revision": document.revision,
            "is_new_revision": made.is_new,
            "changes": len(document.changes),
            "figures": len(document.figures),
            "is_sent": is_sent,
            "headline": dg.MetadataValue.md("\n\n".join(document.headline)),
        }
    )
