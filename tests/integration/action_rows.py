"""Days and corporate actions in PostgreSQL as the stream puts them there, and the marts that follow."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg

from market.sessions import EXCHANGE_ZONE, sessions_between
from market.settings import Settings
from tests.integration.mart_oracle import Row, read, session_of
from tests.integration.mart_rows import put_bar, put_vendor_bar
from verify.adjusted import prove_adjusted
from verify.published import open_snapshot
from verify.results import Findings

MONDAY: Final = date(2013, 10, 7)
RUN: Final = ("run", "--select", "int_daily_bars", "historical_ohlcv")


class Lake:
    """Puts closes and actions into PostgreSQL as the stream does; days are numbers of sessions from Monday on."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.days = [session.session_date for session in sessions_between(MONDAY, MONDAY + timedelta(days=60))]
        self._offset = 0

    def closes(self, symbol: str, first: int, *closes: str, source: str = "lean") -> None:
        """Every price of a day is its close; the volume is 7."""
        for number, close in enumerate(closes, start=first):
            put_vendor_bar(self.connection, source, symbol, self.days[number], Decimal(close))
        self.connection.execute("update lake.vendor_bars set open = close, high = close, low = close")

    def act(self, symbol: str, action: str, day: int, *, known: int | None = None, **others: Any) -> None:
        self._offset += 1
        known_on = self.days[day if known is None else known]
        row: Row = {
            "source": "lean",
            "symbol": symbol,
            "action": action,
            "session_date": self.days[day],
            "known_at": datetime(known_on.year, known_on.month, known_on.day, tzinfo=EXCHANGE_ZONE),
            "is_withdrawn": False,
            "topic": "market.actions.v1",
            "partition": 0,
            "offset": self._offset,
            "ingested_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._offset),
            **others,
        }
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(["%s"] * len(row))
        self.connection.execute(
            f"insert into lake.corporate_actions ({names}) values ({values})".encode(), list(row.values())
        )

    def split(self, symbol: str, day: int, new: str, old: str = "1", **others: Any) -> None:
        self.act(symbol, "split", day, new_shares=Decimal(new), old_shares=Decimal(old), **others)

    def dividend(self, symbol: str, day: int, cash: str, **others: Any) -> None:
        self.act(symbol, "dividend", day, cash=Decimal(cash), **others)

    def change(self, symbol: str, day: int, new_symbol: str, **others: Any) -> None:
        self.act(symbol, "symbol_change", day, new_symbol=new_symbol, **others)

    def adjusted(self, symbol: str, column: str = "split_adjusted_close") -> list[str]:
        query = f"select {column} as value from marts.historical_ohlcv where symbol = '{symbol}' order by session_date"
        return [text(row["value"]) for row in read(self.connection, query)]

    def as_known(self, day: int, symbol: str, column: str = "split_adjusted_close") -> list[str]:
        """Return a column of a symbol's series as it was known on a day: the same by both functions."""

        def rows(of: str) -> list[Row]:
            function = f"marts.historical_ohlcv_as_known('{self.days[day]}'{of})"
            query = f"select {column} as value from {function} where symbol = '{symbol}' order by session_date"
            return read(self.connection, query)

        known = rows("")
        assert rows(f", array['{symbol}']") == known
        return [text(row["value"]) for row in known]

    def previous_close(self, symbol: str) -> tuple[str, str]:
        """Return the close before a symbol's newest session, and the change since."""
        query = f"select previous_close, change from marts.realtime_prices where symbol = '{symbol}'"
        (row,) = read(self.connection, query)
        return text(row["previous_close"]), text(row["change"])

    def minute(self, symbol: str, day: int, price: str, *, source: str = "lean", before_open: int = 0) -> None:
        """Put the first minute of a session, or one of so many minutes before the open; every price is the same."""
        bar_at = session_of(self.days[day]).open_at - timedelta(minutes=before_open)
        put_bar(self.connection, source, symbol, bar_at, (Decimal(price),) * 4)

    def statuses(self) -> list[tuple[str, str, str]]:
        query = "select symbol, action, status from marts.corporate_actions order by symbol, effective_date, action"
        return [tuple(row.values()) for row in read(self.connection, query)]


def text(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def disagreements(settings: Settings) -> list[object]:
    findings = Findings()
    with open_snapshot(settings) as published:
        prove_adjusted(findings, published, published.corporate_actions())
    assert "mart_days_adjusted_behind" not in findings.counts
    return list(findings.result(2, "adjusted").offending)
