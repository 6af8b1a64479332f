"""How long the report of a session of 500 symbols takes, from the questions to page and PDF, in a fresh home each time.

The marts are built from minutes as in ``./run bench marts.refresh``; rules have fired all over them, so that the report has as
many charts and alerts as there is room for.
"""

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from alerts.evaluation.evaluate import evaluate
from alerts.reports.make import make_report
from alerts.reports.period import SESSION
from alerts.rules.rule import Rule
from alerts.store import add_rules
from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone
from benchmarks.marts.refresh import SYMBOLS, put_minutes
from market.settings import Settings
from orchestration.dbt import Dbt
from warehouse.connection import connect
from warehouse.schema import migrate

SECONDS: Final = 20.0
REPEATS: Final = 3
SESSIONS: Final = 2
MINUTES: Final = 390

_DAY: Final = date(2024, 3, 8)
_MADE: Final = datetime(2024, 3, 1, tzinfo=UTC)
_NOW: Final = datetime(2024, 3, 8, 21, 30, tzinfo=UTC)
_RULES: Final = (
    Rule("breakout", "close outside bb_lower .. bb_upper", "all", "5m"),
    Rule("cross", "close crosses sma_20", "all", "15m"),
    Rule("level", "close above 300", "all", "5m", is_edge=False),
    Rule("never", "close above 1000000", "all", "1m"),
)

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figure."""
    with scratch_engines(settings, broker=False) as engines:
        migrate(engines)
        add_rules(engines, _RULES, _MADE)
        with connect(engines, application_name="tapehouse bench") as owner:
            put_minutes(owner, SESSIONS, 0, MINUTES)
        Dbt(engines).build(["--exclude-resource-type", "test"], lambda _event: None)
        done = evaluate(engines, _NOW)
        _log.info("marts_full", symbols=SYMBOLS, fired=done.fired)
        seconds = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder:
                begun = monotonic()
                made = make_report(engines.model_copy(update={"home": Path(folder)}), _NOW, SESSION, _DAY)
                seconds.append(monotonic() - begun)
                sizes = {"page_kb": made.page.stat().st_size // 1024, "pdf_kb": made.paper.stat().st_size // 1024}
                _log.info("report_made", seconds=round(seconds[-1], 1), figures=len(made.report.figures), **sizes)
    # The slowest: the first one meets tables that have just been filled, as it does after a close.
    yield alone(f"the report of a session of {SYMBOLS} symbols; the slowest", max(seconds), "s", SECONDS, seconds)
