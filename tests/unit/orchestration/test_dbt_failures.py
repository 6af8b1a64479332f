"""What dbt's failures come to: those that would come again are told from those that pass with their cause."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from market.errors import ModelsFailedError
from market.settings import load_settings
from orchestration.dbt import Dbt

TEST = SimpleNamespace(
    name="not_null_bars",
    resource_type="test",
    attached_node="model.tapehouse.bars",
    compiled_path="/home/a b/not_null.sql",
)
MODEL = SimpleNamespace(name="bars", resource_type="model", compiled_path=None)


@pytest.fixture
def dbt(tmp_path: Path) -> Dbt:
    return Dbt(load_settings().model_copy(update={"home": tmp_path}))


def outcome(node: SimpleNamespace, status: str, message: str | None = None, failures: int | None = None) -> Any:
    return SimpleNamespace(node=node, status=status, message=message, failures=failures)


def test_a_failing_test_is_named_with_its_rows_and_how_to_see_them(dbt: Dbt) -> None:
    results = [outcome(MODEL, "success"), outcome(TEST, "fail", "Got 1200 results", 1200), outcome(TEST, "skipped")]
    with pytest.raises(ModelsFailedError) as failure:
        dbt.refuse_failures(results)
    assert str(failure.value).splitlines() == [
        "The test not_null_bars of bars failed: 1,200 rows. ./run sql - < '/home/a b/not_null.sql' shows them.",
        f"The whole log: {dbt.folder / 'logs' / 'dbt.log'}",
    ]


def test_of_many_failures_the_first_are_named_and_the_others_counted(dbt: Dbt) -> None:
    with pytest.raises(ModelsFailedError) as failure:
        dbt.refuse_failures([outcome(MODEL, "error", "Database Error\n  column x\n  does not exist")] * 6)
    lines = str(failure.value).splitlines()
    assert lines[:4] == ["The model bars failed: Database Error column x does not exist"] * 4
    assert lines[4] == "2 more failed."


@pytest.mark.parametrize(
    "message",
    [
        "Database Error\n  server closed the connection unexpectedly",
        "Database Error\n  terminating connection due to administrator command",
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        "Database Error\n  deadlock detected",
    ],
)
def test_what_passes_with_its_cause_is_no_failure_of_the_models(dbt: Dbt, message: str) -> None:
    dbt.refuse_failures([outcome(TEST, "fail", "Got 1 result", 1), outcome(MODEL, "error", message)])
    dbt.refuse_failures([])
