"""Commands as a shell calls them, in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main

CallCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCommand:
    """Runs a command on the home ``tmp_path``; returns the exit code and what it printed."""
    monkeypatch.setenv("TAPEHOUSE_HOME", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["run", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run
