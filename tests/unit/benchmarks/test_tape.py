"""The tape of the benchmarks: late and repeated records, and moments at a rate."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from benchmarks.lake.tape import SYMBOLS, disturbed, live_tape, retimed
from market.records import Record, Trade
from market.sessions import find_session
from market.settings import Settings


def trades(count: int) -> Iterator[Record]:
    for number in range(count):
        yield Trade("simulated", "SPY", number, Decimal(100), 100, f"{number}")


def test_every_record_comes_and_about_one_in_a_hundred_again() -> None:
    came = list(disturbed(trades(20_000), seed=7, late_by=500))
    assert set(came) == set(trades(20_000))
    assert 0.007 < (len(came) - 20_000) / 20_000 < 0.013


def test_about_two_in_a_hundred_come_late_and_by_no_more_than_said() -> None:
    came = [record for record in disturbed(trades(20_000), seed=7, late_by=500) if isinstance(record, Trade)]
    newest, late_by = 0, []
    for trade in came:
        newest = max(newest, trade.ts)
        late_by.append(newest - trade.ts)
    late = [lateness for lateness in late_by if lateness > 0]
    assert 0.025 < len(late) / 20_000 < 0.035  # the repeated ones are late too
    assert max(late) <= 500


def test_records_are_retimed_at_the_rate() -> None:
    moments = [record.ts for record in retimed(trades(4), start=1_000_000, rate=5_000, prefix="x")]
    assert moments == [1_000_000, 1_000_200, 1_000_400, 1_000_600]


def test_a_live_tape_has_so_many_records_in_the_session_with_identities_of_their_own() -> None:
    session = find_session(date(2024, 2, 6))
    assert session is not None
    tape = live_tape(Settings.model_construct(seed=1), session, ((3_000, 1_000), (2_000, 10_000)), "live")
    known = {(record.symbol, record.trade_id) for record in tape if isinstance(record, Trade)}
    assert len(known) == 5_000
    opened = session.open_at.timestamp() * 1_000_000
    assert min(record.ts for record in tape) == opened
    assert max(record.ts for record in tape) == pytest.approx(opened + 3_200_000, abs=1_000)
    assert {record.symbol for record in tape} <= set(SYMBOLS)
