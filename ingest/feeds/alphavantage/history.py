"""Alpha Vantage as a source of history: what it offers, its limit, and which requests an ask takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from ingest.feeds.alphavantage.client import LEAST_SECONDS, TIMEOUT_SECONDS, AlphaVantageClient
from ingest.feeds.alphavantage.parse import (
    FUNCTIONS,
    PremiumError,
    Series,
    UnknownSymbolError,
    UselessError,
    oldest_day,
    parse_bars,
    ticker_of,
)
from ingest.history.source import (
    Answer,
    Ask,
    HistorySource,
    Limit,
    Offer,
    Problem,
    QuotaUsedUpError,
    UnansweredError,
    Withheld,
)
from market.records import DAILY, INTERVALS
from market.sessions import EXCHANGE_ZONE, sessions_between
from market.settings import Settings

COMPACT_ROWS: Final = 100
"""So many days the small answer has: the newest."""
MONTHS_PER_ASK: Final = 6
QUOTA_TIME: Final = timedelta(days=1)


class AlphaVantageHistory(HistorySource):
    """Bars of Alpha Vantage as traded: daily ones in one request, others in one a month.

    Parameters
    ----------
    settings
        Has the key, and says where the API is.
    now
        The clock: whether the small answer reaches back far enough depends on it.
    timeout_seconds, least_seconds
        How long an answer may take, and how long to wait between two requests.
    """

    name = "alphavantage"
    offers: Mapping[str, Offer] = {DAILY: Offer(DAILY)} | {
        interval: Offer(interval, months_per_ask=MONTHS_PER_ASK) for interval in INTERVALS
    }
    # What a free key may ask for. It may do so once a second, which the client sees to.
    limit = Limit(25, 86_400.0)
    at_once = 1

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout_seconds: float = TIMEOUT_SECONDS,
        least_seconds: float = LEAST_SECONDS,
    ) -> None:
        self._client = AlphaVantageClient(
            settings.alphavantage_url,
            settings.alphavantage_api_key,
            timeout_seconds=timeout_seconds,
            least_seconds=least_seconds,
        )
        self._now = now
        # Found out at the first request for it, and true of all symbols: each more would be one of the day's few.
        self._only_small = False
        # A month that is asked for in parts is one request, and so is one that the vendor called invalid before it fell silent.
        self._newest: tuple[tuple[str, str, str], Series] | None = None
        self._invalid: set[tuple[str, str, str]] = set()

    def check(self) -> None:
        """Look whether there is a key.

        Raises
        ------
        SourceError
            If there is none.
        """
        self._client.require_key()

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Ask for each symbol."""
        fetch_one = self._fetch_daily if ask.interval == DAILY else self._fetch_months
        try:
            answers = [fetch_one(ask, symbol, pace) for symbol in ask.symbols]
        except QuotaUsedUpError as error:
            # The vendor does not say when its day begins: it has in a day from now.
            error.again_at = error.again_at or self._now() + QUOTA_TIME
            raise
        return Answer(
            bars=tuple(bar for answer in answers for bar in answer.bars),
            problems=tuple(problem for answer in answers for problem in answer.problems),
            unknown=frozenset(symbol for answer in answers for symbol in answer.unknown),
            withheld=tuple(one for answer in answers for one in answer.withheld),
        )

    def _fetch_daily(self, ask: Ask, symbol: str, pace: Callable[[], None]) -> Answer:
        try:
            found = self._daily_series(ask, symbol, pace)
        except UnknownSymbolError:
            return Answer((), unknown=frozenset({symbol}))
        except UselessError as error:
            return Answer((), (Problem(symbol, error.code, str(error)),))
        if found is None:
            detail = f"days until {ask.last}, before the newest {COMPACT_ROWS}, are for premium keys only"
            return Answer((), withheld=(Withheld(symbol, ask.sessions, detail),))
        series, is_small = found
        bars, wrong = parse_bars(series, ask, symbol, self.name)
        return Answer(bars, wrong, withheld=_cut_off(ask, symbol, series) if is_small else ())

    def _daily_series(self, ask: Ask, symbol: str, pace: Callable[[], None]) -> tuple[Series, bool] | None:
        """Return the rows, and whether it is the small answer, as much as a free key gets; ``None`` if that would have none."""
        parameters = {**FUNCTIONS[DAILY], "symbol": ticker_of(symbol)}
        if not self._only_small and not self._reaches_back_to(ask.first):
            try:
                return self._client.ask({**parameters, "outputsize": "full"}, pace), False
            except PremiumError:
                self._only_small = True
        if self._only_small and not self._reaches_back_to(ask.last):
            return None
        return self._client.ask({**parameters, "outputsize": "compact"}, pace), True

    def _fetch_months(self, ask: Ask, symbol: str, pace: Callable[[], None]) -> Answer:
        series: dict[str, Any] = {}
        useless: list[Problem] = []
        is_known = False
        for month in ask.months:
            try:
                found = self._month_series(ask.interval, symbol, month, pace)
            except UselessError as error:  # each month is an answer of its own: the others may be fine
                problem = Problem(symbol, error.code, f"{month}: {error}", months=(month,))
                if not is_known:  # nor are the others, as a rule, and each costs one of a day's few requests
                    return Answer((), (replace(problem, months=()),))
                useless.append(problem)
                continue
            except UnansweredError as error:
                known = (series, useless) if is_known else None
                error.part = self._answered_before(month, ask, symbol, known, error)
                raise
            if found is not None:
                is_known = True
                series |= found
        if not is_known:
            return Answer((), unknown=frozenset({symbol}))
        return self._of_months(series, useless, ask, symbol)

    def _of_months(self, series: Series, useless: Sequence[Problem], ask: Ask, symbol: str) -> Answer:
        bars, wrong = parse_bars(series, ask, symbol, self.name)
        return Answer(bars, (*useless, *wrong))

    def _month_series(self, interval: str, symbol: str, month: str, pace: Callable[[], None]) -> Series | None:
        """Return the rows of a month; ``None`` if the vendor calls it invalid, as a month before the first trade."""
        key = (symbol, interval, month)
        if key in self._invalid:
            return None
        if self._newest is not None and self._newest[0] == key:
            return self._newest[1]
        parameters = {
            **FUNCTIONS[interval],
            "symbol": ticker_of(symbol),
            "adjusted": "false",
            "extended_hours": "false",
            "outputsize": "full",
            "month": month,
        }
        try:
            self._newest = (key, self._client.ask(parameters, pace))
        except UnknownSymbolError:
            self._invalid.add(key)
            return None
        return self._newest[1]

    def _answered_before(
        self,
        month: str,
        ask: Ask,
        symbol: str,
        known: tuple[Series, Sequence[Problem]] | None,
        error: UnansweredError,
    ) -> tuple[Ask, Answer] | None:
        """Return the sessions of the months before one, and their bars, if there are any.

        ``known`` has the rows of these months, and what was wrong with whole ones. Without it all these months were called
        invalid. Whether the symbol is unknown, or was listed later, the other months say if they are still asked for; if the
        quota is used up, it counts as unknown.
        """
        sessions = tuple(session for session in ask.sessions if f"{session.session_date:%Y-%m}" < month)
        if not sessions or ask.symbols != (symbol,):
            return None
        part = Ask(ask.symbols, ask.interval, sessions)
        if known is not None:
            return part, self._of_months(*known, part, symbol)
        return (part, Answer((), unknown=frozenset({symbol}))) if isinstance(error, QuotaUsedUpError) else None

    def _reaches_back_to(self, day: date) -> bool:
        today = self._now().astimezone(EXCHANGE_ZONE).date()
        return sum(1 for _ in sessions_between(day, max(day, today))) <= COMPACT_ROWS


def _cut_off(ask: Ask, symbol: str, series: Series) -> list[Withheld]:
    """Return the sessions that were asked for and that the small answer does not reach back to, if any."""
    oldest = oldest_day(series)
    if oldest is None or oldest <= ask.first or len(series) < COMPACT_ROWS:
        return []
    detail = f"days before {oldest}, asked for from {ask.first}, are for premium keys only"
    return [Withheld(symbol, tuple(one for one in ask.sessions if one.session_date < oldest), detail)]
