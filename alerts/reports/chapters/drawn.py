"""The charts of the movers and of the symbols with alerts."""

from typing import Final

from alerts.reports.charts import bar_of, candlesticks
from alerts.reports.document import Block, Chapter, Chart, Note, digest
from alerts.reports.reading import Facts, Series
from alerts.reports.reading import Row as Read
from alerts.reports.wording import lineage, percent, plural, price, since

_RELATIONS: Final = {"5m": "marts.intraday_analytics", "1d": "marts.daily_analytics"}
_LEGEND: Final = (
    "Hollow: the close is not below the open; filled: it is. Averages and Bollinger bands begin where they are past their "
    "warm-up. A triangle is an alert at its bar, hollow and crossed out if it was retracted. Shaded: minutes that are "
    "missing for a reason other than that nobody traded."
)
_NONE: Final = "Nothing moved, no alert fired, or there are no bars of those that did: there is no chart to draw."


def charts_chapter(facts: Facts) -> Chapter:
    """Return a chart of each chosen symbol."""
    if not facts.series:
        return Chapter("charts", "Charts", (Note("empty", _NONE),))
    moves = {row["symbol"]: row for row in facts.moves}
    simulated = {row["symbol"] for row in (*facts.moves, *facts.quality) if row["is_simulated"]}
    blocks: list[Block] = [Note("legend", _LEGEND)]
    for number, series in enumerate(facts.series):
        alerts = [alert for alert in facts.alerts if alert["symbol"] == series.symbol]
        made_up = " (simulated)" if series.symbol in simulated else ""
        moved = _moved(moves.get(series.symbol))
        last = price(series.bars[-1]["close"])
        title = f"{series.symbol}{made_up}, {_of(series)}: {last}{moved}"
        blocks.append(_chart(facts, series, alerts, title, f"chart{number}"))
    if facts.uncharted:
        blocks.append(Note("left_out", f"{plural(facts.uncharted, 'more symbol')} with alerts: no room for a chart."))
    return Chapter("charts", "Charts", tuple(blocks))


def _moved(move: Read | None) -> str:
    if move is None:
        return ""
    if move["since"] is not None:
        return f"; no close of the session before, {since(move)}"
    return "" if move["change_pct"] is None else f", {percent(move['change_pct'])}"


def _of(series: Series) -> str:
    return "5-minute bars" if series.interval == "5m" else f"days, the last {len(series.bars)}"


def _chart(facts: Facts, series: Series, alerts: list[Read], title: str, prefix: str) -> Chart:
    last = series.bars[-1]
    drawn = [alert for alert in alerts if bar_of(series, alert) is not None]
    retracted = sum(alert["is_retracted"] for alert in drawn)
    elsewhere = f" {len(alerts) - len(drawn):,} more on bars that are not drawn." if len(drawn) < len(alerts) else ""
    low, high = min(bar["low"] for bar in series.bars), max(bar["high"] for bar in series.bars)
    says = (
        f"Candlesticks of {series.symbol}, {_of(series)}: between {price(low)} and {price(high)}, last {price(last['close'])}. "
        f"{plural(len(drawn), 'alert')}, {retracted:,} retracted.{elsewhere}"
    )
    data = [tuple(bar.values()) for bar in series.bars]
    marks = [(alert["bar_at"], alert["is_retracted"]) for alert in alerts]
    return Chart(
        key=f"{series.symbol}_{series.interval}",
        title=title,
        svg=candlesticks(series, alerts, prefix),
        says=says,
        digest=digest(data, marks, [tuple(shade.values()) for shade in series.shades]),
        sources=lineage(facts, _RELATIONS[series.interval], "app.alerts"),
    )
