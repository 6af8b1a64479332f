"""One connection to Alpaca's stream through its own client library: what it says is an error is one here.

The library's own loop connects again by itself, for ever, whatever the reason, and only logs errors; so its steps are used one by
one: connect, authenticate, subscribe. What belongs here: frames, and what a failure means. What does not: what a message states
(:mod:`ingest.feeds.alpaca.ticks`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import msgpack
from alpaca.data.live.stock import StockDataStream
from websockets.exceptions import InvalidURI, WebSocketException
from websockets.legacy.exceptions import InvalidStatusCode

from ingest.feeds.alpaca.client import KEYS, WHERE_KEYS_ARE
from ingest.feeds.alpaca.ticks import Translator, UnreadableError
from ingest.history.source import SourceBusyError, SourceError
from ingest.live.source import SUBSCRIBED, Delivery

PING_SECONDS: Final = 10
PONG_SECONDS: Final = 20
"""Without an answer to a ping for so long the other side is gone, though the socket looks open."""
OPEN_SECONDS: Final = 15
CLOSE_SECONDS: Final = 2
MOST_BYTES: Final = 2**24

_MOST_CHARACTERS: Final = 200
_REFUSED: Final = {
    402: f"See whether {KEYS} are right and of one pair. {WHERE_KEYS_ARE}",
    405: "The plan of the account does not allow so many symbols: take some off, or give --symbols.",
    409: "The plan of the account does not have this data feed: set TAPEHOUSE_ALPACA_DATA_FEED=iex.",
    410: "The subscription is not one.",
}
"""Error codes after which another connection would fail alike, and what to do."""
_TOO_MANY: Final = 406
_FORBIDDEN: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404


async def _never(_message: object) -> None:
    """Be a handler: the library wants one for what it subscribes to. Frames are read whole instead."""


class AlpacaStream(StockDataStream):
    """The vendor's client for one connection.

    Parameters
    ----------
    key_id, secret_key
        The pair of keys. No text of an error has them.
    url
        The whole address, with the data feed.
    """

    def __init__(self, key_id: str, secret_key: str, url: str) -> None:
        params = {
            "ping_interval": PING_SECONDS,
            "ping_timeout": PONG_SECONDS,
            "open_timeout": OPEN_SECONDS,
            "close_timeout": CLOSE_SECONDS,
            "max_size": MOST_BYTES,
        }
        super().__init__(key_id, secret_key, raw_data=True, websocket_params=params, url_override=url)
        self._secrets = (key_id, secret_key)
        self._translator = Translator()
        self._wanted: frozenset[str] = frozenset()

    async def run_once(self, symbols: Sequence[str], deliver: Callable[[Delivery], None]) -> None:
        """Connect, subscribe and hand over what comes, until cancelled.

        Raises
        ------
        SourceBusyError
            If the connection cannot be made, ends, or brings what cannot be read.
        SourceError
            If Alpaca refuses every connection.
        """
        self._wanted = frozenset(symbols)
        for subscribe in (
            self.subscribe_trades,
            self.subscribe_quotes,
            self.subscribe_bars,
            self.subscribe_updated_bars,
            self.subscribe_trading_statuses,
        ):
            subscribe(_never, *symbols)
        try:
            await self._start_ws()
            await self._send_subscribe_msg()
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
            await self.close()

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
            if message.get("T") == "error":
                self._refuse(message)
            elif message.get("T") == "subscription":
                if self._wanted <= set(message.get("trades") or ()):
                    deliver(SUBSCRIBED)  # an acknowledgement of some only is none: the keeper would wait for it in vain
            elif message.get("T") != "success":
                data.append(message)
        if data:
            deliver(self._translator.delivery(data))

    def _refuse(self, message: Mapping[str, Any]) -> NoReturn:
        code, said = message.get("code"), self._without_keys(str(message.get("msg")))
        if code in _REFUSED:
            msg = f'Alpaca refuses the stream ({code}: "{said}"). {_REFUSED[code]}'
            raise SourceError(msg)
        hint = " Another program uses the account's only connection." if code == _TOO_MANY else ""
        msg = f'Alpaca ended the stream ({code}: "{said}").{hint}'
        raise SourceBusyError(msg)

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
