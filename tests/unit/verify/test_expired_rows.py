"""Rows that their table keeps no longer: the proof neither misses them nor minds that they are still there."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from market import tables
from tests.unit.verify.tiny_lake import FIRST_BATCH, QUOTES_TOPIC, TinyLake, problems

KEPT = timedelta(days=tables.QUOTES.retention_days or 0)


def again(lake: TinyLake, at: datetime) -> dict[str, Any]:
    """Repeat the only quote, in a later batch; return the entry of the ledger."""
    value = lake.row(tables.MESSAGES, topic=QUOTES_TOPIC, offset=0)["value"]
    lake.published.offsets[QUOTES_TOPIC, 0] = 2
    return lake.message(QUOTES_TOPIC, 1, value, at)


def test_a_quote_must_be_there_while_it_is_kept(tiny_lake: TinyLake) -> None:
    tiny_lake.now = FIRST_BATCH + KEPT
    tiny_lake[tables.QUOTES].clear()
    ledger, bars = tiny_lake.prove()
    assert problems(ledger) == {"message is in none of the tables behind bronze"}
    assert problems(bars) == {"quote is missing in silver/quotes"}


@pytest.mark.parametrize("is_deleted", [True, False])
def test_after_that_it_may_be_gone_or_not(tiny_lake: TinyLake, *, is_deleted: bool) -> None:
    tiny_lake.now = FIRST_BATCH + KEPT + timedelta(seconds=1)
    if is_deleted:
        tiny_lake[tables.QUOTES].clear()
    ledger, bars = tiny_lake.prove()
    assert ledger.holds
    assert bars.holds
    assert ledger.counts["kept_no_longer"] == 1


@pytest.mark.parametrize("was_forgotten", [True, False])
def test_what_repeats_it_is_a_duplicate_or_was_taken_for_new(tiny_lake: TinyLake, *, was_forgotten: bool) -> None:
    entry = again(tiny_lake, FIRST_BATCH + KEPT)
    tiny_lake.now = FIRST_BATCH + KEPT + timedelta(seconds=1)
    if was_forgotten:
        tiny_lake.row(tables.QUOTES).update(entry)
    else:
        tiny_lake[tables.DUPLICATES].append({**entry, "record_id": "lean/SPY/q1"})
        tiny_lake[tables.QUOTES].clear()
    ledger, bars = tiny_lake.prove()
    assert ledger.holds
    assert bars.holds


def test_trades_are_kept_for_ever(tiny_lake: TinyLake) -> None:
    tiny_lake.now = FIRST_BATCH + 100 * KEPT
    tiny_lake[tables.TRADES].remove(tiny_lake.row(tables.TRADES, trade_id="c"))
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"message is in none of the tables behind bronze"}
