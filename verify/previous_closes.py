"""With which close the newest price of a symbol is compared, worked out symbol by symbol.

What belongs here: ``previous_close`` and ``change`` of ``realtime_prices``. What does not: the prices themselves, which are
:mod:`verify.days`. The close is that of the session before, of the same company, in shares of the newest session.
"""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any, Final

import polars as pl

from market.sessions import all_sessions
from verify.adjustment import USER, Action, Key, is_split_absurd, is_split_doubted, is_split_unseen
from verify.believed import believed_of
from verify.mart_schemas import PRICE_SCHEMA
from verify.origins import is_last_resort

_LARGEST: Final = 999_999_999_999 * 10**6
"""In millionths: what the column has room for."""
_COMPARED: Final = {name: PRICE_SCHEMA[name] for name in ("symbol", "previous_close", "change")}


def with_previous_closes(prices: pl.DataFrame, days: pl.DataFrame | None, actions: pl.DataFrame) -> pl.DataFrame:
    """Return the prices with ``previous_close`` and ``change``, in millionths.

    Parameters
    ----------
    prices
        One row a symbol: ``symbol``, ``session_date``, ``origin``, ``price``, ``open`` and ``first_price``, which may be of any
        segment.
    days
        The days of the mart; ``None`` if there is no mart.
    actions
        Every version of the corporate actions, with the columns of ``silver/corporate_actions``.
    """
    dates = [session.session_date for session in all_sessions()]
    before = {row["session_date"]: dates[bisect_left(dates, row["session_date"]) - 1] for row in prices.to_dicts()}
    closes: dict[tuple[str, date], tuple[int, str]] = {}
    if days is not None:
        needed = days.filter(pl.col("session_date").is_in(list(before.values())) & pl.col("close").is_not_null())
        for symbol, day, close, origin in needed.select("symbol", "session_date", "close", "origin").iter_rows():
            closes[symbol, day] = (close, origin)
    symbols = prices.get_column("symbol")
    is_change = pl.col("action") == "symbol_change"
    taken_from = actions.filter(is_change & pl.col("new_symbol").is_in(symbols.implode())).get_column("symbol")
    concerned = pl.concat([symbols, taken_from]).implode()
    believed = believed_of(actions.filter(pl.col("symbol").is_in(concerned) | is_change))
    rows = []
    for row in prices.to_dicts():
        day = row["session_date"]
        found = closes.get((_symbol_before(row["symbol"], day, believed) or "", before[day]))
        close = None if found is None else _comparable(row, *found, believed)
        change = None if close is None or row["price"] is None else row["price"] - close
        rows.append((row["symbol"], close, change))
    return prices.join(pl.DataFrame(rows, schema=_COMPARED, orient="row"), on="symbol", how="left")


def _symbol_before(symbol: str, day: date, believed: Mapping[Key, Action]) -> str | None:
    """Return under which symbol the same company traded the day before; ``None`` if another one had this symbol."""
    changes = [(key[0], said.new_symbol) for key, said in believed.items() if key[1:] == ("symbol_change", day)]
    taken_from = [old for old, new in changes if new == symbol]
    if taken_from:
        return min(taken_from)
    return None if any(old == symbol for old, _ in changes) else symbol


def _split_of(symbol: str, day: date, believed: Mapping[Key, Action]) -> Action | None:
    """Return the split of a day: it may be given under the symbol that ends on that day, if nobody else takes that one."""
    own = believed.get((symbol, "split", day))
    before = _symbol_before(symbol, day, believed)
    if own is not None or before is None:
        return own
    is_taken_over = any(
        key[1:] == ("symbol_change", day) and said.new_symbol == before for key, said in believed.items()
    )
    return None if is_taken_over else believed.get((before, "split", day))


def _comparable(row: Mapping[str, Any], close: int, origin: str, believed: Mapping[Key, Action]) -> int | None:
    """Return the close in shares of the newest session; ``None`` if one of both is simulated and the other is not."""
    if is_last_resort(row["origin"]) != is_last_resort(origin):
        return None
    split = _split_of(row["symbol"], row["session_date"], believed)
    if split is None or not split.new_shares or not split.old_shares or is_split_absurd(split):
        return close
    if Fraction(close * split.old_shares, split.new_shares) > _LARGEST:
        return close
    price = row["open"] if row["open"] is not None else row["first_price"]
    if price is not None and split.source != USER:
        observed = Fraction(price, close)
        if is_split_doubted(split, observed) or (split.same_dates and is_split_unseen(split, observed)):
            return close
    return (2 * close * split.old_shares + split.new_shares) // (2 * split.new_shares)
