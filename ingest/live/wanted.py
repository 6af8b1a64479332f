"""Which symbols a live source is asked for: those given, else the watchlist, else the setting."""

from collections.abc import Callable, Sequence

import structlog

from market.errors import TapehouseError
from market.settings import Settings
from warehouse.watchlist import watched

_log = structlog.get_logger(__name__)


class WantedSymbols:
    """Says which symbols are wanted now; while the database cannot be asked, those of before.

    Parameters
    ----------
    settings
        Say where the watchlist is, and what is wanted without one.
    given
        What somebody asked for; then nothing else counts.
    read
        Reads the watchlist.
    """

    def __init__(
        self,
        settings: Settings,
        given: tuple[str, ...] = (),
        read: Callable[[Settings], Sequence[str]] = watched,
    ) -> None:
        self._settings = settings
        self._given = given
        self._read = read
        self._last = settings.symbol_list

    def __call__(self) -> tuple[str, ...]:
        """Return the symbols, in order."""
        if self._given:
            return self._given
        try:
            listed = self._read(self._settings)
        except TapehouseError as error:
            _log.warning("live_watchlist_unreadable", cause=str(error), consequence="the symbols of before")
        else:
            self._last = tuple(listed) or self._settings.symbol_list
        return self._last
