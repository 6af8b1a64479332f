"""What is said of a field that is not computed."""

from collections.abc import Iterator

import pytest

from alerts.rules import fields
from market.indicators import family_of, indicators
from warehouse.dbt import dbt_variables


@pytest.fixture
def without_some(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No Bollinger bands, no stochastic and no relative volume."""
    chosen = {**dbt_variables()["indicators"], "bollinger": [], "stochastic": [], "relative_volume": []}
    monkeypatch.setattr(fields, "dbt_variables", lambda: {"indicators": chosen})
    fields.fields_of.cache_clear()
    yield
    fields.fields_of.cache_clear()


@pytest.mark.usefixtures("without_some")
@pytest.mark.parametrize(
    ("name", "indicator"),
    [
        ("relative_volume_20", "relative_volume"),
        ("bb_upper", "bollinger"),
        ("bb_upper_10_3", "bollinger"),
        ("stoch_d", "stochastic"),
    ],
)
def test_a_field_of_an_indicator_without_a_period_is_told_with_where_to_add_one(name: str, indicator: str) -> None:
    said = fields.find_field(name, "5m")
    assert isinstance(said, str)
    assert said.startswith(f"{name} is not computed")
    assert f"dbt_project/dbt_project.yml has no period of {indicator}. Add it there." in said


@pytest.mark.usefixtures("without_some")
def test_a_field_that_there_never_was_is_told_with_the_nearest() -> None:
    assert str(fields.find_field("bb_uper", "5m")).startswith("There is no field bb_uper.")


def test_every_column_with_a_period_is_of_an_indicator_that_can_be_configured() -> None:
    chosen = {**dbt_variables()["indicators"], "macd": [[12, 26, 9], [5, 35, 5]], "bollinger": [[20, 2], [10, 3]]}
    without = {column.name for column in indicators({family: [] for family in chosen})}
    for column in indicators(chosen):
        assert (family_of(column.name) in chosen) is (column.name not in without), column.name
