"""The model of the simulated market: one session of one symbol as arrays, from a seed alone.

What belongs here: everything random. What does not: records, symbols' merging, time as it passes.

Two scales of time:

- Days. The closes follow a mean-reverting walk in the logarithm, ``x[t] = 0.998 x[t-1] + sigma * normal``, counted
  from the calendar's first session, so any date costs the same and neighbouring days fit together.
- The session. Trades and quotes share one path of the mid price: a Brownian bridge from the previous close to the
  open (pre), on to the close (regular), and around the close (post). Activity and variance per minute have the U-shape
  of a real day: high at the open, low at noon, rising into the close.

A symbol's session depends on the symbol, its date, the seed and the number of trades, and on nothing else.
"""

import functools
import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from market.sessions import Segment, Session, all_sessions

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PRE_SHARE: Final = 0.02
POST_SHARE: Final = 0.03
"""Trades of the pre and post segments, as a share of the regular ones."""
QUOTES_PER_TRADE: Final = 0.8
PRINTS: Final = 2
"""Trades of every regular segment besides: the opening and the closing print."""
MEAN_REVERSION: Final = 0.998
REGULAR_MINUTES: Final = 390
OVERNIGHT_VOLATILITY: Final = 0.4
EXTENDED_VOLATILITY: Final = 0.15
"""Standard deviation from close to open, and within pre or post, relative to a day's."""
ODD_LOT_SHARE: Final = 0.35
SWEEP_SHARE: Final = 0.15
_BEFORE_END: Final = 1 - 1e-9
MINIMUM_CENTS: Final = 100

VENUES: Final = ("N", "Q", "P", "Z", "K", "D")
VENUE_SHARES: Final = (0.28, 0.27, 0.14, 0.11, 0.08, 0.12)

ROUND_LOT: Final = 100
SPREAD_SHARE: Final = 0.00015
"""Typical spread as a share of the price; never below a cent, four times as wide outside regular hours."""
EXTENDED_SPREADS: Final = 4

SWEEP: Final = 1
ODD_LOT: Final = 2
EXTENDED: Final = 4
OPENING_PRINT: Final = 8
CLOSING_PRINT: Final = 16
"""Sale conditions of a trade, as bits."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is constant about a simulated symbol.

    Attributes
    ----------
    base_price
        Price that the walk of the closes returns to.
    daily_volatility
        Standard deviation of a day's return.
    activity
        Its trades, relative to the number asked for.
    """

    base_price: float
    daily_volatility: float
    activity: float


KNOWN: Final = {
    "AAPL": Instrument(190.0, 0.015, 1.4),
    "AMZN": Instrument(150.0, 0.019, 1.2),
    "GOOG": Instrument(140.0, 0.017, 0.9),
    "IBM": Instrument(165.0, 0.011, 0.5),
    "JPM": Instrument(155.0, 0.012, 0.7),
    "MSFT": Instrument(370.0, 0.014, 1.1),
    "NVDA": Instrument(480.0, 0.028, 1.6),
    "SPY": Instrument(460.0, 0.009, 1.5),
    "TSLA": Instrument(240.0, 0.032, 1.6),
    "XOM": Instrument(105.0, 0.014, 0.6),
}
"""Familiar symbols get familiar magnitudes; any other ticker gets its own by a hash."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    segment: Segment
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SessionEvents:
    """Trades and quotes of one symbol in one session, in order of time; all arrays have one entry per event.

    ``ts`` is UTC epoch microseconds. ``bid`` and ``ask`` are cents; a trade has its price in ``bid`` and its shares in
    ``bid_size``; 0 is a quote's side that did not change. ``venue`` counts in :data:`VENUES`, ``conditions`` is a set
    of bits.
    """

    ts: Ints
    is_quote: npt.NDArray[np.bool_]
    bid: Ints
    bid_size: Ints
    ask: Ints
    ask_size: Ints
    venue: Ints
    conditions: Ints


def instrument(symbol: str, seed: int) -> Instrument:
    """Return the parameters of any ticker."""
    if symbol in KNOWN:
        return KNOWN[symbol]
    random = np.random.default_rng(_entropy(symbol, seed))
    return Instrument(
        base_price=float(np.exp(random.uniform(np.log(12.0), np.log(400.0)))),
        daily_volatility=float(random.uniform(0.009, 0.035)),
        activity=float(random.uniform(0.3, 1.2)),
    )


@functools.lru_cache(maxsize=256)
def daily_closes(symbol: str, seed: int) -> Floats:
    """Return the close of every session of the calendar, in order."""
    traits = instrument(symbol, seed)
    steps = np.random.default_rng([*_entropy(symbol, seed), 1]).standard_normal(len(all_sessions()))
    walk = np.empty(len(steps))
    level = 0.0
    for i, step in enumerate(steps * traits.daily_volatility):
        level = MEAN_REVERSION * level + step
        walk[i] = level
    return traits.base_price * np.exp(walk)


def count_events(symbol: str, session: Session, seed: int, trades_per_day: int) -> tuple[int, int]:
    """Return the numbers of trades and quotes in one symbol's session without generating them."""
    _, counts = _drawn_counts(symbol, session, seed, trades_per_day)
    return sum(trades for trades, _ in counts) + PRINTS, sum(quotes for _, quotes in counts)


def generate_session(symbol: str, session: Session, seed: int, trades_per_day: int) -> SessionEvents:
    """Return the events of one symbol in one session."""
    traits = instrument(symbol, seed)
    random, counts = _drawn_counts(symbol, session, seed, trades_per_day)
    ends = _segment_prices(random, daily_closes(symbol, seed), traits.daily_volatility, session)
    segments = [
        _segment_path(random, segment, count, prices, traits.daily_volatility)
        for segment, count, prices in zip(_bounds(session), counts, ends, strict=True)
    ]
    ts, is_quote, mid = (np.concatenate(parts) for parts in zip(*segments, strict=True))
    return _with_prices(random, session, ts, is_quote, mid * 100)


def _entropy(symbol: str, seed: int) -> list[int]:
    digest = hashlib.sha256(symbol.encode()).digest()
    return [seed % 2**64, int.from_bytes(digest[:8], "big")]


@functools.cache
def _ordinals() -> dict[date, int]:
    return {session.session_date: i for i, session in enumerate(all_sessions())}


def _bounds(session: Session) -> tuple[_Bounds, _Bounds, _Bounds]:
    moments = (session.pre_open_at, session.open_at, session.close_at, session.post_close_at)
    pre, opening, close, post = (int(moment.timestamp()) * 1_000_000 for moment in moments)
    return (
        _Bounds(Segment.PRE, pre, opening),
        _Bounds(Segment.REGULAR, opening, close),
        _Bounds(Segment.POST, close, post),
    )


def _drawn_counts(
    symbol: str, session: Session, seed: int, trades_per_day: int
) -> tuple[np.random.Generator, list[tuple[int, int]]]:
    """Return the session's generator and, drawn first from it, the trades and quotes of pre, regular and post.

    A half-day has fewer in proportion to its length, and every day its own level.
    """
    random = np.random.default_rng([*_entropy(symbol, seed), 2, session.session_date.toordinal()])
    minutes = (session.close_at - session.open_at).total_seconds() / 60
    level = trades_per_day * instrument(symbol, seed).activity * random.lognormal(-0.005, 0.1)
    regular = level * minutes / REGULAR_MINUTES
    trades = [int(random.poisson(regular * share)) for share in (PRE_SHARE, 1.0, POST_SHARE)]
    return random, [(count, int(random.poisson(count * QUOTES_PER_TRADE))) for count in trades]


def _segment_prices(
    random: np.random.Generator, closes: Floats, volatility: float, session: Session
) -> list[tuple[float, float]]:
    """Return the first and last price of pre, regular and post: they meet at the open and at the close."""
    today = _ordinals()[session.session_date]
    close, previous = float(closes[today]), float(closes[max(today - 1, 0)])
    jump = random.normal(0, volatility * OVERNIGHT_VOLATILITY)
    opening = previous * float(np.exp(jump))
    after = close * float(np.exp(random.normal(0, volatility * EXTENDED_VOLATILITY)))
    return [(previous, opening), (opening, close), (close, after)]


def _segment_path(
    random: np.random.Generator,
    bounds: _Bounds,
    counts: tuple[int, int],
    ends: tuple[float, float],
    volatility: float,
) -> tuple[Ints, npt.NDArray[np.bool_], Floats]:
    """Return times, which events are quotes, and mid prices of one segment; the regular one begins and ends with a print."""
    trades, quotes = counts
    is_regular = bounds.segment is Segment.REGULAR
    draw = _u_shaped if is_regular else functools.partial(_crowded, late=bounds.segment is Segment.PRE)
    times = np.sort(bounds.start + (draw(random, trades + quotes) * (bounds.end - bounds.start)).astype(np.int64))
    is_quote = np.arange(len(times)) < quotes
    random.shuffle(is_quote)
    if is_regular:
        times = np.concatenate([[bounds.start], times, [bounds.end - 1]])
        is_quote = np.concatenate([[False], is_quote, [False]])
    places = (times - bounds.start) / (bounds.end - bounds.start)
    clock = np.interp(places, _GRID, _U_DISTRIBUTION) if is_regular else places
    roughness = volatility if is_regular else volatility * EXTENDED_VOLATILITY
    return times, is_quote, _bridge(random, clock, ends, roughness)


def activity_at(place: Floats) -> Floats:
    """Return the relative activity at a place (0 to 1) of the regular segment: 5 at the open, 1 at noon, 3 at the close."""
    return 1.0 + 3.0 * np.exp(-place / 0.06) + 1.2 * (2 * place - 1) ** 2 + np.exp((place - 1) / 0.03)


_GRID: Final = np.linspace(0.0, 1.0, REGULAR_MINUTES + 1)
_MINUTE_ACTIVITY: Final = activity_at((_GRID[1:] + _GRID[:-1]) / 2)
_U_DISTRIBUTION: Final = np.concatenate([[0.0], np.cumsum(_MINUTE_ACTIVITY) / _MINUTE_ACTIVITY.sum()])


def _u_shaped(random: np.random.Generator, count: int) -> Floats:
    """Return places in 0 to 1 with the density :func:`activity_at`, by inverting its distribution."""
    return np.minimum(np.interp(random.random(count), _U_DISTRIBUTION, _GRID), _BEFORE_END)


def _crowded(random: np.random.Generator, count: int, *, late: bool) -> Floats:
    """Return places in 0 to 1 that crowd at the start, or at the end if ``late``."""
    places = np.minimum(random.random(count) ** 2.5, _BEFORE_END)
    return _BEFORE_END - places if late else places


def _bridge(random: np.random.Generator, clock: Floats, ends: tuple[float, float], volatility: float) -> Floats:
    """Return a Brownian bridge in the logarithm between two prices, at places of a clock that runs from 0 to 1."""
    steps = np.diff(np.concatenate([[0.0], clock, [1.0]]))
    motion = np.cumsum(random.standard_normal(len(steps)) * np.sqrt(np.maximum(steps, 0.0))) * volatility
    bridge = motion[:-1] + clock * (np.log(ends[1] / ends[0]) - motion[-1])
    prices: Floats = ends[0] * np.exp(bridge)
    return prices


def _with_prices(
    random: np.random.Generator, session: Session, ts: Ints, is_quote: npt.NDArray[np.bool_], mid: Floats
) -> SessionEvents:
    """Turn mid prices in cents into trades at the bid or the offer, and into quotes."""
    _, regular, _ = _bounds(session)
    is_extended = (ts < regular.start) | (ts >= regular.end)
    is_opening, is_closing = ts == regular.start, ts == regular.end - 1
    count = len(ts)
    width = mid * SPREAD_SHARE * np.where(is_extended, EXTENDED_SPREADS, 1) * random.lognormal(0, 0.3, count)
    spread = np.maximum(np.rint(width), 1).astype(np.int64)
    bid = np.maximum(np.floor(mid - (spread - 1) / 2), MINIMUM_CENTS).astype(np.int64)
    ask = bid + spread
    is_print = ~is_quote & (is_opening | is_closing)
    size = _sizes(random, count)
    size = np.where(is_print, size * 100 + ROUND_LOT * 50, size)
    price = np.where(random.random(count) < 0.5, bid, ask)  # noqa: PLR2004 - a buyer or a seller, equally often
    conditions = SWEEP * (random.random(count) < SWEEP_SHARE) + ODD_LOT * (size < ROUND_LOT) + EXTENDED * is_extended
    conditions = np.where(is_print, np.where(is_opening, OPENING_PRINT, CLOSING_PRINT), conditions)
    has_bid, has_ask = _changed_sides(random, is_quote, bid, ask)
    return SessionEvents(
        ts=ts,
        is_quote=is_quote,
        bid=np.where(is_quote, bid * has_bid, price),
        bid_size=np.where(is_quote, has_bid * ROUND_LOT * random.geometric(0.2, count), size),
        ask=ask * has_ask,
        ask_size=has_ask * ROUND_LOT * random.geometric(0.2, count),
        venue=random.choice(len(VENUES), size=count, p=VENUE_SHARES),
        conditions=np.where(is_quote, 0, conditions),
    )


def _sizes(random: np.random.Generator, count: int) -> Ints:
    """Return shares per trade: about a third odd lots, the others round lots, most of them small."""
    is_odd = random.random(count) < ODD_LOT_SHARE
    return np.where(is_odd, random.integers(1, ROUND_LOT, count), ROUND_LOT * random.geometric(0.45, count))


def _changed_sides(
    random: np.random.Generator, is_quote: npt.NDArray[np.bool_], bid: Ints, ask: Ints
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which sides each quote states: those whose price moved since the last quote, else one whose size did."""
    quotes = np.flatnonzero(is_quote)
    bid_moved = np.diff(bid[quotes], prepend=0) != 0
    ask_moved = np.diff(ask[quotes], prepend=0) != 0
    bid_resized = random.random(len(quotes)) < 0.5  # noqa: PLR2004 - either side, equally often
    has_bid, has_ask = np.zeros(len(bid), dtype=np.bool_), np.zeros(len(bid), dtype=np.bool_)
    has_bid[quotes] = bid_moved | (~ask_moved & bid_resized)
    has_ask[quotes] = ask_moved | (~bid_moved & ~bid_resized)
    return has_bid, has_ask
