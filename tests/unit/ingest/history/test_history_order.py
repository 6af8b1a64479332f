"""What is wanted of a file: all of its symbols, and what cannot be one is said."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ingest.feeds.csv.history import CsvHistory
from ingest.history.order import Order
from market.errors import FeedError, UsageError
from market.settings import Settings

DAYS = date(2013, 10, 7), date(2013, 10, 11)
HEADER = "symbol,timestamp,open,high,low,close,volume\n"


def order(
    folder: Path, text: str, symbols: str = "", *, is_folder: bool = False, days: tuple[date, date] = DAYS
) -> Order:
    (folder / "bars.csv").write_text(HEADER + text)
    return Order.of(
        Settings(_env_file=None),
        CsvHistory(folder if is_folder else folder / "bars.csv"),
        "1d",
        symbols=symbols,
        start=days[0],
        end=days[1],
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_one_bad_symbol_of_a_file_is_refused_with_its_line_and_the_others_are_wanted(tmp_path: Path) -> None:
    text = "SPY,2013-10-07,1,1,1,1,1\nC D,2013-10-07,1,1,1,1,1\n.X,2013-10-07,1,1,1,1,1\n"
    found = order(tmp_path, text)
    assert found.symbols == ("SPY",)
    assert [(one.symbol, one.detail[:37]) for one in found.refused] == [
        ("C D", "bars.csv, line 3: symbol 'C D': a sym"),
        (".X", "bars.csv, line 4: symbol '.X': a symb"),
    ]
    assert order(tmp_path, text, symbols="spy").refused == ()


@pytest.mark.parametrize("symbols", ["", "spy"])
def test_a_file_of_a_folder_that_cannot_be_read_is_told_whoever_is_wanted(tmp_path: Path, symbols: str) -> None:
    (tmp_path / "bad.csv").touch()
    found = order(tmp_path, "SPY,2013-10-07,1,1,1,1,1\n", symbols, is_folder=True)
    assert found.symbols == ("SPY",)
    assert [(one.symbol, one.code) for one in found.refused] == [("bad.csv", "damaged_file")]


@pytest.mark.parametrize("text", ["", ",2013-10-07,1,1,1,1,1\n", "C D,2013-10-07,1,1,1,1,1\n"])
def test_a_file_without_any_symbol_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(FeedError, match="name no symbol") as error:
        order(tmp_path, text)
    assert ("line 2: symbol 'C D'" in str(error.value)) == text.startswith("C D")


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (
            (date(1980, 1, 5), date(1980, 2, 1)),
            "ends on 1980-02-01, and the calendar begins with 1990-01-02. Choose later",
        ),
        ((date(2026, 1, 3), date(2026, 1, 4)), "begins on 2026-01-03, which lies in the future"),
        ((date(2025, 12, 27), date(2025, 12, 28)), "no session from 2025-12-27 to 2025-12-28 that is over"),
    ],
)
def test_days_without_a_session_are_refused_with_what_is_wrong(
    tmp_path: Path, days: tuple[date, date], says: str
) -> None:
    with pytest.raises((UsageError, FeedError), match=says):
        order(tmp_path, "SPY,2013-10-07,1,1,1,1,1\n", days=days)
