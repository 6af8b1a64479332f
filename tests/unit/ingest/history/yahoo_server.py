"""A server on 127.0.0.1 that speaks Yahoo's chart API, and misbehaves where a test wants it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

from ingest.feeds.yahoo.history import YahooHistory
from market.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")

Row = tuple[str, float | None, float | None, float | None, float | None, float | None]
"""New York's time, open, high, low, close, volume; prices and volume are adjusted for splits."""
Reply = tuple[int, dict[str, str], bytes]


def seconds(new_york: str) -> int:
    """Return ``2024-06-10 09:30`` of New York as seconds since the epoch."""
    return int(datetime.fromisoformat(new_york).replace(tzinfo=NEW_YORK).timestamp())


NOW = datetime(2024, 6, 14, 21, 0, tzinfo=UTC)


@dataclass
class Share:
    """What the server has of a ticker: rows by bar length, splits as (New York's time, numerator, denominator), dividends."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    splits: list[tuple[str, float, float]] = field(default_factory=list)
    dividends: list[tuple[str, float]] = field(default_factory=list)
    zone: str = "America/New_York"
    currency: str | None = "USD"
    says_to_be: str | None = None


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    host: str
    path: str
    parameters: dict[str, str]
    user_agent: str

    @property
    def ticker(self) -> str:
        return unquote(self.path.rsplit("/", 1)[-1])


class YahooServer:
    """The server: ``shares`` by ticker; ``requests`` in order; ``replies`` are sent first, then answers as they should be."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        self.requests: list[Request] = []
        self.replies: list[Reply | Callable[[BaseHTTPRequestHandler], None]] = []
        self.url = ""

    def answer(self, request: Request) -> Reply:
        prefix = "/v8/finance/chart/"
        share = self.shares.get(request.ticker)
        if not request.path.startswith(prefix) or share is None:
            return refusal(404, "Not Found", "No data found, symbol may be delisted")
        start, end = int(request.parameters["period1"]), int(request.parameters["period2"])
        rows = [row for row in share.rows.get(request.parameters["interval"], []) if start <= seconds(row[0]) < end]
        if not rows:
            return refusal(400, "Bad Request", f"Data doesn't exist for startDate = {start}, endDate = {end}")
        splits = {
            str(seconds(at)): {
                "date": seconds(at),
                "numerator": numerator,
                "denominator": denominator,
                "splitRatio": f"{numerator:g}:{denominator:g}",
            }
            for at, numerator, denominator in share.splits
            if start <= seconds(at) < end
        }
        return chart(share.says_to_be or request.ticker, share, rows, splits)


def chart(ticker: str, share: Share, rows: list[Row], splits: dict[str, Any]) -> Reply:
    days = sorted({row[0][:10] for row in rows})
    columns = dict(
        zip(
            ("open", "high", "low", "close", "volume"), map(list, zip(*(r[1:] for r in rows), strict=True)), strict=True
        )
    )
    result: dict[str, Any] = {
        "meta": {
            "currency": share.currency,
            "symbol": ticker,
            "instrumentType": "EQUITY",
            "firstTradeDate": 345479400,
            "exchangeTimezoneName": share.zone,
            "priceHint": 2,
            "tradingPeriods": [
                [
                    {
                        "timezone": "EST",
                        "gmtoffset": -18000,
                        "start": seconds(f"{day} 09:30"),
                        "end": seconds(f"{day} 16:00"),
                    }
                ]
                for day in days
            ],
            "validRanges": ["1d", "max"],
        },
        "timestamp": [seconds(row[0]) for row in rows],
        "indicators": {
            "quote": [columns],
            "adjclose": [{"adjclose": [None if close is None else close / 2 for close in columns["close"]]}],
        },
    }
    dividends = {str(seconds(at)): {"date": seconds(at), "amount": amount} for at, amount in share.dividends}
    if splits or dividends:
        result["events"] = {"splits": splits, "dividends": dividends}
    return (
        200,
        {"Content-Type": "application/json"},
        json.dumps({"chart": {"result": [result], "error": None}}).encode(),
    )


def refusal(status: int, code: str, description: str) -> Reply:
    body = {"chart": {"result": None, "error": {"code": code, "description": description}}}
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    """Send half a page and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"chart":{"result":[{"meta":{')
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


@dataclass
class Silence:
    """Say nothing until the test is over."""

    over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.over.wait(30)
        handler.close_connection = True


def _handler_of(server: YahooServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self: Self) -> None:
            parts = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = self.headers
            request = Request(headers.get("Host", ""), parts.path, parameters, headers.get("User-Agent", ""))
            server.requests.append(request)
            reply = server.replies.pop(0) if server.replies else server.answer(request)
            if callable(reply):
                reply(self)
                return
            status, more, body = reply
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self: Self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


@contextmanager
def running_yahoo() -> Iterator[YahooServer]:
    """Run a server for as long as the block lasts."""
    server = YahooServer()
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


def source_of(server: YahooServer, timeout_seconds: float = 10.0) -> YahooHistory:
    """Return a source that asks the server, on an evening in June 2024."""
    settings = Settings(_env_file=None, TAPEHOUSE_YAHOO_URL=server.url)
    return YahooHistory(settings, now=lambda: NOW, timeout_seconds=timeout_seconds)
