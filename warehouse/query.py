"""One question to PostgreSQL, asked by a user: read-only, one statement, answered row by row."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

import psycopg

from market.errors import QueryError, UsageError
from market.settings import Settings
from warehouse.connection import connect

_CHUNK_ROWS: Final = 500
_HAS_CHUNKS: Final = psycopg.pq.version() >= 170000  # noqa: PLR2004 - libpq 17


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns' names and the rows, which arrive as they are read."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def ask(settings: Settings, question: str, *, timeout_seconds: float) -> Iterator[Answer]:
    """Ask a question and give its answer while the context lasts.

    Nothing can be changed by it: the transaction is read-only, and a second statement is refused, so that none can end it.

    Raises
    ------
    UsageError
        If the question is empty.
    QueryError
        If PostgreSQL refuses it, also while rows are read: its message, the place in the question and its hint.
    ServiceError
        If the database cannot be reached.
    """
    if not question.strip().rstrip(";"):
        msg = 'The question is empty. Ask for example: ./run sql "select * from marts.realtime_prices"'
        raise UsageError(msg)
    with connect(settings, read_only=True, application_name="tapehouse sql") as connection:
        try:
            connection.execute(
                "select set_config('statement_timeout', %s, false)", [f"{round(timeout_seconds * 1000)}ms"]
            )
            cursor = connection.cursor()
            # A stream uses the extended protocol, which takes one statement only. It is closed before the connection:
            # while it is not read to its end it holds the connection's lock.
            stream = cursor.stream(question.encode(), size=_CHUNK_ROWS if _HAS_CHUNKS else 1)
            with closing(cast("Generator[tuple[Any, ...]]", stream)) as rows:
                yield _answer(cursor, question, rows)
        except psycopg.errors.QueryCanceled as error:
            msg = f"The question took longer than {timeout_seconds:g} s. Give it more time with --timeout, or ask for less."
            raise QueryError(msg) from error
        except psycopg.Error as error:
            raise QueryError(explain_error(error, question)) from error


def explain_error(error: psycopg.Error, question: str) -> str:
    """Return PostgreSQL's message with the line of the question that it points at, its detail and its hint."""
    diagnosis = error.diag
    if "didn't produce a result" in str(error):
        return "That statement gives no rows. Ask with select, with, values, show or explain."
    parts = [f"PostgreSQL says: {diagnosis.message_primary or str(error).strip()}."]
    if diagnosis.statement_position:
        parts.append(_point_at(question, int(diagnosis.statement_position) - 1))
    parts += [text for text in (diagnosis.message_detail, diagnosis.message_hint) if text]
    return "\n".join(parts)


def _answer(cursor: psycopg.Cursor[tuple[Any, ...]], question: str, rows: Iterator[tuple[Any, ...]]) -> Answer:
    first = next(rows, None)
    if first is None:
        # An empty stream does not tell its columns: asking again, and getting nothing again, does.
        cursor.execute(question.encode(), prepare=True)
        return Answer(_names(cursor), iter(()))
    return Answer(_names(cursor), chain([first], rows))


def _names(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(column.name for column in cursor.description or ())


def _point_at(question: str, position: int) -> str:
    before = question[:position]
    line_number = before.count("\n") + 1
    column = position - (before.rfind("\n") + 1)
    line = question.split("\n")[line_number - 1]
    return f"line {line_number}: {line}\n{' ' * (len(f'line {line_number}: ') + column)}^"
