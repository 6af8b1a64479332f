"""One connection to Yahoo's stream through yfinance: what fails ends it.

yfinance's own loop connects again by itself, and goes round without end when the other side closes the connection; so its steps
are used one by one: connect, subscribe, decode. What belongs here: frames. What does not: what a message states
(:mod:`ingest.feeds.yahoo.messages`).
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, NoReturn

from google.protobuf.message import DecodeError
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
from yfinance.config import YfConfig
from yfinance.live import AsyncWebSocket

from ingest.feeds.yahoo.messages import Translator
from ingest.feeds.yahoo.parse import ticker_of
from ingest.feeds.yahoo.samples import Samples
from ingest.history.source import SourceBusyError, SourceError
from ingest.live.source import Delivery, Wishes

LEARN_AGAIN_SECONDS: Final = 60.0
"""So often it is tried to learn the closes of symbols that could not be had when they were subscribed to."""

_MOST_CHARACTERS: Final = 200
_FOR_GOOD: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


class YahooSocket(AsyncWebSocket):  # type: ignore[misc]
    """yfinance's client for one connection; it asks for its symbols again every 15 seconds, as the vendor's page does.

    Parameters
    ----------
    url
        The whole address.
    samples
        Says which samples are believed.
    """

    def __init__(self, url: str, samples: Samples) -> None:
        # Errors come to us, not into yfinance's log.
        YfConfig.debug.hide_exceptions = False
        super().__init__(url, verbose=False)
        self._translator = Translator({})
        self._samples = samples
        self._symbols: tuple[str, ...] = ()
        self._heartbeat_task: asyncio.Task[None] | None = None

    async def run_once(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        """Connect, subscribe and hand over what comes, until cancelled.

        Raises
        ------
        SourceBusyError
            If the connection cannot be made or ends.
        SourceError
            If there is no stream at the address, or Yahoo turns this client away.
        """
        beside: list[asyncio.Task[None]] = []
        try:
            await self._subscribe_to(await wishes.get(), deliver)
            beside += [asyncio.ensure_future(self._follow(wishes, deliver)), asyncio.ensure_future(self._learn_again())]
            while True:
                deliver(self._read(await self._ws.recv()))
        except InvalidURI as error:
            self._no_stream(str(error))
        except InvalidStatus as error:
            status = error.response.status_code
            if status in _FOR_GOOD:
                self._no_stream(str(status))
            msg = f"Yahoo cannot take a connection now ({status})."
            raise SourceBusyError(msg) from error
        except (WebSocketException, OSError, TimeoutError, EOFError) as error:
            msg = f"The connection to Yahoo ended: {type(error).__name__}: {error}"[:_MOST_CHARACTERS]
            raise SourceBusyError(msg) from error
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._leave()

    async def _follow(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        while True:
            await self._subscribe_to(await wishes.get(), deliver)

    async def _learn_again(self) -> None:
        while True:
            await asyncio.sleep(LEARN_AGAIN_SECONDS)
            await asyncio.to_thread(self._samples.learn, self._symbols)

    async def _subscribe_to(self, symbols: Sequence[str], deliver: Callable[[Delivery], None]) -> None:
        """Ask for what is wished for, and say so at once: Yahoo acknowledges nothing."""
        self._symbols = tuple(symbols)
        await asyncio.to_thread(self._samples.learn, symbols)
        tickers = {ticker_of(symbol): symbol for symbol in symbols}
        if gone := self._subscriptions.difference(tickers):
            await self.unsubscribe(sorted(gone))
        self._translator = Translator(tickers)
        await self.subscribe(list(tickers))
        deliver(Delivery(subscribed=frozenset(symbols)))

    def _read(self, frame: object) -> Delivery:
        """Return what a frame states; one that cannot be read is counted, for no other depends on it."""
        try:
            decoded: Any = json.loads(frame if isinstance(frame, str | bytes) else b"")
            if not isinstance(decoded, dict) or not isinstance(decoded.get("message"), str):
                return Delivery(passed_over={"other_frame": 1})
            message = self._decode_message(decoded["message"])
        except (ValueError, DecodeError, RecursionError):
            return Delivery(passed_over={"unreadable_frame": 1})
        return self._samples.believed(self._translator.delivery(message))

    async def _leave(self) -> None:
        """Close the connection, and end what asks for the symbols again: it fails when the connection does."""
        again = self._heartbeat_task
        if again is not None:
            again.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketException, OSError):
                await again
            self._heartbeat_task = None
        if self._ws is not None:
            with contextlib.suppress(WebSocketException, OSError):
                await self._ws.close()

    def _no_stream(self, why: str) -> NoReturn:
        msg = f"Yahoo has no stream for us at {self.url} ({why}). Set TAPEHOUSE_YAHOO_STREAM_URL, or leave it out."
        raise SourceError(msg)
