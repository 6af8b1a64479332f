"""What is odd in the data, how whole they are, and what is missing and why."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from alerts.reports.document import Chapter, Column, Note, Row, Table
from alerts.reports.period import SESSION
from alerts.reports.reading import Facts
from alerts.reports.reading import Row as Read
from alerts.reports.wording import (
    NONE,
    clock,
    columns,
    count,
    lineage,
    moment,
    plural,
    populations,
    price,
    share,
    suffix,
)

SHOWN: Final = 20
KINDS: Final = {"return": "return", "overnight_gap": "overnight gap", "volume": "volume"}
REASONS: Final = {
    "no_trade": "no trade",
    "halted": "halted",
    "feed_down": "feed down",
    "not_collected": "not collected",
}
_COUNTS: Final = {
    "expected_minutes": "Minutes expected",
    "present_minutes": "Minutes there",
    "no_trade_minutes": "Missing: no trade",
    "halted_minutes": "Missing: halted",
    "feed_down_minutes": "Missing: feed down",
    "not_collected_minutes": "Missing: not collected",
    "late_trades": "Late trades",
    "rejected_messages": "Quarantined messages",
    "revised_bars": "Revised bars",
    "cancelled_trades": "Cancelled trades",
    "corrected_trades": "Corrected trades",
    "compared_bars": "Bars compared with another source",
    "prices_differ_bars": "of these, prices differ",
    "volume_differs_bars": "of these, volume differs",
    "one_sided_bars": "of these, one side lacks it",
}
_TROUBLES: Final = {
    "feed_down_minutes": "feed down {} min",
    "not_collected_minutes": "not collected {} min",
    "halted_minutes": "halted {} min",
    "rejected_messages": "quarantined {}",
    "late_trades": "late {}",
    "corrected_trades": "corrected {}",
    "cancelled_trades": "cancelled {}",
    "prices_differ_bars": "prices differ in {} bars",
}


def anomalies_chapter(facts: Facts) -> Chapter:
    """Return returns, overnight gaps and volumes far off."""
    if not facts.anomalies:
        return Chapter("anomalies", "Anomalies", (Note("empty", _why_no_anomaly(facts)),))
    blocks = []
    for is_simulated, title, rows in populations(facts.anomalies):
        names = ("Symbol", "Session", "Kind", "Robust z", "Evidence")
        blocks.append(
            Table(
                f"anomalies_{suffix(is_simulated=is_simulated)}",
                title,
                columns(*names, numbers=("Robust z",)),
                tuple(_anomaly(row) for row in rows[:SHOWN]),
                lineage(facts, "marts.anomalies"),
                note=f"{len(rows) - SHOWN:,} more are in marts.anomalies." if len(rows) > SHOWN else "",
            )
        )
    return Chapter("anomalies", "Anomalies", tuple(blocks))


def quality_chapter(facts: Facts) -> Chapter:
    """Return coverage, late, quarantined, revised, and disagreement with other sources; then the symbols with troubles."""
    if not facts.quality:
        text = (
            "No feed was expected to bring minutes of this period: of daily bars alone there is nothing to hold against the "
            "calendar, and marts.data_quality has no row."
        )
        return Chapter("quality", "Data quality", (Note("empty", text),))
    return Chapter("quality", "Data quality", (_by_feed(facts), _troubles(facts)))


def gaps_chapter(facts: Facts) -> Chapter:
    """Return what is missing by feed and reason, and the longest gaps of a reason that is not the market's."""
    if not facts.gaps:
        text = (
            "No minute is missing: every expected bar is there."
            if facts.quality
            else "No feed was expected to bring minutes: nothing can be missing."
        )
        return Chapter("gaps", "Gaps", (Note("empty", text),))
    return Chapter("gaps", "Gaps", (_by_reason(facts), _longest(facts)))


def coverage(rows: Sequence[Read]) -> float | None:
    """Return which part of the expected minutes is there."""
    expected = sum(row["expected_minutes"] for row in rows)
    return sum(row["present_minutes"] for row in rows) / expected if expected else None


def _why_no_anomaly(facts: Facts) -> str:
    if facts.scored:
        return "No anomaly: no return, overnight gap or volume was 3.5 robust standard deviations off."
    return (
        "No scores of this period: they are kept of the 20 newest sessions that are over, and want 20 sessions before each. "
        "So it cannot be said whether there was an anomaly."
    )


def _anomaly(row: Read) -> Row:
    if row["kind"] == "volume":
        shown = f"{count(row['volume'])} shares; median {count(row['median_volume'])}"
    elif row["kind"] == "overnight_gap":
        shown = f"open {price(row['open'])} after close {price(row['previous_close'])}"
    else:
        shown = f"close {price(row['close'])} after {price(row['previous_close'])}"
    key = f"{row['symbol']}/{row['session_date']}/{row['kind']}"
    z = "all before alike" if row["z"] is None else f"{row['z']:+.1f}".replace("-", "\N{MINUS SIGN}")
    return Row(key, (row["symbol"], row["session_date"].isoformat(), KINDS[row["kind"]], z, shown))


def _by_feed(facts: Facts) -> Table:
    feeds: dict[tuple[str, bool], list[Read]] = {}
    for row in facts.quality:
        feeds.setdefault((row["origin"], row["is_simulated"]), []).append(row)
    lines: list[tuple[str, str, Sequence[str]]] = [
        ("symbols", "Symbols", [count(len({row["symbol"] for row in rows})) for rows in feeds.values()]),
        ("coverage", "Coverage", [share(coverage(rows)) for rows in feeds.values()]),
    ]
    for name, title in _COUNTS.items():
        lines.append((name, title, [_sum(rows, name) for rows in feeds.values()]))
    titles = [f"{origin} (made up)" if is_simulated else origin for origin, is_simulated in feeds]
    return Table(
        "feeds",
        "By feed",
        (Column("what", ""), *(Column(title, title, is_number=True) for title in titles)),
        tuple(Row(key, (title, *cells)) for key, title, cells in lines),
        lineage(facts, "marts.data_quality"),
        note=(
            "Minutes of regular hours. Late and quarantined are counted every hour; a dash is not counted yet. "
            "A message that names no symbol is only in ./run quarantine."
        ),
    )


def _sum(rows: Sequence[Read], name: str) -> str:
    counted = [row[name] for row in rows if row[name] is not None]
    return count(sum(counted)) if counted else NONE


def _troubles(facts: Facts) -> Table:
    by_symbol: dict[tuple[str, str], list[Read]] = {}
    for row in facts.quality:
        by_symbol.setdefault((row["origin"], row["symbol"]), []).append(row)
    found = [(key, rows, said) for key, rows in by_symbol.items() if (said := _said(rows))]
    found.sort(key=lambda one: (coverage(one[1]) if coverage(one[1]) is not None else 1, one[0]))
    return Table(
        "troubles",
        "Symbols with troubles",
        columns("Symbol", "Feed", "Coverage", "What", numbers=("Coverage",)),
        tuple(
            Row(f"{origin}/{symbol}", (symbol, origin, share(coverage(rows)), said))
            for (origin, symbol), rows, said in found[:SHOWN]
        ),
        lineage(facts, "marts.data_quality"),
        empty="None: no feed was down, nothing was late, quarantined, amended or different from another source.",
        note=f"{len(found) - SHOWN:,} more are in marts.data_quality." if len(found) > SHOWN else "",
    )


def _said(rows: Sequence[Read]) -> str:
    sums: Mapping[str, Any] = {name: sum(row[name] or 0 for row in rows) for name in _TROUBLES}
    return ", ".join(_TROUBLES[name].format(count(value)) for name, value in sums.items() if value)


def _by_reason(facts: Facts) -> Table:
    sums: dict[tuple[str, str], list[Read]] = {}
    for row in facts.gaps:
        sums.setdefault((row["origin"], row["reason"]), []).append(row)
    return Table(
        "reasons",
        "By feed and reason",
        columns("Feed", "Reason", "Gaps", "Minutes", numbers=("Gaps", "Minutes")),
        tuple(
            Row(
                f"{origin}/{reason}",
                (
                    origin,
                    REASONS[reason],
                    count(sum(row["symbols"] for row in rows)),
                    count(sum(row["minutes"] for row in rows)),
                ),
                "bad" if reason in {"feed_down", "not_collected"} else "",
            )
            for (origin, reason), rows in sorted(sums.items())
        ),
        lineage(facts, "marts.bar_gaps"),
        note="A gap is a run of missing minutes of one symbol in regular hours.",
    )


def _longest(facts: Facts) -> Table:
    rows = [row for row in facts.gaps if row["reason"] != "no_trade"]
    with_day = facts.period.kind != SESSION
    return Table(
        "longest",
        "Longest gaps that are not the market's",
        columns("From", "Until", "Symbols", "Reason", "Minutes", numbers=("Minutes",)),
        tuple(
            Row(
                f"{row['origin']}/{row['reason']}/{moment(row['gap_at'])}/{moment(row['gap_end_at'])}",
                (
                    clock(row["gap_at"], with_day=with_day),
                    clock(row["gap_end_at"], with_day=with_day),
                    row["first_symbol"] if row["symbols"] == 1 else plural(row["symbols"], "symbol"),
                    f"{REASONS[row['reason']]} ({row['origin']})",
                    count(row["minutes"]),
                ),
            )
            for row in rows[:SHOWN]
        ),
        lineage(facts, "marts.bar_gaps"),
        empty="None: every missing minute is one in which nobody traded.",
        note=f"{len(rows) - SHOWN:,} more are in marts.bar_gaps." if len(rows) > SHOWN else "",
    )
