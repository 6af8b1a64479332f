"""What the tests of Alpaca's history share: a bar, asks, and the source at some address."""

import threading
import traceback
from datetime import date
from decimal import Decimal

from pydantic import SecretStr

from ingest.feeds.alpaca.client import Timeouts
from ingest.feeds.alpaca.history import AlpacaHistory
from ingest.history.source import Ask
from market.records import Bar
from market.sessions import sessions_between
from market.settings import Settings
from tests.unit.ingest.history.alpaca_server import KEY_ID, SECRET_KEY, raw_bar

NEW_YEAR = date(2024, 1, 2)
HALF_DAY = date(2024, 7, 3)
TEN_OCLOCK = 1_704_207_600_000_000  # 2024-01-02 10:00 in New York
GOOD = raw_bar("2024-01-02T15:00:00Z", 472.16, 473.67, 470.49, 472.65, 1234)
GOOD_BAR = Bar(
    source="alpaca",
    symbol="SPY",
    interval="1m",
    ts=TEN_OCLOCK,
    open=Decimal("472.16"),
    high=Decimal("473.67"),
    low=Decimal("470.49"),
    close=Decimal("472.65"),
    volume=1234,
)


class Paces:
    """Counts the requests that were let through."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.count += 1


def history_at(
    url: str,
    key_id: str | None = KEY_ID,
    secret_key: str | None = SECRET_KEY,
    *,
    data_feed: str = "iex",
    read_seconds: float = 20.0,
) -> AlpacaHistory:
    update = {
        "alpaca_key_id": SecretStr(key_id) if key_id is not None else None,
        "alpaca_secret_key": SecretStr(secret_key) if secret_key is not None else None,
        "alpaca_url": url,
        "alpaca_data_feed": data_feed,
    }
    return AlpacaHistory(Settings().model_copy(update=update), Timeouts(read_seconds=read_seconds))


def ask_for(*symbols: str, interval: str = "1m", start: date = NEW_YEAR, end: date | None = None) -> Ask:
    return Ask(symbols, interval, tuple(sessions_between(start, end or start)))


def everything_in(error: BaseException) -> str:
    """All that a log could show of an error: its text, and its traceback with its causes."""
    return "".join(traceback.format_exception(error)) + repr(error)
