"""``./run actions``: what is refused before anything is asked for."""

import pytest

from cli.main import app
from market.errors import UsageError
from market.settings import Settings


def run(*arguments: str) -> None:
    app(["actions", *arguments], standalone_mode=False)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database is set, and nothing listens there."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert Settings.model_fields["database_url"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("fetch",), "fetch needs a source: --feed alpaca, --feed csv, --feed lean, --feed yahoo"),
        (("fetch", "--feed", "lean"), "needs the place of its files"),
        (("confirm",), "Name the action: ./run actions confirm AAPL split 2014-06-09"),
        (("confirm", "AAPL", "merger", "2014-06-09"), "Name the action"),
        (("confirm", "AAPL", "split"), "Name the action"),
    ],
)
def test_wrong_usage_is_said_before_anybody_is_asked(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        run(*arguments)
