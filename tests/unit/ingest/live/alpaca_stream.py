"""What Alpaca's stream says, frame by frame: MessagePack lists of messages, as its documentation has them.

See https://docs.alpaca.markets/docs/streaming-market-data and https://docs.alpaca.markets/docs/real-time-stock-pricing-data.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgpack

from tests.unit.ingest.history.alpaca_server import KEY_ID, SECRET_KEY
from tests.unit.ingest.live.stream_server import Peer, Script

Message = dict[str, Any]


def moment(text: str, nanoseconds: int = 0) -> msgpack.Timestamp:
    """An RFC 3339 second and nanoseconds within it, as the stream has them."""
    return msgpack.Timestamp(int(datetime.fromisoformat(text).timestamp()), nanoseconds)


def frame(*messages: Message) -> bytes:
    return msgpack.packb(list(messages))


def raw_trade(symbol: str, t: msgpack.Timestamp, number: int, **others: Any) -> Message:
    return {"T": "t", "S": symbol, "i": number, "x": "V", "p": 25.5, "s": 100, "c": ["@"], "z": "A", "t": t} | others


def welcome(peer: Peer) -> None:
    """Let the client in, if its keys are right."""
    peer.send(frame({"T": "success", "msg": "connected"}))
    asked = msgpack.unpackb(peer.receive())
    assert asked["action"] == "auth"
    if (asked["key"], asked["secret"]) != (KEY_ID, SECRET_KEY):
        peer.send(frame({"T": "error", "code": 402, "msg": "auth failed"}))
        peer.stay_silent()
        return
    peer.send(frame({"T": "success", "msg": "authenticated"}))


def subscribe(peer: Peer) -> Message:
    """Take the subscription and acknowledge it; return what was subscribed to."""
    asked = msgpack.unpackb(peer.receive())
    assert asked.pop("action") == "subscribe"
    trades = asked["trades"]
    peer.send(frame({"T": "subscription", **asked, "cancelErrors": trades, "corrections": trades}))
    return dict(asked)


def session(*steps: Callable[[Peer], None] | bytes) -> Script:
    """A connection that is let in and subscribed, and then goes on step by step: frames are sent, others are done."""

    def script(peer: Peer) -> None:
        welcome(peer)
        subscribe(peer)
        for step in steps:
            if isinstance(step, bytes):
                peer.send(step)
            else:
                step(peer)

    return script


def refusing(code: int, words: str) -> Script:
    """A connection that ends with an error after the keys, as when another program uses the account."""

    def script(peer: Peer) -> None:
        peer.send(frame({"T": "success", "msg": "connected"}))
        peer.receive()
        peer.send(frame({"T": "error", "code": code, "msg": words}))
        peer.stay_silent()

    return script
