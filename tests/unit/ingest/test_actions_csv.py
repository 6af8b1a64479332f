"""Corporate actions of one's own: rows to records, and what is said of rows that are none."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.actions.source import NAMELESS, Listing, Range, start_of
from ingest.feeds.csv.actions import CsvActions
from ingest.history.source import SourceError
from market.records import Dividend, Split, SymbolChange, Withdrawal

HEADER = "symbol,kind,effective_date,known_date,new_shares,old_shares,cash,new_symbol,action"
EVER = Range(date(1990, 1, 2), date(2030, 1, 1))
NOW = datetime(2026, 1, 6, 1, tzinfo=UTC)
"""Still the fifth in New York."""


def listing(path: Path, *rows: str, header: str = HEADER) -> Listing:
    file = path / "actions.csv"
    file.write_text("\n".join([header, *rows]))
    source = CsvActions(file, lambda: NOW)
    source.check()
    return source.fetch(source.symbols() or (), EVER, lambda: None)


def test_each_kind_of_row_is_a_record_and_says_when_it_became_known(tmp_path: Path) -> None:
    found = listing(
        tmp_path,
        "aapl,split,2014-06-09,2014-04-23,7,1,,,",
        "AAPL,dividend,2014-05-08,,,,3.29,,",
        "FB,symbol_change,2022-06-09,2022-05-31,,,,META,",
        "AAPL,withdrawal,2014-05-08,2014-05-09,,,,,dividend",
    )
    assert [(item.action, item.is_known_stated) for item in found.actions] == [
        (Split("csv", "AAPL", start_of(date(2014, 4, 23)), "2014-06-09", Decimal(7), Decimal(1)), True),
        (Dividend("csv", "AAPL", start_of(date(2014, 5, 8)), "2014-05-08", Decimal("3.29")), False),
        (SymbolChange("csv", "FB", start_of(date(2022, 5, 31)), "2022-06-09", "META"), True),
        (Withdrawal("csv", "AAPL", start_of(date(2014, 5, 9)), "2014-05-08", "dividend"), True),
    ]
    assert not found.problems


def test_dates_and_ratios_at_their_bounds_are_taken(tmp_path: Path) -> None:
    found = listing(
        tmp_path,
        "IBM,dividend,2014-05-07,2026-01-05,,,1,,",
        "IBM,dividend,1990-01-02,1970-01-01,,,1,,",
        "IBM,split,2014-05-07,,1000000,1,,,",
        "IBM,split,2014-05-08,,1,1000000,,,",
    )
    assert len(found.actions) == 4
    assert not found.problems
    assert min(item.action.ts for item in found.actions) >= 0, "the stream takes no time before 1970"


def test_columns_that_no_row_needs_may_be_missing(tmp_path: Path) -> None:
    found = listing(tmp_path, "IBM,dividend,2014-05-07,1.1", header="symbol,kind,effective_date,cash")
    assert [item.action.effective_date for item in found.actions] == ["2014-05-07"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("IBM,spinoff,2014-05-07,,,,,,", "kind is 'spinoff'"),
        ("IBM,split,07.05.2014,,2,1,,,", "effective_date is '07.05.2014'"),
        ("IBM,split,2014-05-07,soon,2,1,,,", "known_date is 'soon'"),
        ("IBM,split,2014-05-07,,0,1,,,", "new_shares is 0"),
        ("IBM,split,2014-05-07,,2,,,,", "old_shares is ''"),
        ("IBM,split,2014-05-07,,NaN,1,,,", "new_shares is NaN"),
        ("IBM,dividend,2014-05-07,,,,-1.1,,", "cash is -1.1"),
        ("IBM,dividend,2014-05-07,,,,1.1234567,,", "cash is 1.1234567"),
        ("IBM,symbol_change,2014-05-07,,,,,IBM,", "new_symbol is IBM, as before"),
        ("IBM,symbol_change,2014-05-07,,,,,I B M,", "'I B M' is no ticker"),
        ("IBM,withdrawal,2014-05-07,,,,,,merger", "action is 'merger'"),
        ("IBM,dividend,2014-05-07,,,,1,76,,", "10 fields where the header has 9"),
        ("IBM,dividend,2014-05-07,2026-01-06,,,1,,", "known_date is 2026-01-06"),
        ("IBM,dividend,2014-05-07,1969-12-31,,,1,,", "known_date is 1969-12-31"),
        ("IBM,dividend,2014-05-07,0001-01-01,,,1,,", "known_date is 0001-01-01"),
        ("IBM,dividend,2099-05-07,,,,1,,", "effective_date is 2099-05-07"),
        ("IBM,dividend,9999-12-31,,,,1,,", "effective_date is 9999-12-31"),
        ("IBM,split,2014-05-07,,1000000.1,1,,,", "1000000.1 for 1"),
        ("IBM,split,2014-05-07,,0.000001,999999999999,,,", "0.000001 for 999999999999"),
    ],
)
def test_a_bad_row_is_a_problem_with_its_line_and_the_others_are_done(tmp_path: Path, row: str, why: str) -> None:
    found = listing(tmp_path, "IBM,dividend,2014-05-07,,,,1.1,,", row, "SPY,dividend,2014-05-07,,,,1.1,,")
    assert [item.action.symbol for item in found.actions] == ["IBM", "SPY"]
    (problem,) = found.problems
    assert (problem.symbol, problem.code) == ("IBM", "bad_action")
    assert "actions.csv line 3" in problem.detail
    assert why in problem.detail


def test_a_decimal_comma_is_not_a_whole_number(tmp_path: Path) -> None:
    found = listing(tmp_path, "IBM,dividend,2014-05-07,1,76", header="symbol,kind,effective_date,cash")
    assert not found.actions
    assert [(problem.symbol, problem.code) for problem in found.problems] == [("IBM", "bad_action")]


def test_a_row_without_a_symbol_is_told_with_its_line_and_a_blank_one_is_no_row(tmp_path: Path) -> None:
    found = listing(
        tmp_path, "IBM,dividend,2014-05-07,,,,1.1,,", ",,,,,,,,", "", " ,dividend,2014-05-07,,,,7.25,,", ",,,,,,,,,"
    )
    assert [item.action.symbol for item in found.actions] == ["IBM"]
    assert [(problem.symbol, problem.code) for problem in found.problems] == [(NAMELESS, "unplaced_row")]
    assert "actions.csv line 5" in found.problems[0].detail


def test_a_quote_that_nobody_ends_spoils_its_own_row_only(tmp_path: Path) -> None:
    found = listing(
        tmp_path,
        'SPY,dividend,2014-05-07,,,,"1,,',
        "IBM,dividend,2014-05-07,,,,1.1,,",
        '"AAPL,dividend,2014-05-07,,,,"1,,',
        '"GOOG","dividend",2014-05-07,,,,"2",,',
    )
    assert [item.action.symbol for item in found.actions] == ["IBM", "GOOG"]
    assert [problem.symbol for problem in found.problems] == ["SPY", '"AAPL']
    assert ["line 2" in found.problems[0].detail, "line 4" in found.problems[1].detail] == [True, True]


def test_rows_before_the_calendar_are_passed_over_and_said_unless_later_ones_are_asked_for(tmp_path: Path) -> None:
    rows = ("IBM,dividend,1989-12-29,,,,1,,", "IBM,dividend,1962-05-07,,,,1,,", "IBM,dividend,1990-01-02,,,,1.1,,")
    found = listing(tmp_path, *rows)
    assert [item.action.effective_date for item in found.actions] == ["1990-01-02"]
    (problem,) = found.problems
    assert (problem.symbol, problem.code) == ("IBM", "passed_over")
    assert "actions.csv line 2 and 1 more: passed over: before 1990-01-02" in problem.detail
    later = CsvActions(tmp_path).fetch(["IBM"], Range(date(2014, 1, 2), date(2030, 1, 1)), lambda: None)
    assert (later.actions, later.problems) == ([], [])


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("symbol,kind", "lacks effective_date"),
        ("symbol,kind,effective_date,ratio", "has ratio, which is not known"),
        ("symbol;kind;effective_date", r"actions.csv is separated by semicolons: write commas between the fields"),
    ],
)
def test_another_header_is_said(tmp_path: Path, header: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        listing(tmp_path, "IBM,split,2014-05-07,2", header=header)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no CSV file"):
        CsvActions(tmp_path / "none.csv").check()


@pytest.mark.parametrize(
    ("header", "why"),
    [("<html>", "lacks symbol"), (f"{HEADER},cash", "has cash twice"), (f"{HEADER},ratio", "has ratio")],
)
def test_a_file_of_a_folder_with_another_header_is_told_and_the_others_are_done(
    tmp_path: Path, header: str, why: str
) -> None:
    (tmp_path / "bad.csv").write_text(f"{header}\nIBM,dividend,2014-05-07,,,,1.1,,,2\n")
    for path in (tmp_path, tmp_path / "bad.csv"):
        with pytest.raises(SourceError, match=why):
            CsvActions(path).check()
    (tmp_path / "good.csv").write_text(f"{HEADER}\nIBM,dividend,2014-05-07,,,,1.1,,\n")
    source = CsvActions(tmp_path)
    source.check()
    found = source.fetch(["IBM"], EVER, lambda: None)
    assert len(found.actions) == 1
    assert [(problem.symbol, problem.code) for problem in found.problems] == [(NAMELESS, "damaged_file")]
    assert why in found.problems[0].detail


@pytest.mark.parametrize("content", [b"", HEADER.encode("utf-16"), f"{HEADER}\nM\u00fcller,split".encode("latin-1")])
def test_a_file_of_a_folder_that_cannot_be_read_is_told_and_the_others_are_done(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(SourceError, match=r"bad\.csv cannot be read"):
        CsvActions(tmp_path / "bad.csv").check()
    with pytest.raises(SourceError, match=r"bad\.csv cannot be read"):
        CsvActions(tmp_path).check()
    (tmp_path / "good.csv").write_text(f"{HEADER}\nIBM,dividend,2014-05-07,,,,1.1,,\n")
    source = CsvActions(tmp_path)
    source.check()
    assert source.symbols() == ("IBM",)
    found = source.fetch(["IBM", "SPY"], EVER, lambda: None)
    assert [item.action.symbol for item in found.actions] == ["IBM"]
    assert [(problem.symbol, problem.code) for problem in found.problems] == [(NAMELESS, "damaged_file")]
    assert f"{tmp_path / 'bad.csv'} cannot be read" in found.problems[0].detail
    assert not found.unknown, "the file that cannot be read may have it"
