"""How an answer is written: table, CSV, JSON lines."""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from cli.sql import write_csv, write_json_lines, write_table
from market.errors import UsageError
from warehouse.query import Answer

ROW = ("IBM", Decimal("181.900000"), None, True, date(2013, 10, 7), datetime(2013, 10, 7, 13, 30, tzinfo=UTC))
COLUMNS = ("symbol", "price", "bid", "is_final", "session_date", "bar_at")


def answer(*rows: tuple[Any, ...], columns: tuple[str, ...] = COLUMNS) -> Answer:
    return Answer(columns, iter(rows))


def test_csv_has_a_header_keeps_every_digit_and_leaves_null_empty() -> None:
    out = io.StringIO()
    write_csv(answer(ROW), out)
    assert out.getvalue() == (
        "symbol,price,bid,is_final,session_date,bar_at\nIBM,181.900000,,true,2013-10-07,2013-10-07 13:30:00+00:00\n"
    )


def test_json_lines_keep_every_digit_of_a_decimal() -> None:
    out = io.StringIO()
    write_json_lines(answer(ROW), out)
    assert json.loads(out.getvalue(), parse_float=Decimal) == {
        "symbol": "IBM",
        "price": Decimal("181.900000"),
        "bid": None,
        "is_final": True,
        "session_date": "2013-10-07",
        "bar_at": "2013-10-07T13:30:00Z",
    }


def test_json_lines_refuse_two_columns_of_one_name() -> None:
    with pytest.raises(UsageError, match="Two columns are named a"):
        write_json_lines(answer((1, 2), columns=("a", "a")), io.StringIO())


def test_a_table_shows_the_first_rows_and_says_that_there_are_more(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    write_table(answer((1,), (2,), (3,), columns=("n",)), out, limit=2)
    assert [line.strip("| ") for line in out.getvalue().splitlines() if line.startswith("|")] == ["n", "1", "2"]
    assert "Only the first 2 rows are shown" in capsys.readouterr().err


def test_a_table_of_exactly_the_limit_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(answer((1,), (2,), columns=("n",)), io.StringIO(), limit=2)
    assert capsys.readouterr().err == ""


def test_no_rows_is_said_with_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    write_table(answer(columns=("symbol", "price")), out, limit=2)
    assert out.getvalue() == ""
    assert capsys.readouterr().err == "No rows. Columns: symbol, price\n"


def test_a_value_cannot_command_the_terminal_or_the_markup() -> None:
    out = io.StringIO()
    write_table(answer(("\x1b[31mred[/bold]",), columns=("text",)), out, limit=0)
    assert "\\x1b[31mred[/bold]" in out.getvalue()
    assert "\x1b" not in out.getvalue()
