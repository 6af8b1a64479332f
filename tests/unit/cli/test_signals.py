"""How the commands that run the platform hear signals, and how their children do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.signals import StopSignals

PROGRAM = """
import signal
print([one.name for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_IGN])
"""


@pytest.fixture
def in_background() -> Iterator[None]:
    """What a shell does to a command that it starts in the background, and nohup to any."""
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in names}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ignored_by_a_child() -> str:
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("in_background")
def test_children_ignore_no_signal_that_this_process_was_started_to_ignore() -> None:
    assert ignored_by_a_child() == "['SIGINT', 'SIGTERM', 'SIGHUP']"
    with StopSignals().installed():
        assert ignored_by_a_child() == "[]"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("in_background")
def test_what_was_ignored_stays_without_effect_but_sigterm_is_heard() -> None:
    signals = StopSignals()
    with signals.installed():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert not signals.is_in_a_hurry()


@pytest.fixture
def _ctrl_c_is_heeded() -> Iterator[None]:
    """Let SIGINT through even where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_heeded")
def test_the_first_signal_stops_and_the_second_hurries() -> None:
    signals = StopSignals()
    with signals.installed():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert not signals.is_in_a_hurry()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.is_in_a_hurry()


@pytest.mark.usefixtures("_ctrl_c_is_heeded")
def test_a_stop_for_another_reason_is_hurried_by_the_first_signal() -> None:
    signals = StopSignals()
    with signals.installed():
        signals.stopping()
        assert not signals.is_in_a_hurry()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.is_in_a_hurry()
