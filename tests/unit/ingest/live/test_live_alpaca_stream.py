import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from pydantic import SecretStr

from ingest.feeds.alpaca import stream as alpaca_stream_module
from ingest.feeds.alpaca.live import AlpacaLive
from ingest.history.source import SourceBusyError, SourceError
from ingest.live.connection import Connection
from ingest.live.source import Capability, Delivery
from market.errors import FeedError
from market.records import Bar, Cancel, Correction, Halt, Quote, Record, Resume, Trade
from market.settings import Settings
from tests.unit.ingest.history.alpaca_server import KEY_ID, SECRET_KEY
from tests.unit.ingest.live.alpaca_stream import frame, moment, raw_trade, refusing, session, subscribe, welcome
from tests.unit.ingest.live.stream_server import Peer, Script, StreamServer

TEN = "2026-11-20T15:00:00Z"
TEN_MICROS = int(datetime(2026, 11, 20, 15, tzinfo=UTC).timestamp()) * 1_000_000
SYMBOLS = ("BRK.B", "SPY")
DEADLINE_SECONDS = 20.0


def live_at(url: str, key_id: str | None = KEY_ID, secret_key: str | None = SECRET_KEY, **others: Any) -> AlpacaLive:
    update = {
        "alpaca_key_id": SecretStr(key_id) if key_id is not None else None,
        "alpaca_secret_key": SecretStr(secret_key) if secret_key is not None else None,
        "alpaca_stream_url": url,
    }
    return AlpacaLive(Settings().model_copy(update=update | others))


class Listener:
    """A connection, and what it has brought so far."""

    def __init__(self, source: AlpacaLive) -> None:
        self.connection = Connection(source, SYMBOLS)
        self.deliveries: list[Delivery] = []

    def until(self, condition: Callable[["Listener"], object]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition(self):
            assert time.monotonic() < deadline, (self.deliveries, self.connection.error)
            self.deliveries += self.connection.take()
            time.sleep(0.005)

    def error(self) -> FeedError:
        self.until(lambda listener: listener.connection.error)
        assert self.connection.error is not None
        return self.connection.error

    @property
    def records(self) -> list[Record]:
        return [record for delivery in self.deliveries for record in delivery.records]


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[tuple[StreamServer, Listener]] = []

    def begin(*scripts: Script, refusals: Sequence[int] = (), **options: Any) -> Listener:
        server = StreamServer(*scripts)
        server.refusals.extend(refusals)
        server.__enter__()
        listener = Listener(live_at(server.url, **options))
        made.append((server, listener))
        return listener

    yield begin
    for server, listener in made:
        listener.connection.close()
        server.__exit__()


def stay(peer: Peer) -> None:
    peer.stay_silent()


def test_a_source_declares_what_it_has_and_needs_both_keys() -> None:
    assert live_at("ws://127.0.0.1:1").capabilities == frozenset(Capability)
    live_at("ws://127.0.0.1:1").check()
    with pytest.raises(SourceError, match=r"APCA_API_SECRET_KEY is not set.*https://alpaca.markets"):
        live_at("ws://127.0.0.1:1", secret_key=None).check()
    with pytest.raises(SourceError, match="TAPEHOUSE_ALPACA_DATA_FEED to iex"):
        live_at("ws://127.0.0.1:1", alpaca_data_feed="delayed_sip").check()


def test_it_subscribes_to_everything_and_says_when_that_is_acknowledged(listen: Callable[..., Listener]) -> None:
    asked: dict[str, Any] = {}

    def script(peer: Peer) -> None:
        welcome(peer)
        asked.update(subscribe(peer))
        peer.stay_silent()

    listener = listen(script)
    listener.until(lambda heard: heard.deliveries)
    assert listener.deliveries[0] == Delivery(subscribed=frozenset(SYMBOLS))
    assert asked == {key: list(SYMBOLS) for key in ("trades", "quotes", "bars", "updatedBars", "statuses")}


def test_what_is_acknowledged_is_what_is_subscribed(listen: Callable[..., Listener]) -> None:
    def script(peer: Peer) -> None:
        welcome(peer)
        asked = msgpack.unpackb(peer.receive())
        peer.send(frame({"T": "subscription", "trades": asked["trades"][:1]}))
        peer.send(frame(raw_trade(SYMBOLS[0], moment(TEN), 7)))
        peer.stay_silent()

    listener = listen(script)
    listener.until(lambda heard: heard.records)
    assert listener.deliveries[0] == Delivery(subscribed=frozenset(SYMBOLS[:1]))


def test_other_symbols_are_subscribed_on_the_same_connection_and_what_stays_is_not_asked_for_again(
    listen: Callable[..., Listener],
) -> None:
    asked: list[dict[str, Any]] = []

    def script(peer: Peer) -> None:
        welcome(peer)
        subscribe(peer)
        trades = set(SYMBOLS)
        for _ in range(2):
            asked.append(request := msgpack.unpackb(peer.receive()))
            change = trades.difference if request["action"] == "unsubscribe" else trades.union
            trades = change(request["trades"])
            peer.send(frame({"T": "subscription", "trades": sorted(trades)}))
        peer.stay_silent()

    listener = listen(script)
    listener.until(lambda heard: heard.deliveries)
    listener.connection.subscribe(("SPY", "IBM"))
    listener.until(lambda heard: len(heard.deliveries) == 3)
    assert [(request["action"], request["trades"], request["statuses"]) for request in asked] == [
        ("unsubscribe", ["BRK.B"], ["BRK.B"]),
        ("subscribe", ["IBM"], ["IBM"]),
    ]
    assert listener.deliveries[1:] == [Delivery(subscribed=frozenset(left)) for left in ({"SPY"}, {"SPY", "IBM"})]


def test_symbols_that_are_too_many_leave_the_connection_and_what_it_brings(listen: Callable[..., Listener]) -> None:
    def script(peer: Peer) -> None:
        welcome(peer)
        subscribe(peer)
        peer.receive()
        peer.send(frame({"T": "error", "code": 405, "msg": "symbol limit exceeded"}))
        peer.send(frame(raw_trade("SPY", moment(TEN), 7)))
        peer.stay_silent()

    listener = listen(script)
    listener.until(lambda heard: heard.deliveries)
    listener.connection.subscribe((*SYMBOLS, "IBM"))
    listener.until(lambda heard: heard.records)
    refused = listener.deliveries[1]
    assert refused.too_many == 3
    assert "symbol limit exceeded" in refused.refusal
    assert "take some off the watchlist" in refused.refusal


def test_every_kind_of_message_becomes_its_record(listen: Callable[..., Listener]) -> None:
    bar = {"S": "SPY", "o": 10.1, "h": 10.9, "l": 10.05, "c": 10.5, "v": 1200, "n": 3, "vw": 10.2, "t": moment(TEN)}
    quote = {"S": "SPY", "bx": "V", "bp": 25.4, "bs": 300, "ax": "V", "ap": 0, "as": 0, "c": ["R"], "z": "B"}
    amended = {"S": "SPY", "x": "V", "z": "B", "t": moment(TEN, 2_000)}
    messages = frame(
        raw_trade("SPY", moment(TEN, 1_999), 7, c=["@", "I"], z="C"),
        {"T": "q", "t": moment(TEN, 5_000), **quote},
        {"T": "b", **bar},
        {"T": "u", **bar, "v": 1300},
        {"T": "x", **amended, "i": 7, "p": 25.5, "s": 100, "a": "C"},
        {
            "T": "c",
            **amended,
            "oi": 8,
            "op": 1.0,
            "os": 1,
            "oc": ["@"],
            "ci": 9,
            "cp": 25.25,
            "cs": 50,
            "cc": ["@", "4"],
        },
        {
            "T": "s",
            "S": "SPY",
            "sc": "H",
            "sm": "Trading Halt",
            "rc": "T12",
            "rm": "More wanted",
            "z": "C",
            "t": moment(TEN),
        },
        {
            "T": "s",
            "S": "SPY",
            "sc": "T",
            "sm": "Trading Resumption",
            "rc": "",
            "rm": "",
            "z": "C",
            "t": moment(TEN, 9_000),
        },
        {"T": "s", "S": "SPY", "sc": "Q", "sm": "Quotation Resumption", "rc": "", "rm": "", "z": "C", "t": moment(TEN)},
    )
    listener = listen(session(messages, stay))
    listener.until(lambda heard: heard.records)
    trade, quoted, first, second, cancel, correction, halt, resume = listener.records
    assert trade == Trade(
        "alpaca", "SPY", TEN_MICROS + 1, Decimal("25.5"), 100, "20261120-V-7", (999 << 27) + 7, "V", f"{1 << 8:X}"
    )
    assert isinstance(quoted, Quote)
    assert (quoted.bid, quoted.bid_size, quoted.ask, quoted.ask_size) == (Decimal("25.4"), 300, None, None)
    assert quoted.ts == TEN_MICROS + 5
    prices = (Decimal("10.1"), Decimal("10.9"), Decimal("10.05"), Decimal("10.5"))
    assert first == Bar("alpaca", "SPY", "1m", TEN_MICROS, *prices, 1200)
    assert second == Bar("alpaca", "SPY", "1m", TEN_MICROS, *prices, 1300)
    assert cancel == Cancel("alpaca", "SPY", TEN_MICROS + 2, "20261120-V-7")
    assert correction == Correction(
        "alpaca", "SPY", TEN_MICROS + 2, "20261120-V-8", Decimal("25.25"), 50, "V", f"{1 << 30:X}"
    )
    assert halt == Halt("alpaca", "SPY", TEN_MICROS, "T12")
    assert resume == Resume("alpaca", "SPY", TEN_MICROS + 9)
    assert [d.passed_over for d in listener.deliveries if d.records] == [{"other_status": 1}]


@pytest.mark.parametrize(
    ("code", "words", "kind", "said"),
    [
        (402, "auth failed", SourceError, "See whether APCA_API_KEY_ID and APCA_API_SECRET_KEY are right"),
        (409, "insufficient subscription", SourceError, "TAPEHOUSE_ALPACA_DATA_FEED=iex"),
        (406, "connection limit exceeded", SourceBusyError, "Another program uses the account's only connection"),
        (404, "auth timeout", SourceBusyError, "auth timeout"),
        (500, "internal error", SourceBusyError, "internal error"),
    ],
)
def test_an_error_says_whether_another_connection_may_do_better(
    listen: Callable[..., Listener], code: int, words: str, kind: type[FeedError], said: str
) -> None:
    error = listen(refusing(code, words)).error()
    assert type(error) is kind
    assert said in str(error)
    assert words in str(error)


def test_a_wrong_key_is_refused_and_never_shown(listen: Callable[..., Listener]) -> None:
    error = listen(session(stay), secret_key="s3cretThatIsWrong").error()
    assert type(error) is SourceError
    assert "s3cretThatIsWrong" not in repr(error)


def test_an_error_that_repeats_the_key_does_not_show_it(listen: Callable[..., Listener]) -> None:
    error = listen(refusing(500, f"bad secret {SECRET_KEY} of {KEY_ID}")).error()
    assert SECRET_KEY not in str(error)
    assert KEY_ID not in str(error)


def test_an_error_in_the_middle_ends_the_connection(listen: Callable[..., Listener]) -> None:
    slow = frame({"T": "error", "code": 407, "msg": "slow client"})
    listener = listen(session(frame(raw_trade("SPY", moment(TEN), 1)), slow, stay))
    error = listener.error()
    assert type(error) is SourceBusyError
    assert "slow client" in str(error)
    assert len(listener.records) == 1, "what came before is not lost"


@pytest.mark.parametrize(
    "malformed",
    [b"\xc1", b"", msgpack.packb({"T": "t"}), msgpack.packb([1]), b"\x93\x01", frame({"T": "t", "p": 1.0})],
    ids=["no MessagePack", "nothing", "no list", "no messages", "cut short", "no symbol"],
)
def test_a_frame_that_cannot_be_read_ends_the_connection(listen: Callable[..., Listener], malformed: bytes) -> None:
    error = listen(session(malformed, stay)).error()
    assert type(error) is SourceBusyError
    assert "cannot be read" in str(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": float("nan")},
        {"p": "25"},
        {"p": -1},
        {"p": None},
        {"i": None},
        {"t": "soon"},
        {"s": "x"},
        {"c": [1]},
        {"x": 3},
    ],
)
def test_a_trade_that_cannot_be_read_is_said_to_be_missing(
    listen: Callable[..., Listener], wrong: dict[str, Any]
) -> None:
    good, bad = raw_trade("BRK.B", moment(TEN), 1), raw_trade("SPY", moment(TEN), 2) | wrong
    listener = listen(session(frame(bad, good), stay))
    listener.until(lambda heard: heard.records)
    assert [record.symbol for record in listener.records] == ["BRK.B"]
    assert listener.deliveries[-1].unreadable == {"SPY"}


@pytest.mark.parametrize(
    "amendment",
    [
        {"T": "x", "i": None, "x": "V", "p": 25.5, "s": 100, "a": "C", "z": "A"},
        {"T": "c", "x": "V", "oi": 1, "ci": 2, "cp": "25", "cs": 100, "cc": ["@"], "z": "A"},
    ],
)
def test_an_amendment_that_cannot_be_read_is_said_to_be_missing(
    listen: Callable[..., Listener], amendment: dict[str, Any]
) -> None:
    good = raw_trade("BRK.B", moment(TEN), 1)
    listener = listen(session(frame({"S": "SPY", "t": moment(TEN), **amendment}, good), stay))
    listener.until(lambda heard: heard.records)
    assert [record.symbol for record in listener.records] == ["BRK.B"]
    assert listener.deliveries[-1].unreadable == {"SPY"}


@pytest.mark.parametrize(("size", "reason"), [(0.5, "fraction_of_a_share"), (0, "no_shares")])
def test_a_trade_of_no_whole_share_is_passed_over_and_counted(
    listen: Callable[..., Listener], size: float, reason: str
) -> None:
    listener = listen(session(frame(raw_trade("SPY", moment(TEN), 2, s=size)), stay))
    listener.until(lambda heard: len(heard.deliveries) > 1)
    assert listener.deliveries[-1] == Delivery([], {reason: 1})


def test_a_cable_that_is_cut_ends_the_connection(listen: Callable[..., Listener]) -> None:
    error = listen(session(frame(raw_trade("SPY", moment(TEN), 1)), Peer.cut)).error()
    assert type(error) is SourceBusyError
    assert "ended" in str(error)


def test_a_socket_that_is_half_open_is_noticed_by_its_missing_pong(
    listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alpaca_stream_module, "PING_SECONDS", 0.1)
    monkeypatch.setattr(alpaca_stream_module, "PONG_SECONDS", 0.2)

    def freeze(peer: Peer) -> None:
        peer.connection.send_data = lambda: None  # type: ignore[method-assign]
        peer.server.closing.wait(DEADLINE_SECONDS)

    error = listen(session(freeze)).error()
    assert type(error) is SourceBusyError
    assert "ping" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, SourceError), (404, SourceError), (429, SourceBusyError), (503, SourceBusyError)]
)
def test_a_handshake_that_fails_says_whether_to_try_again(
    listen: Callable[..., Listener], status: int, kind: type[FeedError]
) -> None:
    error = listen(session(stay), refusals=[status]).error()
    assert type(error) is kind
    assert str(status) in str(error)


def test_nobody_at_the_address_is_busy() -> None:
    listener = Listener(live_at("ws://127.0.0.1:1"))
    assert type(listener.error()) is SourceBusyError


def test_the_data_feed_is_part_of_the_address() -> None:
    with StreamServer(session(stay)) as server:
        listener = Listener(live_at(server.url + "/", alpaca_data_feed="sip"))
        listener.until(lambda heard: heard.deliveries)
        listener.connection.close()
    assert server.paths == ["/v2/sip"]


def test_closing_a_connection_ends_it_soon(listen: Callable[..., Listener]) -> None:
    listener = listen(session(stay))
    listener.until(lambda heard: heard.deliveries)
    before = time.monotonic()
    listener.connection.close()
    assert time.monotonic() - before < 5
