"""The one place that asks Alpha Vantage.

Its API is one address with parameters, and no client library of it is kept well: ``requests`` asks. The key is a parameter
too, so what ``requests`` and ``urllib3`` say of an address is neither logged nor passed on.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import requests
from pydantic import SecretStr

from ingest.feeds.alphavantage.parse import KEY_NAME, KEY_PAGE, Series, read_answer
from ingest.history.source import SourceBusyError, SourceError

TIMEOUT_SECONDS: Final = 60.0
LEAST_SECONDS: Final = 1.1
"""Between two requests: a free key may ask once a second."""


class AlphaVantageClient:
    """Asks the API; threads may share one.

    Parameters
    ----------
    base_url
        Where the API is.
    key
        The key, if there is one.
    timeout_seconds
        How long an answer may take.
    least_seconds
        How long to wait between two requests, by ``clock``, with ``sleep``.
    """

    def __init__(
        self,
        base_url: str,
        key: SecretStr | None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        least_seconds: float = LEAST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/query"
        self._key = key
        self._timeout = timeout_seconds
        self._least_seconds = least_seconds
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_at = float("-inf")
        # Whatever it says of a request has the address in it, with the key.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)

    def require_key(self) -> str:
        """Return the key.

        Raises
        ------
        SourceError
            If it is not set.
        """
        if self._key is None:
            msg = f"Alpha Vantage needs a key: set {KEY_NAME}. A free one is to be had at {KEY_PAGE}."
            raise SourceError(msg)
        return self._key.get_secret_value()

    def ask(self, parameters: Mapping[str, str], pace: Callable[[], None]) -> Series:
        """Return the rows of one request, by time.

        Raises
        ------
        UnknownSymbolError, UselessError
            If they are of no use.
        SourceBusyError, SourceError
            As :meth:`ingest.history.source.HistorySource.fetch`.
        """
        self.require_key()
        pace()
        self._wait()
        response = None
        reason = ""
        try:
            response = requests.get(
                self._url,
                params={**parameters, "apikey": self.require_key()},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            reason = type(error).__name__
        # Raised out here, so that the error above, which has the address in it, is no part of this one.
        if response is None:
            msg = f"Alpha Vantage did not answer: {reason}."
            raise SourceBusyError(msg)
        return read_answer(parameters["symbol"], response.status_code, response.content)

    def _wait(self) -> None:
        with self._lock:
            if (left := self._next_at - self._clock()) > 0:
                self._sleep(left)
            self._next_at = self._clock() + self._least_seconds
