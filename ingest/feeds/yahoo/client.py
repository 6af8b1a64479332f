"""The one wrapper of yfinance: which requests are made, and when.

yfinance's ``Ticker`` is passed by: it asks other hosts for cookies that the chart API does not need, asks for each ticker's time
zone, and keeps files in the user's home and answers in memory, bad ones too. Its ``PriceHistory`` takes whatever fetches for it,
which is :class:`_Requests` here; it makes the query, reads the rows and mends what the vendor is known to get wrong.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import pandas as pd
from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import RequestException
from yfinance.config import YfConfig
from yfinance.exceptions import YFException
from yfinance.scrapers.history import PriceHistory

from ingest.feeds.yahoo.answer import Result, as_json
from ingest.feeds.yahoo.parse import read_answer
from ingest.history.source import SourceBusyError, UnreadableAnswerError
from ingest.history.waiting import wait_seconds
from market.sessions import EXCHANGE_ZONE

TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Chart:
    """An answer: the rows as yfinance reads them, and what the vendor sent."""

    frame: pd.DataFrame
    result: Result


class ChartClient:
    """Asks the chart API; threads may share one.

    Parameters
    ----------
    base_url
        Where the API is.
    timeout_seconds
        How long an answer may take.
    """

    def __init__(self, base_url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        # Errors come to us, not into yfinance's log.
        YfConfig.debug.hide_exceptions = False
        # The vendor turns away clients that do not look like a browser.
        self._session: Session[Response] = Session(impersonate="chrome")
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout_seconds

    def ask(self, ticker: str, interval: str, start: datetime, end: datetime, pace: Callable[[], None]) -> Chart:
        """Return the rows from ``start`` to ``end``, in one request.

        Raises
        ------
        UnknownSymbolError, NothingThereError, RefusedError
            If there are none.
        SourceBusyError, SourceError
            As :meth:`ingest.history.source.HistorySource.fetch`.
        """
        requests = _Requests(self._session, self._base_url, self._timeout, ticker, pace)
        history = PriceHistory(requests, ticker, EXCHANGE_ZONE.key, self._session)
        try:
            frame = history.history(interval=interval, start=start, end=end, auto_adjust=False, keepna=True)
        except (YFException, LookupError, TypeError, ValueError, AttributeError) as error:
            msg = f"Yahoo's answer about {ticker} cannot be read: {type(error).__name__}: {error}."
            raise UnreadableAnswerError(msg) from error
        if requests.result is None:
            msg = f"yfinance gave an answer about {ticker} without asking for it."
            raise SourceBusyError(msg)
        return Chart(frame, requests.result)


class _Requests:
    """What yfinance's ``PriceHistory`` fetches with: its ``YfData``, but for one answer."""

    def __init__(
        self,
        session: "Session[Response]",
        base_url: str,
        timeout_seconds: float,
        ticker: str,
        pace: Callable[[], None],
    ) -> None:
        self._session = session
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._ticker = ticker
        self._pace = pace
        self.result: Result | None = None

    def get(self, url: str, params: dict[str, Any] | None = None, timeout: float | None = None) -> Response:  # noqa: ARG002
        """Make a request to the base address, whatever host yfinance thinks of; ``timeout`` is yfinance's, ours counts."""
        self._pace()
        try:
            # A redirect would be a request without a pause before it.
            response = self._session.get(
                self._base_url + urlsplit(url).path, params=params, timeout=self._timeout, allow_redirects=False
            )
        except RequestException as error:
            msg = f"Yahoo did not answer: {type(error).__name__}."
            raise SourceBusyError(msg) from error
        headers = {"Retry-After": response.headers.get("Retry-After") or ""}
        after_seconds = wait_seconds(headers, time.time())
        self.result = read_answer(self._ticker, response.status_code, response.content, after_seconds)
        # yfinance reads JSON only.
        response.content = as_json(response.content)
        return response

    cache_get = get
    """yfinance wants past ranges kept in memory; an answer that was cut short would be kept as well."""
