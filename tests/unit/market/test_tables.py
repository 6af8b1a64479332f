"""The declarations of tables, topics and eligibility rules are whole and consistent."""

import re

import pytest

from market.eligibility import COUNT_ALL, NOTHING, REASONS, RULES, rule_for
from market.records import Bar, Quote, Trade
from market.tables import LAKE_TABLES, POSTGRES_TABLES, TABLES, DataType, Store, Table
from market.topics import TOPICS

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.qualified_name))
def test_a_table_is_declared_whole(table: Table) -> None:
    names = table.column_names
    assert len(set(names)) == len(names)
    assert table.key
    assert set(table.key) <= set(names)
    assert table.grain.startswith("one row per ")
    assert not any(column.nullable for column in table.columns if column.name in table.key)
    for column in table.columns:
        assert _NAME.fullmatch(column.name)
        assert column.description.endswith(".")
    for name in (table.layer, table.name):
        assert _NAME.fullmatch(name)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.qualified_name))
def test_moments_are_named_at_and_dates_are_not(table: Table) -> None:
    for column in table.columns:
        assert column.name.endswith("_at") == (column.type is DataType.TIMESTAMP), column.name


@pytest.mark.parametrize("table", LAKE_TABLES, ids=lambda table: str(table.path))
def test_files_of_the_lake_are_skipped_by_a_time_of_the_table(table: Table) -> None:
    types = {column.name: column.type for column in table.columns}
    assert DataType.TIMESTAMP in {types[name] for name in table.skip_by}


def test_rows_are_kept_no_longer_by_a_time_that_files_are_skipped_by() -> None:
    # Otherwise deleting them would read all that is kept, and collide with each batch that comes meanwhile.
    found = [table for table in LAKE_TABLES if table.retention_days is not None]
    assert found
    assert all("ingested_at" in table.skip_by for table in found)


def test_every_table_has_a_place_of_its_own() -> None:
    places = [(table.store, table.qualified_name) for table in TABLES]
    assert len(set(places)) == len(places)
    assert all(table.store is Store.LAKE for table in LAKE_TABLES)
    assert all(table.store is Store.POSTGRES for table in POSTGRES_TABLES)


def test_every_lake_table_but_the_bars_names_the_message_behind_a_row() -> None:
    ledger = {"topic", "partition", "offset", "ingested_at"}
    without = {table.path for table in LAKE_TABLES if not ledger <= set(table.column_names)}
    assert without == {"gold/bar_revisions_1m"}


def test_topics_are_versioned_and_keyed_by_a_field_of_their_records() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    for topic in TOPICS:
        assert re.fullmatch(r"[a-z.]+\.v\d+", topic.name)
        assert topic.partitions > 0
        assert topic.retention_hours > 0
        for record in (Trade, Quote, Bar):
            assert topic.key in record.__struct_fields__


@pytest.mark.parametrize("source", sorted(RULES))
def test_an_eligibility_rule_names_bits_that_15_hexadecimal_digits_hold_and_its_reasons_once(source: str) -> None:
    rule = RULES[source]
    assert rule_for(source) is rule
    assert rule.version >= 1
    assert 0 <= rule.closing_auction_bits < 2**60
    assert rule.exclusions
    for exclusion in rule.exclusions:
        assert 0 < exclusion.bits < 2**60
        assert exclusion.regular | exclusion.extended is not NOTHING
        assert re.fullmatch("[a-z_]+", exclusion.reason)
    reasons = [exclusion.reason for exclusion in rule.exclusions]
    assert len(set(reasons)) == len(reasons)
    assert set(reasons) <= set(REASONS)


def test_a_feed_without_a_rule_counts_every_trade() -> None:
    assert rule_for("simulated") is COUNT_ALL
    assert (COUNT_ALL.exclusions, COUNT_ALL.closing_auction_bits) == ((), 0)
