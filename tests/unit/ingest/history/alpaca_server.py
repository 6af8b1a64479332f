"""A server on this machine that speaks as Alpaca's market data service does: pages of bars and trades, and all that goes wrong.

Nothing in here comes from the code under test. See https://docs.alpaca.markets/reference/stockbars.
"""

import base64
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

KEY_ID = "PKTESTKEYIDENTIFIER1"
SECRET_KEY = "s3cretOfTheTestAccountThatNobodyMaySee"

Reply = Callable[["Handler"], None]
RawBar = Mapping[str, object]


def raw_bar(t: str, *numbers: object) -> RawBar:
    """Open, high, low, close and volume as the vendor writes them, with the two fields that we do not need."""
    return {"t": t, **dict(zip("ohlcv", numbers, strict=True)), "n": 11, "vw": numbers[0]}


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class AlpacaServer:
    """The service with some bars.

    Attributes
    ----------
    bars
        By symbol and time frame ("1Day", "1Min", …).
    trades
        By symbol, as the vendor writes them.
    invalid
        What is no symbol: the whole request is refused then, for the first of them.
    page_bars
        How many bars a page has at most.
    now
        When it is, for the rule that the last minutes of ``sip`` are not free.
    replies
        What the next requests get instead of an answer, one each.
    asked
        The requests so far.
    """

    def __init__(self) -> None:
        self.bars: dict[tuple[str, str], Sequence[RawBar]] = {}
        self.trades: dict[str, Sequence[RawBar]] = {}
        self.invalid: list[str] = []
        self.invalid_status = 400
        self.invalid_words = "invalid symbol: {}"
        self.page_bars = 10_000
        self.now = datetime.fromisoformat("2026-01-01T00:00:00Z")
        self.replies: deque[Reply] = deque()
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def service(self) -> AlpacaServer:
        return self.server.owner  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        self.service.asked.append(Asked(url.path, query, dict(self.headers)))
        if self.service.replies:
            self.service.replies.popleft()(self)
        else:
            self._answer(url.path, query)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.send(status, json.dumps({"message": message}).encode() + b"\n", headers)

    def _answer(self, path: str, query: Mapping[str, str]) -> None:
        service = self.service
        if (self.headers["APCA-API-KEY-ID"], self.headers["APCA-API-SECRET-KEY"]) != (KEY_ID, SECRET_KEY):
            return self.refuse(403, "forbidden.")
        kind = path.removeprefix("/v2/stocks/")
        if kind not in {"bars", "trades"}:
            return self.refuse(404, "endpoint not found.")
        symbols = query["symbols"].split(",")
        for symbol in symbols:
            if symbol in service.invalid:
                return self.refuse(service.invalid_status, service.invalid_words.format(symbol))
        start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        if query["feed"] == "sip" and end > service.now - timedelta(minutes=15):
            return self.refuse(403, "subscription does not permit querying recent SIP data")
        rows = {
            s: service.trades.get(s, ()) if kind == "trades" else service.bars.get((s, query["timeframe"]), ())
            for s in symbols
        }
        found = [
            (f"{symbol}|{bar['t']}|{bar.get('i')}", symbol, bar)
            for symbol in sorted(symbols)
            for bar in rows[symbol]
            if start <= datetime.fromisoformat(str(bar["t"])) <= end
        ]
        if "page_token" in query:
            last = base64.b64decode(query["page_token"]).decode()
            found = found[[place for place, _, _ in found].index(last) + 1 :]
        page = found[: min(service.page_bars, int(query["limit"]))]
        answered: dict[str, list[RawBar]] = {}
        for _, symbol, bar in page:
            answered.setdefault(symbol, []).append(bar)
        token = base64.b64encode(page[-1][0].encode()).decode() if len(page) < len(found) else None
        return self.send(200, json.dumps({kind: answered, "next_page_token": token}).encode())


def refusal(status: int, message: str = "no", headers: Mapping[str, str] | None = None) -> Reply:
    """An error of the service."""
    return lambda handler: handler.refuse(status, message, headers)


def as_usual(handler: Handler) -> None:
    """Answer as if nothing had been said about this request."""
    url = urlsplit(handler.path)
    handler._answer(url.path, dict(parse_qsl(url.query)))


def body(text: str) -> Reply:
    """A good status with some body."""
    return lambda handler: handler.send(200, text.encode())


def moved(handler: Handler) -> None:
    """A redirection, which the client must not follow with its keys."""
    handler.send(302, b"", {"Location": "http://127.0.0.1:1/"})


def cut_short(handler: Handler) -> None:
    """Half of the bytes that were announced."""
    handler.send(200, b'{"bars": {"SPY": [{"t": "2024-01-02T', {"Content-Length": "500"})
    hang_up(handler)


def hang_up(handler: Handler) -> None:
    """The end of the connection."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def silence(handler: Handler) -> None:
    """Nothing, until the test is over."""
    handler.service.closing.wait(60)
    handler.close_connection = True
