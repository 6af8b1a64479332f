"""What has to follow from messages in the order of the ledger, one message at a time, in whole numbers and exact decimals.

Written from ``docs/wire-format.md`` and ``docs/architecture.md`` alone: nothing here is imported from the project.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from tests.faults.tape import MINUTE, SESSIONS, Amendment, Meaning, Poison, Quote, Session, Trade, VendorBar

Place = tuple[str, int, int]
Row = tuple[Any, ...]
BarKey = tuple[str, int]
"""Symbol, start of the minute."""

BAR_COLUMNS = (
    "session_date",
    "segment",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "notional",
    "vwap",
    "trade_count",
    "excluded_trade_count",
    "cancelled_trade_count",
    "corrected_trade_count",
    "revision",
    "revised_at",
)


@dataclass(frozen=True)
class Taken:
    """A message of bronze: where it is, when its batch was planned (epoch microseconds), what it means."""

    place: Place
    ingested_at: int
    meaning: Meaning


@dataclass
class Expected:
    """What the tables have to hold: per table its rows by place, and what is computed from them."""

    trades: dict[Place, Trade] = field(default_factory=dict)
    amendments: dict[Place, Amendment] = field(default_factory=dict)
    quotes: dict[Place, Quote] = field(default_factory=dict)
    vendor_bars: dict[Place, VendorBar] = field(default_factory=dict)
    duplicates: dict[Place, None] = field(default_factory=dict)
    quarantine: dict[Place, str] = field(default_factory=dict)
    bars: dict[BarKey, Row] = field(default_factory=dict)
    latest_quotes: dict[str, Row] = field(default_factory=dict)
    minute_quotes: dict[BarKey, Row] = field(default_factory=dict)
    newest_vendor_bars: dict[Row, Row] = field(default_factory=dict)


def expect(messages: Iterable[Taken]) -> Expected:
    """Return what follows from all messages of the ledger."""
    ordered = sorted(messages, key=lambda taken: taken.place)
    found = Expected()
    stated: dict[Row, Meaning] = {}
    for taken in ordered:
        _place(found, stated, taken)
    stamps = {taken.place: taken.ingested_at for taken in ordered}
    found.bars = _bars(found, stamps)
    found.latest_quotes = _latest_quotes(found.quotes.values())
    found.minute_quotes = _minute_quotes(found.quotes, stamps)
    found.newest_vendor_bars = _newest_vendor_bars(found.vendor_bars)
    return found


def _place(found: Expected, stated: dict[Row, Meaning], taken: Taken) -> None:
    """Put one message where it belongs: an identity's first statement is the record, in the order of its partition."""
    match taken.meaning:
        case Poison(reason):
            found.quarantine[taken.place] = reason
        case Trade() as trade:
            _first_stays(found.trades, found, stated, ("trade", trade.symbol, trade.trade_id), taken)
        case Quote() as quote:
            _first_stays(found.quotes, found, stated, ("quote", quote.symbol, quote.quote_id), taken)
        case Amendment() as amendment:
            _first_stays(found.amendments, found, stated, ("amendment", amendment), taken)
        case VendorBar() as bar:
            key = ("bar", bar.symbol, bar.interval, bar.ts)
            if stated.get(key) == bar:
                found.duplicates[taken.place] = None
            else:
                stated[key] = bar
                found.vendor_bars[taken.place] = bar


def _first_stays(
    table: dict[Place, Any], found: Expected, stated: dict[Row, Meaning], identity: Row, taken: Taken
) -> None:
    if identity not in stated:
        stated[identity] = table[taken.place] = taken.meaning
    elif stated[identity] == taken.meaning:
        found.duplicates[taken.place] = None
    else:
        found.quarantine[taken.place] = f"conflicting_{identity[0]}_id"


def session_of(moment: int) -> Session:
    """Return the session that a moment of the tape lies in: the nearest one."""
    return min(SESSIONS, key=lambda session: abs(moment - (session.open + session.close) // 2))


def _bars(found: Expected, stamps: dict[Place, int]) -> dict[BarKey, Row]:
    amending: defaultdict[tuple[str, str], list[tuple[Amendment, int]]] = defaultdict(list)
    for place, amendment in found.amendments.items():
        amending[amendment.symbol, amendment.ref_id].append((amendment, stamps[place]))
    minutes: defaultdict[BarKey, list[tuple[Trade, Amendment | None, set[int]]]] = defaultdict(list)
    for place, trade in found.trades.items():
        own = amending.get((trade.symbol, trade.trade_id), [])
        holding = max((amendment for amendment, _ in own), key=_precedence, default=None)
        touched = {stamps[place]} | {max(stamp, stamps[place]) for _, stamp in own}
        minutes[trade.symbol, trade.ts - trade.ts % MINUTE].append((trade, holding, touched))
    return {key: _bar(key[1], members) for key, members in minutes.items()}


def _precedence(amendment: Amendment) -> Row:
    """Of several the newest holds; of those of one moment a cancel, then the greatest price and size."""
    return amendment.ts, amendment.kind == "cancel", amendment.price or 0, amendment.size or 0


def _bar(bar_at: int, members: Sequence[tuple[Trade, Amendment | None, set[int]]]) -> Row:
    touched = set().union(*(stamps for _, _, stamps in members))
    counting = sorted(
        (trade.ts, trade.sequence, *_as_it_counts(trade, holding))
        for trade, holding, _ in members
        if holding is None or holding.kind != "cancel"
    )
    prices, sizes = [row[2] for row in counting], [row[3] for row in counting]
    volume, notional = sum(sizes), sum(price * size for price, size in zip(prices, sizes, strict=True))
    session = session_of(bar_at)
    return (
        session.date,
        session.segment(bar_at),
        *((prices[0], max(prices), min(prices), prices[-1]) if prices else (None,) * 4),
        volume,
        notional,
        _half_up(notional, volume),
        len(counting),
        0,
        len(members) - len(counting),
        sum(holding is not None and holding.kind == "correction" for _, holding, _ in members),
        len(touched),
        max(touched),
    )


def _as_it_counts(trade: Trade, holding: Amendment | None) -> tuple[int, int]:
    if holding is None:
        return trade.price, trade.size
    assert holding.price is not None
    assert holding.size is not None
    return holding.price, holding.size


def _half_up(notional: int, volume: int) -> int | None:
    if not volume:
        return None
    with localcontext(prec=60):
        return int((Decimal(notional) / volume).quantize(Decimal(1), ROUND_HALF_UP))


def _latest_quotes(quotes: Iterable[Quote]) -> dict[str, Row]:
    """Return per symbol the time of the newest quote, and of each side price, size, time and sequence."""
    by_symbol: defaultdict[str, list[Quote]] = defaultdict(list)
    for quote in quotes:
        by_symbol[quote.symbol].append(quote)
    latest = {}
    for symbol, own in by_symbol.items():
        bids = [(q.ts, q.sequence, q.bid, -1 if q.bid_size is None else q.bid_size) for q in own if q.bid is not None]
        asks = [(q.ts, q.sequence, q.ask, -1 if q.ask_size is None else q.ask_size) for q in own if q.ask is not None]
        latest[symbol] = (max(q.ts for q in own), *_side(bids), *_side(asks))
    return latest


def _minute_quotes(quotes: dict[Place, Quote], stamps: dict[Place, int]) -> dict[BarKey, Row]:
    """Return per symbol and minute its session and segment, of each side price, size, time and sequence, and its newest batch."""
    minutes: defaultdict[BarKey, list[Place]] = defaultdict(list)
    for place, quote in quotes.items():
        minutes[quote.symbol, quote.ts - quote.ts % MINUTE].append(place)
    found = {}
    for key, places in minutes.items():
        own = [quotes[place] for place in places]
        latest = _latest_quotes(own)[key[0]][1:]
        # The batch that brought what is there: of quotes that say the same the first one.
        winners = [
            min(
                stamps[place]
                for place, quote in zip(places, own, strict=True)
                if _says(quote, at) == latest[at : at + 4]
            )
            for at in (0, 4)
            if latest[at] is not None
        ]
        session = session_of(key[1])
        found[key] = (session.date, session.segment(key[1]), *latest, max(winners))
    return found


def _says(quote: Quote, at: int) -> Row:
    price, size = (quote.bid, quote.bid_size) if at == 0 else (quote.ask, quote.ask_size)
    return price, size, quote.ts, quote.sequence


def _side(stated: Sequence[tuple[int, int, int, int]]) -> Row:
    if not stated:
        return (None,) * 4
    ts, sequence, price, size = max(stated)
    return price, None if size == -1 else size, ts, sequence


def _newest_vendor_bars(versions: dict[Place, VendorBar]) -> dict[Row, Row]:
    """Return per symbol, interval and start the newest version, where it is in the ledger, and how many there are."""
    newest: dict[Row, Row] = {}
    for place, bar in sorted(versions.items(), key=lambda item: item[0]):
        key = (bar.symbol, bar.interval, bar.ts)
        revision = newest[key][-1] + 1 if key in newest else 1
        newest[key] = (*bar.prices, bar.volume, place[1], place[2], revision)
    return newest
