"""Every way to break law 1 is planted in a tiny lake and must be seen."""

import copy
import math
from collections import Counter
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import tables
from market.rules import RULES_VERSION
from tests.unit.verify.tiny_lake import SECOND_BATCH, TinyLake, problems
from verify.ledger import parts_by_offset

TRADES, QUOTES = "market.trades.v1", "market.quotes.v1"


def test_a_whole_lake_keeps_the_law(tiny_lake: TinyLake) -> None:
    ledger, _ = tiny_lake.prove()
    assert ledger.offending == []
    assert ledger.holds
    assert ledger.counts == {
        "awaiting_retry": 0,
        "messages": 9,
        "partitions": 3,
        "in_flight": 0,
        "trades": 4,
        "amendments": 0,
        "feed_status": 0,
        "quotes": 1,
        "vendor_bars": 2,
        "corporate_actions": 0,
        "duplicates": 1,
        "quarantine": 1,
    }


def test_a_lake_without_tables_keeps_the_law(empty_lake: TinyLake) -> None:
    ledger, bars = empty_lake.prove()
    assert ledger.holds
    assert bars.holds
    assert ledger.counts["messages"] == 0


def test_a_lost_lake_is_seen(empty_lake: TinyLake) -> None:
    empty_lake.published.offsets = {(TRADES, 0): 3}
    ledger, _ = empty_lake.prove()
    assert problems(ledger) == {"PostgreSQL is ahead of bronze/messages"}


def test_a_lost_offset_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.MESSAGES].remove(tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=7))
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"messages are missing in bronze/messages", "row has no message in bronze/messages"}
    assert {"topic": TRADES, "partition": 0, "offset": 7, "last_offset": 7}.items() <= ledger.offending[0].items()


def test_every_lost_offset_of_a_gap_is_counted(tiny_lake: TinyLake) -> None:
    for offset in (6, 7, 8):
        tiny_lake[tables.MESSAGES].remove(tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=offset))
    ledger, _ = tiny_lake.prove()
    gaps = [row for row in ledger.offending if row["problem"] == "messages are missing in bronze/messages"]
    assert [(row["offset"], row["last_offset"]) for row in gaps] == [(6, 8)]
    assert ledger.total_offending == 3 + 3


def test_a_doubled_offset_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.MESSAGES].append(copy.deepcopy(tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=6)))
    ledger, _ = tiny_lake.prove()
    assert "message is more than once in bronze/messages" in problems(ledger)


def test_a_message_that_vanished_behind_bronze_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.QUARANTINE].clear()
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"message is in none of the tables behind bronze"}
    assert ledger.offending[0]["belongs_in"] == "bronze/quarantine"


def test_a_message_in_two_tables_is_seen(tiny_lake: TinyLake) -> None:
    entry = {name: tiny_lake[tables.DUPLICATES][0][name] for name in ("topic", "partition", "offset", "ingested_at")}
    tiny_lake[tables.QUARANTINE].append(
        {**entry, "reason": "bad_price", "detail": None, "rules_version": RULES_VERSION}
    )
    ledger, _ = tiny_lake.prove()
    assert "message is in the tables behind bronze more than once" in problems(ledger)


def test_a_valid_trade_in_quarantine_is_seen(tiny_lake: TinyLake) -> None:
    trade = tiny_lake.row(tables.TRADES, trade_id="c")
    tiny_lake[tables.TRADES].remove(trade)
    entry = {name: trade[name] for name in ("topic", "partition", "offset", "ingested_at")}
    tiny_lake[tables.QUARANTINE].append(
        {**entry, "reason": "bad_price", "detail": None, "rules_version": RULES_VERSION}
    )
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"message is in another table than it belongs in"}
    assert ledger.offending[0]["belongs_in"] == "silver/trades"


def reject_by_older_rules(lake: TinyLake, version: int | None) -> None:
    trade = lake.row(tables.TRADES, trade_id="c")
    lake[tables.TRADES].remove(trade)
    entry = {name: trade[name] for name in ("topic", "partition", "offset", "ingested_at")}
    lake[tables.QUARANTINE].append({**entry, "reason": "bad_price", "detail": None, "rules_version": version})
    others = [bar for bar in lake[tables.BAR_REVISIONS] if bar["bar_at"] != trade["bar_at"]]
    lake[tables.BAR_REVISIONS][:] = others
    lake.published.bar_rows = [bar for bar in lake.published.bar_rows if bar["bar_at"] != trade["bar_at"]]


@pytest.mark.parametrize("version", [None, RULES_VERSION - 1])
def test_a_message_that_older_rules_rejected_waits_for_its_retry(tiny_lake: TinyLake, version: int | None) -> None:
    reject_by_older_rules(tiny_lake, version)
    ledger, bars = tiny_lake.prove()
    assert (ledger.offending, bars.offending) == ([], [])
    assert ledger.counts["awaiting_retry"] == 1
    assert "1 rejected messages are valid by today's rules" in ledger.note


def test_what_was_retried_waits_no_more_and_the_later_message_is_the_record(tiny_lake: TinyLake) -> None:
    trade = tiny_lake.row(tables.TRADES, trade_id="c")
    again = tiny_lake.message(TRADES, 11, tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=7)["value"], SECOND_BATCH)
    tiny_lake.published.offsets[TRADES, 0] = 12
    reject_by_older_rules(tiny_lake, None)
    tiny_lake[tables.TRADES].append({**trade, **again})
    ledger, bars = tiny_lake.prove()
    assert ledger.offending == []
    assert ledger.counts["awaiting_retry"] == 0
    assert problems(bars) == {"bar is missing in gold/bar_revisions_1m", "bar is missing in lake.bars_1m"}


def test_a_repeat_that_became_a_trade_is_seen(tiny_lake: TinyLake) -> None:
    repeat = tiny_lake[tables.DUPLICATES].pop()
    original = tiny_lake.row(tables.TRADES, trade_id="a")
    entry = {name: repeat[name] for name in ("topic", "partition", "offset", "ingested_at")}
    tiny_lake[tables.TRADES].append({**original, **entry})
    ledger, bars = tiny_lake.prove()
    assert problems(ledger) == {"message is in another table than it belongs in"}
    assert "key is not unique in silver/trades" in problems(bars)


def test_another_trade_under_a_known_id_belongs_in_quarantine(tiny_lake: TinyLake) -> None:
    tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=9)["value"] = tiny_lake.row(
        tables.MESSAGES, topic=TRADES, offset=5
    )["value"].replace(b"100.01", b"100.02")
    ledger, _ = tiny_lake.prove()
    assert ledger.offending[0]["belongs_in"] == "bronze/quarantine"


def test_an_ingest_time_of_its_own_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.row(tables.QUOTES)["ingested_at"] -= timedelta(milliseconds=1)
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"row has another ingested_at than its message"}


def test_postgres_behind_bronze_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.offsets[TRADES, 0] = 8
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"PostgreSQL is behind bronze/messages"}


def test_postgres_ahead_of_bronze_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.offsets[QUOTES, 0] = 2
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"PostgreSQL is ahead of bronze/messages"}


THIRD_BATCH = SECOND_BATCH + timedelta(seconds=1)
FORGED_STAMPS = [THIRD_BATCH, THIRD_BATCH + timedelta(days=365)]


def in_flight(lake: TinyLake) -> None:
    """Let a batch of a quote and one of a late trade reach PostgreSQL while the proof runs."""
    published = lake.published
    rejected = lake.message(QUOTES, 1, b"not a quote", THIRD_BATCH)
    lake[tables.QUARANTINE].append({**rejected, "reason": "not_json", "detail": None, "rules_version": RULES_VERSION})
    value = lake.row(tables.MESSAGES, topic=TRADES, offset=7)["value"].replace(b'"c"', b'"e"')
    entry = lake.message(TRADES, 11, value, THIRD_BATCH)
    lake[tables.TRADES].append({**lake.row(tables.TRADES, trade_id="c"), "trade_id": "e", **entry})
    alone = lake.row(tables.BAR_REVISIONS, volume=1)
    lake[tables.BAR_REVISIONS].append({**alone, "volume": 2, "revision": 2, "revised_at": THIRD_BATCH})
    published.offsets_now = {**published.offsets, (QUOTES, 0): 2, (TRADES, 0): 12}
    published.batches = {THIRD_BATCH}


def test_a_batch_in_flight_is_left_out_and_may_arrive_later(tiny_lake: TinyLake) -> None:
    in_flight(tiny_lake)
    ledger, bars = tiny_lake.prove()
    assert ledger.offending == []
    assert bars.holds
    assert ledger.counts["in_flight"] == 2


@pytest.mark.parametrize("stamp", FORGED_STAMPS)
@pytest.mark.parametrize("table", [tables.TRADES, tables.QUOTES, tables.QUARANTINE], ids=lambda table: table.name)
@pytest.mark.parametrize(
    ("offset", "problem"),
    [
        (0, "row of a newer batch has an offset that was taken in before"),
        (99, "row of a newer batch has no message in bronze/messages"),
    ],
)
def test_a_forged_row_of_a_newer_batch_is_seen(
    tiny_lake: TinyLake, table: tables.Table, stamp: datetime, offset: int, problem: str
) -> None:
    in_flight(tiny_lake)
    tiny_lake[table].append({**tiny_lake[table][0], "offset": offset, "ingested_at": stamp})
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {problem}
    assert (ledger.total_offending, ledger.offending[0]["found_in"]) == (1, table.path)


def test_the_tables_of_a_batch_in_flight_may_be_committed_in_any_order(tiny_lake: TinyLake) -> None:
    """The message comes to bronze after the proof has opened it, before the batch reaches PostgreSQL."""
    in_flight(tiny_lake)
    late = tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=11)
    tiny_lake[tables.MESSAGES].remove(late)
    arrive = tiny_lake.published.batches_now

    def commit_and_arrive() -> set[datetime]:
        if late not in tiny_lake[tables.MESSAGES]:
            tiny_lake[tables.MESSAGES][:] = [late]
            tiny_lake.append(tables.MESSAGES)
        return arrive()

    tiny_lake.published.batches_now = commit_and_arrive  # type: ignore[method-assign]
    ledger, _ = tiny_lake.prove()
    assert ledger.offending == []


@pytest.mark.parametrize("stamp", [THIRD_BATCH + timedelta(microseconds=1), FORGED_STAMPS[1]])
def test_a_bar_of_a_newer_batch_that_never_was_is_seen(tiny_lake: TinyLake, stamp: datetime) -> None:
    in_flight(tiny_lake)
    newest = tiny_lake[tables.BAR_REVISIONS][-1]
    tiny_lake[tables.BAR_REVISIONS].append({**newest, "revision": 3, "revised_at": stamp})
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"bars of a batch that is not in bronze/messages, in gold/bar_revisions_1m"}
    assert (ledger.total_offending, ledger.offending[0]["revised_at"]) == (1, stamp)


def test_a_message_of_a_newer_batch_at_an_old_offset_is_seen(tiny_lake: TinyLake) -> None:
    in_flight(tiny_lake)
    old = tiny_lake.row(tables.MESSAGES, topic=QUOTES, offset=0)
    tiny_lake[tables.MESSAGES].append({**old, "ingested_at": THIRD_BATCH})
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"row of a newer batch has an offset that was taken in before"}
    assert ledger.total_offending == 1


def test_a_message_of_a_batch_that_never_reached_postgres_is_seen(tiny_lake: TinyLake) -> None:
    in_flight(tiny_lake)
    for row in (tiny_lake.row(tables.MESSAGES, topic=QUOTES, offset=1), tiny_lake[tables.QUARANTINE][-1]):
        row["ingested_at"] = FORGED_STAMPS[1]
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"row of a batch that PostgreSQL does not know"}
    assert [row["offset"] for row in ledger.offending] == [1, 1]


def test_a_batch_in_flight_is_left_out_although_another_topic_went_on(tiny_lake: TinyLake) -> None:
    began = tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=10)["ingested_at"]
    late = tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=7)["value"].replace(b'"c"', b'"e"')
    tiny_lake.message(TRADES, 11, late, began + timedelta(seconds=1))
    quarantined = tiny_lake.message(QUOTES, 1, b"not a quote", began + timedelta(seconds=2))
    tiny_lake[tables.QUARANTINE].append(
        {**quarantined, "reason": "not_json", "detail": None, "rules_version": RULES_VERSION}
    )
    tiny_lake.published.offsets[QUOTES, 0] = 2
    tiny_lake.published.offsets_now = {**tiny_lake.published.offsets, (TRADES, 0): 12}
    tiny_lake.published.batches = {began + timedelta(seconds=1)}
    ledger, bars = tiny_lake.prove()
    assert ledger.offending == []
    assert bars.offending == []
    assert ledger.counts["in_flight"] == 1


def test_lag_behind_the_broker_is_counted_and_no_break(tiny_lake: TinyLake) -> None:
    ledger, _ = tiny_lake.prove(broker_ends={(TRADES, 0): 15, (QUOTES, 0): 1, ("market.bars.v1", 0): 2})
    assert ledger.holds
    assert ledger.counts["lag"] == 4


def test_acknowledged_messages_that_never_came_break_a_complete_lake(tiny_lake: TinyLake) -> None:
    ends = {(TRADES, 0): 15, (TRADES, 1): 2, (QUOTES, 0): 1, ("market.bars.v1", 0): 2}
    ledger, _ = tiny_lake.prove(broker_ends=ends, complete=True)
    assert problems(ledger) == {"acknowledged messages are not in bronze/messages"}
    assert ledger.total_offending == 6


def test_of_each_problem_the_first_rows_are_shown_and_all_are_counted(tiny_lake: TinyLake) -> None:
    for offset in range(11, 61):
        tiny_lake.message(TRADES, offset, None)
    tiny_lake.published.offsets[TRADES, 0] = 61
    del tiny_lake[tables.DUPLICATES][0]
    ledger, _ = tiny_lake.prove(broker_starts={(TRADES, 0): 4})
    assert list(ledger.problems.values()) == [51, 1]
    assert Counter(row["problem"] for row in ledger.offending) == {
        problem: min(rows, 10) for problem, rows in ledger.problems.items()
    }


def test_messages_that_were_skipped_at_the_beginning_are_seen(tiny_lake: TinyLake) -> None:
    ledger, _ = tiny_lake.prove(broker_starts={(TRADES, 0): 3, (QUOTES, 0): 0, ("market.bars.v1", 0): 1})
    assert problems(ledger) == {"messages before the first of bronze/messages were never taken in"}
    assert ledger.total_offending == 2


def test_messages_are_looked_at_some_at_a_time(tiny_lake: TinyLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verify.ledger.MOST_MESSAGES", 2)
    for offset in (6, 8):
        tiny_lake[tables.TRADES].remove(tiny_lake.row(tables.TRADES, offset=offset))
    ledger, _ = tiny_lake.prove()
    assert problems(ledger) == {"message is in none of the tables behind bronze"}
    assert sorted(row["offset"] for row in ledger.offending) == [6, 8]
    assert (ledger.counts["trades"], ledger.counts["messages"]) == (2, 9)


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 10))
def test_every_offset_is_in_one_part(offsets: list[int], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("verify.ledger.MOST_MESSAGES", most)
        parts = list(parts_by_offset(pl.Series(offsets, dtype=pl.Int64)))
    assert len(parts) == max(1, math.ceil(len(offsets) / most))
    rows = pl.DataFrame({"offset": [None, *range(-5, 70)]})
    assert rows.select(pl.sum_horizontal(part.cast(pl.Int64) for part in parts)).to_series().unique().to_list() == [1]
