"""Which sessions were touched, and when: ``python -m spark_jobs.jobs.touched`` prints it as one line of JSON.

By topic and session the stamp of the newest batch that stored something of the session, in epoch microseconds. It is asked of the
lake and not of PostgreSQL: what is lost there was touched all the same. Two columns of each table are read, which are the same
for many rows in a row and take next to no room.
"""

import json
import sys
from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl
import structlog

from market import tables, topics
from market.errors import TapehouseError
from market.logs import log_to_standard_error
from market.settings import load_settings
from spark_jobs.io.delta import Lake

log = structlog.get_logger()

_STAMPS: Final = (
    (topics.TRADES, tables.TRADES, "ingested_at"),
    (topics.TRADES, tables.FEED_STATUS, "ingested_at"),
    (topics.TRADES, tables.BAR_REVISIONS, "revised_at"),  # a cancel or a correction touches the session of its trade
    (topics.QUOTES, tables.QUOTES, "ingested_at"),
    (topics.BARS, tables.VENDOR_BARS, "ingested_at"),
)


def touched(lake: Lake) -> dict[str, dict[date, int]]:
    """Return by topic and session the newest stamp, in epoch microseconds.

    Raises
    ------
    ServiceError
        If a file of the lake is missing or damaged.
    """
    found: dict[str, dict[date, int]] = {}
    for topic, table, stamp in _STAMPS:
        if not lake.exists(table):
            continue
        newest = pl.col(stamp).max().cast(pl.Int64)
        rows = lake.scan(table).filter(pl.col("session_date").is_not_null()).group_by("session_date").agg(newest)
        of_topic = found.setdefault(topic.name, {})
        for session_date, moment in lake.read(rows).iter_rows():
            of_topic[session_date] = max(moment, of_topic.get(session_date, moment))
    return found


def as_json(found: Mapping[str, Mapping[date, int]]) -> str:
    """Return what was found as one line."""
    return json.dumps({topic: {str(day): moment for day, moment in days.items()} for topic, days in found.items()})


def main() -> int:
    """Print what was touched; return the exit code."""
    log_to_standard_error()
    try:
        sys.stdout.write(f"{as_json(touched(Lake(load_settings().lake)))}\n")
    except TapehouseError as error:
        log.error("touched_failed", error=str(error))  # noqa: TRY400 - the text is the explanation
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
