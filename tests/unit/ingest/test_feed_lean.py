import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.feeds import Feed, FeedRequest, Kind, get_feed
from market.errors import FeedError, UsageError
from market.records import Quote, Trade
from tests.unit.ingest.conftest import write_ticks
from tests.unit.ingest.feed_contract import FeedContract, moment_of


class TestLeanFeed(FeedContract):
    @pytest.fixture
    def feed(self) -> Feed:
        return get_feed("lean")

    @pytest.fixture
    def request_small(self, lean_folder: Path) -> FeedRequest:
        return FeedRequest(("IBM", "SPY"), date(2013, 10, 4), date(2013, 10, 7), lean_folder)

    @pytest.fixture
    def unknown_symbol(self) -> str:
        return "QQQ"


def request_of(root: Path, kinds: frozenset[Kind] = frozenset(Kind), symbol: str = "SPY") -> FeedRequest:
    return FeedRequest((symbol,), date(2013, 10, 7), date(2013, 10, 7), root, kinds)


def test_a_trade_is_read_to_the_last_digit(lean_folder: Path) -> None:
    first, second, *_ = (r for r in get_feed("lean").read(request_of(lean_folder)) if isinstance(r, Trade))
    assert first == Trade(
        source="lean",
        symbol="SPY",
        ts=1381132800464000,  # 04:00:00.464 in New York, on summer time
        price=Decimal("167.41"),
        size=100,
        trade_id="20131007-1",
        sequence=1,
        exchange="P",
        conditions="20002000",
    )
    assert moment_of(second) == datetime(2013, 10, 7, 13, 30, tzinfo=UTC)


def test_the_hour_follows_new_york_in_winter(lean_folder: Path) -> None:
    write_ticks(lean_folder, "spy", "20131104", "trade", ["34200000,1674100,100,P,1,0"])
    request = FeedRequest(("SPY",), date(2013, 11, 4), date(2013, 11, 4), lean_folder)
    (trade,) = (record for record in get_feed("lean").read(request) if isinstance(record, Trade))
    assert moment_of(trade) == datetime(2013, 11, 4, 14, 30, tzinfo=UTC)


def test_suspicion_becomes_bit_32_of_the_conditions(lean_folder: Path) -> None:
    trades = [record for record in get_feed("lean").read(request_of(lean_folder)) if isinstance(record, Trade)]
    assert [trade.conditions for trade in trades] == ["20002000", "80000001", "100000041", "20002020"]
    assert int(trades[2].conditions, 16) == 0x41 | 1 << 32


def test_an_unchanged_side_of_a_quote_is_none(lean_folder: Path) -> None:
    request = request_of(lean_folder, frozenset({Kind.QUOTES}), "IBM")
    first, second, third = (record for record in get_feed("lean").read(request) if isinstance(record, Quote))
    assert (first.bid, first.bid_size, first.ask, first.ask_size) == (None, None, Decimal("183.63"), 100)
    assert (second.bid, second.bid_size, second.ask, second.ask_size) == (Decimal("180.01"), 300, None, None)
    assert (third.bid, third.ask) == (Decimal("180.02"), Decimal("183.63"))


def test_quotes_are_optional_beside_trades_and_required_alone(lean_folder: Path) -> None:
    assert get_feed("lean").check(request_of(lean_folder)) == 4 + 64  # a heartbeat for each quarter of an hour
    with pytest.raises(FeedError, match=r"no quotes of SPY on 2013-10-07.*20131007_quote\.zip"):
        get_feed("lean").check(request_of(lean_folder, frozenset({Kind.QUOTES})))


def test_weekends_are_skipped_and_an_absent_session_is_an_error(lean_folder: Path) -> None:
    request = FeedRequest(("SPY",), date(2013, 10, 5), date(2013, 10, 8), lean_folder)
    with pytest.raises(FeedError, match=r"no trades of SPY on 2013-10-08.*Days there: 2013-10-04, 2013-10-07"):
        get_feed("lean").read(request)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("14400464,1674100,100,P,20002000", "5 fields instead of 6"),
        ("14400464,1674100,100,P,20002000,0,7", "7 fields instead of 6"),
        ("14400464,167.41,100,P,20002000,0", "'167.41' where a whole number"),
        ("14400464,99999999999999999999,100,P,1,0", "whole number of 64 bits"),
        ("14400464,1674100,100,P,xyz,0", "hexadecimal"),
        ("14400464,1674100,100,P,1,2", "suspicious"),
        ("86400000,1674100,100,P,1,0", "not within a day"),
        ("-1,1674100,100,P,1,0", "not within a day"),
        ("", "1 fields instead of 6"),
    ],
)
def test_a_row_that_does_not_parse_fails_with_its_file_and_line(lean_folder: Path, row: str, reason: str) -> None:
    good = "14400464,1674100,100,P,20002000,0"
    path = write_ticks(lean_folder, "spy", "20131007", "trade", [good, good, row, good])
    with pytest.raises(FeedError) as caught:
        get_feed("lean").read(request_of(lean_folder))
    assert str(path) in str(caught.value)
    assert "line 3" in str(caught.value)
    assert reason in str(caught.value)


def test_a_damaged_last_day_is_found_before_the_first_record(lean_folder: Path) -> None:
    path = lean_folder / "equity/usa/tick/spy/20131007_trade.zip"
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))
    request = FeedRequest(("SPY",), date(2013, 10, 4), date(2013, 10, 7), lean_folder)
    with pytest.raises(FeedError, match=r"20131007_trade\.zip"):
        get_feed("lean").read(request)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a zip archive"])
def test_what_is_no_zip_archive_is_named(lean_folder: Path, content: bytes) -> None:
    (lean_folder / "equity/usa/tick/spy/20131007_trade.zip").write_bytes(content)
    with pytest.raises(FeedError, match=r"20131007_trade\.zip cannot be read"):
        get_feed("lean").read(request_of(lean_folder))


def test_an_archive_with_two_files_is_refused(lean_folder: Path) -> None:
    with zipfile.ZipFile(lean_folder / "equity/usa/tick/spy/20131007_trade.zip", "a") as archive:
        archive.writestr("second.csv", "")
    with pytest.raises(FeedError, match="2 CSV files"):
        get_feed("lean").read(request_of(lean_folder))


def test_an_empty_file_is_refused_as_a_missing_one_is(lean_folder: Path) -> None:
    write_ticks(lean_folder, "spy", "20131007", "trade", [])
    with pytest.raises(FeedError, match=r"20131007_trade\.zip holds an empty CSV file"):
        get_feed("lean").read(request_of(lean_folder))


def test_a_folder_without_ticks_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="is not a LEAN data folder"):
        get_feed("lean").read(request_of(tmp_path))


@pytest.mark.parametrize(
    ("request_", "missing"),
    [
        (FeedRequest(("SPY",), date(2013, 10, 7), date(2013, 10, 7)), "folder"),
        (FeedRequest((), date(2013, 10, 7), date(2013, 10, 7), Path()), "symbols"),
        (FeedRequest(("SPY",), None, None, Path()), "first and a last day"),
    ],
)
def test_an_incomplete_request_says_what_it_lacks(request_: FeedRequest, missing: str) -> None:
    with pytest.raises(UsageError, match=missing):
        get_feed("lean").read(request_)


def test_the_real_ticks_agree_with_a_plain_reading_of_their_files(real_lean: Path) -> None:
    request = FeedRequest(("IBM",), date(2013, 10, 7), date(2013, 10, 8), real_lean, frozenset({Kind.TRADES}))
    trades = [record for record in get_feed("lean").read(request) if isinstance(record, Trade)]
    expected = []
    for day in ("20131007", "20131008"):
        with zipfile.ZipFile(real_lean / f"equity/usa/tick/ibm/{day}_trade.zip") as archive:
            lines = archive.read(archive.namelist()[0]).decode().splitlines()
        midnight = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) + 4 * 3600
        for number, line in enumerate(lines, start=1):
            ms, price, size, exchange, conditions, _ = line.split(",")
            expected.append(
                (
                    midnight * 10**6 + int(ms) * 1000,
                    Decimal(price) / 10_000,
                    int(size),
                    f"{day}-{number}",
                    exchange,
                    conditions,
                )
            )
    found = [(t.ts, t.price, t.size, t.trade_id, t.exchange, t.conditions) for t in trades]
    assert found == expected
