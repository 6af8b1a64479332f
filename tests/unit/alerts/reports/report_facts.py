"""What a report reads, as a small market by hand: five real symbols and a simulated one, alerts, a gap, an anomaly."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from alerts.reports.document import Source
from alerts.reports.period import SESSION, period_of
from alerts.reports.reading import RELATIONS, Facts, Series
from market.sessions import find_session

DAY = date(2013, 11, 29)
"""A half-day: the exchange closed at 13:00."""
NOW = datetime(2013, 12, 3, 12, tzinfo=UTC)
ASKED = datetime(2013, 12, 3, 11, 59, 58, tzinfo=UTC)
RUN = "0f1e2d3c-0000-4000-8000-000000000001"
NASTY = 'x" onload="alert(1)"><script>&#$*_@[typst]'
"""A name that a page or a typesetter might take for more than text."""

Row = Mapping[str, Any]
MOVES: Sequence[tuple[str, str, float | None, int, float | None]] = (
    ("AAA", "10.50", 5.0, 1_000, 2.0),
    ("BBB", "99.00", -1.0, 5_000, 0.5),
    ("CCC", "20.00", 0.0, 0, None),
    ("DDD", "0.012345", 7.25, 300, 9.0),
    ("EEE", "1234.56", None, 400, None),
)


def opening() -> datetime:
    session = find_session(DAY)
    assert session is not None
    return session.open_at


def move(
    symbol: str,
    close: str,
    change: float | None,
    volume: int,
    ratio: float | None,
    *,
    simulated: bool = False,
    since: date | None = None,
) -> Row:
    """Return a move; ``since`` a day, ``change`` is not that of the period."""
    return {
        "is_simulated": simulated,
        "symbol": symbol,
        "close": Decimal(close),
        "change_pct": change if since is None else None,
        "since": since,
        "change_since_pct": None if since is None else change,
        "volume": volume,
        "volume_ratio": ratio,
        "is_final": True,
        "origin": "simulated" if simulated else "lean",
        "sessions": 1,
    }


def breadth(*, simulated: bool = False) -> Row:
    return {
        "session_date": DAY,
        "is_simulated": simulated,
        "advancing": 2,
        "declining": 1,
        "unchanged": 1,
        "not_compared": 1,
        "advance_decline_line": 17,
        "advancing_volume": 1_300,
        "declining_volume": 5_000,
        "unchanged_volume": 0,
        "new_highs": 3,
        "new_lows": 4,
        "symbols_52_weeks": 5,
        "share_above_average_50": 0.25,
        "share_above_average_200": None,
    }


def alert(symbol: str, minute: int, *, rule: str = "dip", retracted: bool = False, **others: Any) -> Row:
    bar_at = opening() + timedelta(minutes=minute)
    evidence = {
        "values": {"close": {"now": 10.5, "before": 9.75}},
        "bar": {"close": 10.5, "revision": 1},
        "origin": "lean",
    }
    later = {**evidence, "bar": {"close": 9.25, "revision": 2}}
    return {
        "rule_name": rule,
        "symbol": symbol,
        "interval": "5m",
        "bar_at": bar_at,
        "session_date": DAY,
        "revision": 1,
        "is_retracted": retracted,
        "is_historical": False,
        "message": "m",
        "evidence": evidence,
        "triggered_at": bar_at + timedelta(minutes=5),
        "recorded_at": NOW,
        "retracted_at": NOW if retracted else None,
        "retraction_evidence": later if retracted else None,
        "delivered": 1,
        "held": 0,
        "dead": 0,
        "pending": 0,
        **others,
    }


def rule(name: str, **others: Any) -> Row:
    return {
        "rule_id": f"id of {name}",
        "name": name,
        "condition": "close above 1",
        "interval": "5m",
        "symbols": "all",
        "status": "active",
        "fired": 0,
        "retracted": 0,
        "symbol_sessions": 0,
        "fired_ever": 0,
        "held": 0,
        **others,
    }


def quality(symbol: str, *, simulated: bool = False, **others: Any) -> Row:
    return {
        "symbol": symbol,
        "session_date": DAY,
        "origin": "simulated" if simulated else "lean",
        "is_simulated": simulated,
        "expected_minutes": 210,
        "present_minutes": 200,
        "no_trade_minutes": 4,
        "halted_minutes": 0,
        "feed_down_minutes": 6,
        "not_collected_minutes": 0,
        "late_trades": None,
        "rejected_messages": 2,
        "revised_bars": 3,
        "cancelled_trades": 0,
        "corrected_trades": 1,
        "compared_bars": 10,
        "prices_differ_bars": 1,
        "volume_differs_bars": 0,
        "one_sided_bars": 0,
        **others,
    }


def gap(reason: str, first: int, last: int, symbols: int = 1) -> Row:
    return {
        "session_date": DAY,
        "origin": "lean",
        "reason": reason,
        "symbols": symbols,
        "first_symbol": "AAA",
        "gap_at": opening() + timedelta(minutes=first),
        "gap_end_at": opening() + timedelta(minutes=last),
        "minutes": symbols * (last - first),
        "is_simulated": False,
    }


def series(symbol: str = "AAA", *, bars: int = 20, shades: Sequence[Row] = ()) -> Series:
    """Return bars that rise and fall by turns; the averages are there from the tenth on."""
    rows = []
    for number in range(bars):
        first, last = (Decimal(100), Decimal(102)) if number % 2 == 0 else (Decimal(102), Decimal(101))
        ready = number >= 10
        rows.append(
            {
                "symbol": symbol,
                "bar_at": opening() + timedelta(minutes=5 * number),
                "session_date": DAY,
                "open": first,
                "high": Decimal(103),
                "low": Decimal(99),
                "close": last,
                "volume": 100 + number,
                "sma_20": 101.0 if ready else None,
                "sma_50": None,
                "bb_upper": 104.0 if ready else None,
                "bb_lower": 98.0 if ready else None,
            }
        )
    return Series(symbol, "5m", rows, list(shades))


def facts(**changes: Any) -> Facts:
    """Return the market, with what a test wants otherwise."""
    moves = [*(move(*one) for one in MOVES), move("ZZZ", "5.00", -2.0, 70, 1.0, simulated=True)]
    sources = {
        name: Source(name, "abcd1234", "2013-12-03 10:00:00 UTC", RUN, "2013-12-03 10:00:01 UTC")
        for name in (*RELATIONS, "app.alerts")
    }
    sources["app.alert_rules"] = Source("app.alert_rules", "11112222", "2013-12-01 00:00:00 UTC")
    content: dict[str, Any] = {
        "period": period_of(SESSION, DAY, NOW),
        "asked_at": ASKED,
        "snapshot": "10:10:",
        "breadth": [breadth(), breadth(simulated=True)],
        "sessions": [],
        "moves": moves,
        "alerts": [alert("AAA", 5), alert("AAA", 20, retracted=True), alert("BBB", 10, rule=NASTY)],
        "rules": [
            rule("dip", fired=2, fired_ever=2, symbol_sessions=1),
            rule("never"),
            rule(NASTY, fired=1, fired_ever=1),
        ],
        "anomalies": [],
        "scored": 1,
        "quality": [quality("AAA"), quality("BBB", feed_down_minutes=0, rejected_messages=0, corrected_trades=0)],
        "gaps": [gap("feed_down", 30, 36), gap("no_trade", 50, 54)],
        "series": [series(shades=[gap("feed_down", 30, 36)]), series("BBB")],
        "uncharted": 0,
        "sources": sources,
        "batches": [{"batch": "aaaaaaaa/7", "published_at": ASKED, "messages": 12, "quarantined": 2, "duplicates": 0}],
    }
    return Facts(**{**content, **changes})
