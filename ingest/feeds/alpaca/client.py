"""Alpaca's REST service through its own client library: each request paced, each failure told apart.

What belongs here: requests, pages, and what a failure means. What does not: what is asked for
(:mod:`ingest.feeds.alpaca.history`) and what of a page is a bar (:mod:`ingest.feeds.alpaca.parse`).
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from alpaca.common.exceptions import APIError
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockTradesRequest
from requests import Response
from requests.exceptions import InvalidJSONError, InvalidSchema, InvalidURL, MissingSchema, RequestException

from ingest.history.source import SourceBusyError, SourceError
from ingest.history.waiting import wait_seconds
from market.errors import FeedError

PAGE_BARS: Final = 10_000
"""The most bars, or trades, that Alpaca puts on a page."""
KEYS: Final = "APCA_API_KEY_ID and APCA_API_SECRET_KEY"
WHERE_KEYS_ARE: Final = "An account at https://alpaca.markets is free; its dashboard makes the pair of keys."

_MOST_CHARACTERS: Final = 200
_INVALID_SYMBOL: Final = re.compile(r"invalid symbols?: *([^\"{}]+)", re.IGNORECASE)
_BUSY: Final = frozenset({408, 429})
_SERVER_ERROR: Final = 500
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long Alpaca may take to accept a connection, and between two pieces of an answer."""

    connect_seconds: float = 5.0
    read_seconds: float = 30.0


class RefusedError(FeedError):
    """Alpaca refuses this request, whatever else it may answer.

    Attributes
    ----------
    symbols
        The symbols that it refuses it for, in its words; empty if that is not the reason.
    """

    def __init__(self, message: str, symbols: frozenset[str]) -> None:
        super().__init__(message)
        self.symbols = symbols


@dataclass(slots=True)
class Place:
    """Where in the pages of a request it goes on.

    Attributes
    ----------
    token
        What Alpaca calls the next page; ``None`` before the first.
    """

    token: str | None = None


class AlpacaClient(StockHistoricalDataClient):
    """The vendor's client, but each page is asked for by us, a request ends in time, and is never repeated in here.

    Parameters
    ----------
    key_id, secret_key
        The pair of keys. No text of an error has them, even if an answer repeats them.
    url
        The address of the service.
    """

    def __init__(self, key_id: str, secret_key: str, url: str, timeouts: Timeouts) -> None:
        super().__init__(key_id, secret_key, raw_data=True, url_override=url.rstrip("/"))
        self._secrets = (key_id, secret_key)
        self._timeouts = timeouts

    def pages(
        self,
        request: StockBarsRequest | StockTradesRequest,
        pace: Callable[[], None],
        kind: str = "bars",
        place: Place | None = None,
    ) -> Iterator[Mapping[str, Sequence[object] | None]]:
        """Yield page by page what Alpaca has: by symbol its bars, or its trades, as they are in the JSON.

        Begins at ``place``, and moves it behind each page before that is yielded: after an error the rest can be asked for.

        Raises
        ------
        RefusedError
            If Alpaca refuses this request.
        SourceBusyError
            If it may answer another time: it did not, or with half a page, or asks to wait.
        SourceError
            If it refuses every request.
        """
        place = place or Place()
        fields: dict[str, Any] = {**request.to_request_fields(), "limit": PAGE_BARS}
        if place.token is not None:
            fields["page_token"] = place.token
        seen: set[str] = set()
        while True:
            pace()
            rows, token = self._page(fields, kind)
            place.token = token
            yield rows
            if not token:
                return
            if token in seen:
                place.token = None
                msg = "Alpaca names a page as the next one that it has answered already: its pages have no end."
                raise SourceBusyError(msg)
            seen.add(token)
            fields["page_token"] = token

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:  # noqa: ANN401, ARG002 - the library's
        """Make one request in time; with ``retry`` 0 the library does not sleep and repeat it, past any pace."""
        timeout = (self._timeouts.connect_seconds, self._timeouts.read_seconds)
        return super()._one_request(method, url, {**opts, "timeout": timeout}, retry=0)

    def _page(self, fields: Mapping[str, Any], kind: str) -> tuple[Mapping[str, Sequence[object] | None], str | None]:
        """Return the rows of a page and the token of the next."""
        try:
            page: Any = self.get(f"/stocks/{kind}", dict(fields))
        except APIError as error:
            # the error's own text is the body, which may repeat what was sent
            raise failure_of(error.response, self._base_url, self._without_keys) from None
        except (InvalidURL, InvalidSchema, MissingSchema) as error:
            msg = f"Alpaca cannot be asked at {self._base_url} ({error}). Set TAPEHOUSE_ALPACA_URL, or leave it out."
            raise SourceError(msg) from error
        except (InvalidJSONError, RecursionError, ValueError) as error:
            raise _half_a_page(f"{type(error).__name__}: {error}"[:_MOST_CHARACTERS]) from error
        except RequestException as error:
            msg = f"Alpaca did not answer: {self._without_keys(_reason(error))}"
            raise SourceBusyError(msg) from error
        if not isinstance(page, dict) or kind not in page:
            raise _half_a_page(self._without_keys(repr(page)))
        rows, token = page[kind] or {}, page.get("next_page_token")
        if not isinstance(rows, dict) or not isinstance(token, str | None):
            raise _half_a_page(self._without_keys(f"{kind} {type(rows).__name__}, next_page_token {token!r}"))
        for symbol, of_symbol in rows.items():
            if not isinstance(of_symbol, list | None):
                raise _half_a_page(self._without_keys(f"{kind} of {symbol}: {of_symbol!r}"))
        return rows, token

    def _without_keys(self, text: str) -> str:
        """Return the beginning of a text on one line, with the keys struck out."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_MOST_CHARACTERS]


def without_refused(
    symbols: Sequence[str],
    ask: Callable[[Sequence[str]], _Answer],
    refused: Callable[[RefusedError, Sequence[str]], _Answer],
) -> tuple[_Answer | None, frozenset[str]]:
    """Ask for some symbols, again without those that Alpaca refuses the request for.

    Parameters
    ----------
    symbols
        Whom to ask for.
    ask
        Asks for some of them.
    refused
        Returns what stands for the answer if a request is refused for another reason, of the symbols that were asked for then.

    Returns
    -------
    tuple
        The answer, ``None`` if every symbol was refused; and the symbols that were.
    """
    left = list(symbols)
    while left:
        try:
            answer = ask(left)
        except RefusedError as error:
            bad = error.symbols & set(left)
            if not bad:
                return refused(error, left), frozenset(symbols) - set(left)
            left = [symbol for symbol in left if symbol not in bad]
        else:
            return answer, frozenset(symbols) - set(left)
    return None, frozenset(symbols)


def failure_of(response: Response, url: str, without_keys: Callable[[str], str]) -> FeedError:
    """Return what an answer with an error status means; ``without_keys`` strikes the keys out of a text."""
    status, message = response.status_code, _message(response)
    said = without_keys(message)
    if status in _BUSY or status >= _SERVER_ERROR:
        msg = f'Alpaca cannot answer now ({status}: "{said}").'
        return SourceBusyError(msg, wait_seconds(response.headers, time.time()))
    if status in {401, 403}:
        return SourceError(_why_forbidden(status, said))
    if status == 404:  # noqa: PLR2004 - not found
        where = f"at {url}. Set TAPEHOUSE_ALPACA_URL, or leave it out"
        return SourceError(f'There is no market data service (404: "{said}") {where}.')
    return RefusedError(f'Alpaca refuses this ({status}: "{said}")', _symbols_in(message))


def _half_a_page(what: str) -> SourceBusyError:
    return SourceBusyError(
        f"Alpaca's answer is not a page ({what}). If it stays so, see whether TAPEHOUSE_ALPACA_URL is right."
    )


def _why_forbidden(status: int, said: str) -> str:
    if "subscription" in said.lower():
        return (
            f'The plan of the account of {KEYS} does not allow this ({status}: "{said}"). The free plan has sip but for its last '
            "15 minutes: ask again later, or set TAPEHOUSE_ALPACA_DATA_FEED=iex."
        )
    return (
        f'Alpaca refuses the keys ({status}: "{said}"). See whether {KEYS} are right and of one pair. {WHERE_KEYS_ARE}'
    )


def _reason(error: RequestException) -> str:
    """Return the reason of an error without the address of the request, which it begins with and which is long."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", None) or inner)


def _message(response: Response) -> str:
    """Return what Alpaca says of an error: the JSON's message, or whatever the body is."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return response.text
    return str(body["message"]) if isinstance(body, dict) and "message" in body else response.text


def _symbols_in(message: str) -> frozenset[str]:
    found = _INVALID_SYMBOL.search(message)
    return frozenset(re.split(r"[\s,;]+", found[1])) - {""} if found is not None else frozenset()
