"""Bars of files: the user's own, a LEAN folder, the sample."""

import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ingest.feeds.csv.history import CsvHistory
from ingest.feeds.lean.history import LeanHistory
from ingest.feeds.sample.history import SampleHistory
from ingest.history.check import believe
from ingest.history.source import Answer, Ask, HistorySource, SourceError
from market.records import Bar
from market.sessions import sessions_between
from market.settings import CHECKOUT

WEEK = tuple(sessions_between(date(2013, 10, 7), date(2013, 10, 11)))
HEADER = "symbol,timestamp,open,high,low,close,volume\n"
LEAN = CHECKOUT.parent / "shared" / "data" / "lean"


def fetch(source: HistorySource, interval: str, *symbols: str) -> Answer:
    source.check()
    return source.fetch(Ask(symbols, interval, WEEK), lambda: None)


def file(folder: Path, text: str, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def when(bar: Bar) -> str:
    return f"{datetime.fromtimestamp(bar.ts / 1_000_000, UTC):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    "written",
    ["2013-10-08", "20131008", "2013-10-08T00:00:00Z", "2013-10-08 00:00:00+00:00", "1381190400", "2013-10-08 16:00"],
)
def test_a_daily_bar_begins_with_its_session_however_the_day_is_written(tmp_path: Path, written: str) -> None:
    source = CsvHistory(file(tmp_path, f"{HEADER}spy,{written},100.5,101,99.25,100,12345\n"))
    (bar,) = fetch(source, "1d", "SPY").bars
    assert when(bar) == "2013-10-08 13:30"
    prices = (Decimal("100.5"), Decimal(101), Decimal("99.25"), Decimal(100))
    assert ((bar.open, bar.high, bar.low, bar.close), bar.volume) == (prices, 12345)
    assert (bar.source, bar.symbol, bar.interval) == ("csv", "SPY", "1d")


@pytest.mark.parametrize(
    "written",
    [
        "2013-10-08 09:35",
        "2013-10-08 09:35:00",
        "2013-10-08T09:35:00-04:00",
        "2013-10-08T13:35:00Z",
        "1381239300",
        "1381239300000",
        "1381239300000000",
    ],
)
def test_a_moment_without_a_zone_is_the_exchanges_time(tmp_path: Path, written: str) -> None:
    source = CsvHistory(file(tmp_path, f"{HEADER}SPY,{written},1,1,1,1,1\n"))
    assert [when(bar) for bar in fetch(source, "5m", "SPY").bars] == ["2013-10-08 13:35"]


@pytest.mark.parametrize("zeros", ["", "000", "000000"])
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (631_290_600, "1990-01-02 14:30"),  # the first session's open
        (631_152_000, None),  # the first moment that is read
        (631_151_999, "unplaced_row"),
        (999_869_400, "2001-09-07 13:30"),  # the last Friday of nine digits
        (1_000_128_600, "2001-09-10 13:30"),
        (9_999_999_999, None),
        (10_000_000_000, "unplaced_row"),
        (202_611_230_935, "unplaced_row"),
    ],
)
def test_epoch_numbers_are_read_from_1990_until_2286(
    tmp_path: Path, seconds: int, expected: str | None, zeros: str
) -> None:
    source = CsvHistory(file(tmp_path, f"{HEADER}SPY,{seconds}{zeros},1,1,1,1,1\n"))
    ask = Ask(("SPY",), "5m", tuple(sessions_between(date(1990, 1, 2), date(2013, 10, 11))))
    answer = source.fetch(ask, lambda: None)
    found = [when(bar) for bar in answer.bars] + [problem.code for problem in answer.problems]
    assert found == ([expected] if expected else [])


def test_the_hour_is_right_on_both_sides_of_the_change_of_clocks(tmp_path: Path) -> None:
    sessions = tuple(sessions_between(date(2013, 11, 1), date(2013, 11, 4)))
    source = CsvHistory(file(tmp_path, f"{HEADER}SPY,2013-11-01,1,1,1,1,1\nSPY,2013-11-04,1,1,1,1,1\n"))
    found = source.fetch(Ask(("SPY",), "1d", sessions), lambda: None).bars
    assert [when(bar) for bar in found] == ["2013-11-01 13:30", "2013-11-04 14:30"]


def test_what_cannot_be_read_is_said_with_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = ["2013-10-07,1,2,NaN,1,1", "2013-10-08,1,2,1,1;5,1", "2013-10-09,1,2,1,1,1.0", "2013-10-10,1,2,1,,1"]
    answer = fetch(CsvHistory(file(tmp_path, HEADER + "".join(f"SPY,{row}\n" for row in rows))), "1d", "SPY")
    assert [when(bar)[:10] for bar in answer.bars] == ["2013-10-09"]
    assert [(problem.symbol, problem.code, problem.detail) for problem in answer.problems] == [
        ("SPY", "not_a_number", "bars.csv, line 2: low 'NaN'"),
        ("SPY", "not_a_number", "bars.csv, line 3: close '1;5'"),
        ("SPY", "not_a_number", "bars.csv, line 5: close ''"),
    ]


@pytest.mark.parametrize("interval", ["1d", "5m"])
def test_a_row_whose_time_cannot_be_read_is_a_problem_of_its_symbol_alone(tmp_path: Path, interval: str) -> None:
    rows = ["CFF,10/07/2013,50,51,49,50.5,1000", "CFF,2013-10-08,50,51,49,50.5,1", "SPY,2013-10-08,50,51,49,50.5,1"]
    source = CsvHistory(file(tmp_path, HEADER + "\n".join(rows)))
    for ask in (WEEK, WEEK[3:]):  # whichever sessions are asked for: it may be of any
        answer = source.fetch(Ask(("CFF", "SPY"), interval, ask), lambda: None)
        assert answer.unknown == frozenset()
        found = [problem for problem in answer.problems if "10/07/2013" in problem.detail]
        assert [(problem.symbol, problem.code) for problem in found] == [("CFF", "unplaced_row")]
        assert "bars.csv, line 2: timestamp '10/07/2013' (write a date as 2026-10-05" in found[0].detail
    assert interval != "1d" or [bar.symbol for bar in fetch(source, "1d", "CFF", "SPY").bars] == ["CFF", "SPY"]


def test_a_row_without_a_symbol_may_be_of_any_symbol_of_its_file(tmp_path: Path) -> None:
    rows = ["SPY,2013-10-08,1,1,1,1,1", ",2013-10-08,1,1,1,1,1", "  ,2013-10-09,1,1,1,1,1"]
    file(tmp_path, HEADER + "\n".join(rows), "a.csv")
    file(tmp_path, f"{HEADER}IBM,2013-10-08,1,1,1,1,1\n", "b.csv")
    source = CsvHistory(tmp_path)
    answer = fetch(source, "1d", "SPY", "IBM", "NEW")
    assert source.symbols() == ("IBM", "SPY")
    assert sorted(bar.symbol for bar in answer.bars) == ["IBM", "SPY"]
    detail = "a.csv, line 3: symbol '' (and 1 more without a symbol)"
    assert {(problem.symbol, problem.detail) for problem in answer.problems} == {("SPY", detail), ("NEW", detail)}
    assert answer.unknown == frozenset()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_row_without_a_symbol_is_said_and_leaves_the_symbols_that_come_several_times(
    tmp_path: Path, suffix: str
) -> None:
    path = file(tmp_path, f"{HEADER}SPY,2013-10-08,1,1,1,1,1\nSPY,2013-10-09,1,1,1,1,1\n,2013-10-10,1,1,1,1,1\n")
    if suffix == "parquet":
        pl.read_csv(path, try_parse_dates=True).write_parquet(tmp_path / "bars.parquet")
        path = tmp_path / "bars.parquet"
    source = CsvHistory(path)
    assert source.symbols() == ("SPY",)
    answer = fetch(source, "1d", "SPY")
    assert [when(bar)[:10] for bar in answer.bars] == ["2013-10-08", "2013-10-09"]
    (problem,) = answer.problems
    place = "bars.csv, line 4" if suffix == "csv" else "bars.parquet, row 3"
    assert (problem.symbol, problem.code, problem.detail) == ("SPY", "unplaced_row", f"{place}: symbol ''")


@pytest.mark.parametrize("blank", ["", "   ", ",,,,,,"])
def test_a_blank_line_is_no_row_and_counts_as_a_line(tmp_path: Path, blank: str) -> None:
    rows = ["SPY,2013-10-08,1,1,1,1,1", blank, "SPY,2013-10-09,1,1,1,1,1", "SPY,2013-10-10,1,1,1,,1", blank, blank]
    source = CsvHistory(file(tmp_path, HEADER + "\n".join(rows) + "\n"))
    assert (source.symbols(), source.misnamed()) == (("SPY",), ())
    answer = fetch(source, "1d", "SPY")
    assert [when(bar)[:10] for bar in answer.bars] == ["2013-10-08", "2013-10-09"]
    assert [problem.detail for problem in answer.problems] == ["bars.csv, line 5: close ''"]


def test_what_cannot_be_a_symbol_is_named_with_its_line_and_the_others_are_symbols(tmp_path: Path) -> None:
    rows = ["C D,2013-10-08,1,1,1,1,1", "SPY,2013-10-08,1,1,1,1,1", "c d,2013-10-09,1,1,1,1,1"]
    source = CsvHistory(file(tmp_path, HEADER + "\n".join(rows)))
    assert source.symbols() == ("SPY",)
    (problem,) = source.misnamed()
    assert (problem.symbol, problem.code) == ("C D", "no_symbol")
    assert problem.detail.startswith("bars.csv, line 2 and 1 more: symbol 'C D': a symbol is a letter, then")


def test_columns_of_other_names_are_declared(tmp_path: Path) -> None:
    path = file(tmp_path, "Ticker,Date,Open,High,Low,Last,Vol\nspy,2013-10-07,1,2,1,2,3\n")
    own = {
        "symbol": "Ticker",
        "timestamp": "Date",
        "open": "Open",
        "high": "High",
        "low": "Low",
        "close": "Last",
        "volume": "Vol",
    }
    assert fetch(CsvHistory(path, own), "1d", "SPY").bars[0].close == 2
    with pytest.raises(SourceError, match=r"has no column 'symbol'; it has Ticker, Date.* --columns symbol=Ticker"):
        CsvHistory(path).check()
    with pytest.raises(SourceError, match="no column 'price' to declare"):
        CsvHistory(path, {"price": "Last"})


def test_a_folder_of_csv_and_parquet_files_is_one_source(tmp_path: Path) -> None:
    file(tmp_path, f"{HEADER}SPY,2013-10-07,1,2,1,2,3\n", "a.csv")
    columns = {
        "symbol": ["IBM"],
        "timestamp": [date(2013, 10, 8)],
        "volume": [7],
        **{name: [1.5] for name in ("open", "high", "low", "close")},
    }
    pl.DataFrame(columns).write_parquet(tmp_path / "b.parquet")
    source = CsvHistory(tmp_path)
    assert source.symbols() == ("IBM", "SPY")
    answer = fetch(source, "1d", "SPY", "IBM", "MSFT")
    assert sorted((bar.symbol, when(bar), bar.close) for bar in answer.bars) == [
        ("IBM", "2013-10-08 13:30", Decimal("1.5")),
        ("SPY", "2013-10-07 13:30", 2),
    ]
    assert answer.unknown == {"MSFT"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "cannot be read"),
        ("\x00\x01", "cannot be read: its header is no text"),
        ("a,b", "has no column"),
        (
            HEADER.replace(",", ";") + "SPY;2013-10-07;1,5;2;1;1,5;10\n",
            "is separated by semicolons: write commas.*, and points",
        ),
        ("Ticker\tDay\nSPY\t2013-10-07\n", "is separated by tabs: write commas"),
        ("note; remark,day\n", "has no column 'symbol'; it has note; remark, day. Declare"),
        (HEADER, ""),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: str, text: str) -> None:
    source = CsvHistory(file(tmp_path, content))
    if not text:
        assert fetch(source, "1d", "SPY").bars == []
        return
    with pytest.raises(SourceError, match=f"bars.csv.*{text}"):
        source.check()


def test_a_place_without_files_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(SourceError, match="neither a file nor a folder with"):
            CsvHistory(path).check()
        with pytest.raises(SourceError, match="Give another --path"):
            LeanHistory(path).check()


def lean_folder(root: Path) -> Path:
    folder = root / "equity" / "usa"
    (folder / "daily").mkdir(parents=True)
    (folder / "minute" / "spy").mkdir(parents=True)
    with zipfile.ZipFile(folder / "daily" / "spy.zip", "w") as archive:
        archive.writestr(
            "spy.csv", "20131007 00:00,1674300,1684500,1672500,1674200,81489219\n20131008 00:00,1,2,x,1,5\n"
        )
    with zipfile.ZipFile(folder / "minute" / "spy" / "20131007_trade.zip", "w") as archive:
        archive.writestr("20131007_spy_minute_trade.csv", "34200000,1674300,1675000,1674200,1674999,100\n")
    return root


def test_lean_bars_are_read_to_the_last_digit(tmp_path: Path) -> None:
    source = LeanHistory(lean_folder(tmp_path))
    answer = fetch(source, "1d", "SPY", "IBM")
    (day,) = answer.bars
    assert (when(day), day.open, day.close, day.volume) == (
        "2013-10-07 13:30",
        Decimal("167.43"),
        Decimal("167.42"),
        81489219,
    )
    assert [(problem.code, problem.detail) for problem in answer.problems] == [
        ("not_a_number", "spy.zip, line 2: 20131008 00:00,1,2,x,1,5")
    ]
    assert answer.unknown == {"IBM"}
    (minute,) = fetch(source, "1m", "SPY").bars
    assert (when(minute), minute.close) == ("2013-10-07 13:30", Decimal("167.4999"))


def test_a_lean_row_whose_day_cannot_be_read_or_had_no_session_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "equity" / "usa" / "daily"
    folder.mkdir(parents=True)
    days = ["10/07/2013", "20131006 00:00", "20131008 00:00", "20131012 00:00"]
    with zipfile.ZipFile(folder / "spy.zip", "w") as archive:
        archive.writestr("spy.csv", "".join(f"{day},10000,10000,10000,10000,5\n" for day in days))
    ask = Ask(("SPY",), "1d", tuple(sessions_between(date(2013, 10, 4), date(2013, 10, 14))))
    answer = LeanHistory(tmp_path).fetch(ask, lambda: None)
    assert [(problem.code, problem.detail) for problem in answer.problems] == [
        ("unplaced_row", "spy.zip, line 1: 10/07/2013,10000,10000,10000,10000,5")
    ]
    believed = believe(ask, answer.bars)
    assert [when(bar) for bar in believed.bars] == ["2013-10-08 13:30"]
    assert [problem.code for problem in believed.problems] == ["no_session", "no_session"]


@pytest.mark.skipif(not LEAN.is_dir(), reason="the folder shared/data/lean is not there")
def test_real_days_of_lean_have_a_bar_each_that_is_believed() -> None:
    sessions = tuple(sessions_between(date(2003, 1, 2), date(2013, 12, 31)))
    ask = Ask(("SPY", "IBM"), "1d", sessions)
    found = believe(ask, LeanHistory(LEAN).fetch(ask, lambda: None).bars)
    assert found.problems == []
    days = {symbol: {bar.ts for bar in found.bars if bar.symbol == symbol} for symbol in ask.symbols}
    opens = {round(session.open_at.timestamp()) * 1_000_000 for session in sessions}
    assert {symbol: len(opens - known) for symbol, known in days.items()} == {"SPY": 0, "IBM": 0}


def test_the_sample_is_a_source_of_days() -> None:
    source = SampleHistory()
    sessions = tuple(sessions_between(date(2013, 2, 28), date(2013, 3, 1)))
    answer = source.fetch(Ask(("AAPL", "SPY"), "1d", sessions), lambda: None)
    assert [(bar.symbol, when(bar)) for bar in answer.bars] == [
        ("AAPL", "2013-02-28 14:30"),
        ("AAPL", "2013-03-01 14:30"),
    ]
    assert answer.unknown == {"SPY"}
