"""Rows of users' files as others write them: days with a zone, long decimals, a field too many, a damaged file."""

import gzip
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.feeds.csv.bars import _price
from ingest.feeds.csv.history import CsvHistory
from ingest.feeds.lean.history import LeanHistory
from ingest.history.check import believe
from ingest.history.source import Ask, SourceError
from market.sessions import find_session
from tests.unit.ingest.history.test_history_of_files import HEADER, WEEK, fetch, file, when

TUESDAY = date(2013, 10, 8)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Pacific/Auckland",
    "America/Chicago",
    "America/Los_Angeles",
    "Pacific/Honolulu",
)
PRICES = ("open", "high", "low", "close")


def parquet(folder: Path, **columns: object) -> Path:
    path = folder / "bars.parquet"
    frame = {"symbol": ["SPY"], **{name: [1.5] for name in PRICES}, "volume": [7], **columns}
    pl.DataFrame(frame).write_parquet(path)
    return path


@pytest.mark.parametrize("zone", [*ZONES, "America/New_York"])
@pytest.mark.parametrize("day", [date(2013, 10, 8), date(2013, 10, 7), date(2013, 1, 15)])
def test_midnight_in_any_zone_is_the_day_that_is_written(tmp_path: Path, zone: str, day: date) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    session = find_session(day)
    assert session is not None
    ask = Ask(("SPY",), "1d", (session,))
    written = [
        file(tmp_path, f"{HEADER}SPY,{midnight.isoformat()},1,1,1,1,1\n"),
        file(tmp_path, f"{HEADER}SPY,{midnight:%Y-%m-%d %H:%M:%S%z},1,1,1,1,1\n", "plain.csv"),
        parquet(tmp_path, timestamp=pl.Series([midnight], dtype=pl.Datetime("ns", zone))),
    ]
    for path in written:
        answer = CsvHistory(path).fetch(ask, lambda: None)
        assert [bar.ts for bar in answer.bars] == [round(session.open_at.timestamp()) * 1_000_000], path
        assert answer.problems == []


@pytest.mark.parametrize(
    "moment",
    [
        "2013-10-08T13:30:00Z",
        "2013-10-08T22:00:00+02:00",
        "2013-10-08T04:00:00Z",
        "1381204800",
        "2013-10-09T00:30:00+09:00",
    ],
)
def test_a_time_of_trading_and_midnight_in_new_york_are_of_their_session(tmp_path: Path, moment: str) -> None:
    path = file(tmp_path, f"{HEADER}SPY,{moment},1,1,1,1,1\n")
    assert [when(bar) for bar in fetch(CsvHistory(path), "1d", "SPY").bars] == ["2013-10-08 13:30"]


@pytest.mark.parametrize(
    "moment",
    ["2013-10-08T22:00:00Z", "2013-10-08T05:00:00Z", "1381183200", "2013-10-08 22:00", "2013-10-08T01:00:00+02:00"],
)
def test_a_time_that_leaves_the_day_in_doubt_is_wrong_and_never_the_day_before(tmp_path: Path, moment: str) -> None:
    rows = f"SPY,{moment},1,1,1,1,1\nSPY,2013-10-10,1,1,1,1,1\n"
    answer = fetch(CsvHistory(file(tmp_path, HEADER + rows)), "1d", "SPY")
    assert [when(bar)[:10] for bar in answer.bars] == ["2013-10-10"]
    (problem,) = answer.problems
    assert (problem.symbol, problem.code) == ("SPY", "wrong_time")
    assert problem.detail.startswith(f"bars.csv, line 2: timestamp '{moment}' (of a day only midnight, or")


def test_a_moment_of_a_day_in_parquet_is_in_doubt_as_in_text(tmp_path: Path) -> None:
    for zone in ("Europe/Berlin", None):
        doubtful = pl.Series([datetime(2013, 10, 8, 23, 0)], dtype=pl.Datetime("us")).dt.replace_time_zone(zone)  # noqa: DTZ001
        answer = fetch(CsvHistory(parquet(tmp_path, timestamp=doubtful)), "1d", "SPY")
        assert (answer.bars, [problem.code for problem in answer.problems]) == ([], ["wrong_time"])


def read_price(text: str) -> Decimal | None:
    frame = pl.DataFrame({"price": [text]}, schema={"price": pl.String})
    found: Decimal | None = frame.select(_price(pl.col("price"), pl.String()))["price"][0]
    return found


@settings(deadline=None, max_examples=200)
@given(st.decimals(min_value=0, max_value=10**9, places=9).map(str) | st.floats(1e-7, 1e9).map(repr))
def test_a_price_with_more_than_six_decimals_is_rounded_half_to_even(text: str) -> None:
    assert read_price(text) == Decimal(text).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.50999450683594", "10.509995"),
        ("1.0000005", "1.000000"),
        ("1.0000015", "1.000002"),
        ("1.00000050000001", "1.000001"),
        ("-1.0000019", "-1.000002"),
        ("1.5e1", "15"),
        ("7", "7"),
    ],
)
def test_halves_go_to_the_even_digit(text: str, expected: str) -> None:
    assert read_price(text) == Decimal(expected)


@pytest.mark.parametrize("text", ["", "nan", "NaN", "inf", "1,000.5", "1.5.2", "$3", "1e999"])
def test_what_is_no_number_is_none(text: str) -> None:
    assert read_price(text) is None


def test_floats_of_parquet_are_rounded_and_a_price_that_would_be_zero_is_impossible(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        symbol=["SPY", "LOW"],
        timestamp=[TUESDAY, TUESDAY],
        volume=[1, 1],
        **{name: [10.50999450683594, 0.0000004] for name in PRICES},
    )
    answer = fetch(CsvHistory(path), "1d", "SPY", "LOW")
    believed = believe(Ask(("SPY", "LOW"), "1d", WEEK), answer.bars)
    assert answer.problems == []
    assert [(bar.symbol, bar.close) for bar in believed.bars] == [("SPY", Decimal("10.509995"))]
    assert [(problem.symbol, problem.code) for problem in believed.problems] == [("LOW", "impossible_value")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_with_a_field_too_many_is_said_with_its_line_and_the_others_are_read(
    tmp_path: Path, packed: bool
) -> None:
    rows = [
        "SPY,2013-10-07,1,1,1,1,1",
        "IBM,2013-10-08,1,000.5,1000,999,1000,5",
        "IBM,2013-10-09,1,1,1,1,1",
        "SPY,2013-10-08,1",
    ]
    text = HEADER + "\n".join(rows)
    path = tmp_path / ("bars.csv.gz" if packed else "bars.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    source = CsvHistory(path)
    answer = fetch(source, "1d", "SPY", "IBM")
    assert source.symbols() == ("IBM", "SPY")
    assert source.misnamed() == ()
    assert [(bar.symbol, when(bar)[:10]) for bar in answer.bars] == [("SPY", "2013-10-07"), ("IBM", "2013-10-09")]
    assert {(problem.symbol, problem.code, problem.detail) for problem in answer.problems} == {
        ("IBM", "unplaced_row", f"{path.name}, line 3: 8 fields where the header has 7"),
        ("SPY", "not_a_number", f"{path.name}, line 5: high '', low '', close '', volume ''"),
    }


def test_a_row_that_is_no_text_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(HEADER.encode() + b"SPY,2013-10-07,1,1,1,1,1\nSPY,2013-10-08,1,1,1,\xff,1\n")
    answer = fetch(CsvHistory(path), "1d", "SPY")
    assert [when(bar)[:10] for bar in answer.bars] == ["2013-10-07"]
    assert [problem.code for problem in answer.problems] == ["not_a_number"]


@pytest.mark.parametrize("damage", [b"PK\x03\x04 no zip", b"", None])
def test_a_damaged_zip_of_lean_is_a_problem_of_its_symbol_and_the_others_are_read(
    tmp_path: Path, damage: bytes | None
) -> None:
    folder = tmp_path / "equity" / "usa" / "daily"
    folder.mkdir(parents=True)
    for symbol in ("bad", "spy"):
        with zipfile.ZipFile(folder / f"{symbol}.zip", "w") as archive:
            surplus = ",6" if (symbol, damage) == ("bad", None) else ""
            archive.writestr(f"{symbol}.csv", f"20131008 00:00,10000,10000,10000,10000,5{surplus}\n")
    if damage is not None:
        (folder / "bad.zip").write_bytes(damage)
    answer = fetch(LeanHistory(tmp_path), "1d", "BAD", "SPY", "NEW")
    assert [(bar.symbol, when(bar)) for bar in answer.bars] == [("SPY", "2013-10-08 13:30")]
    (problem,) = answer.problems
    assert (problem.symbol, problem.code) == ("BAD", "damaged_file")
    assert f"{folder / 'bad.zip'} cannot be read" in problem.detail
    assert answer.unknown == {"NEW"}


def test_one_damaged_minute_file_costs_that_session_only(tmp_path: Path) -> None:
    folder = tmp_path / "equity" / "usa" / "minute" / "spy"
    folder.mkdir(parents=True)
    for session in WEEK[:2]:
        with zipfile.ZipFile(folder / f"{session.session_date:%Y%m%d}_trade.zip", "w") as archive:
            archive.writestr("spy.csv", "34200000,1674300,1675000,1674200,1674999,100\n")
    (folder / f"{WEEK[0].session_date + timedelta(days=2):%Y%m%d}_trade.zip").write_bytes(b"PK")
    answer = fetch(LeanHistory(tmp_path), "1m", "SPY")
    assert [when(bar) for bar in answer.bars] == ["2013-10-07 13:30", "2013-10-08 13:30"]
    assert [problem.code for problem in answer.problems] == ["damaged_file"]


@pytest.mark.parametrize(
    "content",
    [b"", "symbol,timestamp\nSPY,2013-10-08\n".encode("utf-16"), gzip.compress(b"symbol,timestamp\n" * 999)[:-9]],
    ids=["empty", "of another encoding", "cut short"],  # the packed one has the second in it that it was made in
)
def test_a_file_of_a_folder_that_cannot_be_read_is_told_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    file(tmp_path, f"{HEADER}SPY,2013-10-08,1,1,1,1,1\n", "good.csv")
    (tmp_path / "bad.csv").write_bytes(content)
    source = CsvHistory(tmp_path)
    source.check()
    assert source.symbols() == ("SPY",)
    (problem,) = source.misnamed()
    assert (problem.symbol, problem.code) == ("bad.csv", "damaged_file")
    assert f"{tmp_path / 'bad.csv'} cannot be read" in problem.detail
    answer = fetch(source, "1d", "SPY")
    assert ([bar.symbol for bar in answer.bars], answer.problems) == (["SPY"], [])
    with pytest.raises(SourceError, match=r"bad\.csv cannot be read"):
        CsvHistory(tmp_path / "bad.csv").check()
    (tmp_path / "good.csv").unlink()
    with pytest.raises(SourceError, match=r"bad\.csv cannot be read"):
        CsvHistory(tmp_path).check()


@pytest.mark.parametrize("column", ["symbol", "close"])
def test_a_parquet_file_with_damaged_pages_is_told_and_the_others_are_read(tmp_path: Path, column: str) -> None:
    """Its header is whole: the damage of a column is met when that is read."""
    file(tmp_path, f"{HEADER}SPY,2013-10-08,1,1,1,1,1\n", "good.csv")
    names = ("symbol", "timestamp", *PRICES, "volume")
    values: dict[str, Sequence[object]] = {
        name: [float(number * 7919 % 10_007) for number in range(3_000)] for name in names
    }
    values |= {"symbol": ["IBM"] * 3_000, "timestamp": [TUESDAY + timedelta(days=number) for number in range(3_000)]}
    path = tmp_path / "bad.parquet"
    pl.DataFrame({column: values.pop(column), **values}).write_parquet(path)
    whole = bytearray(path.read_bytes())
    whole[4:40] = bytes(36)  # the first pages are those of the first column
    path.write_bytes(whole)
    source = CsvHistory(tmp_path)
    source.check()
    answer = fetch(source, "1d", "IBM", "SPY")
    assert [bar.symbol for bar in answer.bars] == ["SPY"]
    if column == "symbol":
        assert [(problem.symbol, problem.code) for problem in source.misnamed()] == [("bad.parquet", "damaged_file")]
        assert source.symbols() == ("SPY",)
    else:
        assert [(problem.symbol, problem.code) for problem in answer.problems] == [("IBM", "damaged_file")]
        assert not answer.unknown
    with pytest.raises(SourceError, match=r"bad\.parquet cannot be read"):
        fetch(CsvHistory(path), "1d", "IBM")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "has no column 'symbol'"),
        ("SPY,2013-10-07,1,1,1,1,1\n", "has no column 'symbol'"),
        (HEADER.replace("close", "close,close") + "SPY,2013-10-07,1,1,1,1,2,1\n", "has the column 'close' twice"),
    ],
)
def test_a_file_of_a_folder_with_another_header_is_told_and_the_others_are_read(
    tmp_path: Path, text: str, why: str
) -> None:
    bad = file(tmp_path, text, "a.csv")
    for path in (bad, tmp_path):
        with pytest.raises(SourceError, match=why):
            CsvHistory(path).check()
    file(tmp_path, f"{HEADER}SPY,2013-10-08,1,1,1,1,1\n", "b.csv")
    source = CsvHistory(tmp_path)
    source.check()
    assert source.symbols() == ("SPY",)
    assert [(problem.symbol, problem.code) for problem in source.misnamed()] == [("a.csv", "damaged_file")]
    assert why in source.misnamed()[0].detail
    assert [when(bar) for bar in fetch(source, "1d", "SPY").bars] == ["2013-10-08 13:30"]


def test_a_column_that_is_not_used_may_be_there_twice(tmp_path: Path) -> None:
    path = file(tmp_path, HEADER.replace("\n", ",note,note\n") + "SPY,2013-10-08,1,1,1,1,1,a,b\n")
    assert len(fetch(CsvHistory(path), "1d", "SPY").bars) == 1


@pytest.mark.parametrize("spoilt", ['A,2013-10-08,"1,1,1,1,1', 'A,2013-10-08,1,1,1,1,"1', 'A,"2013-10-08,1,1,1,1,1'])
@pytest.mark.parametrize("times", [1, 2])
def test_a_quote_that_nobody_ends_spoils_its_own_row_only(tmp_path: Path, spoilt: str, times: int) -> None:
    good = [f"{symbol},2013-10-08,1,1,1,1,1" for symbol in ("SPY", "IBM", "QQQ")]
    rows = [good[0], *[row for _ in range(times) for row in (spoilt, good[1])], good[2]]
    source = CsvHistory(file(tmp_path, HEADER + "\n".join(rows) + "\n"))
    assert source.symbols() == ("A", "IBM", "QQQ", "SPY")
    answer = fetch(source, "1d", "A", "IBM", "QQQ", "SPY")
    assert {bar.symbol for bar in answer.bars} == {"SPY", "IBM", "QQQ"}
    assert {problem.symbol for problem in answer.problems} >= {"A"}
    assert "line 3" in " ".join(problem.detail for problem in answer.problems)


def test_a_note_of_several_lines_is_read_unless_it_holds_a_row(tmp_path: Path) -> None:
    header = HEADER.replace("symbol,", "note,symbol,")
    noted = '"sold, then\nbought, again",SPY,2013-10-08,1,1,1,1,1\n'
    source = CsvHistory(file(tmp_path, f"{header}{noted}x,IBM,2013-10-08,1,1,1,1,1\n"))
    assert len(fetch(source, "1d", "SPY", "IBM").bars) == 2
    swallowed = '"x,SPY,2013-10-08,1,1,1,1,1\nx,IBM,2013-10-08,1,1,1,1,1\nx,QQQ,2013-10-08,1,1,1,1,1\n'
    source = CsvHistory(file(tmp_path, f"{header}{swallowed}", "swallowed.csv"))
    assert source.symbols() == ("IBM", "QQQ", "SPY")
    assert {bar.symbol for bar in fetch(source, "1d", "IBM", "QQQ", "SPY").bars} == {"IBM", "QQQ", "SPY"}
