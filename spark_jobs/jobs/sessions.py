"""What the stream knows of the sessions that it met: which records are stored, and what their bars come to.

What belongs here: memory, and how it is filled from the lake. All of it is a function of the stored rows: a process that
starts anew reads a session when it first meets it, and knows the same.
"""

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from spark_jobs.io.delta import Lake, in_sessions
from spark_jobs.jobs.amendments import Amendments
from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.amend import amend, stamps
from spark_jobs.transforms.bars import BAR_KEY, SUM_SCHEMA, add_sums, sum_trades
from spark_jobs.transforms.kinds import TRADES, RecordKind
from spark_jobs.transforms.unique import TRADE_REFERENCE

MOST_RECORDS: Final = 20_000_000
"""320 MB; beyond, the sessions that were not met for longest are forgotten, and read again when they are met."""

_EPOCH: Final = date(1970, 1, 1)

Hashes = npt.NDArray[np.uint64]


class Payloads:
    """The hash of the payload that is stored for each key, by hash: 16 bytes a record."""

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Hashes]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._runs)

    def find(self, keys: Hashes) -> tuple[npt.NDArray[np.bool_], Hashes]:
        """Return which of the sorted ``keys`` are stored, and the newest payload of those that are."""
        known = np.zeros(len(keys), np.bool_)
        payloads = np.zeros(len(keys), np.uint64)
        for run_keys, run_payloads in self._runs:  # from the oldest to the newest
            places = np.minimum(np.searchsorted(run_keys, keys), len(run_keys) - 1)
            found = run_keys[places] == keys
            payloads[found] = run_payloads[places[found]]
            known |= found
        return known, payloads

    def add(self, keys: Hashes, payloads: Hashes) -> None:
        """Remember records; of those with the same key the last holds."""
        if not len(keys):
            return
        self._runs.append(_newest(keys, payloads))
        # Runs of falling sizes: few to look into, and each record is merged a few times only.
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) >= len(self._runs[-2][0]):
            (new_keys, new_payloads), (old_keys, old_payloads) = self._runs.pop(), self._runs.pop()
            merged = np.concatenate([old_keys, new_keys]), np.concatenate([old_payloads, new_payloads])
            self._runs.append(_newest(*merged))


def _newest(keys: Hashes, payloads: Hashes) -> tuple[Hashes, Hashes]:
    """Return the keys in order, each with its last payload."""
    order = np.argsort(keys, kind="stable")
    keys, payloads = keys[order], payloads[order]
    is_last = np.append(keys[1:] != keys[:-1], True)
    return keys[is_last], payloads[is_last]


@dataclass(slots=True)
class _Session:
    payloads: Payloads = field(default_factory=Payloads)
    sums: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SUM_SCHEMA))


class Sessions:
    """The sessions that were met, read from the lake when they are first met.

    Parameters
    ----------
    kind
        The records.
    lake
        The tables.
    most
        How many records to keep at most, but for those of the sessions at hand.
    amendments
        The cancels and corrections of trades that are stored.
    """

    def __init__(
        self, kind: RecordKind, lake: Lake, most: int = MOST_RECORDS, *, amendments: Amendments | None = None
    ) -> None:
        self._kind = kind
        self._lake = lake
        self._amendments = amendments or Amendments(lake)
        self._most = most
        self._sessions: dict[date, _Session] = {}

    def forget(self) -> None:
        """Forget everything: what was written since is not certain."""
        self._sessions.clear()

    def meet(self, dates: Collection[date], before: datetime) -> None:
        """Make sure that the sessions are known, as of the rows that batches before ``before`` stored."""
        missing = [session_date for session_date in dates if session_date not in self._sessions]
        for session_date in dates:  # those at hand are the last to be forgotten
            self._sessions[session_date] = self._sessions.pop(session_date, _Session())
        if missing:
            self._load(missing, before)

    def stored_payloads(self, rows: pl.DataFrame) -> pl.Series:
        """Return for each of the rows the hash of the payload that is stored under its key, or null."""
        found = np.zeros(rows.height, np.uint64)
        known = np.zeros(rows.height, np.bool_)
        for session_date, places in _by_session(rows):
            keys = rows["key_hash"].to_numpy()[places]
            order = np.argsort(keys)
            is_known, payloads = self._sessions[session_date].payloads.find(keys[order])
            known[places[order]], found[places[order]] = is_known, payloads
        return pl.select(pl.when(pl.Series(known)).then(pl.Series(found)).alias("stored_payload")).to_series()

    def add_to_bars(self, sums: pl.DataFrame) -> pl.DataFrame:
        """Return the sums of the bars that ``sums`` touch, with what was stored of them."""
        dates = sums["session_date"].unique().to_list()
        stored = [self._sessions[session_date].sums for session_date in dates]
        return add_sums(pl.concat([sums, *(known.join(sums, on=BAR_KEY, how="semi") for known in stored)]))

    def stored_sums(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return the stored sums of the bars whose keys and ``session_date`` are given, of sessions that are known."""
        dates = bars["session_date"].unique().to_list()
        empty = pl.DataFrame(schema=SUM_SCHEMA)
        return pl.concat([empty, *(self._sessions[day].sums.join(bars, on=BAR_KEY, how="semi") for day in dates)])

    def trades_around(self, amendments: pl.DataFrame, before: datetime) -> pl.DataFrame:
        """Return all stored trades of the minutes in which the amended trades lie; not those of batches from ``before`` on.

        An amendment does not say when its trade was. The sessions in memory tell whether they have it; if one is in none
        of them, all trades of the lake are looked through.
        """
        key = list(TRADE_REFERENCE)
        wanted = amendments.select(key).unique()
        stored = self._lake.scan(TRADES.table).filter(pl.col("ingested_at") < pl.lit(before, MOMENT))
        in_question = pl.col("trade_id").is_in(wanted["trade_id"].implode())
        homes = self._homes(wanted)
        # Of the trades in question first only what tells their minutes: the other columns are most of what would be read.
        named = stored.filter(in_question, in_sessions(homes) if homes else pl.lit(value=True))
        hits = self._lake.read(named.select(*BAR_KEY, "trade_id", "session_date"))
        bars = hits.join(wanted, on=key, how="semi").select(*BAR_KEY, "session_date").unique()
        if not bars.height:
            return pl.DataFrame(schema=frame_schema(TRADES.table))
        minutes = pl.col("bar_at").is_between(bars["bar_at"].min(), bars["bar_at"].max())
        dates = bars["session_date"].unique().to_list()
        return self._read(stored.filter(in_sessions(dates), minutes)).join(bars, on=BAR_KEY, how="semi")

    def _homes(self, wanted: pl.DataFrame) -> list[date]:
        """Return the sessions in memory that have the wanted trades; none if not all of them are there."""
        found = {day: self._has(wanted, day) for day in self._sessions}
        everything = np.any(list(found.values()), axis=0) if found else np.zeros(wanted.height, np.bool_)
        return [day for day, known in found.items() if known.any()] if everything.all() else []

    def _has(self, wanted: pl.DataFrame, session_date: date) -> npt.NDArray[np.bool_]:
        """Return which of the wanted trades a session has."""
        keys = wanted.with_columns(pl.lit(session_date, pl.Date).alias("session_date"))
        hashes = keys.select(TRADES.identity.hashes()[0])["key_hash"].to_numpy()
        order = np.argsort(hashes)
        known = np.zeros(wanted.height, np.bool_)
        known[order] = self._sessions[session_date].payloads.find(hashes[order])[0]
        return known

    def _read(self, rows: pl.LazyFrame) -> pl.DataFrame:
        parts = list(self._lake.in_chunks(rows))
        return pl.concat(parts) if parts else pl.DataFrame(schema=frame_schema(self._kind.table))

    def remember_bars(self, sums: pl.DataFrame) -> None:
        """Take note of bars as they are stored now."""
        for (session_date,), changed in sums.partition_by("session_date", as_dict=True).items():
            session = self._sessions[session_date]
            session.sums = pl.concat([session.sums.join(changed, on=BAR_KEY, how="anti"), changed])

    def remember_records(self, rows: pl.DataFrame) -> None:
        """Take note of records: they are stored, or will be with this batch."""
        keys, payloads = rows["key_hash"].to_numpy(), rows["payload_hash"].to_numpy()
        for session_date, places in _by_session(rows):
            self._sessions[session_date].payloads.add(keys[places], payloads[places])

    def shrink(self, at_hand: AbstractSet[date]) -> None:
        """Forget the sessions that were not met for longest, but for those at hand, if too many records are known."""
        total = sum(len(session.payloads) for session in self._sessions.values())
        for session_date in [session_date for session_date in self._sessions if session_date not in at_hand]:
            if total <= self._most:
                return
            total -= len(self._sessions.pop(session_date).payloads)

    def _load(self, dates: Sequence[date], before: datetime) -> None:
        stored = self._lake.scan(self._kind.table).filter(
            in_sessions(dates), pl.col("ingested_at") < pl.lit(before, MOMENT)
        )
        if self._kind.restated:
            stored = stored.sort("ingested_at", "topic", "partition", "offset")
        sums: list[pl.DataFrame] = []
        touched: list[pl.DataFrame] = []
        for rows in self._lake.in_chunks(stored):
            self.remember_records(rows.with_columns(self._kind.identity.hashes()))
            if self._kind is TRADES:
                amendments = self._amendments.stored(before)
                sums = [add_sums(pl.concat([*sums, sum_trades(amend(rows, amendments))]))]
                touched.append(stamps(rows, amendments, BAR_KEY))
        if sums:
            revisions = pl.concat(touched).unique().group_by(BAR_KEY).agg(pl.len().cast(pl.Int32).alias("revision"))
            whole = sums[0].drop("revision").join(revisions, on=BAR_KEY).select(*SUM_SCHEMA)
            for (session_date,), part in whole.partition_by("session_date", as_dict=True).items():
                self._sessions[session_date].sums = part


def _by_session(rows: pl.DataFrame) -> Iterator[tuple[date, npt.NDArray[np.int64]]]:
    """Yield each session with the numbers of its rows."""
    days = rows["session_date"].to_physical().to_numpy()
    order = np.argsort(days, kind="stable")
    starts = np.flatnonzero(np.diff(days[order], prepend=-1))
    for places in np.split(order, starts[1:]) if len(order) else []:
        yield _EPOCH + timedelta(days=int(days[places[0]])), places
