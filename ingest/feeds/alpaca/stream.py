"""One connection to Alpaca's stream through its own client library: what it says is an error is one here.

The library's own loop connects again by itself, for ever, whatever the reason, and only logs errors; so its steps are used one by
one: connect, authenticate, subscribe. What belongs here: frames, and what a failure means. What does not: what a message states
(:mod:`ingest.feeds.alpaca.ticks`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import msgpack
from alpaca.data.live.stock import StockDataStream
from websockets.exceptions import InvalidURI, WebSocketException
from websockets.legacy.exceptions import InvalidStatusCode

from ingest.feeds.alpaca.client import KEYS, WHERE_KEYS_ARE
from ingest.feeds.alpaca.ticks import Translator, UnreadableError
from ingest.history.source import SourceBusyError, SourceError
from ingest.live.source import Delivery, Wishes

PING_SECONDS: Final = 10
PONG_SECONDS: Final = 20
"""Without an answer to a ping for so long the other side is gone, though the socket looks open."""
OPEN_SECONDS: Final = 15
CLOSE_SECONDS: Final = 2
MOST_BYTES: Final = 2**24

_MOST_CHARACTERS: Final = 200
_CHANNELS: Final = ("trades", "quotes", "bars", "updatedBars", "statuses")
_TOO_MANY_SYMBOLS: Final = 405
"""The subscriptions are the same as before the request, says the vendor."""
_REFUSED: Final = {
    402: f"See whether {KEYS} are right and of one pair. {WHERE_KEYS_ARE}",
    _TOO_MANY_SYMBOLS: "The plan of the account allows fewer symbols: take some off the watchlist, or enlarge the plan.",
    409: "The plan of the account does not have this data feed: set TAPEHOUSE_ALPACA_DATA_FEED=iex.",
    410: "The subscription is not one.",
}
"""Error codes after which another connection would fail alike, and what to do."""
_TOO_MANY: Final = 406
_FORBIDDEN: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404


class AlpacaStream(StockDataStream):
    """The vendor's client for one connection.

    Parameters
    ----------
    key_id, secret_key
        The pair of keys. No text of an error has them.
    url
        The whole address, with the data feed.
    translator
        Makes records of the messages; it outlives the connection.
    """

    def __init__(self, key_id: str, secret_key: str, url: str, translator: Translator) -> None:
        params = {
            "ping_interval": PING_SECONDS,
            "ping_timeout": PONG_SECONDS,
            "open_timeout": OPEN_SECONDS,
            "close_timeout": CLOSE_SECONDS,
            "max_size": MOST_BYTES,
        }
        super().__init__(key_id, secret_key, raw_data=True, websocket_params=params, url_override=url)
        self._secrets = (key_id, secret_key)
        self._translator = translator
        self._subscribed: frozenset[str] = frozenset()
        self._wished = 0

    async def run_once(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        """Connect, subscribe and hand over what comes, until cancelled.

        Raises
        ------
        SourceBusyError
            If the connection cannot be made, ends, or brings what cannot be read.
        SourceError
            If Alpaca refuses every connection.
        """
        later: asyncio.Task[None] | None = None
        try:
            await self._start_ws()
            await self._subscribe_to(await wishes.get())
            later = asyncio.ensure_future(self._follow(wishes))
            while True:
                self._read(await self._receive(), deliver)
        except InvalidURI as error:
            msg = f"Alpaca cannot be asked at {self._endpoint}. Set TAPEHOUSE_ALPACA_STREAM_URL, or leave it out."
            raise SourceError(msg) from error
        except InvalidStatusCode as error:
            self._refuse_handshake(error.status_code)
        except (WebSocketException, OSError, TimeoutError, EOFError) as error:
            msg = f"The connection to Alpaca ended: {type(error).__name__}: {self._without_keys(str(error))}"
            raise SourceBusyError(msg) from error
        except (ValueError, LookupError, TypeError, UnreadableError, msgpack.UnpackException) as error:
            msg = f"Alpaca's message cannot be read: {type(error).__name__}: {self._without_keys(str(error))}"
            raise SourceBusyError(msg) from error
        finally:
            if later is not None:
                later.cancel()
                await asyncio.gather(later, return_exceptions=True)
            await self.close()

    async def _follow(self, wishes: Wishes) -> None:
        while True:
            await self._subscribe_to(await wishes.get())

    async def _subscribe_to(self, symbols: Sequence[str]) -> None:
        """Ask for what is wished for and not subscribed, after making room: what is both goes on."""
        self._wished = len(symbols)
        if gone := self._subscribed.difference(symbols):
            await self._send("unsubscribe", sorted(gone))
        if new := [symbol for symbol in symbols if symbol not in self._subscribed]:
            await self._send("subscribe", new)

    async def _send(self, action: str, symbols: Sequence[str]) -> None:
        """Send a request, in frames as long as Alpaca takes them."""
        packed = msgpack.packb({"action": action, **dict.fromkeys(_CHANNELS, symbols)})
        size = self._max_frame_size
        await self._socket.send(packed[start : start + size] for start in range(0, len(packed), size))

    async def _auth(self) -> None:
        """Authenticate; an answer that is an error keeps its code, which the library drops."""
        await self._socket.send(msgpack.packb({"action": "auth", "key": self._api_key, "secret": self._secret_key}))
        for message in await self._receive():
            if message.get("T") == "error":
                self._refuse(message)
            if message.get("T") == "success" and message.get("msg") == "authenticated":
                return
        msg = "Alpaca did not say whether the keys are right."
        raise SourceBusyError(msg)

    @property
    def _socket(self) -> Any:  # noqa: ANN401 - the library's, untyped
        if self._ws is None:
            msg = "not connected"
            raise EOFError(msg)
        return self._ws

    async def _receive(self) -> Sequence[Mapping[str, Any]]:
        messages = msgpack.unpackb(await self._socket.recv(), timestamp=0)
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            msg = f"not a list of messages: {messages!r}"
            raise UnreadableError(msg[:_MOST_CHARACTERS])
        return messages

    def _read(self, messages: Sequence[Mapping[str, Any]], deliver: Callable[[Delivery], None]) -> None:
        data = []
        for message in messages:
            if message.get("T") == "error" and message.get("code") == _TOO_MANY_SYMBOLS:
                deliver(Delivery(too_many=self._wished, refusal=self._refusal(message)))
            elif message.get("T") == "error":
                self._refuse(message)
            elif message.get("T") == "subscription":
                self._subscribed = frozenset(message.get("trades") or ())
                deliver(Delivery(subscribed=self._subscribed))
            elif message.get("T") != "success":
                data.append(message)
        if data:
            deliver(self._translator.delivery(data))

    def _refuse(self, message: Mapping[str, Any]) -> NoReturn:
        code, said = message.get("code"), self._without_keys(str(message.get("msg")))
        if code in _REFUSED:
            raise SourceError(self._refusal(message))
        hint = " Another program uses the account's only connection." if code == _TOO_MANY else ""
        msg = f'Alpaca ended the stream ({code}: "{said}").{hint}'
        raise SourceBusyError(msg)

    def _refusal(self, message: Mapping[str, Any]) -> str:
        code, said = message["code"], self._without_keys(str(message.get("msg")))
        return f'Alpaca refuses the stream ({code}: "{said}"). {_REFUSED[code]}'

    def _refuse_handshake(self, status: int) -> NoReturn:
        if status in _FORBIDDEN:
            msg = f"Alpaca refuses the stream ({status}). {_REFUSED[402]}"
            raise SourceError(msg)
        if status == _NOT_FOUND:
            msg = f"There is no stream at {self._endpoint} (404). Set TAPEHOUSE_ALPACA_STREAM_URL, or leave it out."
            raise SourceError(msg)
        msg = f"Alpaca cannot take a connection now ({status})."
        raise SourceBusyError(msg)

    def _without_keys(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_MOST_CHARACTERS]
