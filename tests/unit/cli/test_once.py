"""What ``up --once`` makes of a failure of the marts; everything that it runs is played."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from cli import once
from cli.once import OnceOptions, run_once
from market.settings import load_settings

OPTIONS = OnceOptions(feed="sample", symbols=None, path=None, start=None, end=None)


@pytest.mark.parametrize(
    ("failure", "holds", "ends_well"), [(None, True, True), ("A test failed.", True, False), (None, False, False)]
)
def test_the_laws_are_proved_and_shown_even_if_a_test_of_the_marts_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: str | None,
    *,
    holds: bool,
    ends_well: bool,
) -> None:
    done: list[str] = []

    @contextmanager
    def played_platform(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(
            started=lambda: done.append("started"),
            wait_for_task=lambda _name: failure,
            while_supervised=lambda work: work(),
        )

    def prove(_platform: object) -> bool:
        done.append("proved")
        return holds

    monkeypatch.setattr(once, "running_platform", played_platform)
    monkeypatch.setattr(once, "_publish", lambda *_: None)
    monkeypatch.setattr(once, "_wait_for_lake", lambda *_: None)
    monkeypatch.setattr(once, "_laws_hold", prove)
    monkeypatch.setattr(once, "_show", lambda *_: done.append("shown"))
    assert run_once(load_settings(), OPTIONS) is ends_well
    assert done == ["started", "proved", "shown"]
    out = capsys.readouterr().out
    assert ("A model or a test of the marts failed" in out) is (failure is not None)
    assert ("Every law holds" in out) is holds
