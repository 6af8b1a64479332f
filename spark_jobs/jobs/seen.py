"""Which keys are stored already: their hashes by session, in memory.

A record that comes again at its own moment is found among those stored around that moment. One that comes with the key of
another at a different moment would not be: the whole session would have to be read in every batch. Eight bytes a record in
memory tell at once that there is nothing to read, or what.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MOST_HASHES: Final = 40_000_000
"""320 MB; beyond, the sessions that were not met for longest are forgotten, and read again when they are met."""

Hashes = npt.NDArray[np.int64]
Load = Callable[[Sequence[date]], pa.Table]
_EPOCH: Final = date(1970, 1, 1)


class SeenKeys:
    """The hashes of all stored keys of the sessions that were met.

    Parameters
    ----------
    load
        Returns ``session_date`` and ``key_hash`` of what is stored of some sessions.
    most
        How many hashes to keep at most, but for those of the sessions at hand.
    """

    def __init__(self, load: Load, most: int = MOST_HASHES) -> None:
        self._load = load
        self._most = most
        self._runs: dict[date, list[Hashes]] = {}

    def known(self, keys: pa.Table) -> Hashes:
        """Return the hashes among ``keys`` (``session_date, key_hash``) that are stored for their session."""
        by_session = dict(_by_session(keys))
        missing = [session_date for session_date in by_session if session_date not in self._runs]
        if missing:
            self._runs.update({session_date: [] for session_date in missing})
            self._insert(self._load(missing))
        found = [
            hashes[_is_in(run, hashes)]
            for session_date, hashes in by_session.items()
            for run in self._runs[session_date]
        ]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def add(self, keys: pa.Table) -> None:
        """Remember keys that are stored now, of sessions that were asked for."""
        met = self._insert(keys)
        total = sum(len(run) for runs in self._runs.values() for run in runs)
        for session_date in [session_date for session_date in self._runs if session_date not in met]:
            if total <= self._most:
                return
            total -= sum(len(run) for run in self._runs.pop(session_date))

    def _insert(self, keys: pa.Table) -> set[date]:
        met = set()
        for session_date, hashes in _by_session(keys):
            met.add(session_date)
            runs = self._runs.pop(session_date, [])
            self._runs[session_date] = runs  # the last that was met
            runs.append(np.unique(hashes))
            # Runs of falling sizes: few to look into, and each hash is merged a few times only.
            while len(runs) > 1 and 2 * len(runs[-1]) >= len(runs[-2]):
                last = runs.pop()
                runs[-1] = np.union1d(runs[-1], last)
        return met


def _is_in(run: Hashes, hashes: Hashes) -> npt.NDArray[np.bool_]:
    if not len(run):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
    return np.asarray(run[places] == hashes)


def _by_session(keys: pa.Table) -> Iterator[tuple[date, Hashes]]:
    """Yield each session with its hashes, sorted: neighbours are looked up together."""
    days = keys["session_date"].cast(pa.int32()).to_numpy()
    hashes = keys["key_hash"].to_numpy()
    order = np.lexsort((hashes, days))
    days, hashes = days[order], hashes[order]
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    for start, part in zip(starts, np.split(hashes, starts[1:]) if len(days) else [], strict=True):
        yield _EPOCH + timedelta(days=int(days[start])), part
