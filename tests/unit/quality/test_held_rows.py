"""Suites held against rows, without an engine: each kind of expectation is met by right values and broken by wrong ones."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from market.settings import Settings
from quality.outcomes import Broken, Outcome, joined
from quality.overview import write_overview
from quality.stored import Checked
from quality.suites import Suites

RIGHT: dict[str, Any] = {
    "symbol": "BRK.B",
    "segment": "pre",
    "open": 2.0,
    "low": 1.0,
    "high": 2.0,
    "rsi_14": 100.0,
    "size": 1,
}


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Suites:
    return Suites(tmp_path_factory.mktemp("quality"), Settings())


def hold(suites: Suites, *rows: dict[str, Any]) -> Outcome:
    frame = pd.DataFrame([{"id": number, **row} for number, row in enumerate(rows)])
    return suites.hold_frame(Checked("marts.some", dict.fromkeys(RIGHT, "says"), ("id",), None), frame)


def test_right_values_hold_and_nulls_are_not_spoken_of(suites: Suites) -> None:
    outcome = hold(suites, RIGHT, {**dict.fromkeys(RIGHT), "size": 1}, RIGHT)
    assert (outcome.holds, outcome.rows, outcome.expectations) == (True, 3, 7 + 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"symbol": "brk"}, r"symbol matches ^[A-Z][A-Z0-9.\-]{0,14}$"),
        ({"segment": "lunch"}, "segment is one of pre, regular, post"),
        ({"size": 0}, "size is 1 or more"),
        ({"rsi_14": 100.1}, "rsi_14 is -1e-09 or more and 100 or less"),
        ({"open": 3.0}, "open is not above high"),
        ({"low": 0.0}, "low is above 0"),
    ],
)
def test_a_wrong_value_is_shown_with_its_key(suites: Suites, wrong: dict[str, Any], says: str) -> None:
    outcome = hold(suites, RIGHT, {**RIGHT, **wrong}, RIGHT)
    (broken,) = outcome.broken
    assert (broken.says, broken.rows) == (says, 1)
    (row,) = broken.examples
    assert row["id"] == 1
    assert wrong.items() <= row.items()


def test_parts_of_a_table_are_one_outcome(suites: Suites) -> None:
    low, both = {**RIGHT, "low": -1.0}, {**RIGHT, "low": -1.0, "size": 0}
    outcome = joined([hold(suites, RIGHT, low), hold(suites, RIGHT), hold(suites, both, both)])
    assert outcome.rows == 5
    assert [(one.says, one.rows, len(one.examples)) for one in outcome.broken] == [
        ("low is above 0", 3, 3),
        ("size is 1 or more", 2, 2),
    ]


def test_the_first_page_has_the_newest_outcome_of_each_table(tmp_path: Path) -> None:
    wrong = Outcome("marts.some", 4, 7, (Broken("low is above 0", 2, ({"id": 3, "low": "<b>"},)),))
    write_overview(tmp_path, [Outcome("lake.other", 2, 3, ()), wrong])
    page = write_overview(tmp_path, [Outcome("lake.other", 0, 0, ()), Outcome("lake.third", 0, 0, ())]).read_text()
    assert "1 of 3 tables have values that are not possible." in page
    assert page.index("marts.some") < page.index("lake.other") < page.index("lake.third"), "what is broken comes first"
    assert "low is above 0: not so in 2 rows" in page
    assert "id 3, low &lt;b&gt;" in page
    assert "<td class=number>2</td><td class=number>3</td><td>yes</td>" in page, "nothing changed: the outcome stays"
    assert "src=" not in page, "nothing is loaded from elsewhere"
    write_overview(tmp_path, [Outcome("marts.some", 5, 7, ())])
    assert "All values are possible." in (tmp_path / "index.html").read_text()


def test_pages_are_written_at_the_end_and_old_outcomes_go(tmp_path: Path) -> None:
    for number in range(5):
        with Suites(tmp_path, Settings()) as suites:
            hold(suites, {**RIGHT, "size": number})
    assert len(list(tmp_path.glob("outcomes/marts/some/*/*"))) == 3


def test_every_page_is_found_without_a_network(tmp_path: Path) -> None:
    for number in range(5):
        with Suites(tmp_path, Settings()) as suites:
            outcome = hold(suites, {**RIGHT, "size": number})
    first = write_overview(tmp_path, [outcome])
    index = tmp_path / "pages" / "index.html"
    there = {path for path in (tmp_path / "pages").rglob("*.html") if path != index}
    assert {path.parts[len(index.parent.parts)] for path in there} == {"validations", "expectations"}

    def linked(page: Path) -> set[Path]:
        text = page.read_text()
        assert "<script" not in text
        assert "//" not in text, "nothing is loaded from elsewhere"
        return {page.parent.joinpath(unquote(address)).resolve() for address in re.findall(r'href="([^"]*)"', text)}

    assert linked(index) == {path.resolve() for path in (*there, first)}
    newest = max(path for path in there if "validations" in path.parts)
    assert linked(first) == {index.resolve(), newest.resolve()}
    assert f"{os.path.relpath(index, newest.parent)}" in newest.read_text(), "a page leads back to the list"
