"""The market as a whole, and what moved most."""

from collections.abc import Sequence
from datetime import date
from statistics import fmean, median
from typing import Final

from alerts.reports.choice import SHOWN, not_compared, ranked
from alerts.reports.document import Block, Chapter, Column, Note, Row, Table
from alerts.reports.period import SESSION
from alerts.reports.reading import Facts
from alerts.reports.reading import Row as Read
from alerts.reports.wording import (
    NONE,
    columns,
    count,
    lineage,
    percent,
    populations,
    price,
    share,
    suffix,
    times,
)

TITLES: Final = {
    "gainers": "Gainers",
    "losers": "Losers",
    "most_active": "Most active",
    "unusual_volume": "Unusual volume",
}
_NO_DAYS: Final = (
    "No symbol has a day in marts.daily_analytics in this period: only minutes, or nothing, came of it, or the marts were "
    "not built since."
)
_APART: Final = 40
"""How many symbols without a close of the session before are listed."""
_EMPTY: Final = {
    "gainers": "No symbol rose against its close of the session before.",
    "losers": "No symbol fell against its close of the session before.",
    "most_active": "No symbol has any volume.",
    "unusual_volume": "No symbol has 20 days before, against which its volume could be held.",
}


def market_chapter(facts: Facts) -> Chapter:
    """Return breadth, the median return, new highs and lows, and volume."""
    blocks: list[Block] = []
    for is_simulated, title, moves in populations(facts.moves):
        breadth = [row for row in facts.breadth if row["is_simulated"] == is_simulated]
        blocks.append(_summary(facts, title, moves, breadth, is_simulated=is_simulated))
        if facts.period.kind != SESSION:
            blocks.append(_by_session(facts, title, breadth, is_simulated=is_simulated))
    return Chapter("market", "Market summary", tuple(blocks or [Note("empty", _NO_DAYS)]))


def movers_chapter(facts: Facts) -> Chapter:
    """Return gainers, losers, the most active, and those of unusual volume."""
    blocks: list[Block] = []
    for is_simulated, title, moves in populations(facts.moves):
        for ranking, name in TITLES.items():
            rows = ranked(moves, ranking)[:SHOWN]
            blocks.append(
                Table(
                    f"{ranking}_{suffix(is_simulated=is_simulated)}",
                    f"{name}: {title.lower()}",
                    columns(
                        "Symbol", "Close", "Change", "Shares", "Usual", numbers=("Close", "Change", "Shares", "Usual")
                    ),
                    tuple(_mover(row) for row in rows),
                    lineage(facts, "marts.daily_analytics"),
                    empty=_EMPTY[ranking],
                )
            )
        if apart := not_compared(moves):
            blocks.append(_apart(facts, title, apart, is_simulated=is_simulated))
    return Chapter("movers", "Movers", tuple(blocks or [Note("empty", _NO_DAYS)]))


def _apart(facts: Facts, title: str, apart: Sequence[Read], *, is_simulated: bool) -> Table:
    more = f" {len(apart) - _APART:,} more are not listed." if len(apart) > _APART else ""
    return Table(
        f"not_compared_{suffix(is_simulated=is_simulated)}",
        f"No close of the session before: {title.lower()}",
        columns("Symbol", "Close", "Change", "Since", numbers=("Close", "Change", "Since")),
        tuple(
            Row(
                row["symbol"],
                (row["symbol"], price(row["close"]), percent(row["change_since_pct"]), row["since"].isoformat()),
            )
            for row in apart[:_APART]
        ),
        lineage(facts, "marts.daily_analytics"),
        note=f"There is no close of {facts.period.before}, the session before. The change is that against the close of the day "
        f"named, so these symbols neither rose nor fell in this report.{more}",
    )


def median_change(moves: Sequence[Read]) -> float | None:
    """Return the median change of those symbols that can be compared."""
    changes = [row["change_pct"] for row in moves if row["change_pct"] is not None]
    return median(changes) if changes else None


def _mover(row: Read) -> Row:
    change = row["change_pct"]
    mood = "" if not change else "good" if change > 0 else "bad"
    cells = (row["symbol"], price(row["close"]), percent(change), count(row["volume"]), times(row["volume_ratio"]))
    return Row(row["symbol"], cells, mood)


def _summary(facts: Facts, title: str, moves: Sequence[Read], breadth: Sequence[Read], *, is_simulated: bool) -> Table:
    changes = [row["change_pct"] for row in moves if row["change_pct"] is not None]
    ratios = [row["volume_ratio"] for row in moves if row["volume_ratio"] is not None]
    newest = breadth[-1] if breadth else {}
    rows = [
        ("symbols", "Symbols", count(len(moves))),
        ("advancing", "Advancing", count(sum(change > 0 for change in changes))),
        ("declining", "Declining", count(sum(change < 0 for change in changes))),
        ("unchanged", "Unchanged", count(sum(change == 0 for change in changes))),
        ("not_compared", "Without a close of the session before", count(len(moves) - len(changes))),
        ("median", "Median change", percent(median_change(moves))),
        ("mean", "Mean change, all alike", percent(fmean(changes) if changes else None)),
        ("line", "Advance-decline line", count(newest.get("advance_decline_line"))),
        ("highs", "New 52-week highs", count(sum(row["new_highs"] for row in breadth)) if breadth else NONE),
        ("lows", "New 52-week lows", count(sum(row["new_lows"] for row in breadth)) if breadth else NONE),
        ("old_enough", "of symbols with 52 weeks", count(newest.get("symbols_52_weeks"))),
        ("above_50", "Above the mean of 50 days", share(newest.get("share_above_average_50"))),
        ("above_200", "Above the mean of 200 days", share(newest.get("share_above_average_200"))),
        ("volume", "Shares traded", count(sum(row["volume"] for row in moves))),
        ("ratio", "Median volume, of the usual", times(median(ratios) if ratios else None)),
        ("final", "All days final", "yes" if all(row["is_final"] for row in moves) else "not yet"),
    ]
    return Table(
        f"summary_{suffix(is_simulated=is_simulated)}",
        title,
        (Column("what", ""), Column("value", facts.period.name, is_number=True)),
        tuple(Row(key, (name, value)) for key, name, value in rows),
        lineage(facts, "marts.daily_analytics", "marts.market_breadth"),
        note="A change is that of the close against the close of the session before the period, adjusted for splits. The "
        "advance-decline line is that of marts.market_breadth, which takes the day before of a symbol, whichever session it was.",
    )


def _by_session(facts: Facts, title: str, breadth: Sequence[Read], *, is_simulated: bool) -> Table:
    names = ("Session", "Up / down", "Median", "Highs / lows", "Shares")
    counted = {row["session_date"]: row for row in breadth}
    rows = []
    for row in facts.sessions:
        if row["is_simulated"] != is_simulated:
            continue
        day: date = row["session_date"]
        counts = counted.get(day, {})
        up, down = count(row["advancing"]), count(row["declining"])
        highs, lows = count(counts.get("new_highs")), count(counts.get("new_lows"))
        median_change = percent(row["median_change"])
        cells = (f"{day:%a %d %b}", f"{up} / {down}", median_change, f"{highs} / {lows}", count(row["volume"]))
        rows.append(Row(day.isoformat(), cells))
    return Table(
        f"sessions_{suffix(is_simulated=is_simulated)}",
        f"By session: {title.lower()}",
        columns(*names, numbers=names[1:]),
        tuple(rows),
        lineage(facts, "marts.daily_analytics", "marts.market_breadth"),
        empty="No symbol has a day in these sessions.",
    )
