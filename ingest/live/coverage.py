"""What of a session was delivered, symbol by symbol, and what of that was claimed: pure bookkeeping.

Three sets of moments for each symbol, each part of the one before: *delivered* (handed to the publisher), *claimed* (heartbeats
for it were handed to the publisher after it), *acknowledged* (the broker has both). Only the last survives a loss.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from ingest.live.source import Hole, HoleSize
from ingest.live.spans import Span, Spans
from market.sessions import Session

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
LOOKS_BACK: Final = 30 * MINUTE
"""Trades of so long before a hole may have been cancelled or corrected in it: most amendments come within minutes."""
NOTHING: Final = Spans()

_NEVER: Final = 2**62


class Coverage:
    """What is covered of one session.

    Parameters
    ----------
    symbols
        Of which there is something to deliver.
    session
        The session's first moment and the one after its last, UTC epoch microseconds. Nothing outside of it is covered.
    acknowledged
        What was covered before, as of an earlier process.
    """

    def __init__(
        self, symbols: Collection[str], session: Span, acknowledged: Mapping[str, Spans] | None = None
    ) -> None:
        self._session = Spans([session])
        known = acknowledged or {}
        self._acknowledged = {symbol: known.get(symbol, NOTHING) & self._session for symbol in symbols}
        self._delivered = dict(self._acknowledged)
        self._claimed = dict(self._acknowledged)
        self._lost = dict.fromkeys(symbols, NOTHING)
        self._shown = dict.fromkeys(symbols, NOTHING)
        self._again_at: dict[str, int] = {}

    @property
    def acknowledged(self) -> Mapping[str, Spans]:
        """What the broker has, heartbeats included."""
        return self._acknowledged

    def follow(self, symbols: Collection[str]) -> None:
        """Take up symbols that were not there before; of all others nothing changes."""
        for symbol in symbols:
            for book in (self._acknowledged, self._delivered, self._claimed, self._lost, self._shown):
                book.setdefault(symbol, NOTHING)

    def deliver(self, symbol: str, span: Span) -> None:
        """Note that everything of a span was handed to the publisher."""
        self._delivered[symbol] |= Spans([span]) & self._session

    def show(self, symbol: str, span: Span, again_at: int = 0) -> None:
        """Note that what the history has of a span so far was handed to the publisher: there is no hurry any more.

        Where holes are joined, ``again_at`` says when what was shown of the symbol is asked for again though nothing else is.
        """
        self._shown[symbol] |= Spans([span])
        self._again_at[symbol] = again_at

    def give_up(self, symbol: str, span: Span) -> None:
        """Note that a span cannot be had: it is never covered, and is not asked for again."""
        self._lost[symbol] |= Spans([span])

    def missing(self, symbol: str, until: int) -> Spans:
        """Return what is neither delivered nor given up of the session until a moment."""
        wanted = self._session & Spans([(0, until)])
        return wanted - self._delivered[symbol] - self._lost[symbol]

    def holes(self, until: Mapping[str, int], size: HoleSize, settled: int, now: int) -> list[Hole]:
        """Return what is missing of each symbol until a moment, in pieces of a size at most, the newest first.

        Symbols that miss the same are asked for together. What was shown is not asked for again before it has settled; where
        holes are joined, it is asked for with whatever else is missing after it, and by itself when it is time.
        """
        unsettled = Spans([(settled, _NEVER)])
        by_span: defaultdict[Span, list[str]] = defaultdict(list)
        for symbol in sorted(until):
            lacking = self.missing(symbol, until[symbol])
            shown = lacking & self._shown[symbol]
            if size.joins_minutes:
                lacking = _with_shown(lacking, shown, is_time=now >= self._again_at.get(symbol, 0))
            else:
                lacking -= shown & unsettled
            for span in _joined(lacking, size.joins_minutes * MINUTE):
                for piece in _pieces(span, size.hours * HOUR):
                    by_span[piece].append(symbol)
        return [
            Hole(tuple(same[first : first + size.symbols]), *span)
            for span, same in sorted(by_span.items(), reverse=True)
            for first in range(0, len(same), size.symbols)
        ]

    def looking_back(self, hole: Hole) -> Hole:
        """Return a hole with the time before it of which amendments may have been missed: none if that is missing itself."""
        amended_since = max(hole.since - LOOKS_BACK, *(since for since, _ in self._session))
        is_begin = any(
            all(until != hole.since for _, until in self.missing(symbol, hole.since)) for symbol in hole.symbols
        )
        return replace(hole, amended_since=amended_since) if is_begin and amended_since < hole.since else hole

    def unclaimed(self) -> list[tuple[str, Span]]:
        """Return what was delivered and not claimed yet, span by span."""
        return [
            (symbol, span)
            for symbol, delivered in self._delivered.items()
            if delivered != self._claimed[symbol]
            for span in delivered - self._claimed[symbol]
        ]

    def claim(self, symbol: str, span: Span) -> None:
        """Note that a heartbeat for a delivered span was handed to the publisher."""
        self._claimed[symbol] |= Spans([span]) & self._delivered[symbol]

    def acknowledge(self) -> None:
        """Note that the broker has everything that was handed to the publisher."""
        self._acknowledged = dict(self._claimed)

    def forget(self) -> None:
        """Go back to what the broker has acknowledged: the rest may be lost."""
        self._delivered = dict(self._acknowledged)
        self._claimed = dict(self._acknowledged)
        self._shown = dict.fromkeys(self._shown, NOTHING)


def micros(moment: datetime) -> int:
    """Return a moment as microseconds of the epoch."""
    return round(moment.timestamp() * 1_000_000)


def span_of(session: Session) -> Span:
    """Return the first moment of a session, and the one after its last."""
    return micros(session.pre_open_at), micros(session.post_close_at)


def _with_shown(lacking: Spans, shown: Spans, *, is_time: bool) -> Spans:
    """Return what is to be asked for: what was shown, as one with all after it, if it is time or something after it is new."""
    new = lacking - shown
    first = min((since for since, _ in shown), default=_NEVER)
    if not is_time and not any(until > first for _, until in new):
        return new
    return lacking | Spans((first, until) for _, until in lacking)


def _joined(spans: Spans, step: int) -> Iterator[Span]:
    """Join those that lie in the same step, with what lies between them; a step of 0 joins none."""
    joined: Span | None = None
    for since, until in spans:
        if joined is not None and step and (joined[1] - 1) // step == since // step:
            joined = joined[0], until
            continue
        if joined is not None:
            yield joined
        joined = since, until
    if joined is not None:
        yield joined


def _pieces(span: Span, length: int) -> Iterator[Span]:
    """Cut a span at whole multiples of a length."""
    since, until = span
    while since < until:
        end = min(since - since % length + length, until)
        yield since, end
        since = end
