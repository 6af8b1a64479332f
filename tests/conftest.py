"""For every tier: logging that ends with the test, and what a run reports beside pytest's own lines."""

import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePath

import pytest
import structlog

LONGEST_MODULES = 12


@pytest.fixture(scope="session", autouse=True)
def _children_can_be_stopped() -> None:
    """Heed SIGTERM: a process that ignores it passes that on to every server that a test starts."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _signals_of_its_own() -> Iterator[None]:
    """Undo what a command did to the signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """Undo what a command configured: its stream is the one that pytest captured, and is closed with the test."""
    yield
    structlog.reset_defaults()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests each tier ran and how long they and its longest modules took, set-up and tear-down included."""
    tests: Counter[str] = Counter()
    seconds: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                path = PurePath(report.nodeid.split("::", maxsplit=1)[0])
                tests[path.parts[1]] += report.when == "call"
                seconds[path.parts[1]][path.stem] += report.duration
    for tier, number in tests.items():
        in_order = sorted(seconds[tier].items(), key=lambda module: -module[1])
        longest = ", ".join(f"{name} {spent:.0f}" for name, spent in in_order[:LONGEST_MODULES])
        spent = sum(seconds[tier].values())
        terminalreporter.write_line(f"tier {tier}: {number} tests in {spent:.1f} s; longest: {longest}")
