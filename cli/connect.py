"""``./run connect``: how a BI tool, or anything that speaks to PostgreSQL, reaches the marts."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

import typer

if TYPE_CHECKING:
    from warehouse.analyst import Standing

SCHEMA: Final = "marts"
_NOT_SHOWN: Final = "PASSWORD"
"""What stands where a tool wants the password."""

_LOGIN_REMEDY: Final = (
    "If its password is another one, for whoever knows it can change it: ./run down and ./run up give it the one in the file "
    "again; on a server of your own let a superuser do so: \\password analyst in psql."
)


def connect(
    *,
    password: Annotated[
        bool, typer.Option("--password", help="Show the password in the lines; otherwise they say where it lies.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print how to connect to the marts: psql, JDBC, ODBC, SQLAlchemy, Superset, Metabase, Grafana, Excel.

    The role is analyst: it reads the schema marts, all of it and nothing else. Exits 1 if it is not there, or has other rights
    than that, and says which statements mend it; and if it cannot log in with the password that lies here.
    """
    from infra.local.home import Home, connected_settings
    from market.settings import load_settings
    from warehouse.analyst import ROLE, look_at_analyst
    from warehouse.connection import login_refusal

    settings = connected_settings(load_settings())
    standing = look_at_analyst(settings)
    file = Home(settings.home).analyst_password_file
    secret = file.read_text().strip() if password and file.is_file() else None
    place = str(file) if file.is_file() else None
    refusal = login_refusal(settings, ROLE, file.read_text().strip()) if standing.exists and place else None
    problems = [] if refusal is None else [f"it cannot log in with the password in {file}: {refusal}"]
    if json_output:
        typer.echo(json.dumps(as_json(standing, place, secret, problems), indent=2))
    else:
        _show(standing, place, secret)
        for problem in problems:
            typer.echo(f"The role {ROLE} is not as it should be: {problem}. {_LOGIN_REMEDY}", err=True)
    if problems or not standing.is_well:
        raise typer.Exit(1)


def as_json(
    standing: "Standing", password_file: str | None, secret: str | None, problems: Sequence[str] = ()
) -> dict[str, object]:
    """Return everything for a program; the password only where it was asked for. Problems are those of the login."""
    from warehouse.analyst import ROLE

    answer: dict[str, object] = {
        "host": standing.host,
        "port": standing.port,
        "database": standing.database,
        "schema": SCHEMA,
        "user": ROLE,
        "password_file": password_file,
        "sslmode": standing.sslmode,
        "lines": lines_of(standing, password_file, secret),
        "shortcomings": [*standing.shortcomings, *problems],
        "remedy": list(standing.remedy),
    }
    return answer | ({"password": secret} if secret is not None else {})


def lines_of(standing: "Standing", password_file: str | None, secret: str | None) -> Mapping[str, str]:
    """Return by tool the line, or what to fill in."""
    from warehouse.analyst import ROLE

    host, port, database, mode = standing.host, standing.port, standing.database, standing.sslmode
    plain = secret if secret is not None else _NOT_SHOWN
    in_url, name = quote(plain, safe=""), quote(database, safe="")
    # SQLAlchemy takes the name of the database as it stands.
    url = f"{ROLE}:{in_url}@{host}:{port}/{database}{f'?sslmode={mode}' if mode else ''}"
    libpq = f"host={host} port={port} dbname={_quoted(database)} user={ROLE}{f' sslmode={mode}' if mode else ''}"
    from_file = f'PGPASSWORD="$(cat {shlex.quote(password_file)})" ' if password_file is not None else ""
    jdbc = f"jdbc:postgresql://{host}:{port}/{name}?user={ROLE}&password={in_url}&currentSchema={SCHEMA}"
    odbc = f"Driver={{PostgreSQL Unicode}};Server={host};Port={port};Database={database};ReadOnly=1;"
    odbc += f"SSLmode={mode};" if mode else ""
    fields = f"Database {database} · User {ROLE} · Password {plain}"
    return {
        "psql": f'{from_file}psql "{libpq}"',
        "JDBC": jdbc + (f"&sslmode={mode}" if mode else ""),
        "ODBC": f"{odbc}Uid={ROLE};Pwd={plain};",
        "SQLAlchemy": f"postgresql+psycopg://{url}",
        "Superset": f"postgresql+psycopg2://{url}",
        "Metabase": f"PostgreSQL · Host {host} · Port {port} · {fields} · Schemas {SCHEMA} · SSL {mode or 'off'}",
        "Grafana": f"PostgreSQL · Host {host}:{port} · {fields} · TLS/SSL {mode or 'disable'}",
        "Excel": f"Get Data, From ODBC · Connection string {odbc} · Database credentials {ROLE}, {plain}",
    }


def _show(standing: "Standing", password_file: str | None, secret: str | None) -> None:
    from warehouse.analyst import ROLE

    for tool, line in lines_of(standing, password_file, secret).items():
        typer.echo(f"{tool:<12}{line}")
    typer.echo()
    if secret is None:
        where = (
            f"in {password_file}"
            if password_file is not None
            else "with whoever made the role: it was not made by this home"
        )
        typer.echo(
            f"The password of {ROLE} is {where}. docs/bi.md says what the role may do, and what each tool wants."
        )
    if standing.is_well:
        return
    why = "; ".join(standing.shortcomings) or "there is none, or one that was not made for Tapehouse"
    typer.echo(
        f"The role {ROLE} is not as it should be: {why}. Let a superuser run, in the database {standing.database}:",
        err=True,
    )
    for statement in standing.remedy:
        typer.echo(f"    {statement}", err=True)


def _quoted(value: str) -> str:
    """Return a value as a connection string has it."""
    return value if value.replace("_", "").isalnum() else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
