"""What the check of a tier makes of the sessions that it lacks, and of how far back its source goes."""

from datetime import UTC, date, datetime

import dagster as dg
import pytest

from market.settings import Settings
from market.tiers import INTRADAY
from orchestration.assets.tiers import collected_result
from orchestration.history import History
from warehouse.tiers import Uncollected

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)  # the evening of the 19th in New York
REACH = date(2026, 9, 21)
OLD = Uncollected("IBM", 0, None, too_old=300)


def history(feed: str) -> History:
    return History(Settings.model_validate({"TAPEHOUSE_INTRADAY_HISTORY_FEED": feed}))


@pytest.mark.parametrize(
    ("feed", "reach"), [("yahoo", REACH), ("alpaca", None), ("alphavantage", None), ("none", None), ("", None)]
)
def test_the_source_that_is_set_says_how_far_back_it_goes(feed: str, reach: date | None) -> None:
    assert history(feed).reach(history(feed).series[1], NOW) == reach


def result(*lacking: Uncollected) -> dg.AssetCheckResult:
    return collected_result(INTRADAY, history("yahoo").series[1], REACH, lacking)


def test_what_the_source_does_not_have_any_more_is_said_and_does_not_warn() -> None:
    found = result(OLD)
    assert found.passed
    said = {name: value.value for name, value in found.metadata.items()}
    assert said == {
        "symbols": 0,
        "sessions": 0,
        "source": "yahoo",
        "source_reaches_back_to": "2026-09-21",
        "sessions_before_that": 300,
    }


def test_what_the_source_has_and_nobody_asked_for_warns() -> None:
    found = result(OLD, Uncollected("SPY", 2, date(2026, 11, 18), too_old=7))
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["sessions"].value == 2
    assert found.metadata["sessions_before_that"].value == 307
    table = found.metadata["lacking"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["symbol"] for record in table.records] == ["SPY"]
