"""A tape in CSV: the records of its rows, and errors that name the line."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.feeds import Feed, FeedRequest, Kind, get_feed
from ingest.feeds.csv.client import CsvFeed
from market.errors import FeedError, UsageError
from market.records import Cancel, Correction, Halt, Heartbeat, Record, Resume, Trade
from tests.unit.ingest.feed_contract import FeedContract

HEADER = "kind,symbol,ts,price,size,trade_id,ref_id,conditions,exchange"
OPEN_US = int(datetime(2013, 10, 7, 13, 30, tzinfo=UTC).timestamp()) * 1_000_000
DAY_US = 86_400_000_000

Read = Callable[[str], list[Record]]


class TestCsvFeed(FeedContract):
    @pytest.fixture
    def feed(self) -> Feed:
        return get_feed("csv")

    @pytest.fixture
    def request_small(self, tmp_path: Path) -> FeedRequest:
        rows = [
            f"{kind},{symbol},{OPEN_US + day * DAY_US + number},{100 + number / 100},{number},{symbol}-{day}-{number},,,P"
            for day in range(2)
            for number in range(1, 20)
            for symbol in ("IBM", "SPY")
            for kind in ("trade",)
        ]
        path = tmp_path / "tape.csv"
        path.write_text("\n".join([HEADER, *rows]) + "\n")
        return FeedRequest(("IBM", "SPY"), date(2013, 10, 7), date(2013, 10, 8), path)

    @pytest.fixture
    def unknown_symbol(self) -> str:
        return "QQQ"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Returns the records of a file with that text."""

    def records(text: str) -> list[Record]:
        path = tmp_path / "tape.csv"
        path.write_bytes(text.encode())
        request = FeedRequest(path=path)
        found = list(get_feed("csv").read(request))
        assert get_feed("csv").check(request) == len(found)
        return found

    return records


def test_trades_cancels_and_corrections_come_in_the_order_of_the_file(read: Read) -> None:
    rows = [
        "correction,spy,2013-10-07T09:31:00-04:00,101.5,50,,T-2,@,N",
        "trade,SPY,1381152600000001,100.25,100,T-7,,,P",
        "cancel,SPY,2013-10-07T13:32:00.5Z,,,,T-7,,",
        "trade,SPY,1381152600000000,100,1,T-2,,@ F,",
    ]
    assert read("\n".join([HEADER, *rows])) == [
        Correction("csv", "SPY", OPEN_US + 60_000_000, "T-2", Decimal("101.5"), 50, "N", "@"),
        Trade("csv", "SPY", OPEN_US + 1, Decimal("100.25"), 100, "T-7", 7, "P", ""),
        Cancel("csv", "SPY", OPEN_US + 120_500_000, "T-7"),
        Trade("csv", "SPY", OPEN_US, Decimal(100), 1, "T-2", 2, "", "@ F"),
        Heartbeat("csv", "SPY", OPEN_US, OPEN_US + 2),
    ]


def test_a_file_covers_each_symbols_session_from_its_first_trade_to_its_last(read: Read) -> None:
    hour = 3600 * 1_000_000
    moments = {"SPY": (0, 90, DAY_US + 5, -6 * hour, 10 * hour), "IBM": (7, DAY_US * 5, 2 * DAY_US - 8 * hour, -1)}
    rows = [f"trade,{symbol},{OPEN_US + ts},10,5" for symbol, times in moments.items() for ts in times]
    found = read("\n".join(["kind,symbol,ts,price,size", *rows, f"cancel,SPY,{OPEN_US + 2 * hour},,"][:-1]))
    assert [record for record in found if isinstance(record, Heartbeat)] == [
        Heartbeat("csv", "IBM", OPEN_US - 1, OPEN_US + 8),
        # Before 04:00 there is no session, and 19:30 is the last trade.
        Heartbeat("csv", "SPY", OPEN_US - 11 * hour // 2, OPEN_US + 10 * hour + 1),
        Heartbeat("csv", "SPY", OPEN_US + DAY_US + 5, OPEN_US + DAY_US + 6),
    ]


def test_trades_that_have_not_happened_yet_are_not_covered(tmp_path: Path) -> None:
    now = datetime(2013, 10, 7, 13, 45, tzinfo=UTC)
    minutes = {"SPY": (1, 15, 16, 240), "IBM": (16, 17)}
    rows = [f"trade,{symbol},{OPEN_US + 60_000_000 * minute},10,5" for symbol, at in minutes.items() for minute in at]
    path = tmp_path / "tape.csv"
    path.write_text("\n".join(["kind,symbol,ts,price,size", *rows]))
    feed, request = CsvFeed(lambda: now), FeedRequest(path=path)
    records = list(feed.read(request))
    assert feed.check(request) == len(records)
    assert [record for record in records if isinstance(record, Heartbeat)] == [
        Heartbeat("csv", "SPY", OPEN_US + 60_000_000, OPEN_US + 15 * 60_000_000 + 1)
    ]
    assert len(records) == 7


def test_a_file_that_says_what_it_covers_is_believed(read: Read) -> None:
    rows = [
        f"trade,SPY,{OPEN_US},10,5,,",
        f"halt,SPY,{OPEN_US + 1},,,,LUDP",
        f"resume,SPY,{OPEN_US + 2},,,,",
        f"heartbeat,SPY,{OPEN_US + 60_000_000},,,2013-10-07T09:30:00-04:00,",
        f"trade,IBM,{OPEN_US},10,5,,",
    ]
    found = read("\n".join(["kind,symbol,ts,price,size,since,reason", *rows]))
    assert [record for record in found if not isinstance(record, Trade)] == [
        Halt("csv", "SPY", OPEN_US + 1, "LUDP"),
        Resume("csv", "SPY", OPEN_US + 2),
        Heartbeat("csv", "SPY", OPEN_US, OPEN_US + 60_000_000),
    ]


def test_columns_may_stand_in_any_order_and_the_optional_ones_be_absent(read: Read) -> None:
    trade, _ = read('\ufeffsize,price,ts,symbol,kind\r\n5,"1.5",1381152600000000,IBM,trade\r\n\r\n')
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.price, trade.size, trade.ts) == ("IBM", Decimal("1.5"), 5, OPEN_US)


def test_a_trade_without_an_id_has_one_of_its_content_and_its_number(read: Read) -> None:
    rows = ["trade,SPY,1,10,5", "trade,SPY,1,10,5", "trade,SPY,1,10,6"]
    first, moved = (read("\n".join(["kind,symbol,ts,price,size", *some])) for some in (rows, rows[::-1]))
    ids = {record.trade_id for record in first if isinstance(record, Trade)}
    assert len(ids) == 3
    assert ids == {record.trade_id for record in moved if isinstance(record, Trade)}


def test_a_repeated_row_says_the_same_again(read: Read) -> None:
    first, second = read("\n".join([HEADER, *["trade,SPY,1,10,5,20131007-12,,,"] * 2]))
    assert first == second
    assert isinstance(first, Trade)
    assert first.sequence == 12


def test_what_makes_no_sense_is_left_to_the_stream_to_judge(read: Read) -> None:
    (trade,) = read(f"{HEADER}\ntrade,SPY,-1,-1.12345678,0,x y,,,")
    assert trade == Trade("csv", "SPY", -1, Decimal("-1.12345678"), 0, "x y", 1, "", "")


BAD_ROWS = {
    "order,SPY,1,10,5,a,,,": "'order'",
    "trade,S PY,1,10,5,a,,,": "'S PY'",
    "trade,,1,10,5,a,,,": "symbol ''",
    "trade,SPY,yesterday,10,5,a,,,": "ts 'yesterday'",
    "trade,SPY,2013-10-07T09:31:00,10,5,a,,,": "without a zone",
    "trade,SPY,2013-10-07T09:31:00.1234567Z,10,5,a,,,": "finer than a microsecond",
    "trade,SPY,1.5,10,5,a,,,": "'1.5'",
    "trade,SPY,1,ten,5,a,,,": "'ten'",
    "trade,SPY,1,NaN,5,a,,,": "'NaN'",
    "trade,SPY,1,inf,5,a,,,": "'inf'",
    "trade,SPY,1,,5,a,,,": "price ''",
    "trade,SPY,1,10,5.5,a,,,": "'5.5'",
    "trade,SPY,1,10,99999999999999999999,a,,,": "'99999999999999999999'",
    "cancel,SPY,1,,,,,,": "ref_id is empty",
    "heartbeat,SPY,1,,,,,,": "give the file a column 'since'",
    "trade,SPY,1,10,5": "5 fields where the header has 9",
    'trade,SPY,1,10,5,"a,,,': "not CSV",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_row_that_cannot_be_read_is_named_before_anything_is_given(read: Read, row: str) -> None:
    with pytest.raises(FeedError, match=r"tape\.csv: line 3 ") as caught:
        read("\n".join([HEADER, "trade,SPY,1,10,5,a,,,", row]))
    assert BAD_ROWS[row] in str(caught.value)


def test_a_heartbeat_without_its_start_names_the_column(read: Read) -> None:
    with pytest.raises(FeedError, match=r"line 2 has the since '': it is a time in ISO 8601"):
        read(f"kind,symbol,ts,price,size,since\nheartbeat,SPY,{OPEN_US},,,")


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("kind,symbol,ts,price", "no column 'size'"),
        (HEADER + ",colour", "'colour'"),
        (HEADER + ",price", "'price' 2 times"),
        ("trade,SPY,1,10,5", "no column 'kind'"),
        ("kind;symbol;ts;price;size", "line 1 is separated by semicolons: write commas between the fields, and points"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(read: Read, header: str, part: str) -> None:
    with pytest.raises(FeedError, match="line 1 ") as caught:
        read(header + "\n")
    assert part in str(caught.value)


def test_a_file_that_is_no_tape_is_refused(tmp_path: Path) -> None:
    feed, path = get_feed("csv"), tmp_path / "tape.csv"
    with pytest.raises(FeedError, match="not a file"):
        feed.check(FeedRequest(path=path))
    with pytest.raises(UsageError, match="needs a file"):
        feed.check(FeedRequest())
    path.write_bytes(b"")
    with pytest.raises(FeedError, match="empty"):
        feed.check(FeedRequest(path=path))
    path.write_bytes(HEADER.encode() + b"\ntrade,\xff,1,10,5,a,,,\n")
    with pytest.raises(FeedError, match="UTF-8"):
        feed.check(FeedRequest(path=path))
    with pytest.raises(UsageError, match="no quotes"):
        feed.check(FeedRequest(path=path, kinds=frozenset({Kind.QUOTES})))


def test_trades_of_one_moment_keep_the_order_of_the_file(read: Read) -> None:
    rows = [
        f"trade,{symbol},1,{price},100,{trade_id},,,"
        for symbol, price, trade_id in (
            ("SPY", "10.03", ""),
            ("SPY", "10.00", "ab"),
            ("IBM", "7", ""),
            ("SPY", "10.05", ""),
            ("SPY", "10.03", ""),
            ("SPY", "10.00", "ab"),
        )
    ]
    records = read("\n".join([HEADER, *rows, "trade,SPY,2,9,100,,,,"]))
    trades = [record for record in records if isinstance(record, Trade)]
    assert [trade.sequence for trade in trades] == [1, 2, 1, 3, 4, 2, 1]  # the repeated row says what it said
    assert trades[1] == trades[5]


def test_identities_that_end_in_a_number_order_the_trades_of_one_moment(read: Read) -> None:
    records = read("\n".join([HEADER, *(f"trade,SPY,1,9,100,t{number},,," for number in (12, 3))]))
    assert [record.sequence for record in records if isinstance(record, Trade)] == [12, 3]
