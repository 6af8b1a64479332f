"""Rules that cannot be asked, or can never fire, are refused with the reason and the place."""

from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.rules.presets import PRESETS, preset, text_of
from alerts.rules.rule import Rule, Trigger, check_expiry, parse_duration, parse_expiry, parse_hysteresis, parse_past
from alerts.rules.spans import Span
from market.errors import RuleError

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason", "marked"),
    [
        ("rsi_14 above 100", "it goes from 0 to 100. It never fires.", "100"),
        ("rsi_14 crosses below 0", "it goes from 0 to 100", "0"),
        ("close crosses above -1", "it is above 0", "-1"),
        ("0 above volume", "it is 0 at least", "0"),
        ("volume crosses below 0", "it is 0 at least", "0"),
        ("close moves down 101 % in 3 bars", "it is -100 at least", "101 %"),
        ("close enters 110 .. 100", "The range is empty: 110 is above 100. Write 100 .. 110.", "110 .. 100"),
        ("close inside bb_upper .. bb_lower", "bb_upper is never below bb_lower", "bb_upper .. bb_lower"),
        ("close inside 1.1 * open .. open", "The range is empty", "1.1 * open .. open"),
        ("rsi_21 below 30", "rsi_21 is not computed: there is rsi_14.", "rsi_21"),
        ("sma_30 above 3", "there is sma_20, sma_50, sma_200", "sma_30"),
        ("clos above 3", "There is no field clos. Did you mean close", "clos"),
        ("mid above 5", "may name bid, ask, spread", "mid"),
        ("bid_size above 5", "is of quotes", "bid_size"),
        ("bid below 0", "it is above 0", "0"),
        ("high_52w crosses close", "is a field of days (--interval 1d) alone", "high_52w"),
        ("100 crosses 101", "This compares numbers alone", "100"),
        ("close above close", "compares close with itself", "close above close"),
        ("close above high", "close is never above high", "close above high"),
        ("bb_upper crosses below bb_lower", "bb_upper is never below bb_lower", "bb_upper crosses below bb_lower"),
        ("rsi_14 above 70 and rsi_14 below 30", "This contradicts what stands before it", "rsi_14 below 30"),
        ("close crosses above 9 and close inside 5 .. 8", "This contradicts", "close inside 5 .. 8"),
        ("close above 0", "This always holds, so it never begins to", "close above 0"),
        ("close above 3 %", "3 % of what?", "3 %"),
        ("obv above 4", "Take it as it is with --unstable", "obv"),
        ("close above 0 * open", "0 is no factor", "0 * open"),
        ("gap moves 2 in 3 bars", "is made of several bars already", "gap"),
        ("close moves up -2 in 3 bars", "A move by -2 is none", "-2"),
        ("price above close", "compares price with itself", "price above close"),
        ("price crosses above close", "compares price with itself", "price crosses above close"),
        ("close above sma_50 and close below sma_50", "This contradicts what stands before it", "close below sma_50"),
        ("open above close and open below close", "This contradicts", "open below close"),
        ("low new low of 5 and low new high of 5", "This contradicts", "low new high of 5"),
        ("close above 9 and high below 8", "This contradicts", "high below 8"),
        (
            "macd above 1 and macd_signal above macd and macd_signal below 0.5",
            "This contradicts",
            "macd_signal below 0.5",
        ),
        ("close outside low .. high", "No bar can be like this: it never fires.", "close outside low .. high"),
        ("close leaves low .. high", "No bar can be like this", "close leaves low .. high"),
        ("close enters low .. high", "No bar can be like this", "close enters low .. high"),
        ("close inside low .. high", "This always holds, so it never begins to", "close inside low .. high"),
        ("0.5 * close above close", "No bar can be like this", "0.5 * close above close"),
        ("2 * close above close", "This always holds", "2 * close above close"),
        ("close above 2 * high", "No bar can be like this", "close above 2 * high"),
        ("highest(close, 5) below lowest(close, 5)", "No bar can", "highest(close, 5) below lowest(close, 5)"),
        ("highest(high, 9) below lowest(low, 5)", "No bar can", "highest(high, 9) below lowest(low, 5)"),
        (
            "average(close, 5) above 1.1 * highest(close, 5)",
            "No bar",
            "average(close, 5) above 1.1 * highest(close, 5)",
        ),
        ("average(open, 3) crosses -1", "No bar can be like this", "average(open, 3) crosses -1"),
        ("rsi_14 crosses 101", "No bar can be like this", "rsi_14 crosses 101"),
        ("0.5 * spread inside 2 * open .. 0", "No bar can be like this", "0.5 * spread inside 2 * open .. 0"),
        ("lowest(volume, 1) below average(volume, 1)", "No bar can", "lowest(volume, 1) below average(volume, 1)"),
        ("spread above ask", "spread is never above ask", "spread above ask"),
        ("rsi_14 moves 150 in 5 bars", "it goes from -100 to 100", "150"),
        ("0.5 * rsi_14 moves up 80 in 5 bars", "it goes from -100 to 100", "80"),
        ("obv moves 5 % in 3 bars", "Take it as it is with --unstable", "obv"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(text: str, reason: str, marked: str) -> None:
    with pytest.raises(RuleError) as raised:
        Rule("r", text, interval="5m")
    said, line, marks = str(raised.value).splitlines()
    assert reason in said
    assert line[marks.index("^") : len(marks)] == marked


@pytest.mark.parametrize(
    "text",
    [
        "rsi_14 above 99.9",
        "close outside bb_lower .. bb_upper and volume above 2 * average(volume, 20)",
        "gap above 2 %",
        "rsi_14 above 30 and rsi_14 below 70",
        "close crosses above 100 and low below 99",
        "close above 0.5 * highest(high, 500)",
        "spread below 0",
        "bid above ask",
        "ask below average(ask, 20) and close above bid",
        "0.5 * macd above macd",
        "macd_signal inside 2 * macd .. macd",
        "macd moves down 150 % in 5 bars",
        "spread moves up 300 % in 5 bars",
        "close crosses above highest(close, 5)",
        "average(close, 5) above average(close, 20) and close above highest(high, 5)",
        "open crosses above close and close moves up 3 % in 5 bars",
        "close above open and open above 0.999 * high",
        "0.1 * close above 0.3 * open and close inside 3 * open .. 3 * open",
        "obv new high of 20",
        "obv moves 5000 in 3 bars",
    ],
)
def test_a_condition_that_can_be_is_taken(text: str) -> None:
    assert str(Rule("r", text, interval="5m").condition) == text


def test_quotes_are_of_bars_within_the_day_and_not_of_at_once() -> None:
    with pytest.raises(RuleError, match="spread is a field of bars of 1h and shorter alone"):
        Rule("r", "spread above 5", interval="1d")
    with pytest.raises(RuleError, match="At once only the price is judged, not bid"):
        Rule("r", "bid above 5", trigger=Trigger.AT_ONCE)
    named = ("bid above 5", "close below average(ask, 3)", "5 above spread", "ask moves 2 % in 3 bars")
    assert all(Rule("r", text).has_quotes for text in named)
    assert not Rule("r", "close above 5 and volume new high of 3").has_quotes


def test_a_level_may_always_hold() -> None:
    assert not Rule("r", "close above 0", is_edge=False).is_edge
    assert not Rule("r", "close inside low .. high", is_edge=False).is_edge


def test_the_high_of_a_year_has_this_session_too() -> None:
    with pytest.raises(RuleError, match="close is never above high_52w: it never fires"):
        Rule("r", "close crosses above high_52w", interval="1d")
    assert Rule("r", "high new high of 252", interval="1d")


@pytest.mark.parametrize(
    ("text", "hysteresis", "is_percent", "can_go_back"),
    [
        ("close outside 99 .. 101", 2.0, False, False),
        ("close outside 99 .. 101", 1.0, False, True),
        ("rsi_14 above 70", 80.0, False, False),
        ("rsi_14 above 70", 5.0, False, True),
        ("rsi_14 crosses 70", 80.0, False, False),
        ("rsi_14 crosses 70", 30.0, False, True),
        ("rsi_14 inside 10 .. 90", 11.0, False, False),
        ("rsi_14 inside 10 .. 90", 10.0, False, True),
        ("close above 100", 150.0, True, False),
        ("close above 100", 50.0, True, True),
        ("close above sma_50", 150.0, True, False),
        ("close below sma_50", 150.0, True, True),
        ("close moves 3 % in 5 bars", 4.0, False, False),
        ("close moves 3 % in 5 bars", 2.0, False, True),
        ("macd above 1", 150.0, True, True),
        ("macd above macd_signal", 150.0, True, True),
        ("close above 100 and rsi_14 above 70", 101.0, False, False),
        ("close above 100 and rsi_14 above 70", 80.0, False, True),
    ],
)
def test_a_hysteresis_that_nothing_ever_goes_back_by_is_refused(
    text: str, hysteresis: float, is_percent: bool, can_go_back: bool
) -> None:
    settings: dict[str, Any] = {"hysteresis": hysteresis, "is_hysteresis_percent": is_percent, "interval": "5m"}
    if can_go_back:
        assert Rule("r", text, **settings)
        return
    with pytest.raises(RuleError, match="would fire once and never again: nothing of it ever goes back by"):
        Rule("r", text, **settings)


def test_a_rule_names_each_channel_once() -> None:
    assert Rule("r", "close above 5", channels=("desk", "log", "desk")).channels == ("desk", "log")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"interval": "2m"}, "There are no bars of '2m'"),
        ({"interval": "1d", "segments": ("pre",)}, "a rule on 1d has no segments"),
        ({"segments": ("post",)}, "No bar of the segment 'post' is looked at"),
        ({"segments": ()}, "No segment is left"),
        ({"cooldown_seconds": -1}, "A cooldown of -1 s cannot be"),
        ({"cooldown_seconds": 366 * 86400 + 1}, "days cannot be: 366d is the most"),
        ({"hysteresis": -0.5}, "A hysteresis of -0.5 cannot be"),
        ({"hysteresis": 1.0, "is_edge": False}, "hysteresis is for edges"),
        ({"message": "{nothing}"}, "{nothing} is not known"),
        ({"message": ""}, "A message has from 1 to 1000 characters"),
        ({"channels": ("No Channel",)}, "is no channel"),
        ({"channels": ()}, "The rule names no channel"),
        ({"hysteresis": 1e16}, "A hysteresis of 1e+16 cannot be"),
        ({"name": "{close}"}, "A rule cannot be called"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(RuleError) as raised:
        Rule(**{"name": "r", "text": "close above 5", **settings})  # type: ignore[arg-type]
    assert reason in str(raised.value)


def test_an_expiry_in_the_past_is_refused() -> None:
    with pytest.raises(RuleError, match="it expires at 2020-01-01 00:00 UTC, which is past"):
        check_expiry(parse_expiry("2020-01-01", NOW), NOW)
    check_expiry(parse_expiry("1d", NOW), NOW)


@pytest.mark.parametrize(
    ("text", "reason", "marked"),
    [
        ("price above 3 and price below 5", "At once one clause is judged", "price below 5"),
        ("price enters 3 .. 5", "At once the price is held against numbers", "price enters 3 .. 5"),
        ("price inside 3 .. 5", "can come true and pass again within a minute", "price inside 3 .. 5"),
        ("price moves 3 % in 5 bars", "At once the price is held against numbers", "price moves 3 % in 5 bars"),
        ("price new high of 20", "At once the price is held against numbers", "price new high of 20"),
        ("high above 3", "At once only the price is judged, not high", "high"),
        ("rsi_14 crosses 30", "not rsi_14. Write price, or take the trigger once_per_bar", "rsi_14"),
        ("2 * price above 3", "not 2 * price", "2 * price"),
        ("change 1 bars above 3 %", "not change 1 bars", "change 1 bars"),
        ("price crosses sma_20", "At once the price is held against numbers, not sma_20", "sma_20"),
        ("3 above 0.5 * price", "not 0.5 * price", "0.5 * price"),
        ("price outside 3 .. bb_upper", "not bb_upper", "bb_upper"),
    ],
)
def test_what_cannot_be_judged_with_each_trade_is_refused(text: str, reason: str, marked: str) -> None:
    Rule("r", text, trigger=Trigger.ONCE_PER_BAR)
    with pytest.raises(RuleError) as raised:
        Rule("r", text, trigger=Trigger.AT_ONCE)
    said, line, marks = str(raised.value).splitlines()
    assert reason in said
    assert line[marks.index("^") : len(marks)] == marked


def test_at_once_is_for_minutes_and_takes_no_hysteresis() -> None:
    with pytest.raises(RuleError, match="it is for bars of 1m, not of 5m"):
        Rule("r", "price above 3", interval="5m", trigger=Trigger.AT_ONCE)
    with pytest.raises(RuleError, match="takes no hysteresis"):
        Rule("r", "price above 3", hysteresis=1.0, trigger=Trigger.AT_ONCE)
    with pytest.raises(RuleError, match="This always holds"):
        Rule("r", "price above 0", trigger=Trigger.AT_ONCE)


@pytest.mark.parametrize(
    ("text", "edge", "level", "ends"),
    [
        ("price above 3", "passes_above", "reaches_above", (3, None)),
        ("3 above close", "passes_below", "reaches_below", (3, None)),
        ("price crosses above 3", "passes_above", "passes_above", (3, None)),
        ("price crosses below 3", "passes_below", "passes_below", (3, None)),
        ("3 crosses price", "passes", "passes", (3, None)),
        ("price outside 3 .. 4.5", "breaks_out", "reaches_outside", (3, 4.5)),
        ("price leaves 3 .. 4.5", "breaks_out", "breaks_out", (3, 4.5)),
    ],
)
def test_what_fires_at_once_is_asked_of_the_extremes(
    text: str, edge: str, level: str, ends: tuple[float, float | None]
) -> None:
    for is_edge, operator in ((True, edge), (False, level)):
        rule = Rule("r", text, trigger=Trigger.AT_ONCE, is_edge=is_edge)
        (clause,) = rule.clauses
        assert (clause.operator, clause.left.field, clause.left.factor) == (operator, "close", 1.0)
        assert (clause.right.factor, clause.upper.factor if clause.upper else None) == ends
        assert rule.has_event


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_a_time_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


def test_a_time_alone_is_back_from_now_where_the_past_is_meant() -> None:
    assert parse_past("30d", NOW) == datetime(2026, 10, 21, tzinfo=UTC)
    assert parse_expiry("30d", NOW) == datetime(2026, 12, 20, tzinfo=UTC)
    assert parse_past("2026-01-05", NOW) == parse_expiry("2026-01-05", NOW) == datetime(2026, 1, 5, tzinfo=UTC)


def test_what_is_no_time_or_hysteresis_is_refused() -> None:
    with pytest.raises(RuleError, match="'soon' is no time"):
        parse_duration("soon")
    with pytest.raises(RuleError, match="'much' is no hysteresis"):
        parse_hysteresis("much")
    assert parse_hysteresis("1 %") == (1.0, True)


@pytest.mark.parametrize("one", PRESETS, ids=lambda one: one.name)
def test_every_preset_is_a_rule(one) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a parameter of pytest
    assert Rule("r", text_of(one, "450" if "{level}" in one.text else None), **dict(one.settings))


def test_a_preset_that_wants_a_level_says_so() -> None:
    with pytest.raises(RuleError, match="wants a level: --level-at 450"):
        text_of(preset("price-level"), None)
    with pytest.raises(RuleError, match="There is no preset 'nothing'"):
        preset("nothing")


@pytest.mark.parametrize(
    ("one", "other", "is_empty"),
    [
        (Span(1, 2), Span(2, 3), False),
        (Span(1, 2, has_high=False), Span(2, 3), True),
        (Span(1, 2), Span(2, 3, has_low=False), True),
        (Span(1, 5), Span(2, 3), False),
    ],
)
def test_spans_meet_where_both_have_an_end(one: Span, other: Span, is_empty: bool) -> None:
    assert one.common(other).is_empty is is_empty
