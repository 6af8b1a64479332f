"""The commands of rules, as users type them, on a real PostgreSQL."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from alerts.rules.rule import Rule
from alerts.store import PAUSED, add_rules, change_status, stored_rule
from cli.main import app
from market.settings import Settings

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)


@pytest.fixture
def database(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """No rule, and no channel that was added."""
    monkeypatch.setenv("DATABASE_URL", settings.require_database())
    monkeypatch.setenv("TAPEHOUSE_HOME", str(settings.home))
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute("truncate app.alert_rules, app.alert_rule_versions, app.alert_clauses, app.alert_channels")
        yield connection


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["alert", *arguments])


def said(*arguments: str) -> str:
    result = run(*arguments)
    return result.output + str(result.exception or "")


def test_a_rule_goes_to_channels_that_there_are_each_once(database: psycopg.Connection[Any]) -> None:
    refused = said("add", "r", "close above 5", "--channels", "log,mial")
    assert (
        "There is no channel 'mial'. The channels are: log, kafka. Add it first: ./run alert channel add mial URL"
        in refused
    )
    assert database.execute("select count(*) from app.alert_rules").fetchone() == (0,)
    run("channel", "add", "desk", "https://example.com/hook")
    assert run("add", "r", "close above 5", "--channels", "desk,Desk,log").exit_code == 0
    assert database.execute("select channels from app.alert_rule_versions").fetchall() == [(["desk", "log"],)]


def test_a_rule_that_has_expired_is_not_resumed_and_shows_when(
    database: psycopg.Connection[Any], settings: Settings
) -> None:
    expired = NOW - timedelta(days=2)
    add_rules(settings, [Rule("r", "close above 5", expires_at=expired)], expired - timedelta(days=1))
    change_status(settings, "r", PAUSED, expired - timedelta(hours=1))
    assert "The rule would never fire: it expires at" in said("resume", "r")
    assert database.execute("select status, version from app.alert_rules").fetchall() == [("paused", 1)]
    assert database.execute("select count(*) from app.alert_rule_versions").fetchone() == (1,)
    assert f"{expired:%Y-%m-%d}" in said("list")
    assert "expires_at" in said("list")


def test_what_has_not_expired_is_resumed(database: psycopg.Connection[Any]) -> None:
    run("add", "r", "close above 5", "--expires", "30d")
    run("pause", "r")
    assert said("resume", "r") == "r is active.\n"
    assert database.execute("select status, version from app.alert_rules").fetchall() == [("active", 2)]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("action", ["test", "backtest"])
def test_a_rule_is_tried_by_its_name(action: str) -> None:
    run("add", "dip", "rsi_14 below 30", "--interval", "5m")
    assert "There is no marts.intraday_analytics yet" in said(
        action, "dip"
    )  # it was found, and there is nothing to try it on
    assert "There is no rule 'dap'" in said(action, "dap")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "condition", ["obv new high of 20", "obv moves 5 in 3 bars and rsi_14 below 30", "rsi_14 below 30"]
)
@pytest.mark.parametrize("unstable", [False, True])
def test_a_rule_is_read_as_it_was_stored(settings: Settings, condition: str, unstable: bool) -> None:
    assert run("add", "r", condition, *(["--unstable"] if unstable else [])).exit_code == 0
    stored = stored_rule(settings, "r")
    assert stored is not None
    assert stored.clauses == Rule("r", condition, warm_up=not unstable).clauses
    (line,) = said("list", "--json").splitlines()
    assert json.loads(line)["condition"] == condition


def test_a_rule_about_what_is_not_computed_any_more_says_so(
    database: psycopg.Connection[Any], settings: Settings
) -> None:
    rules = [Rule("dip", "rsi_14 below 30", interval="1d"), Rule("rise", "average(close, 5) above 100")]
    add_rules(settings, rules, NOW)
    assert "cannot fire" not in said("list")
    database.execute("update app.alert_fields set field = 'rsi_99' where field = 'rsi_14'")  # as if its period had gone
    try:
        why = "rsi_99 is not computed: there is rsi_14. Add its period to the variable indicators"
        assert f"The rule dip cannot fire. {why}" in said("list")
        assert "rise cannot fire" not in said("list")
        assert why in said("show", "dip")
        listed = [json.loads(line) for line in run("list", "--json").output.splitlines()]
        assert {row["name"]: row["cannot_fire"] is None for row in listed} == {"dip": False, "rise": True}
        change_status(settings, "dip", PAUSED, NOW + timedelta(minutes=1))
        assert "cannot fire" not in said("list"), "nobody waits for it"
    finally:
        database.execute("update app.alert_fields set field = 'rsi_14' where field = 'rsi_99'")
