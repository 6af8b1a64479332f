"""What the watch over prices ought to record ahead of the marts, and whether it did: by the messages in the topic.

The oracle goes through the messages one by one, as ``docs/alerts.md`` says; it shares no code with the watch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import psycopg

from tests.faults.alert_rules import AT_ONCE, Bar, fires
from tests.faults.alert_tape import CLOCK, Landing, Message, Tape

Fired = tuple[str, int]
"""A rule, and the minute on which it fires."""

_ALERTS: Final = """
select
    alert_id::text, rule_name, symbol, bar_at, kind, refers_to::text, recorded_at, evidence ? 'fired_by',
    (evidence #>> '{fired_by,partition}')::integer, coalesce((evidence #>> '{fired_by,offset}')::bigint, -1),
    evidence #>> '{trade,trade_id}'
from app.alerts where rule_name = any(%s) and symbol = any(%s) order by bar_at, revision
"""
_SURELY_LATER: Final = timedelta(seconds=2)
"""Who records notes the time before the transaction: what lies so far apart was there."""


@dataclass
class Lifetime:
    """A process that watches: where it began, and by then how many messages there were of each symbol when it ended."""

    began: Landing
    ended: Mapping[str, int] | None = None


class Row(NamedTuple):
    """An alert of a rule that fires at once, or a retraction."""

    alert_id: str
    rule: str
    symbol: str
    bar_at: datetime
    kind: str
    refers_to: str | None
    recorded_at: datetime
    is_at_once: bool
    partition: int | None
    offset: int
    trade_id: str | None


@dataclass
class _Minute:
    """The minute under way."""

    at: int
    before: int | None
    high: int
    low: int
    close: int
    closed_at: tuple[int, int]
    is_doubted: bool = False


def rows(tape: Tape) -> list[Row]:
    """Return what is recorded of the tape's symbols by rules that fire at once."""
    symbols = [symbol for symbol in tape.messages if symbol != CLOCK]
    info = tape.connection.info
    with psycopg.connect(info.dsn, password=info.password) as connection:
        connection.execute("set time zone 'UTC'")
        return [Row(*row) for row in connection.execute(_ALERTS, [list(AT_ONCE), symbols]).fetchall()]


def fired(messages: Iterable[Message], bars: Mapping[int, Bar]) -> dict[Fired, int]:
    """Return what comes true, and with the message of which offset, for whoever begins with bars and reads on from there.

    Left to the marts are trades of minutes that are over, the minute under way when an amendment comes, and whether the next one
    crosses its close. Of a bar that was there nobody knows when its last trade was: one that comes closes behind it.
    """
    found: dict[Fired, int] = {}
    minute = _newest(bars)
    for one in messages:
        if one.kind != "trade":
            if minute is not None:
                minute.is_doubted = True
            continue
        if minute is not None and one.minute < minute.at:
            continue
        if minute is None or one.minute > minute.at:
            before = None if minute is None or minute.is_doubted else minute.close
            minute = _Minute(one.minute, before, one.price, one.price, one.price, one.moment)
        minute.high, minute.low = max(minute.high, one.price), min(minute.low, one.price)
        if one.moment >= minute.closed_at:
            minute.close, minute.closed_at = one.price, one.moment
        for rule, watched in AT_ONCE.items():
            assert watched.passes is not None
            if not minute.is_doubted and watched.passes(minute.high, minute.low, minute.before):
                found.setdefault((rule, minute.at), one.offset)
    return found


def _newest(bars: Mapping[int, Bar]) -> _Minute | None:
    if not bars:
        return None
    *_, before, newest = (None, *sorted(bars))
    assert newest is not None
    bar = bars[newest]
    return _Minute(newest, None if before is None else bars[before].close, bar.high, bar.low, bar.close, (0, 0))


def missing(tape: Tape, watch: Lifetime) -> list[str]:
    """Return what a watch ought to have recorded by now of all that is in the topic, and has not."""
    there = {(row.rule, row.symbol, tape.minute_of(row.bar_at)) for row in rows(tape) if row.kind == "alert"}
    return [
        f"not recorded at once: {rule} on {symbol} at {tape.at(minute):%H:%M}"
        for symbol, found in _of_each(tape, watch)
        for rule, minute in sorted(found)
        if (rule, symbol, minute) not in there
        and not any((rule, symbol, earlier) in there for earlier in _silencing(rule, minute))
    ]


def _silencing(rule: str, minute: int) -> range:
    """Return the minutes of which an alert keeps the rule from firing in this one."""
    return range(minute - max(0, AT_ONCE[rule].rule.cooldown_seconds // 60 - 1), minute)


def _of_each(tape: Tape, watch: Lifetime) -> Iterator[tuple[str, dict[Fired, int]]]:
    for symbol, messages in list(tape.messages.items()):
        if symbol != CLOCK:
            begin = watch.began.offsets[tape.partitions[symbol]]
            seen = messages if watch.ended is None else messages[: watch.ended.get(symbol, 0)]
            yield symbol, fired((one for one in seen if one.offset >= begin), watch.began.bars.get(symbol, {}))


@dataclass
class Judged:
    """What is wrong with alerts that were recorded at once, and with retractions; and how many of each there were."""

    false: list[str] = field(default_factory=list)
    recorded: int = 0
    retracted: int = 0


def judge(tape: Tape, watches: Iterable[Lifetime]) -> Judged:
    """Judge a platform at rest: whether each alert had its trade, and each retraction its reason."""
    judged = Judged()
    may = {
        (symbol, *key, offset)
        for watch in watches
        for symbol, found in _of_each(tape, watch)
        for key, offset in found.items()
    }
    found = rows(tape)
    retractions = {row.refers_to: row for row in found if row.kind == "retraction"}
    for row in found:
        name = f"{row.rule} on {row.symbol} at {row.bar_at:%H:%M}"
        if row.kind == "retraction":
            continue
        judged.recorded += row.is_at_once
        minute = tape.minute_of(row.bar_at)
        if row.is_at_once:
            if (row.symbol, row.rule, minute, row.offset) not in may or row.partition != tape.partitions[row.symbol]:
                judged.false.append(f"fired by a message that is no reason: {name}, offset {row.offset}")
            if row.trade_id is not None and not any(
                one.trade_id == row.trade_id and one.minute == minute and one.offset <= row.offset
                for one in tape.messages[row.symbol]
            ):
                judged.false.append(f"has a trade that it cannot have: {name}, {row.trade_id}")
            if _ought_to_be_silent(row, found, retractions):
                judged.false.append(f"fired though it had to be silent: {name}")
        if row.alert_id in retractions:
            judged.retracted += 1
            if not _may_be_taken_back(tape, row, found):
                judged.false.append(f"taken back without a reason: {name}")
    return judged


def _ought_to_be_silent(row: Row, found: list[Row], retractions: Mapping[str | None, Row]) -> bool:
    """Return whether an alert that keeps it from firing was there and stood, for sure, when it was recorded at once."""
    watched = AT_ONCE[row.rule].rule
    if not watched.cooldown_seconds:
        return False
    return any(
        earlier.kind == "alert"
        and (earlier.rule, earlier.symbol) == (row.rule, row.symbol)
        and timedelta() < row.bar_at - earlier.bar_at < timedelta(seconds=watched.cooldown_seconds)
        and row.recorded_at - earlier.recorded_at > _SURELY_LATER
        and (
            earlier.alert_id not in retractions
            or retractions[earlier.alert_id].recorded_at - row.recorded_at > _SURELY_LATER
        )
        for earlier in found
    )


def _may_be_taken_back(tape: Tape, row: Row, found: list[Row]) -> bool:
    """Return whether there were bars with its message, and a tape past its end, on which its rule did not fire."""
    minute = tape.minute_of(row.bar_at)
    for landing in tape.landings:
        bars = landing.bars.get(row.symbol, {})
        is_read = landing.offsets[tape.partitions[row.symbol]] > row.offset and landing.minute > minute
        if is_read and minute not in fires(AT_ONCE[row.rule], bars, landing.minute):
            return True
    # What is silent for another's sake is so for one that is taken back later, too.
    silencing = _silencing(row.rule, minute)
    return any(
        other.kind == "alert"
        and (other.rule, other.symbol) == (row.rule, row.symbol)
        and tape.minute_of(other.bar_at) in silencing
        for other in found
    )
