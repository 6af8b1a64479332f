"""The sample's CSV files as daily bars: pure, no files in here.

The format: a header, then date, open, high, low, close, volume and an adjusted close. The bars are raw, as traded;
the adjusted close is not used.
"""

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation

from market.errors import FeedError
from market.records import DAILY, Bar
from market.sessions import open_micros


def parse_bars(text: str, symbol: str, source: str, origin: str) -> Iterator[Bar]:
    """Yield the daily bars of one file, each at the open of its session.

    A row is passed on as it stands, even on a date that is no session (it is put at 09:30 New York then) or with its
    prices out of order: the stream keeps such a bar in quarantine with the reason.

    Raises
    ------
    FeedError
        If a row does not parse; the message names the file and the line.
    """
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            yield Bar(
                source=source,
                symbol=symbol,
                interval=DAILY,
                ts=open_micros(date.fromisoformat(row["Date"])),
                open=Decimal(row["Open"]),
                high=Decimal(row["High"]),
                low=Decimal(row["Low"]),
                close=Decimal(row["Close"]),
                volume=int(row["Volume"]),
            )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            msg = f"{origin} is damaged: line {number} is not a daily bar ({error!r}). Install the package again."
            raise FeedError(msg) from error
