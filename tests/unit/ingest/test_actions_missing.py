"""What the lake lacks of what a source lists: nothing twice, a restatement from the day on which it was seen."""

from datetime import date
from decimal import Decimal

import pytest

from ingest.actions.missing import missing_of, withdrawal_of
from ingest.actions.source import Key, Listed, Range, key_of, start_of
from market.records import CorporateAction, Dividend, Split, SymbolChange, Withdrawal

TODAY = date(2014, 7, 1)
EX_DATE = date(2014, 6, 9)
YEAR = Range(date(2014, 1, 1), date(2014, 12, 31))


def split(new: int, day: date = EX_DATE, known: date | None = None, symbol: str = "AAPL") -> Split:
    return Split("lean", symbol, start_of(known or day), day.isoformat(), Decimal(new), Decimal(1))


def missing(*listed: Listed, stored: tuple[CorporateAction, ...] = ()) -> list[CorporateAction]:
    known: dict[Key, list[CorporateAction]] = {}
    for action in stored:
        known.setdefault(key_of(action), []).append(action)
    return list(missing_of(listed, known, asked={"AAPL"}, within=YEAR, today=TODAY).actions)


def test_what_is_new_is_published_as_known_on_its_effective_date() -> None:
    assert missing(Listed(split(7))) == [split(7)]


def test_what_is_there_is_not_published_again() -> None:
    assert missing(Listed(split(7)), stored=(split(7),)) == []
    assert missing(Listed(split(7)), stored=(split(7, known=date(2014, 4, 1)),)) == [], "the lake knows it better"


def test_what_is_announced_is_known_today() -> None:
    ahead = date(2014, 8, 1)
    assert missing(Listed(split(7, ahead))) == [split(7, ahead, known=TODAY)]


def test_a_restatement_is_known_since_it_was_seen_unless_the_source_says_when() -> None:
    assert missing(Listed(split(4)), stored=(split(7),)) == [split(4, known=TODAY)]
    stated = split(4, known=date(2014, 6, 20))
    assert missing(Listed(stated, is_known_stated=True), stored=(split(7),)) == [stated]


def test_another_day_on_which_it_became_known_is_another_version_if_the_source_states_it() -> None:
    announced = split(7, known=date(2014, 4, 23))
    assert missing(Listed(announced, is_known_stated=True), stored=(split(7),)) == [announced]


def test_what_was_taken_back_and_is_listed_again_is_published_again() -> None:
    taken_back = withdrawal_of(split(7), date(2014, 6, 20))
    assert taken_back == Withdrawal("lean", "AAPL", start_of(date(2014, 6, 20)), "2014-06-09", "split")
    assert missing(Listed(split(7)), stored=(taken_back,)) == [split(7, known=TODAY)]
    announced = Listed(split(7, known=date(2014, 4, 23)), is_known_stated=True)
    stored = announced.action, taken_back
    assert missing(announced, stored=stored) == [split(7, known=TODAY)], "what was known before it is older"
    assert missing(announced, stored=(*stored, split(7, known=TODAY))) == []


def test_what_the_source_lists_no_more_is_said_but_not_of_others_symbols_or_days() -> None:
    ibm, long_ago = split(2, symbol="IBM"), split(2, date(2005, 2, 28))
    taken_back = withdrawal_of(split(2, date(2014, 5, 9)), TODAY)
    versions: list[list[CorporateAction]] = [[split(6), split(7)], [ibm], [long_ago], [taken_back]]
    stored = {key_of(known[-1]): known for known in versions}
    found = missing_of([], stored, asked={"AAPL"}, within=YEAR, today=TODAY)
    assert (list(found.actions), list(found.not_listed)) == ([], [split(7)])


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([split(7, date(2014, 6, 8))], "no_session"),
        ([split(7), split(4)], "contradicts_itself"),
    ],
)
def test_what_cannot_be_is_left_out_and_said(listed: list[Split], code: str) -> None:
    good = Dividend("lean", "AAPL", 0, "2014-05-08", Decimal("3.29"))
    change = SymbolChange("lean", "AAPL", 0, "2014-05-08", "APPL")
    items = [*map(Listed, listed), Listed(good, is_known_stated=True), Listed(change, is_known_stated=True)]
    found = missing_of(items, {}, asked={"AAPL"}, within=YEAR, today=TODAY)
    assert list(found.actions) == [good, change]
    assert [(problem.symbol, problem.code) for problem in found.problems] == [("AAPL", code)]


def test_the_same_twice_is_once() -> None:
    assert missing(Listed(split(7)), Listed(split(7))) == [split(7)]


def test_several_dated_versions_are_published_in_their_order_and_not_again() -> None:
    announced, restated = split(6, known=date(2014, 4, 1)), split(7, known=date(2014, 4, 23))
    taken_back = withdrawal_of(restated, date(2014, 6, 20))
    items = [Listed(version, is_known_stated=True) for version in (taken_back, announced, restated)]
    assert missing(*items) == [announced, restated, taken_back]
    assert missing(*items, stored=(announced,)) == [restated, taken_back]
    assert missing(*items, stored=(announced, restated, taken_back)) == []


def test_a_version_that_was_known_before_those_of_the_lake_is_published_too() -> None:
    """So is a withdrawal between two versions that say the same."""
    first, second = split(6, known=date(2014, 4, 1)), split(7, known=date(2014, 4, 23))
    assert missing(*(Listed(version, is_known_stated=True) for version in (first, second)), stored=(second,)) == [first]
    taken_back, again = withdrawal_of(second, date(2014, 5, 2)), split(7, known=date(2014, 5, 12))
    items = [Listed(version, is_known_stated=True) for version in (second, taken_back, again)]
    assert missing(*items, stored=(second,)) == [taken_back, again]
    assert missing(*items, stored=(second, taken_back, again)) == []


def test_an_older_version_in_another_file_leaves_those_after_it_known() -> None:
    first, between, last = (split(new, known=date(2014, 4, day)) for new, day in ((5, 1), (4, 2), (6, 3)))
    assert missing(*(Listed(version, is_known_stated=True) for version in (first, last)), stored=(first, last)) == []
    assert missing(Listed(between, is_known_stated=True), stored=(first, last)) == [between]
    every = first, between, last
    assert missing(*(Listed(version, is_known_stated=True) for version in (first, last)), stored=every) == []


def test_of_one_moment_the_version_that_came_in_last_is_what_is_known() -> None:
    wrong, right = split(6, known=date(2014, 4, 1)), split(7, known=date(2014, 4, 1))
    assert missing(Listed(wrong, is_known_stated=True), stored=(wrong, right)) == [wrong]
    assert missing(Listed(right, is_known_stated=True), stored=(wrong, right)) == []
