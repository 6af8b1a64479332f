"""What a source of corporate actions is: one protocol, whatever the vendor.

What belongs here: requests and answers. What does not: what the lake lacks (:mod:`ingest.actions.missing`), or anything of one
vendor (``ingest/feeds/<name>/actions.py``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol

from ingest.history.source import Limit, Problem
from market.records import CorporateAction, Dividend, Split, SymbolChange, Withdrawal
from market.sessions import EXCHANGE_ZONE

Key = tuple[str, str, date]
"""What makes two statements of a source the same action: symbol, kind and effective date."""
MOST_SHARES: Final = 1_000_000
"""A split gives at most so many shares for one, or one for so many. The greatest that were are a few thousandths of that; what is
beyond is a slip, and would spoil every price before it."""
NAMELESS: Final = "no symbol"
"""What stands for the symbol in a problem of which nobody knows whose it is: it may be of any symbol that was asked for."""


@dataclass(frozen=True, slots=True)
class Range:
    """From when to when actions are asked for, both included, by their effective date."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class Listed:
    """An action that a source lists.

    Attributes
    ----------
    action
        What it says; its ``ts`` is when it became known.
    is_known_stated
        Whether the source says when it became known. If not, ``ts`` is the start of its effective date in New York.
    cash_margin
        By how much the cash may differ from what the source said of it before, since it rounds: less is no restatement.
    """

    action: CorporateAction
    is_known_stated: bool = False
    cash_margin: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source answered.

    Attributes
    ----------
    actions
        All that it lists of the symbols and the range that it was asked for.
    problems
        What of its answer cannot be an action.
    unknown
        The symbols that it does not know.
    """

    actions: Sequence[Listed]
    problems: Sequence[Problem] = ()
    unknown: frozenset[str] = frozenset()


class ActionSource(Protocol):
    """A source of corporate actions."""

    @property
    def name(self) -> str:
        """The name of the feed: the ``source`` of its actions."""
        ...

    @property
    def limit(self) -> Limit | None:
        """How often it may be asked; ``None`` if that does not matter."""
        ...

    @property
    def symbols_per_ask(self) -> int:
        """How many symbols may be asked for at once."""
        ...

    def check(self) -> None:
        """Look whether it can be asked at all, without asking.

        Raises
        ------
        SourceError
            If a key or a file is missing; the message says which, and where to get it.
        """
        ...

    def symbols(self) -> tuple[str, ...] | None:
        """Return all symbols that it has, if it can tell."""
        ...

    def fetch(self, symbols: Sequence[str], within: Range, pace: Callable[[], None]) -> Listing:
        """Ask for the actions of some symbols; ``pace`` is to be called before each request.

        Raises
        ------
        SourceBusyError
            If it may answer another time.
        SourceError
            If it refuses every request.
        """
        ...


_KINDS: Final = {Split: "split", Dividend: "dividend", SymbolChange: "symbol_change"}


def kind_of(action: CorporateAction) -> str:
    """Return the kind of an action: of a withdrawal that of what is taken back."""
    return action.action if isinstance(action, Withdrawal) else _KINDS[type(action)]


def key_of(action: CorporateAction) -> Key:
    """Return what makes two statements of a source the same action.

    Raises
    ------
    ValueError
        If the effective date is no date.
    """
    return action.symbol, kind_of(action), date.fromisoformat(action.effective_date)


def is_split(new_shares: Decimal | Fraction, old_shares: Decimal | Fraction) -> bool:
    """Return whether there can be so many new shares for so many old ones."""
    return 0 < new_shares <= old_shares * MOST_SHARES and old_shares <= new_shares * MOST_SHARES


def start_of(day: date) -> int:
    """Return the start of a day in New York, in UTC epoch microseconds."""
    return int(datetime.combine(day, time(), EXCHANGE_ZONE).timestamp()) * 1_000_000
