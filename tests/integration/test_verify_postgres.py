"""The laws over a lake written by hand and a real PostgreSQL, and the command's answer."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.verify import run_verify
from market.settings import Settings
from market.tables import PG_BARS, PG_LATEST_QUOTES, PG_QUOTES_1M, PG_STREAM_OFFSETS, PG_VENDOR_BARS, Table
from tests.unit.verify.tiny_lake import TinyLake, fill_bars, fill_others, fill_trades
from tests.unit.verify.tiny_marts import fill_marts
from verify.laws import verify_alerts, verify_all, verify_bars, verify_gaps, verify_indicators, verify_ledger
from verify.mart_schemas import HISTORICAL, INTRADAY, MART_SCHEMA, PRICE_SCHEMA, REALTIME
from verify.published import open_snapshot
from warehouse.connection import connect
from warehouse.schema import migrate

pytestmark = pytest.mark.integration


def insert(settings: Settings, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    values = ", ".join(f"%({name})s" for name in table.column_names)
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.executemany(f"insert into {table.qualified_name} ({columns}) values ({values})".encode(), rows)


def change(settings: Settings, statement: str) -> None:
    with connect(settings) as connection:
        connection.execute(statement.encode())


def answer(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    """Settings of a lake and a PostgreSQL in which the laws hold."""
    migrate(settings_with_database)
    lake = TinyLake(Path(settings_with_database.lake))
    fill_trades(lake)
    fill_bars(lake)
    fill_others(lake)
    lake.write()
    insert(settings_with_database, PG_BARS, lake.published.bar_rows)
    insert(settings_with_database, PG_VENDOR_BARS, lake.published.vendor_rows)
    insert(settings_with_database, PG_LATEST_QUOTES, lake.published.quote_rows)
    insert(settings_with_database, PG_QUOTES_1M, lake.published.minute_rows)
    ends = {"market.trades.v1": 11, "market.quotes.v1": 1, "market.bars.v1": 2}
    offsets = [{"topic": topic, "partition": 0, "next_offset": end} for topic, end in ends.items()]
    insert(settings_with_database, PG_STREAM_OFFSETS, offsets)
    return settings_with_database


def test_nothing_taken_in_is_said_and_breaks_nothing(settings: Settings, database_url: str, tmp_path: Path) -> None:
    del database_url
    empty = settings.model_copy(update={"home": tmp_path})
    change(settings, "create table kept as select * from lake.stream_offsets")
    change(settings, "delete from lake.stream_offsets")
    names = ("bars_1m", "bar_sessions", "vendor_bars", "latest_quotes", "quotes_1m")
    for name in names:
        change(settings, f"alter table lake.{name} rename to {name}_elsewhere")
    try:
        results = verify_all(empty)
    finally:
        for name in names:
            change(settings, f"alter table lake.{name}_elsewhere rename to {name}")
        change(settings, "insert into lake.stream_offsets select * from kept")
    assert all(result.holds for result in results)
    assert {result.note for result in results} == {"Nothing has been taken in yet."}


def test_the_laws_hold(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verify(settings, json_output=True)
    ledger, bars, indicators, alerts, gaps = answer(capsys)
    assert (ledger["law"], ledger["holds"], ledger["counts"]["messages"]) == (1, True, 9)
    assert (bars["law"], bars["holds"], bars["counts"]["bars"]) == (2, True, 2)
    assert (indicators["law"], indicators["holds"]) == (3, True)
    assert (alerts["law"], alerts["holds"]) == (4, True)
    assert (gaps["law"], gaps["holds"], gaps["counts"]["bars"]) == (5, True, 1)  # the newest minute may not be over


def test_the_snapshot_is_of_the_moment_at_which_it_was_opened(settings: Settings) -> None:
    with open_snapshot(settings) as snapshot:
        change(settings, "update lake.stream_offsets set next_offset = next_offset + 1")
        try:
            opened, now = snapshot.next_offsets(), snapshot.next_offsets_now()
        finally:
            change(settings, "update lake.stream_offsets set next_offset = next_offset - 1")
    assert now == {place: end + 1 for place, end in opened.items()}


def test_each_law_can_be_proved_alone(settings: Settings) -> None:
    assert verify_ledger(settings).holds
    assert verify_bars(settings).holds
    assert verify_gaps(settings).holds
    assert verify_indicators(settings).holds
    assert verify_alerts(settings).holds


def test_quotes_of_a_minute_that_nobody_named_are_seen_with_what_puts_them_right(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    change(
        settings,
        "insert into lake.quotes_1m (source, symbol, bar_at, session_date, segment, bid, revised_at) "
        "select 'forged', symbol, bar_at, session_date, segment, 1, revised_at from lake.quotes_1m",
    )
    try:
        assert not run_verify(settings, json_output=True)
        _, bars, *_ = answer(capsys)
    finally:
        change(settings, "delete from lake.quotes_1m where source = 'forged'")
    assert bars["problems"] == {"quote of a minute should not be in lake.quotes_1m": 1}
    assert "./run recompute --start 2013-10-07 --end 2013-10-07 fills it" in bars["note"]


def test_a_cent_in_postgres_is_seen(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    change(settings, "update lake.bars_1m set close = close + 0.01 where volume = 600")
    try:
        assert not run_verify(settings, json_output=True)
        _, bars, *_ = answer(capsys)
        assert not run_verify(settings)
        shown = capsys.readouterr().out
    finally:
        change(settings, "update lake.bars_1m set close = close - 0.01 where volume = 600")
    assert bars["offending"][0]["differs"] == {"close": {"expected": "100.01", "found": "100.02"}}
    assert "broken" in shown


@pytest.fixture
def marts(settings: Settings) -> Iterator[Settings]:
    """The same with marts as the models make them, as of the second batch."""
    lake = TinyLake(Path(settings.lake))
    fill_bars(lake)
    fill_others(lake)
    fill_marts(lake)
    tables = {
        INTRADAY: (MART_SCHEMA, lake.published.mart_rows),
        HISTORICAL: (MART_SCHEMA, lake.published.day_rows),
        REALTIME: (PRICE_SCHEMA, lake.published.price_rows),
    }
    change(settings, "create schema if not exists marts")
    with connect(settings) as connection, connection.cursor() as cursor:
        for name, (schema, rows) in tables.items():
            columns = ", ".join(f"{column} {_POSTGRES_TYPES[str(kind)]}" for column, kind in schema.items())
            prices = ("open", "high", "low", "close", "vwap", "price", "previous_close", "change")
            values = ", ".join(f"%({column})s" for column in schema)
            cursor.execute(f"create table {name} ({columns})".encode())
            for column in (column for column in schema if column in prices):
                cursor.execute(f"alter table {name} alter {column} type numeric(18, 6)".encode())
            cursor.executemany(f"insert into {name} ({', '.join(schema)}) values ({values})".encode(), rows or [])
    yield settings
    for name in tables:
        change(settings, f"drop table {name}")


_POSTGRES_TYPES = {
    "String": "text",
    "Int64": "bigint",
    "Date": "date",
    "Boolean": "boolean",
    "Datetime(time_unit='us', time_zone='UTC')": "timestamp with time zone",
}


def test_marts_keep_the_law(marts: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verify(marts, json_output=True)
    _, bars, *_ = answer(capsys)
    assert (bars["counts"]["mart_bars"], bars["counts"]["mart_days"]) == (5, 1)
    assert (bars["counts"]["mart_bars_behind"], bars["note"]) == (0, "")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update {} set close = close + 0.000001 where interval = '15m'", f"bar differs in {INTRADAY}"),
        ("update {} set open = 'NaN' where interval = '5m'", f"bar differs in {INTRADAY}"),
        ("delete from {} where interval = '5m'", f"bar is missing in {INTRADAY}"),
        ("update {} set volume = volume + 1", f"day differs in {HISTORICAL}"),
        ("update {} set price = price + 0.01", f"price differs in {REALTIME}"),
    ],
)
def test_a_row_of_a_mart_that_was_changed_by_hand_is_seen(
    marts: Settings, capsys: pytest.CaptureFixture[str], statement: str, problem: str
) -> None:
    change(marts, statement.format(problem.rsplit(maxsplit=1)[-1]))
    assert not run_verify(marts, json_output=True)
    _, bars, *_ = answer(capsys)
    assert [row["problem"] for row in bars["offending"]] == [problem]


def test_marts_without_rows_are_behind(marts: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    change(marts, f"delete from {INTRADAY}")
    change(marts, f"delete from {HISTORICAL}")
    assert run_verify(marts, json_output=True)
    _, bars, *_ = answer(capsys)
    assert (bars["counts"]["mart_bars_behind"], bars["counts"]["mart_days_behind"]) == (2, 1)
