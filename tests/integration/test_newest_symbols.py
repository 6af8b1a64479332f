"""Changes of symbol beside the days of sources that list all of a company's past under its newest symbol."""

import pytest

from market.settings import Settings
from tests.integration.action_rows import RUN, Lake
from tests.integration.dbt_runs import Dbt
from warehouse.actions import listed_before

pytestmark = pytest.mark.integration


def test_a_change_that_days_under_the_newest_symbol_contradict_is_suspicious_until_it_is_confirmed(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    """Yahoo has what was FB under META since ever; LEAN has it as FB, and says the change."""
    lake.closes("META", 0, "300", "300", "300", "300", "147", source="yahoo")
    lake.closes("FB", 0, "301", "301", "301")
    lake.change("FB", 3, "META")
    lake.split("META", 4, "2", source="yahoo")
    dbt(*RUN)
    assert lake.statuses() == [("FB", "symbol_change", "suspicious"), ("META", "split", "applied")]
    assert lake.adjusted("META") == ["150", "150", "150", "150", "147"]
    assert lake.adjusted("META", "current_symbol") == ["META"] * 5
    assert lake.adjusted("FB", "current_symbol") == ["FB"] * 3
    assert lake.as_known(4, "META") == lake.adjusted("META")
    assert listed_before(settings, "META", lake.days[3]) == ("yahoo", 3)
    assert listed_before(settings, "META", lake.days[0]) is None
    assert listed_before(settings, "FB", lake.days[3]) is None
    lake.change("FB", 3, "META", source="user")
    dbt(*RUN)
    assert lake.statuses()[0] == ("FB", "symbol_change", "applied")
    assert lake.adjusted("META", "current_symbol") == ["None"] * 3 + ["META"] * 2
    assert lake.adjusted("FB") == ["150.5"] * 3


def test_of_a_symbol_that_goes_on_a_change_is_suspicious_if_its_past_is_that_of_the_newest(
    lake: Lake, dbt: Dbt
) -> None:
    """Yahoo's GOOG was GOOCV before, and never GOOGL."""
    lake.closes("GOOG", 0, "100", "100", "100", "50", source="yahoo")
    lake.change("GOOG", 2, "GOOGL")
    lake.split("GOOG", 3, "2", source="yahoo")
    dbt(*RUN)
    assert lake.statuses() == [("GOOG", "symbol_change", "suspicious"), ("GOOG", "split", "applied")]
    assert lake.adjusted("GOOG") == ["50"] * 4


def test_a_change_is_applied_if_only_days_after_it_are_of_a_source_that_lists_the_newest_symbol(
    lake: Lake, dbt: Dbt
) -> None:
    lake.closes("FB", 0, "300", "300", source="yahoo")  # fetched before the change
    lake.closes("META", 2, "300", "150", source="yahoo")
    lake.change("FB", 2, "META")
    lake.split("META", 3, "2", source="yahoo")
    dbt(*RUN)
    assert lake.statuses()[0] == ("FB", "symbol_change", "applied")
    assert lake.adjusted("FB") == ["150", "150"]
    assert lake.adjusted("FB", "current_symbol") == ["META"] * 2
