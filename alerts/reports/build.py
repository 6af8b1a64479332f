"""The document of a report, from what was read: a pure function."""

from datetime import datetime

from alerts.reports.chapters.alerting import alerts_chapter, rules_chapter
from alerts.reports.chapters.drawn import charts_chapter
from alerts.reports.chapters.market import market_chapter, median_change, movers_chapter
from alerts.reports.chapters.origins import lineage_chapter
from alerts.reports.chapters.quality import anomalies_chapter, coverage, gaps_chapter, quality_chapter
from alerts.reports.choice import not_compared, ranked
from alerts.reports.document import Report, collect_figures
from alerts.reports.period import MONTH, SESSION, Period
from alerts.reports.reading import Facts
from alerts.reports.wording import moment, percent, plural, populations, share, since

_TOLD: int = 3
"""How many gainers, losers and symbols without a close of the session before the headline names."""
_NAMED: int = 10
"""How many simulated symbols it names that are in no summary."""


def build_report(facts: Facts, now: datetime) -> Report:
    """Return the document of the facts."""
    chapters = (
        market_chapter(facts),
        movers_chapter(facts),
        charts_chapter(facts),
        alerts_chapter(facts),
        rules_chapter(facts),
        anomalies_chapter(facts),
        quality_chapter(facts),
        gaps_chapter(facts),
        lineage_chapter(facts),
    )
    return Report(
        kind=facts.period.kind,
        name=facts.period.name,
        title=title_of(facts.period),
        subtitle=_subtitle(facts.period, now),
        until=facts.period.last.close_at.isoformat(),
        asked_at=moment(facts.asked_at),
        snapshot=facts.snapshot,
        headline=_headline(facts),
        chapters=chapters,
        made_at=moment(now),
        figures=collect_figures([chapter for chapter in chapters if chapter.key != "lineage"]),
    )


def title_of(period: Period) -> str:
    """Return what a report is called."""
    if period.kind == SESSION:
        return f"Session of {period.last.session_date:%A, %d %B %Y}"
    if period.kind == MONTH:
        return f"{period.last.session_date:%B %Y}"
    return f"Week {period.name}"


def _subtitle(period: Period, now: datetime) -> str:
    sessions = plural(len(period.sessions), "session")
    if period.kind == SESSION:
        text = "Half-day: the exchange closed early" if period.last.is_half_day else "Regular session"
    else:
        text = f"{sessions}, {period.days[0]} to {period.days[-1]}"
        half = sum(session.is_half_day for session in period.sessions)
        text += f", {plural(half, 'half-day')}" if half else ""
    if period.left:
        return f"{text}. {plural(period.left, 'session')} of it to come: figures so far"
    return text if period.is_over(now) else f"{text}. Still being traded: figures so far"


def _simulated_without_day(facts: Facts) -> list[str]:
    """Return the symbols with simulated minutes whose days are those of other sources: they have charts and alerts alone."""
    simulated = {row["symbol"] for row in facts.quality if row["is_simulated"]}
    return sorted(simulated - {row["symbol"] for row in facts.moves if row["is_simulated"]})


def _first(names: list[str], shown: int) -> str:
    more = [f"{len(names) - shown:,} more"] if len(names) > shown else []
    return ", ".join([*names[:shown], *more])


def _headline(facts: Facts) -> tuple[str, ...]:
    lines = []
    for is_simulated, _, moves in populations(facts.moves):
        changes = [row["change_pct"] for row in moves if row["change_pct"] is not None]
        what = "simulated symbol" if is_simulated else "symbol"
        up, down = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
        lines.append(f"{plural(len(moves), what)}: {up:,} up, {down:,} down, median {percent(median_change(moves))}")
        for ranking, name in (("gainers", "Up most"), ("losers", "Down most")):
            told = [f"{row['symbol']} {percent(row['change_pct'])}" for row in ranked(moves, ranking)[:_TOLD]]
            lines += [f"{name}: {', '.join(told)}"] if told else []
        if apart := not_compared(moves):
            named = _first([f"{row['symbol']} {since(row)}" for row in apart], _TOLD)
            lines.append(f"Not counted, for there is no close of the session before, {facts.period.before}: {named}")
    if unranked := _simulated_without_day(facts):
        why = "for other sources have real days of them and simulated ones are not shown beside"
        lines.append(f"In no summary, {why}: {_first(unranked, _NAMED)}")
    retracted = sum(alert["is_retracted"] for alert in facts.alerts)
    lines.append(f"{plural(len(facts.alerts), 'alert')} fired, {retracted:,} retracted")
    for is_simulated, _, rows in populations(facts.quality):
        missing = sum(row["feed_down_minutes"] + row["not_collected_minutes"] for row in rows)
        of = " of simulated symbols" if is_simulated else ""
        lines.append(f"Coverage{of} {share(coverage(rows))}, {plural(missing, 'minute')} missing by the feed")
    return tuple(lines)
