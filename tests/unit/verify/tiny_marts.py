"""The marts of the tiny lake, written out by hand too."""

from datetime import timedelta
from decimal import Decimal

from tests.unit.verify.fake_published import Row
from tests.unit.verify.tiny_lake import OPEN, SECOND_BATCH, SESSION, TinyLake
from verify.mart_schemas import MART_SCHEMA, PRICE_SCHEMA


def fill_marts(lake: TinyLake) -> None:
    """The marts as of the second batch: both minutes, what they come to together, and the vendor's day."""
    common: Row = {"symbol": "SPY", "session_date": SESSION, "segment": "regular", "origin": "lean", "is_final": False}
    common["is_vendor_bar"] = False
    late, alone = lake.published.bar_rows
    shared = [name for name in MART_SCHEMA if name in late and name not in common]
    # 74903 + 99.999999 = 75002.999999; by 601 shares 124.797004990…
    both = {
        "bar_at": OPEN,
        "open": Decimal("99.5"),
        "high": Decimal("100.01"),
        "low": Decimal("99.5"),
        "close": Decimal("99.999999"),
        "volume": 601,
        "vwap": Decimal("124.797005"),
        "trade_count": 4,
        "revision": 3,
        "revised_at": SECOND_BATCH,
    }
    lake.published.mart_rows = [
        *({**common, "interval": "1m", **{name: bar[name] for name in shared}} for bar in (late, alone)),
        *({**common, "interval": interval, **both} for interval in ("5m", "15m", "1h")),
    ]
    price: Row = {name: both[name] for name in PRICE_SCHEMA if name in both}
    at = {"price": Decimal("99.999999"), "price_at": OPEN + timedelta(minutes=1)}
    lake.published.price_rows = [
        {"symbol": "SPY", "session_date": SESSION, "origin": "lean", "segment": "regular", **at, **price}
    ]
    lake.published.price_rows[0] |= {"previous_close": None, "change": None}
    vendor = lake.published.vendor_rows[0]
    day = {name: vendor[name] for name in ("open", "high", "low", "close", "volume", "revision")}
    settled = {"interval": "1d", "bar_at": OPEN, "is_final": True, "origin": "sample", "is_vendor_bar": True}
    no_trades = {"vwap": None, "trade_count": None}
    lake.published.day_rows = [{**common, **settled, **no_trades, **day, "revised_at": vendor["ingested_at"]}]
