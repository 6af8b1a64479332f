"""Files are read each time; what the lake has with the same values is not published again, and nothing else is remembered."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ingest.feeds.csv.history import CsvHistory
from ingest.feeds.lean.history import LeanHistory
from ingest.feeds.sample.history import SampleHistory
from ingest.history.backfill import run_backfill
from ingest.history.fetch import Pace
from ingest.history.files import Bounds, FileSource, UnstoredRows
from ingest.history.order import Order, plan_of
from ingest.history.source import Ask
from ingest.history.summary import Summary
from market.records import Bar
from market.sessions import sessions_between
from market.settings import Settings
from tests.unit.ingest.history.test_backfilling import PlayedDoor
from tests.unit.ingest.history.test_history_of_files import HEADER, lean_folder
from warehouse.collected_history import Collected
from warehouse.stored_values import STORED_SCHEMA

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""A Sunday."""


class Unremembering(PlayedDoor):
    """A door that notes nothing."""

    def remember(self, collected: Collection[Collected]) -> Collection[str]:
        del collected
        return ()


@dataclass
class Lake:
    """The newest version of each bar that was published, and all that was."""

    bars: dict[tuple[str, int], Bar] = field(default_factory=dict)
    versions: list[Bar] = field(default_factory=list)

    def stored(self, ask: Ask) -> pl.DataFrame:
        rows = [
            (bar.symbol, bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume)
            for bar in self.bars.values()
            if bar.symbol in ask.symbols
        ]
        return pl.DataFrame(rows, schema=STORED_SCHEMA, orient="row")

    def take_in(self, bars: Sequence[Bar]) -> None:
        self.versions += bars
        self.bars |= {(bar.symbol, bar.ts): bar for bar in bars}

    def read(self, source: FileSource, interval: str = "1d", symbols: str = "", **days: date) -> Summary:
        order = Order.of(
            Settings(_env_file=None),
            source,
            interval,
            symbols=symbols,
            start=days.get("start"),
            end=days.get("end"),
            now=NOW,
        )
        stop, door = threading.Event(), Unremembering()
        unstored = UnstoredRows(source, self.stored, Bounds(days.get("start"), days.get("end")))
        pace = Pace(None, Path("/nowhere"), stop)
        summary = run_backfill(unstored, plan_of(Settings(_env_file=None), source, order), door, pace, stop=stop)
        self.take_in(door.published)
        return summary.with_refused(order.refused)


@pytest.fixture
def lake() -> Lake:
    return Lake()


def days_of(year: int) -> list[date]:
    return [session.session_date for session in sessions_between(date(year, 1, 1), date(year, 12, 31))]


def rows_of(days: Sequence[date], symbol: str = "SPY", close: str = "10.5") -> str:
    return "".join(f"{symbol},{day},10,11,9,{close},100\n" for day in days)


def source_of(folder: Path, rows: str, name: str = "bars.csv") -> CsvHistory:
    (folder / name).write_text(HEADER + rows)
    return CsvHistory(folder / name)


def test_a_file_of_another_year_adds_its_bars_and_the_same_again_adds_none(tmp_path: Path, lake: Lake) -> None:
    for year in (2025, 2024, 2023):
        source = source_of(tmp_path, rows_of(days_of(year)))
        first, again = lake.read(source), lake.read(source)
        expected = len(days_of(year))
        assert (first.is_done, first.bars, first.symbols["SPY"].read, first.symbols["SPY"].there) == (
            True,
            expected,
            expected,
            0,
        )
        assert (again.is_done, again.bars, again.symbols["SPY"].there) == (True, 0, expected)
        assert again.symbols["SPY"].remarks(5) == []
    assert len(lake.bars) == len(lake.versions) == sum(map(len, map(days_of, (2023, 2024, 2025))))


def test_a_corrected_value_is_published_and_it_alone(tmp_path: Path, lake: Lake) -> None:
    days = days_of(2025)
    lake.read(source_of(tmp_path, rows_of(days)))
    summary = lake.read(
        source_of(tmp_path, rows_of(days[:100]) + rows_of(days[100:101], close="10.6") + rows_of(days[101:]))
    )
    assert (summary.bars, summary.symbols["SPY"].there) == (1, len(days) - 1)
    assert lake.versions[-1].close == Decimal("10.6")


def test_half_a_session_is_completed_by_the_whole_file(tmp_path: Path, lake: Lake) -> None:
    times = [f"{(570 + 5 * number) // 60:02}:{(570 + 5 * number) % 60:02}" for number in range(78)]
    rows = [f"SPY,2026-10-06 {clock},10,11,9,10.5,100\n" for clock in times]
    assert lake.read(source_of(tmp_path, "".join(rows[:39])), "5m").bars == 39
    assert lake.read(source_of(tmp_path, "".join(rows)), "5m").bars == 39


def test_a_symbol_that_was_unknown_is_read_once_its_file_is_there(tmp_path: Path, lake: Lake) -> None:
    source = LeanHistory(lean_folder(tmp_path))
    zips = tmp_path / "equity" / "usa" / "daily"
    first = lake.read(source, symbols="IBM")
    assert (first.is_done, first.symbols["IBM"].is_unknown) == (False, True)
    (said,) = first.symbols["IBM"].remarks(5)
    assert "a run reads them anew" in said
    assert "--again" not in said
    (zips / "spy.zip").rename(zips / "ibm.zip")
    assert lake.read(source, symbols="IBM").bars == 1


def test_without_a_range_a_file_is_taken_whole(tmp_path: Path, lake: Lake) -> None:
    years = (1990, 2012, 2026)
    rows = "".join(rows_of(days_of(year)[:2]) for year in years)
    assert lake.read(source_of(tmp_path, rows)).bars == 6
    within = lake.read(source_of(tmp_path, rows_of(days_of(2013))), start=date(2013, 3, 1), end=date(2013, 3, 31))
    assert (within.bars, within.symbols["SPY"].remarks(5)) == (20, [])


def test_what_is_not_over_closed_or_too_old_is_said_by_symbol(tmp_path: Path, lake: Lake) -> None:
    days = ["1989-12-29", "2026-11-20", "2026-11-21", "2026-11-23", "2027-01-04", "2031-01-06"]
    rows = "".join(f"FUTR,{day},10,11,9,10,5\n" for day in days)
    (result,) = lake.read(source_of(tmp_path, rows)).symbols.values()
    assert (result.bars, dict(result.problem_counts)) == (1, {"no_session": 1})
    assert result.passed_over == {
        "of sessions that are not over": 3,
        "before 1990-01-02, where the calendar begins": 1,
    }
    assert "3 rows passed over: of sessions that are not over" in result.remarks(5)


def test_rows_of_the_hours_beside_are_counted_and_fail_nothing(tmp_path: Path, lake: Lake) -> None:
    clocks = [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in range(480, 1080, 15)]  # 08:00 to 17:45
    rows = "".join(f"SPY,2026-10-06 {clock},10,11,9,10.5,100\n" for clock in clocks)
    source = source_of(tmp_path, rows)
    first, again = lake.read(source, "15m"), lake.read(source, "15m")
    assert [(one.is_done, one.bars, one.symbols["SPY"].passed_over) for one in (first, again)] == [
        (True, 26, {"outside regular hours": 14}),
        (True, 0, {"outside regular hours": 14}),
    ]


def test_holes_within_a_file_are_said_each_time_and_nobody_is_asked_again(tmp_path: Path, lake: Lake) -> None:
    days = days_of(2025)
    source = source_of(tmp_path, rows_of([days[3], days[5], days[9]]))
    for _ in range(2):
        result = lake.read(source).symbols["SPY"]
        assert (result.is_done, result.without_bars) == (True, [days[4], *days[6:9]])
        assert result.remarks(5) == [f"no bar of 4 sessions ({days[4]} … {days[8]}) between others"]


def test_a_bad_row_is_said_each_time_and_the_good_ones_are_published_once(tmp_path: Path, lake: Lake) -> None:
    days = days_of(2025)[:5]
    source = source_of(tmp_path, rows_of(days) + f"SPY,{days[0]},10,11,12,10.5,100\n" + f"IBM,{days[1]},1,1,1,x,1\n")
    first, again = lake.read(source), lake.read(source)
    assert (first.bars, again.bars) == (4, 0)
    for summary in (first, again):
        assert not summary.is_done
        assert summary.symbols["SPY"].problem_counts == {"contradicts_itself": 1}
        assert summary.symbols["IBM"].problem_counts == {"not_a_number": 1}


def test_the_sample_is_read_like_a_file(lake: Lake) -> None:
    assert isinstance(SampleHistory(), FileSource)
    first, again = (lake.read(SampleHistory(), symbols="IBM,AAPL,NONE") for _ in range(2))
    assert first.bars == again.symbols["IBM"].there + again.symbols["AAPL"].there > 6_000
    assert (again.bars, again.symbols["NONE"].is_unknown) == (0, True)
