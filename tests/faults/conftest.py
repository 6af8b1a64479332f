"""The engines, streams and platforms of the fault suite; how long its long form is, and what it says."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest

from tests.faults.engines import Engines, Platform, running_engines, stream_settings
from tests.faults.processes import Streams
from tests.faults.tape import Tape

_ROUNDS = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--fault-rounds", type=int, default=None, help="the long form: random kills")
    group.addoption("--fault-seed", type=int, default=None, help="the seed of the tapes and of the moments")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROUNDS] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the long form a fault takes as long as it takes; each of its waits has a deadline."""
    if config.getoption("fault_rounds", None) is not None:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A broker and a database server of this suite's own."""
    with running_engines(tmp_path_factory.mktemp("engines")) as engines:
        yield engines


@pytest.fixture(scope="session")
def all_streams(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    folder = tmp_path_factory.mktemp("streams")
    streams = Streams(stream_settings(folder / "home", engines.servers, engines.postgres_url), folder)
    yield streams
    streams.kill()


@pytest.fixture
def streams(all_streams: Streams) -> Iterator[Streams]:
    """Processes for one scenario: what it used is killed at its end."""
    yield all_streams
    all_streams.kill_used()


@pytest.fixture
def platform(engines: Engines, tmp_path: Path) -> Platform:
    """An empty platform on empty topics."""
    engines.renew_topics()
    return engines.platform(tmp_path / "home")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run, random unless given; pytest shows it where a test fails."""
    given = request.config.getoption("fault_seed", None)
    chosen = random.SystemRandom().randrange(10**6) if given is None else int(given)
    print(f"the seed is {chosen}: --fault-seed {chosen} runs the same tape")  # noqa: T201 - shown where a test fails
    return chosen


@pytest.fixture
def tape(seed: int) -> Tape:
    return Tape(seed)


@dataclass(frozen=True)
class Extent:
    """How much of a fault is tried: a little in the short form, by the number of rounds in the long one."""

    config: pytest.Config
    fault: str
    seed: int

    @property
    def is_long(self) -> bool:
        return self.config.getoption("fault_rounds", None) is not None

    def numbers(self, *, short: int = 1, one_in: int = 1) -> range:
        """Return the numbers of the rounds: ``short`` of them, or in the long form one in so many of those asked for."""
        asked = self.config.getoption("fault_rounds", None)
        return range(1, 1 + (short if asked is None else max(1, int(asked) // one_in)))

    @contextmanager
    def round(self, number: int) -> Iterator[None]:
        """Count a round, and say how long it took."""
        started = time.monotonic()
        yield
        self.config.stash[_ROUNDS][self.fault] += 1
        self.say(f"round {number}: {time.monotonic() - started:.1f} s")

    def say(self, text: str) -> None:
        """Print a line of progress in the long form."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if self.is_long and reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():  # else the line is shown at the end, and of a failure only
                reporter.ensure_newline()
                reporter.write_line(f"{self.fault}: {text}", flush=True)


@pytest.fixture
def extent(request: pytest.FixtureRequest, seed: int) -> Extent:
    extent = Extent(request.config, request.path.stem.removeprefix("test_"), seed)
    extent.say(f"{request.node.name}, seed {seed}")
    return extent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print per fault how many rounds were run and whether every law held, in the long form."""
    if config.getoption("fault_rounds", None) is None:
        return
    outcomes: dict[str, set[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            fault = PurePath(report.nodeid.split("::", maxsplit=1)[0]).stem.removeprefix("test_")
            outcomes.setdefault(fault, set()).add(outcome)
    terminalreporter.section("faults")
    terminalreporter.write_line(f"{'fault':<24} {'rounds':>6}  held")
    for fault, found in outcomes.items():
        held = "no" if found & {"failed", "error"} else "skipped" if found == {"skipped"} else "yes"
        terminalreporter.write_line(f"{fault:<24} {config.stash[_ROUNDS][fault] or 1:>6}  {held}")
