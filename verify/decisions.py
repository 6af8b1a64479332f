"""What must become of every message: decided again from bronze alone.

What older rules rejected stays where it is: it waits in quarantine to be retried.

What belongs here: where each message belongs (trades, amendments, statuses, quotes, vendor bars, corporate actions, duplicates,
quarantine) and
the rows that follow from it. What does not: what the stream made of it, which :mod:`verify.ledger`, :mod:`verify.bars` and
:mod:`verify.gaps` compare.

Rows are set aside in a scratch folder by session, so that memory is bounded by the busiest symbol of a session and about
twenty bytes a message.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

import polars as pl

from market import tables, topics
from market.rules import RULES_VERSION
from verify.lake import Lake, schema_of
from verify.messages import LEDGER, actions_in, amendments_in, quotes_in, statuses_in, trades_in, vendor_bars_in
from verify.records import ENTRY, Records, parts_by_symbol

_ORDER: Final = ("ingested_at", *ENTRY)
_PLACES: Final = {**{name: schema_of(tables.MESSAGES)[name] for name in ENTRY}, "place": pl.String()}
_TRADE_KEY: Final = ("source", "symbol", "session_date", "trade_id")
_TRADE_PAYLOAD: Final = ("ts", "price", "size", "sequence", "exchange", "conditions")
_QUOTE_KEY: Final = ("source", "symbol", "session_date", "quote_id")
_QUOTE_PAYLOAD: Final = ("ts", "bid", "bid_size", "ask", "ask_size", "sequence", "exchange", "conditions")
_BAR_KEY: Final = ("source", "symbol", "interval", "ts")
_BAR_PAYLOAD: Final = ("open", "high", "low", "close", "volume")
_ACTION_KEY: Final = ("source", "symbol", "action", "session_date")
_ACTION_PAYLOAD: Final = ("known_at", "is_withdrawn", "new_shares", "old_shares", "cash", "new_symbol")


@dataclass(frozen=True, slots=True)
class Decisions(AbstractContextManager["Decisions"]):
    """What must become of the messages; leaving the context removes the scratch folder.

    Attributes
    ----------
    messages
        One row per message: :data:`ENTRY` and ``place``, the path of the table that it belongs in, in few bytes; see
        :meth:`places`.
    trades, quotes
        The decoded rows by session.
    amendments
        The cancels and corrections, with the columns of ``silver/amendments``.
    statuses
        The heartbeats, halts and resumes, with the columns of ``silver/feed_status``.
    vendor_bars
        The versions of vendor bars, with the columns of ``silver/vendor_bars``.
    corporate_actions
        The versions of corporate actions, with the columns of ``silver/corporate_actions``.
    awaiting_retry
        How many messages older rules rejected that state a record that is not there, and that today's rules accept.
    """

    messages: pl.DataFrame
    trades: Records
    quotes: Records
    amendments: pl.DataFrame
    statuses: pl.DataFrame
    vendor_bars: pl.DataFrame
    corporate_actions: pl.DataFrame
    awaiting_retry: int
    _scratch: ExitStack

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def places(self, part: pl.Expr) -> pl.DataFrame:
        """Return where the messages that meet a condition on ``offset`` belong: :data:`ENTRY` and ``place``.

        The place is :data:`NOWHERE` for those whose table keeps its rows for some time only, and their row, or that of another
        message of the same record, may be gone.
        """
        return self.messages.filter(part).with_columns(pl.col("topic", "place").cast(pl.String))


def decide(lake: Lake, now: datetime | None = None) -> Decisions:
    """Read bronze and decide what must become of every message; ``now`` decides what is kept no longer."""
    now = now or datetime.now(UTC)
    with ExitStack() as scratch:
        folder = Path(scratch.enter_context(TemporaryDirectory(prefix="tapehouse-verify-")))
        trades = Records(folder / "trades", tables.TRADES, key=_TRADE_KEY, payload=_TRADE_PAYLOAD, now=now)
        quotes = Records(folder / "quotes", tables.QUOTES, key=_QUOTE_KEY, payload=_QUOTE_PAYLOAD, now=now)
        amendments = _Statements(_stated_in(tables.AMENDMENTS))
        statuses = _Statements(_stated_in(tables.FEED_STATUS))
        bars = _Statements((*_BAR_KEY, *_BAR_PAYLOAD))
        actions = _Statements((*_ACTION_KEY, *_ACTION_PAYLOAD))
        rejected: list[pl.DataFrame] = []

        def read_trades(chunk: pl.DataFrame, *, is_waiting: bool) -> pl.DataFrame:
            found = trades_in(chunk)
            trades.add(found, is_waiting=is_waiting)
            others = chunk.join(found, on=ENTRY, how="anti")
            amended, said = amendments_in(others), statuses_in(others)
            amendments.add(amended, is_waiting=is_waiting)
            statuses.add(said, is_waiting=is_waiting)
            return pl.concat([rows.select(ENTRY) for rows in (found, amended, said)])

        def read_quotes(chunk: pl.DataFrame, *, is_waiting: bool) -> pl.DataFrame:
            found = quotes_in(chunk)
            quotes.add(found, is_waiting=is_waiting)
            return found.select(ENTRY)

        def read_bars(chunk: pl.DataFrame, *, is_waiting: bool) -> pl.DataFrame:
            found = vendor_bars_in(chunk)
            bars.add(found, is_waiting=is_waiting)
            return found.select(ENTRY)

        def read_actions(chunk: pl.DataFrame, *, is_waiting: bool) -> pl.DataFrame:
            found = actions_in(chunk)
            actions.add(found, is_waiting=is_waiting)
            return found.select(ENTRY)

        readers: dict[str, Callable[..., pl.DataFrame]] = {
            topics.TRADES.name: read_trades,
            topics.QUOTES.name: read_quotes,
            topics.BARS.name: read_bars,
            topics.ACTIONS.name: read_actions,
        }
        waiting = _rejected_by_older_rules(lake)
        messages = lake.scan(tables.MESSAGES).select(*LEDGER, "value")
        for chunk in lake.read_in_chunks(messages):
            valid = [chunk.select(ENTRY).clear()]
            for topic, read in readers.items():
                of_topic = chunk.filter(pl.col("topic") == topic)
                valid.append(read(of_topic.join(waiting, on=ENTRY, how="anti"), is_waiting=False))
                if waiting.height:
                    read(of_topic.join(waiting, on=ENTRY, how="semi"), is_waiting=True)
            others = chunk.select(ENTRY).join(pl.concat(valid), on=ENTRY, how="anti")
            rejected.append(_in_few_bytes(others.with_columns(pl.lit(tables.QUARANTINE.path).alias("place"))))
        vendor_bars = _versions(bars.found, tables.VENDOR_BARS, _BAR_KEY, _BAR_PAYLOAD)
        acted = _versions(actions.found, tables.CORPORATE_ACTIONS, _ACTION_KEY, _ACTION_PAYLOAD)
        amended = _first_stated(amendments.found)
        said = _rows(statuses.found, tables.FEED_STATUS)
        valid_rows = (vendor_bars, acted, amended, said.with_columns(pl.lit(tables.FEED_STATUS.path).alias("place")))
        places = [_in_few_bytes(pl.DataFrame(schema=_PLACES)), *rejected, *map(_in_few_bytes, valid_rows)]
        for records in (trades, quotes):
            for session_date in records.sessions():
                parts = parts_by_symbol(records.count(session_date))
                places += [_in_few_bytes(records.places(session_date, part)) for part in parts]
        return Decisions(
            messages=pl.concat(places),
            trades=trades,
            quotes=quotes,
            amendments=amended.filter(pl.col("place") == tables.AMENDMENTS.path).select(tables.AMENDMENTS.column_names),
            statuses=said,
            vendor_bars=_placed_in(tables.VENDOR_BARS, vendor_bars),
            corporate_actions=_placed_in(tables.CORPORATE_ACTIONS, acted),
            awaiting_retry=sum(kind.awaiting() for kind in (trades, quotes, amendments, statuses, bars, actions)),
            _scratch=scratch.pop_all(),
        )


def _in_few_bytes(places: pl.DataFrame) -> pl.DataFrame:
    return places.select(*ENTRY, "place").with_columns(pl.col("topic", "place").cast(pl.Categorical))


class _Statements:
    """Rows that are a few, kept in memory; ``stated`` are the columns that make two of them the same."""

    def __init__(self, stated: tuple[str, ...]) -> None:
        self.found: list[pl.DataFrame] = []
        self._waiting: list[pl.DataFrame] = []
        self._stated = list(stated)

    def add(self, rows: pl.DataFrame, *, is_waiting: bool) -> None:
        """Take in the valid rows of a chunk, or of those that older rules rejected."""
        (self._waiting if is_waiting else self.found).append(rows)

    def awaiting(self) -> int:
        """Return how many of the rejected rows state what no other row states."""
        if not self._waiting:
            return 0
        waiting = pl.concat(self._waiting).select(self._stated)
        found = pl.concat([waiting.clear(), *(rows.select(self._stated) for rows in self.found)])
        return waiting.join(found, on=self._stated, how="anti", nulls_equal=True).height


def _stated_in(table: tables.Table) -> tuple[str, ...]:
    return tuple(name for name in table.column_names if name not in LEDGER)


def _rejected_by_older_rules(lake: Lake) -> pl.DataFrame:
    version = pl.col("rules_version")
    return lake.read(lake.scan(tables.QUARANTINE).filter(version.is_null() | (version < RULES_VERSION)).select(ENTRY))


def _first_stated(chunks: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the valid amendments in the ledger's order with ``place``: one that says what another said repeats it."""
    rows = _rows(chunks, tables.AMENDMENTS)
    nth = pl.int_range(pl.len()).over([name for name in rows.columns if name not in LEDGER])
    place = pl.when(nth == 0).then(pl.lit(tables.AMENDMENTS.path)).otherwise(pl.lit(tables.DUPLICATES.path))
    return rows.with_columns(place.alias("place"))


def _rows(chunks: list[pl.DataFrame], table: tables.Table) -> pl.DataFrame:
    """Return the rows of all chunks with the columns of a table, in the ledger's order."""
    schema = schema_of(table)
    return pl.concat([pl.DataFrame(schema=schema), *(chunk.select(*schema) for chunk in chunks)]).sort(_ORDER)


def _versions(
    chunks: list[pl.DataFrame], table: tables.Table, key: tuple[str, ...], payload: tuple[str, ...]
) -> pl.DataFrame:
    """Return valid rows in the ledger's order with ``place``: one that says the same as the one before of its key repeats it."""
    if not chunks:
        return pl.DataFrame(schema={**schema_of(table), "place": pl.String()})
    rows = pl.concat(chunks).sort(_ORDER)
    is_first = pl.int_range(pl.len()).over(key) == 0
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1).over(key)) for name in payload)
    place = pl.when(same & ~is_first).then(pl.lit(tables.DUPLICATES.path)).otherwise(pl.lit(table.path))
    return rows.with_columns(place.alias("place"))


def _placed_in(table: tables.Table, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("place") == table.path).select(table.column_names)
