"""Choices in dbt_project.yml that cannot be built are refused, with the value, what there is and the remedy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from market.errors import SettingsError
from market.settings import Settings
from orchestration.dbt import Dbt
from warehouse.dbt import DBT_PROJECT
from warehouse.dbt_choices import read_choices
from warehouse.dbt_indicators import copy_project, main, require_buildable

CHOSEN = read_choices(DBT_PROJECT)

ChangeProject = Callable[[Mapping[str, Any]], Path]


@pytest.fixture
def change_project(tmp_path: Path) -> ChangeProject:
    """Copies the project, and changes variables in the copy."""
    project = copy_project(CHOSEN["indicators"], tmp_path)

    def change(variables: Mapping[str, Any]) -> Path:
        file = project / "dbt_project.yml"
        declared = yaml.safe_load(file.read_text())
        declared["vars"] |= variables
        file.write_text(yaml.safe_dump(declared))
        return project

    return change


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"indicator_segments": ["lunch"]}, r"has 'lunch'\. There are: pre, regular, post\."),
        ({"indicator_segments": ["regular", "regular"]}, "has 'regular' twice"),
        ({"indicator_segments": []}, r"is \[\]\. Give it a list of one or more of: pre, regular, post\."),
        ({"indicator_segments": "regular"}, "is 'regular'. Give it a list"),
        ({"indicator_segments": [["regular"]]}, r"has \['regular'\]"),
        (
            {"daily_prices": ["split-adjusted"]},
            r"has 'split-adjusted'\. There are: split_adjusted, raw, total_return\.",
        ),
        ({"daily_prices": ["raw"]}, r"is \['raw'\] and lacks 'split_adjusted', of which daily_analytics.*Add it"),
        ({"daily_prices": None}, "is None. Give it a list"),
        ({"indicators": None}, "indicators of dbt_project.yml is None. Give it by indicator: sma, ema"),
        ({"indicators": {**CHOSEN["indicators"], "rsi": [0]}}, r"indicators\.rsi of dbt_project\.yml has 0"),
    ],
)
def test_a_choice_that_cannot_be_built_is_refused_with_the_value_and_the_choices(
    changed: dict[str, Any], said: str, change_project: ChangeProject
) -> None:
    with pytest.raises(SettingsError, match=said):
        require_buildable(change_project(changed))


def test_every_price_and_segment_can_be_chosen_in_any_order(change_project: ChangeProject) -> None:
    require_buildable(
        change_project(
            {
                "daily_prices": ["total_return", "raw", "split_adjusted"],
                "indicator_segments": ["post", "pre", "regular"],
            }
        )
    )


def test_a_file_that_is_no_yaml_is_refused_with_the_line(change_project: ChangeProject) -> None:
    project = change_project({})
    (project / "dbt_project.yml").write_text("name: tapehouse\nvars: [\n")
    with pytest.raises(SettingsError, match=r"cannot be read as YAML.*line 3"):
        read_choices(project)


def test_periods_that_were_changed_without_the_pages_name_the_command_that_writes_them(
    change_project: ChangeProject,
) -> None:
    project = change_project({"indicators": {**CHOSEN["indicators"], "rsi": [14, 7]}})
    with pytest.raises(SettingsError, match=r"were changed since.*Run \.venv/bin/python -m warehouse\.dbt_indicators"):
        require_buildable(project)


def test_nothing_is_parsed_of_a_project_that_cannot_be_built(change_project: ChangeProject, tmp_path: Path) -> None:
    settings = Settings().model_copy(update={"home": tmp_path / "home", "database_url": None})
    with pytest.raises(SettingsError, match="lunch"):
        Dbt(settings, change_project({"indicator_segments": ["lunch"]})).manifest()
    assert not (tmp_path / "home" / "dbt" / "parse").exists()


def test_the_command_that_writes_the_pages_says_what_is_wrong_and_no_more(
    change_project: ChangeProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = change_project({"indicators": {**CHOSEN["indicators"], "bollinger": [[20, -2]]}})
    monkeypatch.setattr("warehouse.dbt_indicators.DBT_PROJECT", project)
    assert main() == 2
    said = "has [20, -2]. It wants period and deviations: a whole number from 1 to 2,000, and a number above 0.\n"
    assert capsys.readouterr().err == f"Error: indicators.bollinger of dbt_project.yml {said}"
