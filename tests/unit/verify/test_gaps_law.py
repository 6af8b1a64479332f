"""Law 5: gaps written out by hand keep it, on odd days of the calendar too, and every way to break it is seen."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import tables
from tests.unit.verify.fake_published import Row
from tests.unit.verify.tiny_lake import FIRST_BATCH, SECOND_BATCH, TRADES_TOPIC, TinyLake, micros, problems
from verify.gaps import halted_spans


def new_york(day: date, clock: str, utc_offset: int) -> datetime:
    """Return a moment by the wall clock in New York and its offset, both as the test knows them."""
    hour, minute = map(int, clock.split(":"))
    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
    return moment - timedelta(hours=utc_offset)


class Tape:
    """Writes trades and statuses of one feed into bronze and into the tables behind it, all by hand."""

    def __init__(self, lake: TinyLake) -> None:
        self.lake = lake
        self.offset = lake.published.offsets.get((TRADES_TOPIC, 0), 0)

    def trade(self, symbol: str, at: datetime, batch: datetime = FIRST_BATCH) -> None:
        name = f"t{self.offset}"
        text = f'{{"kind":"trade","source":"test","symbol":"{symbol}","ts":{micros(at)},"price":1,"size":1,"trade_id":"{name}"}}'
        self._message(text, batch)

    def heartbeat(
        self, symbol: str, since: datetime, until: datetime, session: date, batch: datetime = FIRST_BATCH
    ) -> None:
        text = (
            f'{{"kind":"heartbeat","source":"test","symbol":"{symbol}","since":{micros(since)},"ts":{micros(until)}}}'
        )
        self._status(text, batch, symbol, kind="heartbeat", since_at=since, status_at=until, session_date=session)

    def change(self, symbol: str, kind: str, at: datetime, reason: str = "", batch: datetime = FIRST_BATCH) -> None:
        text = f'{{"kind":"{kind}","source":"test","symbol":"{symbol}","ts":{micros(at)},"reason":"{reason}"}}'
        self._status(text, batch, symbol, kind=kind, since_at=None, status_at=at, session_date=None, reason=reason)
        row = {"source": "test", "symbol": symbol, "changed_at": at, "kind": kind, "reason": reason}
        self.lake.published.halt_rows.append(row)

    def _status(self, text: str, batch: datetime, symbol: str, **values: object) -> None:
        ledger = self._message(text, batch)
        row = {"source": "test", "symbol": symbol, "reason": "", **values, **ledger}
        self.lake[tables.FEED_STATUS].append(row)

    def _message(self, text: str, batch: datetime) -> Row:
        ledger = self.lake.message(TRADES_TOPIC, self.offset, text.encode(), batch)
        self.offset += 1
        self.lake.published.offsets[TRADES_TOPIC, 0] = self.offset
        return ledger


def coverage(symbol: str, session: date, since: datetime, until: datetime) -> Row:
    return {"source": "test", "symbol": symbol, "session_date": session, "since_at": since, "until_at": until}


def gap(symbol: str, session: date, span: tuple[datetime, datetime], reason: str, missing: int) -> Row:
    row = {"source": "test", "symbol": symbol, "session_date": session, "gap_at": span[0], "gap_end_at": span[1]}
    return row | {"missing_bars": missing, "reason": reason}


MONDAY = date(2013, 10, 7)
CLOCKS = ("4:00", "9:30", "9:31", "9:32", "9:33", "9:35", "9:36", "9:40", "9:45", "16:00", "20:00")
AT = {clock: new_york(MONDAY, clock, -4) for clock in CLOCKS}
BROKEN_OFF = AT["9:40"] + timedelta(seconds=30)
BACK = AT["9:45"] - timedelta(seconds=30)
NOON = AT["16:00"] - timedelta(hours=4)


@pytest.fixture
def whole(empty_lake: TinyLake) -> TinyLake:
    """A session with a silent minute, a halt and a hole of heartbeats, and its gaps, in which the law holds."""
    tape, published = Tape(empty_lake), empty_lake.published
    for clock in ("9:30", "9:32", "9:36"):
        tape.trade("SPY", AT[clock])
    tape.change("SPY", "halt", AT["9:33"] + timedelta(seconds=10), "LUDP")
    tape.change("SPY", "resume", AT["9:35"] + timedelta(seconds=10))
    tape.heartbeat("SPY", AT["4:00"], AT["9:35"], MONDAY)
    tape.heartbeat("SPY", AT["9:33"], BROKEN_OFF, MONDAY)
    tape.heartbeat("SPY", NOON, AT["20:00"], MONDAY)
    tape.heartbeat("SPY", BACK, NOON, MONDAY)
    published.coverage_rows = [
        coverage("SPY", MONDAY, AT["4:00"], BROKEN_OFF),
        coverage("SPY", MONDAY, BACK, AT["20:00"]),
    ]
    published.gap_rows = [
        gap("SPY", MONDAY, (AT["9:31"], AT["9:32"]), "no_trade", 1),
        gap("SPY", MONDAY, (AT["9:33"], AT["9:36"]), "halted", 3),
        gap("SPY", MONDAY, (AT["9:36"] + timedelta(minutes=1), AT["9:40"]), "no_trade", 3),
        gap("SPY", MONDAY, (AT["9:40"], AT["9:45"]), "feed_down", 5),
        gap("SPY", MONDAY, (AT["9:45"], AT["16:00"]), "no_trade", 375),
    ]
    published.gaps_through = FIRST_BATCH
    return empty_lake


def test_gaps_written_out_by_hand_keep_the_law(whole: TinyLake) -> None:
    result = whole.prove_gaps()
    assert result.offending == []
    assert result.counts == {
        "feed_status": 6,
        "expected_bars": 390,
        "bars": 3,
        "no_trade": 379,
        "halted": 3,
        "feed_down": 5,
        "not_collected": 0,
    }


@pytest.mark.parametrize("number", range(5))
def test_a_missing_bar_without_a_reason_is_seen(whole: TinyLake, number: int) -> None:
    assert whole.published.gap_rows is not None
    del whole.published.gap_rows[number]
    assert problems(whole.prove_gaps()) == {"gap is missing in marts.bar_gaps"}


@pytest.mark.parametrize("reason", ["no_trade", "halted", "not_collected"])
def test_another_reason_is_seen(whole: TinyLake, reason: str) -> None:
    assert whole.published.gap_rows is not None
    whole.published.gap_rows[3]["reason"] = reason
    result = whole.prove_gaps()
    assert problems(result) == {"gap differs in marts.bar_gaps"}
    assert result.offending[0]["differs"] == {"reason": {"expected": "feed_down", "found": reason}}


def test_a_gap_over_a_bar_is_seen(whole: TinyLake) -> None:
    assert whole.published.gap_rows is not None
    whole.published.gap_rows[0] |= {"gap_at": AT["9:30"], "missing_bars": 2}
    assert problems(whole.prove_gaps()) == {"gap is missing in marts.bar_gaps", "gap should not be in marts.bar_gaps"}


def test_a_gap_of_a_symbol_that_nobody_knows_is_seen(whole: TinyLake) -> None:
    assert whole.published.gap_rows is not None
    whole.published.gap_rows.append({**whole.published.gap_rows[0], "symbol": "IBM"})
    assert problems(whole.prove_gaps()) == {"gap should not be in marts.bar_gaps"}


def test_a_coverage_that_no_heartbeat_states_is_seen(whole: TinyLake) -> None:
    whole.published.coverage_rows[0]["until_at"] = AT["9:45"]
    assert problems(whole.prove_gaps()) == {"span differs in lake.feed_coverage"}


def test_a_lost_halt_is_seen(whole: TinyLake) -> None:
    whole.published.halt_rows.pop()
    assert problems(whole.prove_gaps()) == {"halt or resume is missing in lake.trading_halts"}


@pytest.mark.parametrize(("column", "value"), [("status_at", AT["9:45"]), ("kind", "resume"), ("reason", "T1")])
def test_a_status_that_differs_from_its_message_is_seen(whole: TinyLake, column: str, value: object) -> None:
    whole.row(tables.FEED_STATUS, reason="LUDP")[column] = value
    assert problems(whole.prove_gaps()) == {"status differs in silver/feed_status"}


def test_a_lost_status_is_seen(whole: TinyLake) -> None:
    whole[tables.FEED_STATUS].pop()
    assert problems(whole.prove_gaps()) == {"status is missing in silver/feed_status"}


def test_a_lost_status_is_seen_by_law_1(whole: TinyLake) -> None:
    lost = whole[tables.FEED_STATUS].pop()
    ledger, _ = whole.prove()
    seen = [row for row in ledger.offending if row.get("belongs_in") == "silver/feed_status"]
    assert [row["offset"] for row in seen] == [lost["offset"]]


@pytest.mark.parametrize("seen", [False, True])
def test_a_mart_that_was_built_before_the_newest_batch_is_behind_and_no_break(whole: TinyLake, *, seen: bool) -> None:
    tape = Tape(whole)
    tape.trade("SPY", AT["9:31"], batch=SECOND_BATCH)
    whole.published.gaps_through = SECOND_BATCH if seen else FIRST_BATCH
    result = whole.prove_gaps()
    if seen:
        assert problems(result) == {"gap should not be in marts.bar_gaps"}
    else:
        assert result.offending == []
        assert result.counts["mart_gaps_behind"] == 1
        assert "marts.bar_gaps is behind by 1 gaps" in result.note


def test_a_heartbeat_that_the_mart_has_not_seen_explains_nothing_yet(whole: TinyLake) -> None:
    Tape(whole).heartbeat("SPY", BROKEN_OFF, BACK, MONDAY, batch=SECOND_BATCH)
    whole.published.coverage_rows = [coverage("SPY", MONDAY, AT["4:00"], AT["20:00"])]
    result = whole.prove_gaps()
    assert result.offending == []
    assert result.counts["mart_gaps_behind"] == 4  # one where there were three


def test_a_mart_that_is_not_there_yet_is_said(whole: TinyLake) -> None:
    whole.published.gap_rows = whole.published.gaps_through = None
    result = whole.prove_gaps()
    assert result.holds
    assert "not built yet" in result.note
    assert result.counts["feed_down"] == 5


# The calendar as the exchange published it: holidays, half-days, the change of the clocks and a close in an emergency.
HALF_DAY, BEFORE, AFTER = date(2013, 11, 29), date(2013, 11, 27), date(2013, 12, 2)
ODD_DAYS = {
    # Wednesday to Monday around Thanksgiving, which is closed; the Friday closes at 13:00.
    "half-day and holiday": [(BEFORE, -5, 390), (HALF_DAY, -5, 210), (AFTER, -5, 390)],
    # The clocks were set back on Sunday, 2013-11-03.
    "end of summer time": [(date(2013, 11, 1), -4, 390), (date(2013, 11, 4), -5, 390)],
    # And forward on 2014-03-09.
    "begin of summer time": [(date(2014, 3, 7), -5, 390), (date(2014, 3, 10), -4, 390)],
    # Hurricane Sandy closed the exchange on the 29th and 30th of October 2012.
    "hurricane": [(date(2012, 10, 26), -4, 390), (date(2012, 10, 31), -4, 390)],
    # The day before Independence Day, and the day itself between two sessions.
    "early close": [(date(2013, 7, 3), -4, 210), (date(2013, 7, 5), -4, 390)],
}


@pytest.mark.parametrize("days", ODD_DAYS.values(), ids=ODD_DAYS)
def test_expected_are_the_minutes_of_the_published_calendar(
    empty_lake: TinyLake, days: list[tuple[date, int, int]]
) -> None:
    tape, published = Tape(empty_lake), empty_lake.published
    last, last_offset, _ = days[-1]
    opens = [new_york(day, "9:30", utc_offset) for day, utc_offset, _ in days]
    tape.trade("SPY", opens[0])
    tape.heartbeat("SPY", new_york(last, "4:00", last_offset), new_york(last, "16:15", last_offset), last)
    tape.trade("SPY", opens[-1])
    published.coverage_rows = [
        coverage("SPY", last, new_york(last, "4:00", last_offset), new_york(last, "16:15", last_offset))
    ]
    published.gap_rows = list(_whole_days(days, opens))
    published.gaps_through = FIRST_BATCH
    result = empty_lake.prove_gaps()
    assert result.offending == []
    assert result.counts["expected_bars"] == sum(minutes for _, _, minutes in days)


def _whole_days(days: Sequence[tuple[date, int, int]], opens: Sequence[datetime]) -> Iterator[Row]:
    """Yield the gaps: of the first and the last day all but the first minute is missing, of the others all."""
    for number, ((day, _, minutes), opens_at) in enumerate(zip(days, opens, strict=True)):
        is_edge = number in {0, len(days) - 1}
        reason = "no_trade" if number == len(days) - 1 else "not_collected"
        start, end = opens_at + timedelta(minutes=is_edge), opens_at + timedelta(minutes=minutes)
        yield gap("SPY", day, (start, end), reason, minutes - is_edge)


def test_of_the_newest_session_only_what_the_tape_has_passed_is_expected(whole: TinyLake) -> None:
    tape, published = Tape(whole), whole.published
    assert published.gap_rows is not None
    tuesday, opens = date(2013, 10, 8), AT["9:30"] + timedelta(days=1)
    cut = opens + timedelta(minutes=7, seconds=59)
    tape.heartbeat("IBM", opens, cut, tuesday)
    tape.trade("SPY", opens + timedelta(minutes=9))
    published.coverage_rows.append(coverage("IBM", tuesday, opens, cut))
    published.gap_rows += [
        gap("IBM", tuesday, (opens, opens + timedelta(minutes=7)), "no_trade", 7),
        gap("SPY", tuesday, (opens, opens + timedelta(minutes=7)), "not_collected", 7),
    ]
    assert whole.prove_gaps().offending == []


def test_a_feed_that_says_nothing_is_expected_up_to_its_newest_bar(empty_lake: TinyLake) -> None:
    tape, published = Tape(empty_lake), empty_lake.published
    tape.trade("SPY", AT["9:31"])
    tape.trade("IBM", AT["9:33"] + timedelta(seconds=59))
    published.gap_rows = [
        gap("IBM", MONDAY, (AT["9:30"], AT["9:33"]), "not_collected", 3),
        gap("SPY", MONDAY, (AT["9:30"], AT["9:31"]), "not_collected", 1),
        gap("SPY", MONDAY, (AT["9:32"], AT["9:33"]), "not_collected", 1),
    ]
    published.gaps_through = FIRST_BATCH
    assert empty_lake.prove_gaps().offending == []


def test_a_halt_whose_resume_was_lost_ends_where_the_symbol_trades_again(whole: TinyLake) -> None:
    tape, published = Tape(whole), whole.published
    tape.change("SPY", "halt", AT["9:45"] + timedelta(minutes=10, seconds=20), "T1")
    tape.trade("SPY", AT["9:45"] + timedelta(minutes=30))
    assert published.gap_rows is not None
    published.gap_rows[-1:] = [
        gap("SPY", MONDAY, (AT["9:45"], AT["9:45"] + timedelta(minutes=10)), "no_trade", 10),
        gap("SPY", MONDAY, (AT["9:45"] + timedelta(minutes=10), AT["9:45"] + timedelta(minutes=30)), "halted", 20),
        gap("SPY", MONDAY, (AT["9:45"] + timedelta(minutes=31), AT["16:00"]), "no_trade", 344),
    ]
    assert whole.prove_gaps().offending == []


CHANGES = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["halt", "resume"])), max_size=12)


@given(changes=CHANGES, bars=st.sets(st.integers(0, 20)))
def test_a_halt_that_a_resume_follows_lasts_until_then_and_another_until_the_next_trade(
    changes: list[tuple[int, str]], bars: set[int]
) -> None:
    said = sorted(set(changes))
    spans = halted_spans(said, sorted(bars))
    for moment in range(22):
        is_halted = False
        for number, (at, kind) in enumerate(said):
            if kind == "halt" and at <= moment:
                until = [then for then, what in said[number + 1 :] if what == "resume" and then <= moment]
                is_followed = [what for _, what in said[number + 1 : number + 2]] == ["resume"]
                traded = [bar for bar in bars if at < bar <= moment]
                is_halted |= not until and (is_followed or not traded)
        assert any(start <= moment < end for start, end in spans) == is_halted, moment


@given(CHANGES)
def test_trading_is_halted_where_the_newest_word_is_halt(changes: list[tuple[int, str]]) -> None:
    spans = halted_spans(sorted(set(changes)), ())
    for moment in range(22):
        said = [change for change in sorted(set(changes)) if change[0] <= moment]
        assert any(start <= moment < end for start, end in spans) == bool(said and said[-1][1] == "halt"), moment
    assert spans == sorted(spans)
