"""What fires with which trade, of which source, and for which rules."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from alerts.at_once.levels import Book, Watch
from alerts.at_once.minutes import Minute, Minutes, micros
from alerts.at_once.watcher import Preference, Watcher, newest_begun
from market.records import Cancel, Correction, Received, Record
from market.sessions import find_session
from tests.unit.alerts.at_once.test_minutes_under_way import trade
from tests.unit.spark_jobs.messages import OPEN

NOW = micros(OPEN + timedelta(minutes=30))
ORDER = ("lean", "*", "simulated")


def watch(number: int = 1, level: float = 100, operator: str = "passes_above", **others: Any) -> Watch:
    values = {"segments": frozenset({"regular"}), "since": 0, **others}
    return Watch(number, 1, operator, level, level, **values)


def watcher(*watches: Watch, real: frozenset[str] = frozenset(), known: Sequence[Minute] = ()) -> Watcher:
    return Watcher(Minutes(("pre", "regular"), known), Preference(ORDER, real), Book({"IBM": watches}))


def published(source: str, close: float = 99, minute: int = 0, days: int = 0) -> Minute:
    begins = OPEN + timedelta(days=days, minutes=minute)
    found = Minute(source, "IBM", micros(begins), begins.date(), "regular", before=None, first=(-1, 0, close))
    found.last, found.high, found.low = (0, 0, close), close, close
    return found


def fired(watching: Watcher, *records: Record) -> list[tuple[int, str | None]]:
    return [
        (one.watch.rule_id, str(one.trade.price) if one.trade is not None else None)
        for one in watching.take(messages(*records), NOW)
    ]


def messages(*records: Record) -> list[Received]:
    return [Received(record, 2, 100 + number) for number, record in enumerate(records)]


def at(minute: int, price: str, **others: Any) -> Record:
    values = {"trade_id": f"t{minute}-{price}-{others.get('conditions')}", **others}
    return trade(price, OPEN + timedelta(minutes=minute), **values)


def test_a_rule_fires_once_a_minute_with_the_trade_that_made_it_true() -> None:
    watching = watcher(watch())
    assert fired(watching, at(0, "99"), at(0, "101")) == []  # what was before is not known
    assert fired(watching, at(1, "99"), at(2, "100"), at(2, "101"), at(2, "102")) == [(1, "101")]
    assert fired(watching, at(3, "103"), at(4, "99"), at(5, "99"), at(6, "105")) == [(1, "105")]


AMENDED: list[Record] = [
    Cancel("otherfeed", "IBM", micros(OPEN), "1"),
    Correction("otherfeed", "IBM", micros(OPEN), "1", Decimal(100), 100),
]


@pytest.mark.parametrize("amendment", AMENDED)
def test_what_a_cancel_or_a_correction_may_change_is_left_to_the_marts(amendment: Record) -> None:
    watching = watcher(watch(1), watch(2, operator="reaches_above"))
    fired(watching, at(0, "99"))
    assert fired(watching, amendment, at(0, "101"), at(0, "98", sequence=2)) == [], "the minute itself"
    assert fired(watching, at(1, "90"), at(1, "101")) == [(2, "101")], "the close before"
    assert fired(watching, at(2, "90"), at(3, "101")) == [(2, "101"), (1, "101")]


@pytest.mark.parametrize("other", [{"symbol": "SPY"}, {"source": "lean"}, {"ts": micros(OPEN - timedelta(days=1))}])
def test_amendments_of_others_and_of_the_past_change_nothing(other: dict[str, Any]) -> None:
    watching = watcher(watch())
    fired(watching, at(0, "99"))
    amendment = {"source": "otherfeed", "symbol": "IBM", "ts": micros(OPEN), **other}
    assert fired(watching, Cancel(ref_id="1", **amendment), at(1, "101")) == [(1, "101")]


def test_only_what_is_of_the_time_and_segment_of_a_rule_fires() -> None:
    ends = micros(OPEN + timedelta(minutes=2))
    watching = watcher(
        watch(1),
        watch(2, since=ends - 1),
        watch(3, since=ends),
        watch(4, until=ends),
        watch(5, until=ends - 1),
        watch(6, segments=frozenset({"pre"})),
    )
    assert fired(watching, at(0, "99"), at(1, "101")) == [(1, "101"), (2, "101"), (4, "101")]


def test_rules_that_are_new_look_at_the_whole_minute_under_way() -> None:
    watching = watcher(watch(1))
    assert fired(watching, at(0, "99"), at(1, "102")) == [(1, "102")]
    watching.watch(Book({"IBM": [watch(1), watch(2, 101)]}))
    assert fired(watching, at(1, "100.5")) == [(2, "102")], "which passed its number"


def test_the_trade_that_passed_the_number_is_told_though_another_one_made_the_minute_a_bar() -> None:
    watching = watcher(watch(), watch(2, 90, "passes_below"))
    alpaca = {"source": "alpaca"}
    only_extremes = {**alpaca, "conditions": f"{1 << 15:X}"}
    fired(watching, at(0, "95", **alpaca))
    assert fired(watching, at(1, "89", **only_extremes), at(1, "101", **only_extremes)) == []
    assert fired(watching, at(1, "95", **alpaca)) == [(1, "101"), (2, "89")]


def test_the_message_is_told_with_which_it_came_true() -> None:
    watching = watcher(watch(), known=[published("otherfeed")])
    (one,) = watching.take(messages(at(1, "99"), Cancel("otherfeed", "SPY", NOW, "1"), at(1, "101"), at(1, "102")), NOW)
    assert (one.by.record, one.by.partition, one.by.offset) == (one.trade, 2, 102)
    watching = watcher(watch(operator="reaches_above"), known=[published("otherfeed", 101)])
    (one,) = watching.take(messages(at(0, "99"), at(0, "98")), NOW)
    assert (one.trade, one.by.offset) == (None, 100), "behind all that was published before"


def test_no_trade_is_told_of_what_was_published_before_a_start() -> None:
    watching = watcher(watch(1, 100, "reaches_above"), watch(2, 105, "reaches_above"), known=[published("lean", 101)])
    assert fired(watching, at(0, "101", source="lean")) == [(1, None)]
    assert fired(watching, at(0, "106", source="lean")) == [(2, "106")]


def test_of_two_sources_the_preferred_one_counts() -> None:
    watching = watcher(watch())
    assert fired(watching, at(0, "99"), at(1, "101")) == [(1, "101")]
    lean = {"source": "lean"}
    assert fired(watching, at(1, "99", **lean), at(2, "90"), at(2, "98", **lean), at(3, "105")) == []
    assert fired(watching, at(3, "106", **lean)) == [(1, "106")]
    tomorrow = 24 * 60  # where it has nothing yet: then the other one counts
    later = micros(OPEN + timedelta(days=1, hours=1))
    records = [at(tomorrow, "99"), at(tomorrow + 1, "107")]
    assert [one.minute.source for one in watching.take(messages(*records), later)] == ["otherfeed"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, "alpaca"),
        ({"alpaca": 90, "yahoo": 100}, "alpaca"),
        ({"alpaca": 89, "yahoo": 100}, "yahoo"),
        ({"alpaca": 5, "yahoo": 9}, "alpaca"),
        ({"alpaca": 4, "yahoo": 9}, "yahoo"),
        ({"yahoo": 9}, "yahoo"),
        ({"alpaca": 4, "yahoo": 9, "simulated": 99}, "yahoo"),
        ({"alpaca": 8, "simulated": 99}, "alpaca"),
        ({"lean": 99, "alpaca": 9, "yahoo": 10}, "alpaca"),
    ],
)
def test_of_two_sources_of_one_place_one_that_has_stopped_does_not_count(counts: dict[str, int], expected: str) -> None:
    watching = watcher(watch())
    fired(watching, at(0, "99", source="alpaca"), at(0, "99", source="yahoo"))
    watching.prefer(Preference(ORDER, counts={("IBM", OPEN.date()): counts}))
    records = [at(1, "101", source=source) for source in ("alpaca", "yahoo")]
    records = records if expected == "yahoo" else records[::-1]
    assert [one.minute.source for one in watching.take(messages(*records), NOW)] == [expected]


def test_what_another_session_has_says_nothing_of_a_source() -> None:
    watching = watcher(watch())
    fired(watching, at(0, "99", source="alpaca"), at(0, "99", source="yahoo"))
    watching.prefer(Preference(ORDER, counts={("IBM", OPEN.date() - timedelta(days=1)): {"alpaca": 1, "yahoo": 9}}))
    records = [at(1, "101", source="yahoo"), at(1, "101", source="alpaca")]
    assert [one.minute.source for one in watching.take(messages(*records), NOW)] == ["alpaca"]


def test_a_source_that_is_named_before_the_others_counts_whatever_it_has() -> None:
    watching = watcher(watch())
    fired(watching, at(0, "99", source="lean"), at(0, "99", source="yahoo"))
    watching.prefer(Preference(ORDER, counts={("IBM", OPEN.date()): {"lean": 1, "yahoo": 9}}))
    records = [at(1, "101", source="yahoo"), at(1, "101", source="lean")]
    assert [one.minute.source for one in watching.take(messages(*records), NOW)] == ["lean"]


@pytest.mark.parametrize(("other", "expected"), [("yahoo", "yahoo"), ("simulated", "lean")])
def test_a_source_whose_trades_were_all_cancelled_does_not_count_beside_one_that_is_real(
    other: str, expected: str
) -> None:
    watching = watcher(watch())
    fired(watching, at(0, "99", source="lean"), at(0, "99", source="yahoo"))
    session = "IBM", OPEN.date()
    counts = {session: {"lean": 0, other: 2}}
    watching.prefer(Preference(ORDER, counts=counts, without_price={(*session, "lean")}))
    records = [at(1, "101", source="lean"), at(1, "101", source="yahoo")]
    assert [one.minute.source for one in watching.take(messages(*records), NOW)] == [expected]


def test_a_simulated_market_does_not_count_where_there_is_a_real_one() -> None:
    made_up = {"source": "simulated"}
    assert fired(watcher(watch()), at(0, "99", **made_up), at(1, "101", **made_up)) == [(1, "101")]
    real = watcher(watch(), real=frozenset({"IBM"}))
    assert fired(real, at(0, "99", **made_up), at(1, "101", **made_up)) == []


def test_a_simulated_market_counts_no_more_once_a_real_source_trades_in_a_later_session_too() -> None:
    made_up = {"source": "simulated"}
    watching = watcher(watch())
    assert fired(watching, at(0, "99", **made_up), at(1, "101", **made_up)) == [(1, "101")]
    assert fired(watching, at(2, "99"), at(2, "99", **made_up), at(3, "101", **made_up)) == []
    tomorrow = 24 * 60
    later = micros(OPEN + timedelta(days=1, hours=1))
    records = [at(tomorrow, "99", **made_up), at(tomorrow + 1, "107", **made_up)]
    assert watching.take(messages(*records), later) == []


def test_a_simulated_market_counts_no_more_once_its_symbol_is_known_to_be_real() -> None:
    made_up = {"source": "simulated"}
    watching = watcher(watch())
    assert fired(watching, at(0, "99", **made_up), at(1, "101", **made_up)) == [(1, "101")]
    watching.prefer(Preference(ORDER, frozenset({"IBM"})))
    assert fired(watching, at(2, "99", **made_up), at(3, "101", **made_up)) == []


@pytest.mark.parametrize("in_order", [True, False])
def test_the_source_that_was_chosen_before_a_start_is_chosen_after_it(*, in_order: bool) -> None:
    known = [published("lean"), published("otherfeed", minute=2), published("simulated", minute=3)]
    watching = watcher(watch(), known=known if in_order else known[::-1])
    assert fired(watching, at(4, "101")) == []
    assert fired(watching, at(4, "101", source="lean")) == [(1, "101")]


def test_the_newest_session_says_which_source_was_chosen() -> None:
    watching = watcher(watch(), known=[published("lean"), published("otherfeed", days=-3)])
    assert fired(watching, at(1, "99"), at(2, "101")) == []


def test_a_source_that_was_preferred_in_a_session_before_is_not_waited_for() -> None:
    watching = watcher(watch(), known=[published("otherfeed"), published("lean", days=-3)])
    assert fired(watching, at(1, "101")) == [(1, "101")]


def test_the_newest_session_begins_with_the_trading_before_its_open() -> None:
    monday, friday = (find_session((OPEN + timedelta(days=days)).date()) for days in (0, -3))
    assert monday is not None
    assert friday is not None
    begun = micros(monday.pre_open_at)
    assert newest_begun(begun) == begun
    assert newest_begun(begun - 1) == micros(friday.pre_open_at)
