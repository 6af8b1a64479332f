"""``./run alert``: what is refused before the database is asked, and the presets."""

from datetime import UTC, datetime

import pytest

from cli.main import app
from market.errors import RuleError, UsageError


def run(*arguments: str) -> None:
    app(["alert", *arguments], standalone_mode=False)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database is set, and nothing listens there."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add",), "Write ./run alert add NAME"),
        (("add", "r"), "Give a condition in quotes, or --preset"),
        (("add", "r", "close above 5", "--preset", "rsi-low"), "A preset has its condition"),
        (("pause",), "Write ./run alert pause NAME"),
        (("add", "r", "close above 5", "--trigger", "often"), "'often' is no trigger"),
    ],
)
def test_wrong_usage_is_said_before_anybody_is_asked(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        run(*arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("rsi_14 above 100",), "It never fires"),
        (("close above 5", "--expires", "soon"), "is no moment"),
        (("close above 5", "--cooldown", "-1"), "is no time"),
        (("close above 5", "--cooldown", "999999999d"), "'999999999d' is too long a time: 36500d is the most"),
        (("close above 5", "--cooldown", "400d"), "A cooldown of 400 days cannot be: 366d is the most"),
        (("close above 5", "--expires", "99999999d"), "'99999999d' is too long a time"),
        (("close above 5", "--expires", "9999-12-31T23:59-12:00"), "is no moment"),
        (("close above 5", "--hysteresis", "1e308 %"), r"A hysteresis of 1e\+308 cannot be. Give from 0 to 1e\+15"),
        (("close above 5", "--hysteresis", "sNaN"), "is no hysteresis"),
        ((f"close above {'9' * 308}",), r"1.00000e\+308 is too much: numbers go from -1e\+15 to 1e\+15"),
        ((f"{'9' * 308} * close above 5",), "is no factor: they go from 1e-9 to 1e"),
        ((f"0.{'0' * 330}1 * close above 5",), "1e-331 is no factor"),
        (("close above 5", "--channels", ","), "names no channel"),
        (("close above 5", "--interval", "1d", "--segments", "post"), "a rule on 1d has no segments"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(RuleError, match=why):
        run("add", "r", *arguments)


def test_the_presets_are_shown_with_their_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    run("presets")
    said = capsys.readouterr().out
    assert "sma_50 crosses above sma_200" in said
    assert "price crosses {level}" in said


@pytest.mark.parametrize("minutes", ["nan", "inf", "-inf", "1e400", "1e308"])
def test_minutes_that_are_no_number_are_refused(minutes: str) -> None:
    """They have no seconds, and no moment is so far back."""
    with pytest.raises(
        UsageError, match=r"--digest-minutes (nan|-?inf|1e\+308) cannot be. Give the minutes as a number"
    ):
        app(["alert", "channel", "add", "desk", "https://a.b/", "--digest-minutes", minutes], standalone_mode=False)
    with pytest.raises(UsageError, match=r"--minutes (nan|-?inf|1e\+308) cannot be. Give the minutes as a number"):
        app(["alert", "watch", "--minutes", minutes], standalone_mode=False)


@pytest.mark.parametrize("hysteresis", ["nan", "inf", "1e400", "nan %"])
def test_a_hysteresis_that_is_no_number_is_refused(hysteresis: str) -> None:
    with pytest.raises(RuleError, match=r"A hysteresis of (nan|inf) cannot be. Give from 0"):
        run("add", "r", "close above 5", "--hysteresis", hysteresis)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[tuple[datetime, datetime | None]]:
    """Take the place of a backtest of a rule that is not stored, over bars that there are not; say what was asked for."""
    asked: list[tuple[datetime, datetime | None]] = []

    def count(_settings: object, _rule: object, *, start: datetime, end: datetime | None) -> tuple[list[object], int]:
        asked.append((start, end))
        return [], 0

    monkeypatch.setattr("alerts.store.stored_rule", lambda *_: None)
    monkeypatch.setattr("alerts.evaluation.backtest.backtest_counted", count)
    return asked


@pytest.mark.parametrize(("start", "end"), [("2013-10-08", "2013-10-07"), ("2013-10-08", "2013-10-08"), ("7d", "30d")])
def test_a_period_that_ends_before_it_begins_is_refused(looked_at: list[object], start: str, end: str) -> None:
    with pytest.raises(
        UsageError, match=rf"The period is empty: --end {end} \(.* UTC\) is not after --start {start} \("
    ):
        run("backtest", "close above 5", "--start", start, "--end", end)
    assert not looked_at


def test_a_period_without_bars_is_told(
    looked_at: list[tuple[datetime, datetime | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    run("backtest", "close above 5", "--interval", "5m", "--start", "3000-01-01")
    assert looked_at == [(datetime(3000, 1, 1, tzinfo=UTC), None)]
    assert "No bar of 5m of all is within this period." in capsys.readouterr().err
