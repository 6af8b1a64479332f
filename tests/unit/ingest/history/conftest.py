"""A server that speaks as Alpaca does, and Alpaca's history asked there."""

from collections.abc import Iterator

import pytest

from ingest.feeds.alpaca.history import AlpacaHistory
from tests.unit.ingest.history.alpaca_case import Paces, history_at
from tests.unit.ingest.history.alpaca_server import AlpacaServer


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def alpaca() -> Iterator[AlpacaServer]:
    with AlpacaServer() as server:
        yield server


@pytest.fixture
def pace(request: pytest.FixtureRequest) -> Iterator[Paces]:
    """Counts requests; in the end as many must have come to the server, if there is one."""
    paces = Paces()
    server = request.getfixturevalue("alpaca") if "alpaca" in request.fixturenames else None
    yield paces
    if server is not None:
        assert paces.count == len(server.asked)


@pytest.fixture
def alpaca_history(alpaca: AlpacaServer) -> AlpacaHistory:
    return history_at(alpaca.url)
