"""Reports on a real PostgreSQL: figures equal to polars on the days that were put in, and what a correction makes of a report."""

import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from alerts.delivery.channel_store import add_channel
from alerts.delivery.channels.channel import ChannelSettings
from alerts.evaluation.evaluate import evaluate
from alerts.reports.document import Report, Row, Table, blocks
from alerts.reports.made import Made
from alerts.reports.make import make_report, send_report
from alerts.reports.period import MONTH, SESSION, WEEK, period_of
from alerts.reports.reading import read_facts
from alerts.rules.rule import Rule
from alerts.store import add_rules
from cli.main import app
from market.errors import NoDataError
from market.sessions import sessions_between
from market.settings import Settings
from tests.integration.alert_rows import MADE, forget_rules
from tests.integration.analytics_oracle import Day
from tests.integration.analytics_rows import put_days, walk
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import put_bar
from tests.integration.relays import relaying, wait_until
from tests.receivers import receiving
from tests.unit.alerts.reports.report_pages import Page, paper, squeezed

pytestmark = pytest.mark.integration

HALF_DAY = date(2013, 11, 29)
SESSIONS = [session.session_date for session in sessions_between(date(2013, 8, 1), HALF_DAY)]
WEEK_DAYS = [date(2013, 11, day) for day in (25, 26, 27, 29)]
EVENING = session_of(HALF_DAY).post_close_at
NEXT_DAY = EVENING + timedelta(hours=12)
REAL = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
MADE_UP = ("XXX", "YYY")
UNTIL = 120
LAST = 209
"""The feed of AAA was down from the one minute until the other, the last of a half-day."""


@pytest.fixture
def days(connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> dict[str, list[Day]]:
    """A market of days, minutes of one symbol of the last session, and rules; all built and evaluated."""
    forget_rules(connection, dbt)
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    companies = {symbol: walk(chance, symbol, "50", SESSIONS) for symbol in (*REAL, *MADE_UP)}
    companies["FFF"] = companies["FFF"][-1:]  # nothing to be compared with
    for symbol, some in companies.items():
        put_days(connection, some, source="lean" if symbol in REAL else "simulated")
    opening = session_of(HALF_DAY).open_at
    for minute in (*range(UNTIL), LAST):
        close = Decimal(50 + minute % 7)
        put_bar(connection, "lean", "AAA", opening + timedelta(minutes=minute), (close, close + 1, close - 1, close))
    connection.execute(
        "insert into lake.feed_coverage values ('lean', 'AAA', %s, "
        "tstzmultirange(tstzrange(%s, %s), tstzrange(%s, %s)))",
        [HALF_DAY, *(opening + timedelta(minutes=minute) for minute in (0, UNTIL, LAST, LAST + 1))],
    )
    rules = (
        Rule("five", "close above 54", "AAA", "5m"),
        Rule("never", "close above 1000000", "all", "5m"),
        Rule("often", "close above 1", "AAA", "5m", is_edge=False),
    )
    add_rules(settings, rules, MADE)
    dbt("run")
    evaluate(settings, EVENING)
    return companies


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with an empty home, so that no report is there yet."""
    return settings.model_copy(update={"home": tmp_path})


def tables(report: Report) -> dict[str, Table]:
    return {block.key: block for block in blocks(report.chapters) if isinstance(block, Table)}


def row_of(report: Report, table: str, key: str) -> Row:
    (row,) = (row for row in tables(report)[table].rows if row.key == key)
    return row


def cells(report: Report, table: str) -> list[tuple[str, ...]]:
    return [row.cells for row in tables(report)[table].rows]


def stored_days(connection: psycopg.Connection[Any]) -> pl.DataFrame:
    """Return the days as they were put in, with change and usual volume worked out by polars; no action adjusts them."""
    rows = read(connection, "select symbol, source, session_date, close, volume from lake.vendor_bars")
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("close", "volume").cast(pl.Float64))
    return frame.sort("symbol", "session_date").with_columns(
        (100 * (pl.col("close") / pl.col("close").shift(1) - 1)).over("symbol").alias("change"),
        (pl.col("volume") / pl.col("volume").shift(1).rolling_mean(20)).over("symbol").alias("ratio"),
        pl.col("close").shift(1).over("symbol").alias("before"),
    )


def signed(value: float) -> str:
    return f"{value:+.2f} %".replace("-", "\N{MINUS SIGN}") if round(value, 2) else "0.00 %"


def expected_ranking(frame: pl.DataFrame, by: pl.Expr) -> list[str]:
    ranked = frame.with_columns(by.alias("measure")).filter(pl.col("measure") > 0)
    return ranked.sort("measure", "symbol", descending=[True, False])["symbol"].head(10).to_list()


def assert_movers(report: Report, frame: pl.DataFrame, population: str) -> None:
    measures = {"gainers": pl.col("change"), "losers": -pl.col("change"), "most_active": pl.col("volume")}
    for ranking, by in (measures | {"unusual_volume": pl.col("ratio")}).items():
        assert [row[0] for row in cells(report, f"{ranking}_{population}")] == expected_ranking(frame, by), ranking
    for symbol, close, change, volume, ratio in cells(report, f"most_active_{population}"):
        expected = frame.row(by_predicate=pl.col("symbol") == symbol, named=True)
        assert close == f"{expected['close']:,.2f}"
        assert change == (signed(expected["change"]) if expected["change"] is not None else "\N{EN DASH}")
        assert volume == f"{int(expected['volume']):,}"
        assert ratio == (
            f"{expected['ratio']:.2f}\N{MULTIPLICATION SIGN}" if expected["ratio"] is not None else "\N{EN DASH}"
        )


def test_a_session_is_as_polars_has_it_and_the_same_on_page_and_paper(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], home: Settings
) -> None:
    assert days
    made = make_report(home, NEXT_DAY, SESSION, HALF_DAY)
    report, frame = made.report, stored_days(connection).filter(pl.col("session_date") == HALF_DAY)
    for population, source, number in (("real", "lean", 6), ("simulated", "simulated", 2)):
        some = frame.filter(pl.col("source") == source)
        assert_movers(report, some, population)
        changes = some["change"].drop_nulls()
        said = {row.key: row.cells[1] for row in tables(report)[f"summary_{population}"].rows}
        assert said["symbols"] == str(number)
        assert said["advancing"] == str((changes > 0).sum())
        assert said["declining"] == str((changes < 0).sum())
        assert said["median"] == signed(float(changes.median()))  # type: ignore[arg-type]
        assert said["mean"] == signed(float(changes.mean()))  # type: ignore[arg-type]
        assert said["volume"] == f"{int(some['volume'].sum()):,}"
    ranks = read(
        connection, "select ranking, symbol from marts.top_movers where not is_simulated order by ranking, rank"
    )
    for ranking in ("gainers", "losers", "most_active", "unusual_volume"):
        assert [row[0] for row in cells(report, f"{ranking}_real")] == [
            row["symbol"] for row in ranks if row["ranking"] == ranking
        ]
    pages, text = paper(made.paper.read_bytes())
    shown = squeezed("".join(Page(made.page.read_text()).words))
    assert pages > 1
    for table in tables(report).values():
        for row in table.rows:
            assert all(squeezed(cell) in text and squeezed(cell) in shown for cell in row.cells), row


def test_minutes_that_a_feed_did_not_cover_are_missing_with_their_reason(
    days: dict[str, list[Day]], home: Settings
) -> None:
    assert days
    report = make_report(home, NEXT_DAY, SESSION, HALF_DAY).report
    assert row_of(report, "feeds", "expected_minutes").cells[1] == "210"
    assert row_of(report, "feeds", "present_minutes").cells[1] == str(UNTIL + 1)
    assert row_of(report, "feeds", "feed_down_minutes").cells[1] == str(LAST - UNTIL)
    assert row_of(report, "feeds", "coverage").cells[1] == f"{100 * (UNTIL + 1) / 210:.2f} %"
    assert cells(report, "reasons") == [("lean", "feed down", "1", "89")]
    assert cells(report, "longest") == [("11:30", "12:59", "AAA", "feed down (lean)", "89")]


def test_alerts_and_rules_are_those_of_the_tables(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], home: Settings
) -> None:
    assert days
    report = make_report(home, NEXT_DAY, SESSION, HALF_DAY).report
    counts = dict(connection.execute("select rule_name, count(*) from app.alerts group by 1").fetchall())
    assert counts["often"] == UNTIL / 5 + 1
    assert counts["five"] > 0
    said = {row[0]: (row[2], row[5]) for row in cells(report, "rules")}
    assert said == {
        "five": (str(counts["five"]), ""),
        "never": ("0", "never fired"),
        "often": (str(counts["often"]), "fires too often"),
    }
    assert f"{sum(counts.values())} alerts fired, 0 retracted" in report.headline


def test_a_week_and_a_month_have_what_their_sessions_come_to(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], home: Settings
) -> None:
    assert days
    frame = stored_days(connection)
    for kind, first in ((WEEK, WEEK_DAYS[0]), (MONTH, date(2013, 11, 1))):
        report = make_report(home, NEXT_DAY, kind, HALF_DAY).report
        some = frame.filter((pl.col("session_date") >= first) & (pl.col("source") == "lean"))
        whole = some.group_by("symbol", maintain_order=True).agg(
            pl.col("close").last(),
            (100 * (pl.col("close").last() / pl.col("before").first() - 1)).alias("change"),
            pl.col("volume").sum(),
            pl.col("ratio").mean(),
        )
        assert_movers(report, whole, "real")
        by_session = (
            some.group_by("session_date").agg(pl.col("change").median(), pl.col("volume").sum()).sort("session_date")
        )
        assert [(row[2], row[4]) for row in cells(report, "sessions_real")] == [
            (signed(change), f"{int(volume):,}") for _, change, volume in by_session.iter_rows()
        ]
    assert [row[0] for row in cells(make_report(home, NEXT_DAY, WEEK, HALF_DAY).report, "sessions_real")] == [
        "Mon 25 Nov",
        "Tue 26 Nov",
        "Wed 27 Nov",
        "Fri 29 Nov",
    ]


def test_a_correction_after_the_report_retracts_the_alert_and_makes_a_revision_that_tells_both(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], dbt: Dbt, settings: Settings, home: Settings
) -> None:
    first = make_report(home, NEXT_DAY, SESSION, HALF_DAY)
    assert (first.report.revision, first.is_new) == (1, True)
    again = make_report(home, NEXT_DAY + timedelta(minutes=5), SESSION, HALF_DAY)
    assert (again.report.revision, again.is_new) == (1, False)

    last = days["BBB"][-1]
    last.close = last.close * 2
    put_days(connection, [last])
    low = Decimal(20)
    for minute in (*range(UNTIL), LAST):
        at = session_of(HALF_DAY).open_at + timedelta(minutes=minute)
        put_bar(
            connection, "lean", "AAA", at, (low, low, low, low), revision=2, revised_at=datetime(2026, 1, 2, tzinfo=UTC)
        )
    dbt("run")
    evaluate(settings, EVENING)

    made = make_report(home, NEXT_DAY + timedelta(hours=1), SESSION, HALF_DAY)
    assert (made.report.revision, made.is_new) == (2, True)
    changed = {change.where: (change.before, change.after) for change in made.report.changes}
    before = row_of(first.report, "most_active_real", "BBB").cells[1]
    assert f"Close {before}, " in changed["Movers, Most active: real symbols: BBB"][0]
    assert f"Close {last.close:,.2f}, " in changed["Movers, Most active: real symbols: BBB"][1]
    assert f"Charts: BBB, days, the last {len(SESSIONS)}" in "".join(changed)
    ((taken_back,),) = connection.execute("select count(*) from app.alerts where kind = 'retraction'").fetchall()
    assert taken_back > 0
    assert f", {taken_back} retracted" in " ".join(made.report.headline)
    assert len(cells(made.report, "retracted")) == taken_back
    text = squeezed("".join(Page(made.page.read_text()).words))
    assert "Sincerevision1" in text
    assert json.loads((made.folder / "revisions" / "2013-11-29-r1" / "report.json").read_text())["revision"] == 1


def test_every_figure_is_of_one_moment(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed while a report is read is in none of its figures."""
    assert days
    from alerts.reports import reading

    asked: list[str] = []
    answer = reading._rows

    def answer_and_meddle(session: Any, query: str, values: Any) -> Any:
        found = answer(session, query, values)
        asked.append(query)
        connection.execute("delete from app.alerts")
        connection.execute("update app.alert_rules set status = 'ended'")
        return found

    monkeypatch.setattr(reading, "_rows", answer_and_meddle)
    facts = read_facts(home, period_of(SESSION, HALF_DAY, NEXT_DAY))
    assert len(asked) > 5
    assert len(facts.alerts) > 0
    assert len(facts.rules) == 3
    assert sum(rule["fired"] for rule in facts.rules) == len(facts.alerts)
    monkeypatch.undo()
    after = read_facts(home, period_of(SESSION, HALF_DAY, NEXT_DAY))
    assert (len(after.alerts), len(after.rules)) == (0, 0)


def test_the_run_that_built_a_mart_is_named(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], home: Settings
) -> None:
    assert days
    connection.execute(
        'create table dagster.event_logs (id bigint, run_id text, dagster_event_type text, asset_key text, "timestamp" timestamp)'
    )
    for number, run in enumerate(("11111111-old", "22222222-new")):
        connection.execute(
            "insert into dagster.event_logs values (%s, %s, 'ASSET_MATERIALIZATION', %s, '2013-11-30 01:02:03')",
            [number, run, '["marts", "daily_analytics"]'],
        )
    try:
        report = make_report(home, NEXT_DAY, SESSION, HALF_DAY).report
    finally:
        connection.execute("drop table dagster.event_logs")
    gainers = tables(report)["most_active_real"]
    assert "built by Dagster run 22222222, 2013-11-30 01:02:03 UTC" in gainers.sources[0].says()
    assert row_of(report, "tables", "marts.daily_analytics").cells[3] == "22222222-new"
    assert row_of(report, "tables", "marts.data_quality").cells[3] == "not by Dagster"


def test_a_session_without_data_is_refused_with_what_to_do(days: dict[str, list[Day]], home: Settings) -> None:
    assert days
    with pytest.raises(
        NoDataError, match="no data of 2012-01-03; the newest session with data is 2013-11-29"
    ) as caught:
        make_report(home, NEXT_DAY, SESSION, date(2012, 1, 3))
    assert "./run backfill --feed yahoo --start 2012-01-03 --end 2012-01-03" in str(caught.value)
    assert caught.value.exit_code == 2
    assert not (home.home / "reports").exists()


def test_the_command_prints_where_the_report_is(
    days: dict[str, list[Day]], home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert days
    monkeypatch.setenv("DATABASE_URL", home.require_database())
    monkeypatch.setenv("TAPEHOUSE_HOME", str(home.home))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["report", *arguments])

    page = home.home / "reports" / "2013-11-29" / "report.html"
    assert run("--open-path").output.strip() == str(page)  # the newest session with data
    said = run("--session", "2013-11-29").output
    assert "nothing changed since revision 1" in said
    assert str(page.with_name("report.pdf")) in said
    assert run("--week", "--session", "2013-11-27", "--open-path").output.strip().endswith("2013-W48/report.html")
    assert run("--month", "--session", "2013-11-27", "--open-path").output.strip().endswith("2013-11/report.html")
    for wrong in (("--session", "x"), ("--week", "--month"), ("--session", "2013-12-01"), ("--session", "2012-01-03")):
        failed = run(*wrong)
        assert getattr(failed.exception, "exit_code", None) == 2, wrong


def test_a_revision_is_sent_once_with_its_own_page(
    connection: psycopg.Connection[Any], days: dict[str, list[Day]], dbt: Dbt, settings: Settings, home: Settings
) -> None:
    connection.execute("truncate app.notices, app.alert_channels")
    connection.execute("truncate app.alert_outbox")
    with receiving() as receiver, relaying(settings):
        channel = ChannelSettings("desk", SecretStr(receiver.url), is_private_allowed=True, is_for_reports=True)
        add_channel(settings, channel, NEXT_DAY)
        first = make_report(home, NEXT_DAY, SESSION, HALF_DAY)
        assert send_report(home, first, NEXT_DAY)
        assert not send_report(home, make_report(home, NEXT_DAY, SESSION, HALF_DAY), NEXT_DAY)
        wait_until(lambda: len(receiver.requests) == 1)
        days["BBB"][-1].close *= 2
        put_days(connection, days["BBB"][-1:])
        dbt("run")
        assert send_report(home, make_report(home, NEXT_DAY, SESSION, HALF_DAY), NEXT_DAY)
        wait_until(lambda: len(receiver.requests) == 2)
    bodies = [json.loads(request.body) for request in receiver.requests]
    assert [Path(body["notice"]["path"]).parent.name for body in bodies] == ["2013-11-29-r1", "2013-11-29-r2"]
    assert all(Path(body["notice"]["path"]).is_file() for body in bodies)
    assert bodies[0]["kind"] == "report"
    assert first.report.headline[0] in bodies[0]["text"]
    assert "figures are not as they were" in bodies[1]["text"]


def test_what_is_made_leads_to_its_files(days: dict[str, list[Day]], home: Settings) -> None:
    assert days
    made: Made = make_report(home, NEXT_DAY)
    assert made.report.name == "2013-11-29"
    assert all(path.is_file() for path in (made.page, made.paper, made.index))
