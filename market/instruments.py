"""Symbols: what counts as one, and how the user's lists of them are read."""

import re
from collections.abc import Iterable
from typing import Final

from market.errors import UsageError

SYMBOL_PATTERN: Final = r"^[A-Z][A-Z0-9.\-]{0,14}$"
"""A ticker: a letter, then letters, digits, dots or hyphens; 15 characters at most. Spark, PostgreSQL and Python agree on it."""

_SYMBOL: Final = re.compile(SYMBOL_PATTERN)


def parse_symbols(text: str | Iterable[str]) -> tuple[str, ...]:
    """Return the tickers of a comma-separated list, upper case, in order, without repeats.

    Raises
    ------
    UsageError
        If the list is empty or holds something that is not a ticker.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    symbols = dict.fromkeys(part.strip().upper() for part in parts if part.strip())
    if not symbols:
        msg = "No symbol given. Name at least one, for example: --symbols spy,ibm"
        raise UsageError(msg)
    for symbol in symbols:
        if not _SYMBOL.fullmatch(symbol):
            msg = f"{symbol[:40]!r} is not a symbol. A symbol is a letter, then letters, digits, dots or hyphens, 15 at most."
            raise UsageError(msg)
    return tuple(symbols)
