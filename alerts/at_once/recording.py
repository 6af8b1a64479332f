"""Recording what fired with a trade: as an evaluation of the marts would, under the same identities, ahead of it.

What belongs here: what is known of a minute and a trade, as the tables that the statements of
:mod:`alerts.evaluation.recording` read. What does not: what fires (:mod:`alerts.at_once.watcher`).

An alert that is there already, also one that was taken back, is left as it is: the marts know better. Each one is queued for the
next evaluation under its own identity, so that nobody waits for a row that a build or an evaluation holds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from alerts.at_once.minutes import Minute, moment_of
from alerts.at_once.watcher import Fired
from alerts.evaluation.evaluate import known_fields
from alerts.evaluation.judging import COOLDOWN, IS_WATCHED_SINCE
from alerts.evaluation.recording import alert_statement, hand_over
from alerts.rules.at_once import INTERVAL
from market.errors import RefusedValuesError
from market.records import Trade
from market.topics import TRADES
from warehouse.connection import lost_connections

_log: Final = structlog.get_logger(__name__)

_MOST: Final = 1_000
"""So many at a time: whoever sends need not wait for all of them."""

_TABLES: Final = f"""
with judged_bars as (
    select * from jsonb_to_recordset(%(bars)s::jsonb) as bars (
        symbol text, interval text, bar_at timestamptz, bar_end timestamptz, session_date date, open numeric(18, 6),
        high numeric(18, 6), low numeric(18, 6), close numeric(18, 6), volume bigint, revision integer, is_final boolean,
        origin text, revised_at timestamptz, now double precision[], before double precision[], trade jsonb,
        fired_by jsonb
    )
), proposed as (
    select * from jsonb_to_recordset(%(fired)s::jsonb) as fired (
        rule_id bigint, version integer, symbol text, interval text, bar_at timestamptz, bar_end timestamptz
    )
), standing as (
    select alerts.rule_id, alerts.symbol, alerts.interval, alerts.bar_at
    from proposed
    inner join app.alerts
        on alerts.rule_id = proposed.rule_id and alerts.symbol = proposed.symbol and alerts.interval = proposed.interval
        and alerts.bar_at = proposed.bar_at and alerts.kind = 'alert'
), desired as (
    select proposed.rule_id, proposed.version, proposed.symbol, proposed.interval, proposed.bar_at, false as is_past
    from proposed
    inner join app.alert_rule_versions as versions
        on versions.rule_id = proposed.rule_id and versions.version = proposed.version
    where (versions.until_at is null or proposed.bar_end <= versions.until_at)
        and (versions.cooldown_seconds = 0 or not exists (
            select from app.alerts as earlier
            where earlier.rule_id = proposed.rule_id and earlier.symbol = proposed.symbol and earlier.interval = proposed.interval
                and earlier.kind = 'alert' and earlier.bar_at < proposed.bar_at
                and earlier.triggered_at > versions.rule_created_at
                and earlier.triggered_at > proposed.bar_end - {COOLDOWN.format("versions")}
                and {IS_WATCHED_SINCE.format(alert="earlier")}
                and not exists (select from app.alerts as taken_back where taken_back.refers_to = earlier.alert_id)
        ))
)
"""  # noqa: S608 - declared names
_QUEUE: Final = """
insert into app.pending_evaluations (mart, series, interval, source, from_at)
select 'intraday_analytics', symbol, interval, alert_id::text, bar_at from app.alerts where alert_id = any(%(alerts)s)
on conflict do nothing
"""


def record_fired(connection: Any, fired: Sequence[Fired], now: datetime) -> int:  # noqa: ANN401 - psycopg is known to warehouse only
    """Record what fired, each some hundred in a transaction of their own, and return how many alerts are new.

    What was recorded before, or may not fire any more, is passed over; so whatever is tried again is recorded once. What the
    database cannot hold is told and left to the evaluation, and nothing else with it.
    """
    fields = known_fields(connection)
    connection.commit()
    return sum(_record_what_can_be(connection, part, fields, now) for part in _parts(fired))


def _record_what_can_be(connection: Any, part: Sequence[Fired], fields: Mapping[int, str], now: datetime) -> int:  # noqa: ANN401
    try:
        with lost_connections():
            return _record(connection, part, fields, now)
    except RefusedValuesError as error:
        connection.rollback()
        if len(part) > 1:
            return sum(_record_what_can_be(connection, [one], fields, now) for one in part)
        (one,) = part
        at, symbol = _text(one.minute.bar_at), one.minute.symbol
        _log.warning("price_alert_left_to_marts", rule=one.watch.rule_id, symbol=symbol, bar_at=at, cause=str(error))
        return 0


def _record(connection: Any, part: Sequence[Fired], fields: Mapping[int, str], now: datetime) -> int:  # noqa: ANN401
    values = {"bars": json.dumps(list(_bars(part, fields))), "fired": json.dumps(list(_proposed(part))), "now": now}
    recorded = connection.execute(_TABLES + alert_statement(at_once=True), values).fetchall()
    alerts = [alert_id for alert_id, _ in recorded]
    hand_over(connection, alerts, now)
    connection.execute(_QUEUE, {"alerts": alerts})
    connection.commit()
    return len(alerts)


def _parts(fired: Sequence[Fired]) -> Iterator[list[Fired]]:
    """Yield them in parts: of one minute each, for a cooldown looks at those before; a symbol has one bar and one trade there."""
    part: list[Fired] = []
    states: dict[str, tuple[int, int]] = {}
    for one in sorted(fired, key=lambda one: one.minute.bar_at):
        is_other = bool(part) and part[0].minute.bar_at != one.minute.bar_at
        state = (id(one.minute), id(one.trade))
        if is_other or len(part) == _MOST or states.get(one.minute.symbol, state) != state:
            yield part
            part, states = [], {}
        part.append(one)
        states[one.minute.symbol] = state
    if part:
        yield part


def _proposed(fired: Iterable[Fired]) -> Iterator[dict[str, Any]]:
    for one in fired:
        minute, watch = one.minute, one.watch
        yield {**_key(minute), "rule_id": watch.rule_id, "version": watch.version, "bar_end": _text(minute.bar_end)}


def _bars(part: Iterable[Fired], fields: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """Yield each minute once, as it was with the trade."""
    for one in {one.minute.symbol: one for one in part}.values():
        minute = one.minute
        yield {
            **_key(minute),
            "bar_end": _text(minute.bar_end),
            "session_date": minute.session_date.isoformat(),
            "open": minute.first[2] if minute.first is not None else None,
            "high": minute.high,
            "low": minute.low,
            "close": minute.close,
            "volume": minute.volume,
            "is_final": False,
            "origin": minute.source,
            "now": _by_number(minute.close, fields),
            "before": _by_number(minute.before, fields),
            "trade": _shown(one.trade) if one.trade is not None else None,
            "fired_by": {"topic": TRADES.name, "partition": one.by.partition, "offset": one.by.offset},
        }


def _key(minute: Minute) -> dict[str, Any]:
    return {"symbol": minute.symbol, "interval": INTERVAL, "bar_at": _text(minute.bar_at)}


def _by_number(close: float | None, fields: Mapping[int, str]) -> list[float | None]:
    """Return the array of values by the numbers of fields, of which the close alone is asked."""
    return [close if fields.get(number, "").rstrip("!") == "close" else None for number in range(1, max(fields) + 1)]


def _shown(trade: Trade) -> dict[str, Any]:
    return {
        "price": float(trade.price),
        "size": trade.size,
        "at": _text(trade.ts),
        "trade_id": trade.trade_id,
        "sequence": trade.sequence,
        "conditions": trade.conditions,
    }


def _text(micros_since: int) -> str:
    return moment_of(micros_since).isoformat()
