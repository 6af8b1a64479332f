"""A server on 127.0.0.1 that speaks Alpha Vantage's API, and misbehaves where a test wants it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

Row = tuple[str, str, str, str, str, str]
"""New York's time or the day, open, high, low, close, volume, as the vendor writes them."""
Reply = tuple[int, bytes]

KEY = "K3YTHATMUSTNOTBESEEN"

INVALID_CALL = "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/)."
INVALID_KEY = (
    "the parameter apikey is invalid or missing. Please claim your free API key on "
    "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
)
TOO_FAST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly (1 request per "
    "second). You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to lift the free key rate "
    "limit (25 requests per day), raise the per-second burst limit, and instantly unlock all premium endpoints"
)
TOO_FAST_ONCE = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls per day. Please "
    "visit https://www.alphavantage.co/premium/ if you would like to target a higher API call frequency."
)
USED_UP = (
    f"We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day. Please subscribe to any of "
    "the premium plans at https://www.alphavantage.co/premium/ to instantly remove all daily rate limits."
)
PREMIUM_FULL = (
    "Thank you for using Alpha Vantage! The outputsize=full parameter value is a premium feature for the TIME_SERIES_DAILY "
    "endpoint. You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to instantly unlock all "
    "premium features"
)
PREMIUM = (
    "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans at "
    "https://www.alphavantage.co/premium/ to instantly unlock all premium endpoints"
)


class AlphaVantageServer:
    """The server: ``rows`` by (ticker, interval), newest first; ``replies`` are sent first, then answers as they should be.

    ``months_before_listing`` are answered as an invalid call.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Row]] = {}
        self.requests: list[dict[str, str]] = []
        self.replies: list[Reply | Callable[[BaseHTTPRequestHandler], None]] = []
        self.months_before_listing: set[str] = set()
        self.has_premium = True
        self.zone = "US/Eastern"
        self.says_to_be: str | None = None
        self.url = ""

    def answer(self, path: str, request: dict[str, str]) -> Reply:
        if path != "/query":
            return 404, b"not found"
        if request.get("apikey") != KEY:
            return said("Error Message", INVALID_KEY)
        return self._daily(request) if request["function"] == "TIME_SERIES_DAILY" else self._intraday(request)

    def _daily(self, request: dict[str, str]) -> Reply:
        rows = self.rows.get((request["symbol"], "daily"))
        if rows is None:
            return said("Error Message", INVALID_CALL)
        if request["outputsize"] == "compact":
            rows = rows[:100]
        elif not self.has_premium:
            return said("Information", PREMIUM_FULL)
        return series(self._name(request), "Time Series (Daily)", "5. Time Zone", self.zone, rows)

    def _intraday(self, request: dict[str, str]) -> Reply:
        as_they_should_be = {"adjusted": "false", "extended_hours": "false", "outputsize": "full"}
        if request["function"] != "TIME_SERIES_INTRADAY" or as_they_should_be.items() - request.items():
            return said("Error Message", INVALID_CALL)
        rows = self.rows.get((request["symbol"], request["interval"]))
        if rows is None or request["month"] in self.months_before_listing:
            return said("Error Message", INVALID_CALL)
        of_month = [row for row in rows if row[0].startswith(request["month"])]
        return series(self._name(request), f"Time Series ({request['interval']})", "6. Time Zone", self.zone, of_month)

    def _name(self, request: dict[str, str]) -> str:
        return self.says_to_be or request["symbol"]


def said(name: str, text: str) -> Reply:
    return 200, json.dumps({name: text}).encode()


def series(symbol: str, name: str, zone_name: str, zone: str, rows: list[Row]) -> Reply:
    fields = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    body = {
        "Meta Data": {"1. Information": "Prices and Volumes", "2. Symbol": symbol, zone_name: zone},
        name: {row[0]: dict(zip(fields, row[1:], strict=True)) for row in rows},
    }
    return 200, json.dumps(body).encode()


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    """Send half a page and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"Meta Data": {')
    handler.close_connection = True


def redirect(handler: BaseHTTPRequestHandler) -> None:
    """Send the client to the same address again."""
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


def _handler_of(server: AlphaVantageServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self: Self) -> None:
            parts = urlsplit(self.path)
            request = {name: values[0] for name, values in parse_qs(parts.query).items()}
            server.requests.append(request)
            reply = server.replies.pop(0) if server.replies else server.answer(parts.path, request)
            if callable(reply):
                reply(self)
                return
            status, body = reply
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self: Self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


@contextmanager
def running_alphavantage() -> Iterator[AlphaVantageServer]:
    """Run a server for as long as the block lasts."""
    server = AlphaVantageServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(server))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
