"""How the marts are reached: lines that the tools' own readers take apart again, and a password only when it is asked for."""

import json
import shlex
import stat
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from cli.connect import lines_of
from cli.services import admit_analyst
from infra.local.home import Home
from market.settings import Settings, load_settings
from tests.unit.cli.conftest import CallCommand
from warehouse.analyst import Standing

SECRET = "p@ss/w:ord é"
WELL = Standing("db.firm", 5433, "Market Data", "require", exists=True, shortcomings=(), remedy=())
PLAIN = replace(WELL, database="tapehouse", sslmode=None)
ILL = replace(PLAIN, shortcomings=("its transactions may write",), remedy=("alter role analyst …;",))
ABSENT = replace(ILL, exists=False, shortcomings=())


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> list[Standing]:
    """What the database says of the role; a test may replace it."""
    said = [PLAIN]
    monkeypatch.setattr("warehouse.analyst.look_at_analyst", lambda _: said[-1])
    monkeypatch.setattr("warehouse.connection.login_refusal", lambda *_: None)
    return said


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = Home(tmp_path).analyst_password_file
    file.parent.mkdir()
    file.write_text(SECRET + "\n")
    return file


def test_each_tools_own_reader_finds_server_database_user_and_password_in_its_line() -> None:
    lines = lines_of(WELL, "/a home/pass", SECRET)
    for tool in ("SQLAlchemy", "Superset"):
        url = make_url(lines[tool])
        found = (url.host, url.port, url.database, url.username, url.password, url.query["sslmode"])
        assert found == ("db.firm", 5433, "Market Data", "analyst", SECRET, "require")
    environment, *command = shlex.split(lines["psql"])
    assert environment == "PGPASSWORD=$(cat '/a home/pass')"
    assert command[0] == "psql"
    psql = {"host": "db.firm", "port": "5433", "dbname": "Market Data", "user": "analyst", "sslmode": "require"}
    assert conninfo_to_dict(command[1]) == psql
    jdbc = urlsplit(lines["JDBC"].removeprefix("jdbc:"))
    assert (jdbc.hostname, jdbc.port, jdbc.path) == ("db.firm", 5433, "/Market%20Data")
    asked = {"user": ["analyst"], "password": [SECRET], "currentSchema": ["marts"], "sslmode": ["require"]}
    assert parse_qs(jdbc.query) == asked
    odbc = dict(part.split("=", 1) for part in lines["ODBC"].rstrip(";").split(";"))
    assert (odbc["Server"], odbc["Port"], odbc["Database"], odbc["Uid"]) == (
        "db.firm",
        "5433",
        "Market Data",
        "analyst",
    )


def test_every_tool_that_people_ask_for_has_a_line() -> None:
    tools = {"psql", "JDBC", "ODBC", "SQLAlchemy", "Superset", "Metabase", "Grafana", "Excel"}
    assert set(lines_of(PLAIN, None, None)) == tools
    assert all("analyst" in line and "127" not in line for line in lines_of(PLAIN, None, None).values())


def test_without_being_asked_it_shows_where_the_password_lies_and_not_the_password(
    standing: list[Standing], password_file: Path, call_command: CallCommand
) -> None:
    assert standing[-1].is_well
    for arguments in ((), ("--json",)):
        code, shown, _ = call_command("connect", *arguments)
        assert code == 0
        assert str(password_file) in shown
        assert "p%40ss" not in shown
        assert SECRET not in shown


def test_with_password_it_is_in_the_lines_and_in_the_object(
    standing: list[Standing], password_file: Path, call_command: CallCommand
) -> None:
    assert standing[-1].is_well
    assert "analyst:p%40ss%2Fw%3Aord%20%C3%A9@" in call_command("connect", "--password")[1]
    answer = json.loads(call_command("connect", "--password", "--json")[1])
    assert (answer["password"], answer["password_file"]) == (SECRET, str(password_file))
    assert (answer["host"], answer["port"], answer["database"], answer["schema"]) == (
        "db.firm",
        5433,
        "tapehouse",
        "marts",
    )


@pytest.mark.parametrize("said", [ILL, ABSENT])
def test_a_role_that_is_not_as_it_should_be_is_an_error_with_the_statements_that_mend_it(
    said: Standing, standing: list[Standing], call_command: CallCommand
) -> None:
    standing.append(said)
    code, _, problem = call_command("connect")
    assert code == 1
    assert "    alter role analyst …;" in problem
    assert json.loads(call_command("connect", "--json")[1])["remedy"] == ["alter role analyst …;"]


def test_a_password_that_does_not_work_is_an_error_that_names_its_file_and_the_remedy(
    standing: list[Standing], password_file: Path, call_command: CallCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Settings, user: str, password: str) -> str:
        return f"{user} {'has another one' if password == SECRET else 'was asked for a wrong one'}"

    assert standing[-1].is_well
    monkeypatch.setattr("warehouse.connection.login_refusal", refuse)
    code, shown, problem = call_command("connect")
    assert code == 1
    assert "SQLAlchemy" in shown
    assert f"it cannot log in with the password in {password_file}: analyst has another one. " in problem
    assert "If its password is another one" in problem
    code, shown, _ = call_command("connect", "--json")
    assert code == 1
    assert "analyst has another one" in json.loads(shown)["shortcomings"][0]


@pytest.mark.parametrize("command", ["connect", "docs"])
def test_where_nothing_runs_it_says_what_to_start(command: str, call_command: CallCommand) -> None:
    code, _, problem = call_command(command)
    assert code == 2
    assert "PostgreSQL is not running here and DATABASE_URL is not set. Start the platform with ./run up" in problem


def test_the_platform_starts_without_the_role_and_says_so_and_keeps_its_password_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def admit(_: Settings, secret: object, *, owns_server: bool) -> Standing:
        assert owns_server
        assert callable(secret)
        assert secret() == secret() == home.analyst_password_file.read_text().strip()
        return said

    home, said = Home(tmp_path), PLAIN
    monkeypatch.setattr("warehouse.analyst.admit_analyst", admit)
    assert admit_analyst(home, load_settings(), owns_server=True) == []
    assert stat.S_IMODE(home.analyst_password_file.stat().st_mode) == 0o600
    said = ABSENT
    (line,) = admit_analyst(home, load_settings(), owns_server=True)
    assert "./run connect says what to run" in line
