"""A tiny lake whose every row is written out by hand, so that nothing of what is tested made it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

from market import tables
from market.rules import RULES_VERSION
from market.tables import Table
from tests.unit.lean_conditions import judgement
from tests.unit.verify.fake_published import ARROW_PRICES, FakePublished, Row
from verify.bars import prove_bars
from verify.decisions import decide
from verify.gaps import prove_gaps
from verify.indicators import prove_indicators
from verify.lake import schema_of
from verify.laws import open_lake
from verify.ledger import prove_ledger
from verify.results import LawResult

SESSION = date(2013, 10, 7)
OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
FIRST_BATCH = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
SECOND_BATCH = datetime(2026, 1, 5, 12, 0, 1, 500, tzinfo=UTC)
TRADES_TOPIC, QUOTES_TOPIC, BARS_TOPIC = "market.trades.v1", "market.quotes.v1", "market.bars.v1"


class TinyLake:
    """Rows by table path; ``prove`` writes them as Delta tables and proves the laws of messages and bars."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[Row]] = {table.path: [] for table in tables.LAKE_TABLES}
        self.published = FakePublished()
        self.now = FIRST_BATCH + timedelta(hours=1)

    def __getitem__(self, table: Table) -> list[Row]:
        return self.rows[table.path]

    def row(self, table: Table, **wanted: object) -> Row:
        (found,) = [row for row in self[table] if all(row[name] == value for name, value in wanted.items())]
        return found

    def message(self, topic: str, offset: int, value: bytes | None, ingested_at: datetime = FIRST_BATCH) -> Row:
        ledger: Row = {"topic": topic, "partition": 0, "offset": offset, "ingested_at": ingested_at}
        self[tables.MESSAGES].append({**ledger, "kafka_at": ingested_at, "key": b"SPY", "value": value})
        return ledger

    def write(self) -> str:
        for table in tables.LAKE_TABLES:
            if self[table]:
                self.append(table)
        return str(self.folder)

    def append(self, table: Table) -> None:
        """Append the rows of a table to what is written of it."""
        schema = {column.name: _delta_type(table, column.name) for column in table.columns}
        frame = pl.DataFrame(self[table], schema=schema, orient="row")
        write_deltalake(str(self.folder / table.path), frame.to_arrow(), mode="append")

    def prove(self, **ledger_arguments: Any) -> tuple[LawResult, LawResult]:
        lake = open_lake(self.write(), self.published)
        with decide(lake, self.now) as decisions:
            ledger = prove_ledger(lake, self.published, decisions, **{"patience_seconds": 0.0, **ledger_arguments})
            return ledger, prove_bars(lake, self.published, decisions)

    def prove_indicators(self) -> LawResult:
        """Prove law 3 over what PostgreSQL says."""
        return prove_indicators(self.published)

    def prove_gaps(self) -> LawResult:
        """Prove law 5 over what is written now."""
        lake = open_lake(self.write(), self.published)
        with decide(lake, self.now) as decisions:
            return prove_gaps(lake, self.published, decisions)


def _delta_type(table: Table, name: str) -> pl.DataType:
    (column,) = [column for column in table.columns if column.name == name]
    return ARROW_PRICES.get(column.type, schema_of(table)[name])


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def trade_json(trade_id: str, at: datetime, price: str, size: int, extra: str = "") -> bytes:
    return (
        f'{{"kind":"trade","source":"lean","symbol":"SPY","ts":{micros(at)},"price":{price},"size":{size},'
        f'"trade_id":"{trade_id}"{extra}}}'
    ).encode()


def _trade_row(ledger: Row, trade_id: str, at: datetime, price: str, size: int, **others: object) -> Row:
    return {
        "source": "lean",
        "symbol": "SPY",
        "trade_id": trade_id,
        "traded_at": at,
        "bar_at": at.replace(second=0, microsecond=0),
        "session_date": SESSION,
        "segment": "regular",
        "price": Decimal(price),
        "size": size,
        "sequence": 0,
        "exchange": "",
        "conditions": "",
        **judgement(""),
        "eligibility_version": 2,
        **ledger,
        **others,
    }


def fill_trades(lake: TinyLake) -> None:
    """Two minutes in two batches: the second batch brings a late trade of the first minute, a repeat and a broken one."""
    late, second, last = OPEN + timedelta(seconds=1), OPEN + timedelta(seconds=2), OPEN + timedelta(seconds=61)
    a = lake.message(TRADES_TOPIC, 5, trade_json("a", second, "100.01", 300, ',"sequence":7,"exchange":"P"'))
    lake[tables.TRADES].append(_trade_row(a, "a", second, "100.01", 300, sequence=7, exchange="P"))
    # Bit 5 is a sweep: it counts for volume and sets no price.
    b = lake.message(TRADES_TOPIC, 6, trade_json("b", second, "250", 100, ',"sequence":8,"conditions":"20"'))
    sweep = {"sequence": 8, "conditions": "20", **judgement("20")}
    lake[tables.TRADES].append(_trade_row(b, "b", second, "250", 100, **sweep))
    c = lake.message(TRADES_TOPIC, 7, trade_json("c", last, '"99.999999"', 1))
    # 112844655 is the CRC-32 of "c".
    lake[tables.TRADES].append(_trade_row(c, "c", last, "99.999999", 1, sequence=112844655))
    d = lake.message(TRADES_TOPIC, 8, trade_json("d", late, "99.50", 200, ',"sequence":1'), SECOND_BATCH)
    lake[tables.TRADES].append(_trade_row(d, "d", late, "99.50", 200, sequence=1))
    repeat = trade_json("a", second, "100.010", 300, ',"sequence":7,"exchange":"P"')
    again = lake.message(TRADES_TOPIC, 9, repeat, SECOND_BATCH)
    lake[tables.DUPLICATES].append({**again, "record_id": "lean/SPY/a"})
    broken = lake.message(TRADES_TOPIC, 10, b'{"kind":"trade"', SECOND_BATCH)
    lake[tables.QUARANTINE].append({**broken, "reason": "not_json", "detail": None, "rules_version": RULES_VERSION})


def fill_bars(lake: TinyLake) -> None:
    bar: Row = {"source": "lean", "symbol": "SPY", "session_date": SESSION, "segment": "regular"}
    # Volume 400, notional 300 x 100.01 + 100 x 250 = 55003, vwap 137.5075; only "a" may set a price.
    first = {
        "bar_at": OPEN,
        "volume": 400,
        "notional": Decimal(55003),
        "vwap": Decimal("137.5075"),
        **dict.fromkeys(("open", "high", "low", "close"), Decimal("100.01")),
        "trade_count": 2,
        "excluded_trade_count": 1,
        "left_out": '{"sweep": 1}',
        "cancelled_trade_count": 0,
        "corrected_trade_count": 0,
        "revision": 1,
        "revised_at": FIRST_BATCH,
    }
    # With the late trade: 200 x 99.50 = 19900 more; 74903 / 600 = 124.838333…
    revised = {
        "bar_at": OPEN,
        "volume": 600,
        "notional": Decimal(74903),
        "vwap": Decimal("124.838333"),
        "open": Decimal("99.5"),
        "high": Decimal("100.01"),
        "low": Decimal("99.5"),
        "close": Decimal("100.01"),
        "trade_count": 3,
        "excluded_trade_count": 1,
        "left_out": '{"sweep": 1}',
        "cancelled_trade_count": 0,
        "corrected_trade_count": 0,
        "revision": 2,
        "revised_at": SECOND_BATCH,
    }
    alone = {
        "bar_at": OPEN + timedelta(minutes=1),
        "volume": 1,
        **dict.fromkeys(("open", "high", "low", "close", "notional", "vwap"), Decimal("99.999999")),
        "trade_count": 1,
        "excluded_trade_count": 0,
        "left_out": None,
        "cancelled_trade_count": 0,
        "corrected_trade_count": 0,
        "revision": 1,
        "revised_at": FIRST_BATCH,
    }
    lake[tables.BAR_REVISIONS].extend({**bar, **values} for values in (first, revised, alone))
    lake.published.bar_rows = [{**bar, **values} for values in (revised, alone)]


def fill_others(lake: TinyLake) -> None:
    quote = (
        f'{{"kind":"quote","source":"lean","symbol":"SPY","ts":{micros(OPEN)},"quote_id":"q1","bid":99.5,"bid_size":3}}'
    )
    ledger = lake.message(QUOTES_TOPIC, 0, quote.encode())
    # 639851122 is the CRC-32 of "q1".
    lake[tables.QUOTES].append(
        {
            "source": "lean",
            "symbol": "SPY",
            "quote_id": "q1",
            "quoted_at": OPEN,
            "session_date": SESSION,
            "segment": "regular",
            "bid": Decimal("99.5"),
            "bid_size": 3,
            "ask": None,
            "ask_size": None,
            "sequence": 639851122,
            "exchange": "",
            "conditions": "",
            **ledger,
        }
    )
    latest = {"source": "lean", "symbol": "SPY", "quoted_at": OPEN, "bid": Decimal("99.5"), "bid_size": 3}
    ask = dict.fromkeys(("ask", "ask_size", "ask_at", "ask_sequence"))
    lake.published.quote_rows = [{**latest, "bid_at": OPEN, "bid_sequence": 639851122, **ask}]
    minute = {"bar_at": OPEN, "session_date": SESSION, "segment": "regular", "revised_at": FIRST_BATCH}
    lake.published.minute_rows = [
        {name: value for name, value in row.items() if name != "quoted_at"} | minute
        for row in lake.published.quote_rows
    ]
    for offset, close, ingested_at in ((0, "10", FIRST_BATCH), (1, "11", SECOND_BATCH)):
        vendor = (
            f'{{"kind":"bar","source":"sample","symbol":"SPY","interval":"1d","ts":{micros(OPEN)},"open":10,"high":12,'
            f'"low":9.5,"close":{close},"volume":1000}}'
        )
        entry = lake.message(BARS_TOPIC, offset, vendor.encode(), ingested_at)
        lake[tables.VENDOR_BARS].append(
            {
                "source": "sample",
                "symbol": "SPY",
                "interval": "1d",
                "bar_at": OPEN,
                "session_date": SESSION,
                "open": Decimal(10),
                "high": Decimal(12),
                "low": Decimal("9.5"),
                "close": Decimal(close),
                "volume": 1000,
                **entry,
            }
        )
    lake.published.vendor_rows = [{**lake[tables.VENDOR_BARS][1], "revision": 2}]


def problems(result: LawResult) -> set[str]:
    """Return the distinct problems of a result."""
    return {str(row["problem"]) for row in result.offending}
