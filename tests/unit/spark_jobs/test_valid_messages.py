"""What the stream makes of valid messages: every value to the last digit, their session, and what a trade counts for."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl

from spark_jobs.transforms.decode import decode
from spark_jobs.transforms.kinds import TRADES
from tests.unit.spark_jobs.messages import (
    INGESTED,
    OPEN,
    TRADE,
    as_messages,
    calendar,
    changed,
    decoded,
    micros,
    with_token,
)

GOOD = changed(TRADE)
NESTED = b'{"a":' * 499 + b"1" + b"}" * 499

ACCEPTED: list[tuple[bytes, dict[str, object]]] = [
    (with_token(TRADE, "price", b"100.5"), {"price": Decimal("100.5")}),
    (with_token(TRADE, "price", b"1.005e2"), {"price": Decimal("100.5")}),
    (with_token(TRADE, "price", b"1005E-1"), {"price": Decimal("100.5")}),
    (with_token(TRADE, "price", b'"100.500000000"'), {"price": Decimal("100.5")}),
    (with_token(TRADE, "price", b"1e-6"), {"price": Decimal("0.000001")}),
    (with_token(TRADE, "price", b"0.1"), {"price": Decimal("0.1")}),
    (with_token(TRADE, "price", b"999999999999.999999"), {"price": Decimal("999999999999.999999")}),
    (with_token(TRADE, "price", b"123456789012.345678"), {"price": Decimal("123456789012.345678")}),
    (changed(TRADE, size=10**12), {"size": 10**12}),
    (changed(TRADE, sequence=2**37 - 1), {"sequence": 2**37 - 1}),
    (changed(TRADE, sequence=...), {"sequence": 0xCF14_D077}),
    (changed(TRADE, trade_id=7), {"trade_id": "7"}),
    (changed(TRADE, trade_id="1.50"), {"trade_id": "1.50"}),
    (changed(TRADE, exchange="[x]"), {"exchange": "[x]"}),
    (changed(TRADE, exchange="true"), {"exchange": "true"}),
    (changed(TRADE, exchange=None, conditions=...), {"exchange": "", "conditions": ""}),
    (changed(TRADE, exchange="é" * 16), {"exchange": "é" * 16}),
    (changed(TRADE, source="other", conditions="@ T\n'\"\\/"), {"conditions": "@ T\n'\"\\/"}),
    (changed(TRADE, symbol="BRK.B"), {"symbol": "BRK.B"}),
    (changed(TRADE, note={"a": {"b": [1, 2]}, "c": "}},{"}), {"symbol": "SPY"}),
    (b" \r\n\t" + GOOD + b" \n", {"symbol": "SPY"}),
    # a field that is there twice: the last one holds, but for null; in plain messages, too
    (b'{"size":5,' + GOOD[1:], {"size": 100}),
    (GOOD[:-1] + b',"size":5}', {"size": 5}),
    (GOOD[:-1] + b',"price":"7.5"}', {"price": Decimal("7.5")}),
    (GOOD[:-1] + b',"exchange":null}', {"exchange": ""}),
    (GOOD[:-1] + b',"u":' + NESTED[5:-1] + b"}", {"symbol": "SPY"}),
    (changed(TRADE, ts=micros(INGESTED)), {"session_date": date(2026, 1, 5), "segment": "pre"}),
]


def test_what_keeps_the_rules_is_taken_to_the_last_digit() -> None:
    rows = decoded(TRADES, [value for value, _ in ACCEPTED])
    for number, (value, expected) in enumerate(ACCEPTED):
        assert rows[number]["valid"], (value, rows[number]["reason"])
        assert {name: rows[number][name] for name in expected} == expected, value


SESSION_MOMENTS: list[tuple[datetime, date | None, str | None]] = [
    # Standard time: 04:00 is 09:00 UTC. The week before the clocks go forward, and the day after.
    (datetime(2013, 3, 8, 8, 59, 59, 999_999, UTC), None, None),
    (datetime(2013, 3, 8, 9, 0, tzinfo=UTC), date(2013, 3, 8), "pre"),
    (datetime(2013, 3, 8, 14, 29, 59, 999_999, UTC), date(2013, 3, 8), "pre"),
    (datetime(2013, 3, 8, 14, 30, tzinfo=UTC), date(2013, 3, 8), "regular"),
    (datetime(2013, 3, 8, 20, 59, 59, 999_999, UTC), date(2013, 3, 8), "regular"),
    (datetime(2013, 3, 8, 21, 0, tzinfo=UTC), date(2013, 3, 8), "post"),
    (datetime(2013, 3, 9, 0, 59, 59, 999_999, UTC), date(2013, 3, 8), "post"),  # the next day in UTC
    (datetime(2013, 3, 9, 1, 0, tzinfo=UTC), None, None),
    (datetime(2013, 3, 10, 15, 0, tzinfo=UTC), None, None),  # the Sunday on which the clocks change
    (datetime(2013, 3, 11, 7, 59, 59, 999_999, UTC), None, None),
    (datetime(2013, 3, 11, 8, 0, tzinfo=UTC), date(2013, 3, 11), "pre"),
    (datetime(2013, 3, 11, 13, 30, tzinfo=UTC), date(2013, 3, 11), "regular"),
    (datetime(2013, 3, 11, 20, 0, tzinfo=UTC), date(2013, 3, 11), "post"),
    (datetime(2013, 3, 11, 23, 59, 59, 999_999, UTC), date(2013, 3, 11), "post"),
    (datetime(2013, 3, 12, 0, 0, tzinfo=UTC), None, None),
    # The clocks go back on Sunday, 3 November 2013.
    (datetime(2013, 11, 1, 8, 0, tzinfo=UTC), date(2013, 11, 1), "pre"),
    (datetime(2013, 11, 1, 13, 30, tzinfo=UTC), date(2013, 11, 1), "regular"),
    (datetime(2013, 11, 4, 8, 30, tzinfo=UTC), None, None),
    (datetime(2013, 11, 4, 13, 30, tzinfo=UTC), date(2013, 11, 4), "pre"),
    (datetime(2013, 11, 4, 14, 30, tzinfo=UTC), date(2013, 11, 4), "regular"),
    # The half-day after Thanksgiving: the close is 13:00, after-hours trading ends at 17:00.
    (datetime(2013, 11, 28, 15, 0, tzinfo=UTC), None, None),
    (datetime(2013, 11, 29, 17, 59, 59, 999_999, UTC), date(2013, 11, 29), "regular"),
    (datetime(2013, 11, 29, 18, 0, tzinfo=UTC), date(2013, 11, 29), "post"),
    (datetime(2013, 11, 29, 22, 0, tzinfo=UTC), None, None),
    # Closed: Christmas, a Saturday, the storm of 2012.
    (datetime(2013, 12, 25, 15, 0, tzinfo=UTC), None, None),
    (datetime(2013, 10, 5, 15, 0, tzinfo=UTC), None, None),
    (datetime(2012, 10, 29, 15, 0, tzinfo=UTC), None, None),
]


def test_moments_find_their_session_and_segment() -> None:
    rows = decoded(TRADES, [changed(TRADE, ts=micros(moment)) for moment, _, _ in SESSION_MOMENTS])
    for number, (moment, session_date, segment) in enumerate(SESSION_MOMENTS):
        row = rows[number]
        assert row["valid"] == (segment is not None), moment
        assert row["reason"] == (None if segment else "outside_session"), moment
        if segment:
            assert (row["session_date"], row["segment"]) == (session_date, segment), moment
            assert (row["traded_at"], row["bar_at"]) == (moment, moment.replace(second=0, microsecond=0))


def test_sale_conditions_decide_what_a_trade_counts_for() -> None:
    pre = micros(OPEN - timedelta(hours=1))
    cases = [
        (changed(TRADE, conditions=""), (True, True, None)),
        (changed(TRADE, conditions="20"), (False, True, "sweep")),
        (changed(TRADE, conditions="20", ts=pre), (True, True, None)),
        (changed(TRADE, conditions="80", ts=pre), (False, False, "closing_print")),
        (changed(TRADE, conditions="80"), (True, True, None)),
        (changed(TRADE, conditions="1000000"), (False, False, "official_close")),
        (changed(TRADE, conditions="140020"), (False, True, "average_price")),
        (changed(TRADE, conditions="fffffffffffffff"), (False, False, "official_close")),
        (changed(TRADE, conditions="fffffff", source="other"), (True, True, None)),
    ]
    rows = decoded(TRADES, [value for value, _ in cases])
    names = ("counts_for_open_close", "counts_for_volume", "left_out_for")
    found = [tuple(rows[number][name] for name in names) for number in range(len(cases))]
    assert found == [expected for _, expected in cases]
    assert all(rows[number]["counts_for_high_low"] == for_price for number, (_, (for_price, *_)) in enumerate(cases))


def test_the_closing_auction_belongs_to_the_last_regular_minute() -> None:
    close = datetime(2013, 10, 7, 20, 0, tzinfo=UTC)
    early_close = datetime(2013, 11, 29, 18, 0, tzinfo=UTC)
    last, before = close - timedelta(minutes=1), close - timedelta(microseconds=1)
    cases = [
        ("80", close, "lean", last, "regular", True),
        ("20000080", close + timedelta(seconds=64), "lean", last, "regular", True),
        ("80", early_close + timedelta(seconds=3), "lean", early_close - timedelta(minutes=1), "regular", True),
        ("80", close + timedelta(minutes=15), "lean", close + timedelta(minutes=15), "post", False),
        ("80", close + timedelta(minutes=15, microseconds=-1), "lean", last, "regular", True),
        ("80", before, "lean", last, "regular", True),
        ("40", close, "lean", close, "post", True),
        ("80", close, "other", close, "post", True),
        ("1000080", close, "lean", last, "regular", False),
    ]
    rows = decoded(
        TRADES, [changed(TRADE, conditions=bits, ts=micros(at), source=source) for bits, at, source, *_ in cases]
    )
    for number, (_, at, _, bar_at, segment, counts) in enumerate(cases):
        row = rows[number]
        assert (row["traded_at"], row["bar_at"], row["segment"]) == (at, bar_at, segment), number
        assert row["counts_for_volume"] == counts, number


def test_messages_of_several_batches_are_each_judged_by_the_moment_of_their_own() -> None:
    ahead = micros(OPEN) - 301 * 10**6
    stamps = [ahead, ahead + 10**6, micros(INGESTED), ahead, ahead + 10**6]
    odd = GOOD[:-1] + b',"note":"read by the exact parser"}'
    moments = pl.Series(stamps, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    found = decode(TRADES, as_messages([GOOD, GOOD, GOOD, odd, odd]), calendar(), moments)
    assert sorted(found.valid["offset"]) == [1, 2, 4]
    assert found.rejected.select("offset", "reason").sort("offset").rows() == [
        (0, "from_the_future"),
        (3, "from_the_future"),
    ]
