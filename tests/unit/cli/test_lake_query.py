"""Questions to the lake: as it is, as it was, and those that cannot be answered."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.lake_query import INSTEAD, ask_lake, parse_moment
from market.errors import QueryError, ServiceError, UsageError
from market.settings import Settings, load_settings
from market.tables import LAKE_TABLES, PG_SESSIONS, PG_TIERS, POSTGRES_TABLES, Table
from spark_jobs.transforms.kinds import TRADES
from tests.unit.spark_jobs.fake_platform import Platform
from tests.unit.spark_jobs.messages import TRADE, changed

COUNT = "select count(*) as trades from trades"


@pytest.fixture(params=["lake", "a lake"])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    return load_settings().model_copy(update={"lake_uri": str(tmp_path / request.param)})


@pytest.fixture
def platform(settings: Settings) -> Platform:
    platform = Platform(Path(settings.lake))
    platform.run(TRADES, 0, [changed(TRADE), b"{"], 0)
    return platform


@pytest.mark.usefixtures("platform")
def test_tables_go_by_their_names(settings: Settings) -> None:
    answer = ask_lake(settings, "select t.symbol, t.price, m.key from trades t join messages m on t.offset = m.offset;")
    assert answer.columns == ("symbol", "price", "key")
    ((symbol, price, key),) = answer.rows
    assert (symbol, str(price), key) == ("SPY", "100.500000", b"SPY")
    assert list(ask_lake(settings, "select reason, count(*) as n from quarantine group by reason").rows) == [
        ("not_json", 1)
    ]


def test_a_moment_ago_the_lake_was_another(settings: Settings, platform: Platform) -> None:
    time.sleep(0.01)  # Delta's versions bear milliseconds
    before = datetime.now(UTC)
    platform.run(TRADES, 1, [changed(TRADE, trade_id="another")], 2)
    assert list(ask_lake(settings, COUNT).rows) == [(2,)]
    assert list(ask_lake(settings, COUNT, before).rows) == [(1,)]


@pytest.mark.usefixtures("platform")
def test_a_moment_before_the_lake_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="did not exist on 2020-01-01"):
        ask_lake(settings, COUNT, datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("question", ["select nothing from trades", "select * from bars_1m", "select * frm trades"])
def test_what_cannot_be_answered_is_said_with_the_tables_that_there_are(settings: Settings, question: str) -> None:
    with pytest.raises(
        QueryError,
        match=r"The lake says: .+ Its tables are: amendments, bar_revisions_1m, corporate_actions, duplicates",
    ):
        ask_lake(settings, question)


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    ("table", "instead"),
    [
        ("lake.bars_1m", " Ask the lake's bar_revisions_1m. It has a row per revision"),
        ("marts.intraday_ohlcv", " Ask the lake's bar_revisions_1m."),
        ('"lake"."latest_quotes"', " Ask the lake's quotes. Its tables are"),
        ("lake.nonsense", " Its tables are: amendments"),
    ],
)
def test_a_table_of_postgres_has_its_counterpart_in_the_lake_named(
    settings: Settings, table: str, instead: str
) -> None:
    with pytest.raises(QueryError) as refused:
        ask_lake(settings, f"select count(*) from {table}", datetime.now(UTC))
    said, name = str(refused.value), table.replace('"', "")
    assert f"{name} is a table of PostgreSQL, which knows only the present; this asks the lake." in said
    assert instead in said


@pytest.mark.parametrize("table", [*POSTGRES_TABLES], ids=lambda table: table.name)
def test_every_table_that_the_stream_fills_in_postgres_has_a_counterpart(table: Table) -> None:
    if table not in {PG_SESSIONS, PG_TIERS}:
        assert INSTEAD[table.name] in {known.name for known in LAKE_TABLES}


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("statement", ["delete from trades where 1 = 1", "selec", "drop table trades"])
def test_only_questions_are_taken(settings: Settings, statement: str) -> None:
    with pytest.raises(QueryError, match="gives no rows"):
        ask_lake(settings, statement)


def test_without_a_lake_there_is_nothing_to_ask(settings: Settings) -> None:
    with pytest.raises(ServiceError, match=r"There is no lake at .*lake yet"):
        ask_lake(settings, COUNT)
    with pytest.raises(UsageError, match="The question is empty"):
        ask_lake(settings, " ")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-05T16:00", datetime(2026, 1, 5, 16, tzinfo=UTC)),
        ("2026-01-05 11:00:00.5-05:00", datetime(2026, 1, 5, 16, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_moment_without_a_zone_is_utc(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment


def test_what_is_no_moment_is_named() -> None:
    with pytest.raises(UsageError, match="'yesterday' is not a moment"):
        parse_moment("yesterday")
