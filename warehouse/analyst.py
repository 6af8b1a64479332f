"""The role ``analyst``: it reads the schema ``marts``, all of it and nothing else, for BI tools and people.

What belongs here: the role, its rights and its limits, and a look at whether they hold. Where its password lies is for those
who have a home to say (:mod:`cli.services`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier, Literal

from market.settings import Settings
from warehouse.connection import connect

ROLE: Final = "analyst"
CONNECTIONS: Final = 40
"""Of the hundred that the embedded server accepts: pools of BI tools must not keep the stream out."""

_MARK: Final = "Reads the marts of Tapehouse."
"""The role's comment: a role of the same name that somebody else made for something else gets no rights from us."""
_LARGE_OBJECT_WRITERS: Final = (
    *("lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)"),
    *("lo_put(oid, bigint, bytea)", "lowrite(integer, bytea)", "lo_truncate(integer, integer)", "lo_unlink(oid)"),
)
_ADVISORY_LOCKS: Final = tuple(
    f"pg_{how}advisory_{whose}lock{shared}({key})"
    for how in ("", "try_")
    for whose in ("", "xact_")
    for shared in ("", "_shared")
    for key in ("bigint", "integer, integer")
)
"""With one of a build's name anybody could hold the build up."""

_CLOSE_THE_LOG: Final = """
do $$
declare
    writer regprocedure;
begin
    for writer in select oid from pg_proc where proname = 'pg_logical_emit_message' loop
        execute format('revoke execute on function %s from public', writer);
    end loop;
end
$$
"""
"""Whoever may write messages into the write-ahead log can fill the disk; their arguments differ by release."""

_Statements = list[Composed]

# What differs from the contract, in the order in which it is mended: a text each. The first of them hides the others.
_CHECKS: Final = """
with role as (select * from pg_roles where rolname = %(role)s),
schemas as (select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'),
relations as (
    select c.oid, format('%%I.%%I', s.nspname, c.relname) as name, s.nspname, c.relname
    from pg_class as c join schemas as s on s.oid = c.relnamespace
    where c.relkind in ('r', 'v', 'm', 'p', 'f')
),
settings as (
    select split_part(setting, '=', 1) as name, split_part(setting, '=', 2) as value
    from pg_db_role_setting cross join unnest(setconfig) as setting
    where setrole = (select oid from role) and setdatabase in (
        0, (select oid from pg_database where datname = current_database())
    )
)
select 1, 'the role may not log in' from role where not rolcanlogin
union all
select 2, 'the role is a superuser, or may make roles or databases, replicate, or pass over row security' from role
where rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls
union all
select 3, 'the role has the rights of ' || string_agg(roleid::regrole::text, ', ')
from pg_auth_members where member = (select oid from role) having count(*) > 0
union all
select 4, 'it may not connect' from role where not has_database_privilege(oid, current_database(), 'connect')
union all
select 5, 'it may not use the schema marts' from role cross join schemas
where nspname = 'marts' and not has_schema_privilege(role.oid, schemas.oid, 'usage')
union all
select 6, 'it may not read ' || string_agg(name, ', ' order by name) from role cross join relations
where nspname = 'marts' and relname !~ '__dbt_' and not has_table_privilege(role.oid, relations.oid, 'select') having count(*) > 0
union all
select 7, 'it may use the schema ' || string_agg(nspname, ', ' order by nspname) from role cross join schemas
where nspname not in ('marts', 'public') and has_schema_privilege(role.oid, schemas.oid, 'usage') having count(*) > 0
union all
select 8, 'it may make tables in the schema ' || string_agg(nspname, ', ' order by nspname) from role cross join schemas
where has_schema_privilege(role.oid, schemas.oid, 'create') having count(*) > 0
union all
select 9, 'it may write ' || string_agg(name, ', ' order by name) from role cross join relations
where has_table_privilege(role.oid, relations.oid, 'insert, update, delete, truncate, trigger') having count(*) > 0
union all
select 10, 'it may make temporary tables' from role where has_database_privilege(oid, current_database(), 'temporary')
union all
select 11, 'its transactions may write'
from role where not exists (select from settings where name = 'default_transaction_read_only' and value = 'on')
union all
select 12, 'its questions have no time limit' from role
where not exists (select from settings where name = 'statement_timeout' and value !~ '^0')
union all
select 13, 'its sessions find other tables than those of marts first'
from role where exists (select from settings where name = 'search_path' and value <> 'marts')
order by 1
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the role stands in a database.

    Attributes
    ----------
    host, port, database, sslmode
        Where the database is, for a client of the role.
    exists
        Whether there is such a role, made for this purpose.
    shortcomings
        What differs from the contract, in plain words; empty if nothing does, and where there is no role.
    remedy
        The statements that a superuser may run to mend it; empty where nothing differs.
    """

    host: str
    port: int
    database: str
    sslmode: str | None
    exists: bool
    shortcomings: tuple[str, ...]
    remedy: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether the role is there and has exactly its rights."""
        return self.exists and not self.shortcomings


def admit_analyst(settings: Settings, secret: Callable[[], str], *, owns_server: bool) -> Standing:
    """Let the role read the marts, those to come included, as far as we may; repeating it changes nothing.

    Parameters
    ----------
    settings
        Say where the database is, and how long a question may take.
    secret
        Gives the role's password; called only where the role gets it.
    owns_server
        Whether the server is ours alone. Then the role's password is set each time, and whatever PostgreSQL gives everybody by
        default is taken away: temporary tables, the schema public, other databases, large objects. On a server of the user's own
        that may be somebody else's need: only the role is made, if it is not there, and gets its rights.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, application_name="tapehouse analyst") as connection:
        exists = _exists(connection)
        if owns_server or not exists:
            _try(connection, lambda: _make(connection, secret(), exists=exists))
        if _is_marked(connection):
            database = Identifier(connection.info.dbname)
            for statements in (
                [*_grants(database), *_default_privileges()],
                _limits(database, settings),
                _closed_doors(database) if owns_server else [],
            ):
                _try(connection, partial(_run, connection, statements))
        return _standing(connection, settings)


def look_at_analyst(settings: Settings) -> Standing:
    """Return how the role stands, without changing anything.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse connect") as connection:
        return _standing(connection, settings)


def _standing(connection: Connection[Any], settings: Settings) -> Standing:
    exists = _is_marked(connection)
    shortcomings = tuple(text for _, text in connection.execute(_CHECKS, {"role": ROLE})) if exists else ()
    remedy: _Statements = []
    if not exists or shortcomings:
        database = Identifier(connection.info.dbname)
        remedy = [] if exists else _creation(exists=_exists(connection))
        remedy += [*_limits(database, settings), *_grants(database), *_default_privileges(connection.info.user)]
        remedy.append(SQL("revoke temporary on database {} from public").format(database))
    parameters = conninfo_to_dict(settings.require_database())
    return Standing(
        host=str(parameters.get("host") or connection.info.host),
        port=connection.info.port,
        database=connection.info.dbname,
        sslmode=parameters.get("sslmode"),  # type: ignore[arg-type]
        exists=exists,
        shortcomings=shortcomings,
        remedy=tuple(statement.as_string(connection) + ";" for statement in remedy),
    )


def _exists(connection: Connection[Any]) -> bool:
    return connection.execute("select from pg_roles where rolname = %s", [ROLE]).fetchone() is not None


def _is_marked(connection: Connection[Any]) -> bool:
    query = "select from pg_roles where rolname = %s and shobj_description(oid, 'pg_authid') = %s"
    return connection.execute(query, [ROLE, _MARK]).fetchone() is not None


def _make(connection: Connection[Any], password: str, *, exists: bool) -> None:
    # What is sent is the digest: a statement can end up in a log.
    digest = connection.pgconn.encrypt_password(password.encode(), ROLE.encode(), b"scram-sha-256").decode()
    _run(connection, _creation(exists=exists, password=digest))


def _creation(*, exists: bool, password: str = "choose a long one") -> _Statements:  # noqa: S107 - shown, not used
    role = Identifier(ROLE)
    how = SQL("login nosuperuser nocreatedb nocreaterole connection limit {} password {}").format(CONNECTIONS, password)
    verb = SQL("alter role") if exists else SQL("create role")
    return [
        SQL("{} {} {}").format(verb, role, how),
        SQL("comment on role {} is {}").format(role, Literal(_MARK)),
    ]


def _grants(database: Identifier) -> _Statements:
    role = Identifier(ROLE)
    return [
        SQL("grant connect on database {} to {}").format(database, role),
        SQL("grant usage on schema marts to {}").format(role),
        SQL("grant select on all tables in schema marts to {}").format(role),
        SQL("grant execute on all functions in schema marts to {}").format(role),
    ]


def _default_privileges(owner: str | None = None) -> _Statements:
    """Return what gives the role its rights on what is made later, by dbt for example.

    dbt's own ``grants`` would do so after each model, but they fail where there is no such role, and they take away what an owner
    gave others.
    """
    of = SQL("for role {} ").format(Identifier(owner)) if owner else SQL("")
    kinds = (("select", "tables"), ("execute", "functions"))
    text = "alter default privileges {}in schema marts grant {} on {} to {}"
    return [SQL(text).format(of, SQL(right), SQL(kind), Identifier(ROLE)) for right, kind in kinds]


def _limits(database: Identifier, settings: Settings) -> _Statements:
    """Return the defaults of the role's sessions in this database; other databases of the server keep theirs."""
    values = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{settings.analyst_timeout_seconds}s",
        "idle_in_transaction_session_timeout": "10min",  # an open reader keeps a mart from being replaced
        "search_path": "marts",
    }
    alter = SQL("alter role {} in database {} set {} = {}")
    return [
        alter.format(Identifier(ROLE), database, Identifier(name), Literal(value)) for name, value in values.items()
    ]


def _closed_doors(database: Identifier) -> _Statements:
    """Return what takes away what everybody may do by default; the platform itself is the superuser and needs none of it."""
    return [
        *(SQL("revoke all on database {} from public").format(name) for name in (database, *_maintenance_databases())),
        SQL("revoke all on schema {} from public").format(Identifier("public")),
        *(
            SQL("revoke execute on function pg_catalog.{} from public").format(SQL(name))
            for name in (*_LARGE_OBJECT_WRITERS, *_ADVISORY_LOCKS)
        ),
        SQL(_CLOSE_THE_LOG).format(),
        # A question that sorts more than this on disk would rather be asked otherwise.
        SQL("alter role {} set temp_file_limit = '4GB'").format(Identifier(ROLE)),
    ]


def _maintenance_databases() -> tuple[Identifier, ...]:
    return Identifier("postgres"), Identifier("template1")


def _run(connection: Connection[Any], statements: _Statements) -> None:
    for statement in statements:
        connection.execute(statement)


def _try(connection: Connection[Any], work: Callable[[], None]) -> None:
    """Do what we may: what is refused stays as it was, and is said by a look at the outcome."""
    try:
        with connection.transaction():
            work()
    except psycopg.errors.InsufficientPrivilege:
        return
