"""Every table behind bronze is damaged in turn: ``verify`` sees it, the deep path puts it right, and then the laws hold again.

``verify`` is the oracle: it shares no code with the stream or the deep path.
"""

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from market import tables
from market.errors import ServiceError
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.locks import BesideRepairs
from spark_jobs.jobs.touched import as_json, touched
from spark_jobs.transforms.kinds import KINDS, TRADES
from tests.unit.spark_jobs.deep_platform import DeepPlatform, Row
from tests.unit.spark_jobs.fake_platform import Process
from tests.unit.spark_jobs.messages import INGESTED, micros
from tests.unit.spark_jobs.tapes import NEW, TAPES
from tests.unit.spark_jobs.test_recompute import MONDAY, TUESDAY, amendment
from tests.unit.verify.fake_published import FakePublished
from verify.bars import prove_bars
from verify.decisions import decide
from verify.gaps import prove_gaps
from verify.laws import open_lake
from verify.ledger import prove_ledger

FAR = 10**9
"""An offset that no message has."""


AFTERWARDS = {kind: [*(value for values in tape for value in values), *NEW[kind]] for kind, tape in TAPES.items()}
"""Everything again, and something new: whoever has forgotten or dreamt of a record shows it."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> DeepPlatform:
    """A platform that took in all tapes; every test works on a copy."""
    deep = DeepPlatform(tmp_path_factory.mktemp("filled"))
    for kind, tape in TAPES.items():
        first = 0
        for batch_id, values in enumerate(tape):
            deep.platform.run(kind, batch_id, values, first)
            first += len(values)
    deep.publish()
    assert broken_laws(deep) == []
    return deep


@pytest.fixture
def deep(filled: DeepPlatform, tmp_path: Path) -> DeepPlatform:
    return copied(filled, tmp_path / "copy")


def copied(filled: DeepPlatform, root: Path) -> DeepPlatform:
    shutil.copytree(filled.root / "lake", root / "lake")
    deep = DeepPlatform(root)
    deep.platform.postgres, deep.postgres = deepcopy(filled.platform.postgres), deepcopy(filled.postgres)
    return deep


def broken_laws(deep: DeepPlatform) -> list[tuple[int, list[Any]]]:
    """Return the laws that verify finds broken, with the rows."""
    found, published = deep.postgres, FakePublished()
    published.bar_rows, published.vendor_rows = list(found.bars.values()), list(found.vendor.values())
    published.action_rows = list(found.actions.values())
    published.quote_rows = list(found.latest.values())
    published.minute_rows = list(found.minutes.values())
    spans = [(*key, *span) for key, spans in found.covered.items() for span in spans]
    published.coverage_rows, published.halt_rows = spans, list(found.changes)  # type: ignore[assignment, arg-type]
    published.offsets = dict(found.offsets)
    lake = open_lake(str(deep.platform.root), published)
    with decide(lake, deep.now) as decisions:
        results = [
            prove_ledger(lake, published, decisions, patience_seconds=0),
            prove_bars(lake, published, decisions),
            prove_gaps(lake, published, decisions),
        ]
    return [(result.law, result.offending) for result in results if not result.holds]


def overwrite(deep: DeepPlatform, table: Table, change: Callable[[list[Row]], list[Row]]) -> None:
    uri = f"{deep.platform.root}/{table.path}"
    stored = pl.read_delta(uri)
    rows = change(sorted(stored.to_dicts(), key=str))
    write_deltalake(uri, pl.DataFrame(rows, schema=stored.schema, orient="row").to_arrow(), mode="overwrite")


def damaged(rows: list[Row], altered: str) -> list[Row]:
    """Lose the first row, change a value of the second, and add one that no message gives."""
    _, second, *others = rows
    value = second[altered]
    forged = {**second, "offset": FAR} if "offset" in second else {**second, "symbol": "ZZZ"}
    return [{**second, altered: value + 1 if isinstance(value, int | Decimal) else f"{value}X"}, *others, forged]


LAKE = {
    tables.QUARANTINE: "reason",
    tables.DUPLICATES: "record_id",
    tables.TRADES: "price",
    tables.AMENDMENTS: "trade_id",
    tables.FEED_STATUS: "reason",
    tables.QUOTES: "exchange",
    tables.VENDOR_BARS: "volume",
    tables.CORPORATE_ACTIONS: "action",
    tables.BAR_REVISIONS: "volume",
}


@pytest.mark.parametrize("table", LAKE, ids=lambda table: table.name)
def test_a_damaged_table_of_the_lake_is_seen_and_put_right(deep: DeepPlatform, table: Table) -> None:
    before = deep.everything()
    overwrite(deep, table, lambda rows: damaged(rows, LAKE[table]))
    assert deep.everything()[table.path] != before[table.path]
    assert broken_laws(deep) != []
    reports = deep.recompute(MONDAY, TUESDAY)
    found = [report.differences[table.path] for report in reports if table.path in report.differences]
    assert sum(one.missing for one in found) == sum(one.different for one in found) == 1
    assert sum(one.unexpected for one in found) == 1
    assert {name for report in reports for name in report.differences} == {table.path}
    assert broken_laws(deep) == []
    assert deep.everything() == before


@pytest.mark.parametrize("table", [tables.DUPLICATES, tables.QUARANTINE], ids=lambda table: table.name)
def test_rows_of_a_topic_that_there_is_not_go(deep: DeepPlatform, table: Table) -> None:
    before = deep.everything()
    overwrite(deep, table, lambda rows: [*rows, {**rows[0], "topic": "market.tradez.v1"}])
    assert broken_laws(deep) != []
    assert sum(report.differing for report in deep.recompute(MONDAY, symbols=("SPY",))) == 0
    assert sum(report.differing for report in deep.recompute(MONDAY)) == 1
    assert broken_laws(deep) == []
    assert deep.everything() == before


def lose_and_forge(known: dict[Any, Any], altered: Callable[[Any], Any]) -> None:
    first, second, *_ = sorted(known, key=str)
    forged = known[second]
    del known[first]
    known[second] = altered(known[second])
    key = (second[0], "ZZZ", *second[2:])
    known[key] = {**forged, "symbol": "ZZZ"} if isinstance(forged, dict) else forged


def damage_published(deep: DeepPlatform, name: str) -> None:
    found, later = deep.postgres, timedelta(minutes=1)
    match name:
        case "lake.bars_1m":
            lose_and_forge(found.bars, lambda row: {**row, "close": Decimal(1), "revision": 99})
        case "lake.vendor_bars":
            lose_and_forge(found.vendor, lambda row: {**row, "revision": row["revision"] + 1})
        case "lake.corporate_actions":
            lose_and_forge(found.actions, lambda row: {**row, "cash": Decimal(3)})
        case "lake.feed_coverage":
            lose_and_forge(found.covered, lambda spans: [(start, end + later) for start, end in spans])
        case "lake.latest_quotes":
            lose_and_forge(found.latest, lambda row: {**row, "bid": row["bid"] + 1, "bid_at": row["bid_at"] + later})
        case "lake.quotes_1m":
            lose_and_forge(
                found.minutes, lambda row: {**row, "ask_size": 77, "bid_at": later + (row["bid_at"] or row["ask_at"])}
            )
        case _:
            first, second, *_ = sorted(found.changes, key=str)
            found.changes -= {first, second}
            found.changes |= {(*second[:4], "another"), (*second[:2], second[2] + later, *second[3:])}


PUBLISHED = [
    *("lake.bars_1m", "lake.vendor_bars", "lake.corporate_actions"),
    *("lake.feed_coverage", "lake.trading_halts", "lake.latest_quotes", "lake.quotes_1m"),
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_damaged_table_of_postgres_is_seen_and_put_right(deep: DeepPlatform, name: str) -> None:
    before = deep.everything()
    damage_published(deep, name)
    assert broken_laws(deep) != []
    reports = deep.recompute(MONDAY, TUESDAY)
    assert {table for report in reports for table in report.differences} == {name}
    assert broken_laws(deep) == []
    assert deep.everything() == before


def test_after_every_table_was_damaged_the_stream_goes_on_rightly(filled: DeepPlatform, tmp_path: Path) -> None:
    quiet, deep = copied(filled, tmp_path / "quiet"), copied(filled, tmp_path / "damaged")
    for platform in (quiet, deep):
        watched = {}
        for kind in KINDS:
            process = Process(platform.platform, kind)
            watched[kind] = process, BesideRepairs(platform.lock(kind), process.processor.forget, lambda: None)
            with watched[kind][1].batch():  # from now on it forgets only after a repair
                pass
        if platform is deep:
            for table, altered in LAKE.items():
                overwrite(deep, table, lambda rows, altered=altered: damaged(rows, altered))  # type: ignore[misc]
            for kind in KINDS:  # what the processes remember from now on is wrong
                dates = [MONDAY, TUESDAY]
                watched[kind][0].processor.sessions.meet(dates, INGESTED + timedelta(days=1))
                watched[kind][0].processor.amendments.stored(INGESTED + timedelta(days=1))
            deep.recompute(MONDAY, TUESDAY)
        for kind, (process, watch) in watched.items():
            with watch.batch():
                process.run(len(TAPES[kind]), AFTERWARDS[kind], sum(map(len, TAPES[kind])))
    assert deep.everything() == quiet.everything()
    assert broken_laws(deep) == []


@pytest.mark.parametrize("table", [table for table in LAKE if table is not tables.BAR_REVISIONS], ids=lambda t: t.name)
def test_forged_rows_of_later_than_the_newest_batch_go(deep: DeepPlatform, table: Table) -> None:
    before = deep.everything()
    later = datetime(2030, 1, 1, tzinfo=UTC)
    own = "market.trades.v1"

    def forge(rows: list[Row]) -> list[Row]:
        row = next((row for row in rows if row["topic"] == own), rows[0])
        return [*rows, *({**row, "ingested_at": later, "offset": offset} for offset in (0, FAR))]

    overwrite(deep, table, forge)
    reports = deep.recompute(MONDAY, TUESDAY)
    assert sum(report.differing for report in reports) == 2
    assert deep.everything() == before


def test_rows_of_a_batch_that_was_cut_are_left_alone(deep: DeepPlatform) -> None:
    deep.publish()
    deep.platform.run(TRADES, 4, AFTERWARDS[TRADES], sum(map(len, TAPES[TRADES])))
    deep.postgres.seen += 1  # PostgreSQL never got it
    whole = deep.everything()
    # Of bronze nothing was committed: its messages come again with the same batch.
    DeltaTable(f"{deep.platform.root}/{tables.MESSAGES.path}").delete(
        f"ingested_at = '{INGESTED + timedelta(seconds=4)}'"
    )
    for table, altered in LAKE.items():
        if table is not tables.BAR_REVISIONS:
            cut = INGESTED + timedelta(seconds=4)

            def change(rows: list[Row], altered: str = altered, cut: datetime = cut) -> list[Row]:
                done = [row for row in rows if row["ingested_at"] != cut or row["topic"] != "market.trades.v1"]
                return [*damaged(done, altered), *(row for row in rows if row not in done)]

            overwrite(deep, table, change)
    deep.recompute(MONDAY, TUESDAY)
    after = deep.everything()
    assert {**after, "bronze/messages": []} == {**whole, "bronze/messages": []}


def test_without_the_checkpoint_a_later_row_may_be_of_a_batch_that_was_cut(deep: DeepPlatform) -> None:
    deep.knows_queries = False
    later = {"ingested_at": datetime(2030, 1, 1, tzinfo=UTC)}
    overwrite(deep, tables.TRADES, lambda rows: [*rows, {**rows[0], **later, "offset": FAR}])
    assert sum(report.differing for report in deep.recompute(MONDAY, TUESDAY)) == 0
    overwrite(deep, tables.TRADES, lambda rows: [*rows, {**rows[0], **later, "offset": 0}])
    assert sum(report.differing for report in deep.recompute(MONDAY, TUESDAY)) == 1


NEWEST = sum(map(len, TAPES[TRADES])) - 1


@pytest.mark.parametrize("lost", ['"offset" = 9', f'"offset" = {NEWEST}', "true"], ids=["one", "newest", "all"])
def test_messages_that_are_lost_stop_the_deep_path_before_it_changes_anything(deep: DeepPlatform, lost: str) -> None:
    bronze = DeltaTable(f"{deep.platform.root}/{tables.MESSAGES.path}")
    bronze.delete(f"topic = 'market.trades.v1' and {lost}")
    overwrite(deep, tables.QUOTES, lambda rows: rows[1:])
    before = deep.everything()
    with pytest.raises(ServiceError, match=r"bronze/messages lacks .* market\.trades\.v1/0/"):
        deep.recompute(MONDAY, TUESDAY)
    assert deep.everything() == before


def test_messages_that_are_lost_before_the_range_are_missed_too(deep: DeepPlatform) -> None:
    bronze = DeltaTable(f"{deep.platform.root}/{tables.MESSAGES.path}")
    later = date(2026, 1, 5)  # the session on whose day the batches were: it begins after none of them
    assert sum(report.differing for report in deep.recompute(later)) == 0
    bronze.delete("topic = 'market.bars.v1' and \"offset\" = 3")
    with pytest.raises(ServiceError, match=r"lacks 1 messages, the first of them market\.bars\.v1/0/3 to 3"):
        deep.recompute(later)


def test_quotes_that_are_kept_no_longer_do_not_come_back(deep: DeepPlatform) -> None:
    second = INGESTED + timedelta(seconds=1)
    deep.now = second + timedelta(days=90)
    # The stream deletes what the first batch brought; q2 and the quotes of the second batch are still kept.
    DeltaTable(f"{deep.platform.root}/{tables.QUOTES.path}").delete(f"ingested_at < '{second}'")
    assert broken_laws(deep) == []
    kept = deep.everything()
    assert kept["silver/quotes"]
    assert sum(report.differing for report in deep.recompute(MONDAY, TUESDAY)) == 0
    overwrite(deep, tables.QUOTES, lambda rows: rows[1:])
    deep.recompute(MONDAY, TUESDAY)
    assert deep.everything() == kept


def test_a_row_that_may_be_deleted_soon_is_left_beside_those_that_are_repaired(deep: DeepPlatform) -> None:
    deep.now = INGESTED + timedelta(seconds=1, days=90)
    before = deep.everything()
    lost = {"0q2"}
    overwrite(deep, tables.QUOTES, lambda rows: [row for row in rows if row["quote_id"] not in lost])
    assert sum(report.differing for report in deep.recompute(MONDAY, TUESDAY)) == 1
    assert deep.everything() == before


def test_asked_for_a_symbol_the_rest_is_left_alone(deep: DeepPlatform) -> None:
    before = deep.everything()
    for table, altered in LAKE.items():
        overwrite(deep, table, lambda rows, altered=altered: damaged(rows, altered))  # type: ignore[misc]
    damage_published(deep, "lake.feed_coverage")
    deep.recompute(MONDAY, TUESDAY, symbols=("IBM",))
    after = deep.everything()
    for table in (tables.TRADES, tables.AMENDMENTS, tables.FEED_STATUS, tables.BAR_REVISIONS):
        assert of_symbol(after[table.path], "IBM") == of_symbol(before[table.path], "IBM")
    assert of_symbol(after["silver/trades"], "SPY") != of_symbol(before["silver/trades"], "SPY")
    deep.recompute(MONDAY, TUESDAY)
    assert deep.everything() == before


def of_symbol(rows: list[Row], symbol: str) -> list[Row]:
    return [row for row in rows if row["symbol"] == symbol]


def test_a_range_of_one_session_leaves_the_other_alone(deep: DeepPlatform) -> None:
    overwrite(deep, tables.DUPLICATES, lambda rows: [row for row in rows if "1t1" not in row["record_id"]])
    overwrite(deep, tables.TRADES, lambda rows: [row for row in rows if row["session_date"] != date(2013, 10, 8)])
    damaged_tables = deep.everything()
    assert sum(report.differing for report in deep.recompute(MONDAY)) == 0
    assert deep.everything() == damaged_tables


def test_the_lake_says_when_each_session_was_touched_last(deep: DeepPlatform) -> None:
    def stamp(batch_id: int) -> int:
        return micros(INGESTED + timedelta(seconds=batch_id))

    expected = {  # Monday's trades: the last is one of batch 3; Tuesday's last heartbeat came with the same
        "market.trades.v1": {MONDAY: stamp(3), TUESDAY: stamp(3)},
        "market.quotes.v1": {MONDAY: stamp(1), TUESDAY: stamp(1)},
        "market.bars.v1": {MONDAY: stamp(1), TUESDAY: stamp(1)},
    }
    found = touched(Lake(str(deep.platform.root)))
    assert found == expected
    assert json.loads(as_json(found))["market.quotes.v1"] == {"2013-10-07": stamp(1), "2013-10-08": stamp(1)}
    deep.platform.run(TRADES, 4, [amendment("cancel", 0, 1)], NEWEST + 1)  # of a bar of Tuesday
    assert touched(Lake(str(deep.platform.root))) == {
        **expected,
        "market.trades.v1": {MONDAY: stamp(3), TUESDAY: stamp(4)},
    }
    (beside, *_) = deep.recompute(MONDAY, TUESDAY, dry_run=True)
    assert beside.until["market.trades.v1"] == stamp(4)
    assert beside.until["market.quotes.v1"] == stamp(1)
    assert touched(Lake(str(deep.root / "nowhere"))) == {}
