"""Candlestick charts as SVG: bars, Bollinger bands and averages, volume, alerts as triangles, spans without data shaded.

What belongs here: drawing with matplotlib. Text stays text, so that it can be read, searched and scaled; the size is that of a
phone, and of a column of the printed page.
"""

import io
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import isfinite, nan
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from alerts.reports.choice import Row
from alerts.reports.reading import Series
from market.sessions import EXCHANGE_ZONE, find_session

UP: Final = "#1a7f4b"
DOWN: Final = "#b3261e"
BAND: Final = "#5b7083"
AVERAGES: Final = {"sma_20": "#c77700", "sma_50": "#4a5bb0"}
ALERT: Final = "#7b1fa2"
RETRACTED: Final = "#8a8a8a"
INK: Final = "#333333"

_INCHES: Final = (4.7, 3.1)
_MINUTES: Final = 5
_BODY: Final = 0.36
"""Half of a body's width, of the distance of two bars."""
_SETTINGS: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tapehouse",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
_ID: Final = re.compile(r'(?<=\sid=")([^"]+)(?=")|(?<=href="#)([^"]+)(?=")|(?<=url\(#)([^)]+)(?=\))')
_PROLOGUE: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def candlesticks(series: Series, alerts: Sequence[Row], prefix: str) -> str:
    """Return the chart of a series as an SVG element, every id of which begins with ``prefix``.

    Parameters
    ----------
    series
        One bar at least.
    alerts
        Alerts of the symbol within the series: ``bar_at``, ``session_date`` and ``is_retracted``.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=_INCHES, layout="constrained")
        FigureCanvasSVG(figure)
        prices, volumes = figure.subplots(2, 1, sharex=True, height_ratios=(3.6, 1))
        places = _places(series)
        _draw_shades(prices, volumes, series)
        _draw_lines(prices, series, places)
        _draw_candles(prices, series, places)
        _draw_volume(volumes, series, places)
        _draw_alerts(prices, series, places, alerts)
        _dress(prices, volumes, series, places)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _embedded(out.getvalue(), prefix)


def _places(series: Series) -> list[float]:
    """Return where each bar stands: days side by side, minutes by the clock, so that a gap shows."""
    if series.interval == "1d":
        return [float(number) for number in range(len(series.bars))]
    return [_place(series, bar["bar_at"]) for bar in series.bars]


def _place(series: Series, at: datetime) -> float:
    return (at - _opening(series)) / timedelta(minutes=_MINUTES)


def _opening(series: Series) -> datetime:
    session = find_session(series.bars[0]["session_date"])
    opening: datetime = series.bars[0]["bar_at"] if session is None else session.open_at
    return opening


def _draw_candles(axes: Any, series: Series, places: Sequence[float]) -> None:  # noqa: ANN401 - matplotlib's own types are loose
    bars = [
        (place, *(float(bar[name]) for name in ("open", "high", "low", "close")))
        for place, bar in zip(places, series.bars, strict=True)
    ]
    colors = [UP if close >= first else DOWN for _, first, _, _, close in bars]
    wicks = [((place, low), (place, high)) for place, _, high, low, _ in bars]
    axes.add_collection(LineCollection(wicks, colors=colors, linewidths=0.7, zorder=3))
    bodies = [
        ((place - _BODY, first), (place - _BODY, close), (place + _BODY, close), (place + _BODY, first))
        for place, first, _, _, close in bars
    ]
    # A rise is hollow and a fall is filled: so it shows in print without colors, too.
    faces = ["white" if color == UP else color for color in colors]
    axes.add_collection(PolyCollection(bodies, facecolors=faces, edgecolors=colors, linewidths=0.7, zorder=4))


def _draw_lines(axes: Any, series: Series, places: Sequence[float]) -> None:  # noqa: ANN401
    upper, lower = _values(series, "bb_upper"), _values(series, "bb_lower")
    if any(map(isfinite, upper)):
        axes.fill_between(places, lower, upper, color=BAND, alpha=0.12, linewidth=0, zorder=1)
        axes.plot(places, upper, color=BAND, linewidth=0.6, zorder=2, label="Bollinger 20, 2")
        axes.plot(places, lower, color=BAND, linewidth=0.6, zorder=2)
    for name, color in AVERAGES.items():
        values = _values(series, name)
        if any(map(isfinite, values)):
            axes.plot(places, values, color=color, linewidth=1.0, zorder=2, label=f"SMA {name.partition('_')[2]}")


def _values(series: Series, name: str) -> list[float]:
    return [nan if bar.get(name) is None else float(bar[name]) for bar in series.bars]


def _draw_volume(axes: Any, series: Series, places: Sequence[float]) -> None:  # noqa: ANN401
    colors = [UP if bar["close"] >= bar["open"] else DOWN for bar in series.bars]
    bars = [
        ((place - _BODY, 0), (place - _BODY, volume), (place + _BODY, volume), (place + _BODY, 0))
        for place, volume in zip(places, (float(bar["volume"]) for bar in series.bars), strict=True)
    ]
    axes.add_collection(PolyCollection(bars, facecolors=colors, alpha=0.75, linewidths=0))
    axes.set_ylim(0, max([float(bar["volume"]) for bar in series.bars] + [1.0]) * 1.1)


def _draw_shades(prices: Any, volumes: Any, series: Series) -> None:  # noqa: ANN401
    if series.interval == "1d":
        return
    for shade in series.shades:
        first, last = (_place(series, shade[name]) - 0.5 for name in ("gap_at", "gap_end_at"))
        for axes in (prices, volumes):
            axes.axvspan(first, max(last, first + 0.3), color="#d9d3c3", linewidth=0, zorder=0)


def _draw_alerts(axes: Any, series: Series, places: Sequence[float], alerts: Sequence[Row]) -> None:  # noqa: ANN401
    marks: dict[int, list[bool]] = {}
    for alert in alerts:
        number = bar_of(series, alert)
        if number is not None:
            marks.setdefault(number, []).append(bool(alert["is_retracted"]))
    if not marks:
        return
    lows = [float(bar["low"]) for bar in series.bars]
    reach = max(float(bar["high"]) for bar in series.bars) - min(lows)
    for is_retracted, color in ((True, RETRACTED), (False, ALERT)):
        numbers = [number for number, states in marks.items() if (is_retracted in states)]
        at = [places[number] for number in numbers]
        below = [
            lows[number] - (0.045 + 0.06 * (is_retracted and False in marks[number])) * (reach or 1)
            for number in numbers
        ]
        if not numbers:
            continue
        face = "white" if is_retracted else color
        label = "alert, retracted" if is_retracted else "alert"
        axes.scatter(
            at, below, marker="^", s=26, facecolors=face, edgecolors=color, linewidths=0.8, zorder=6, label=label
        )
        if is_retracted:
            axes.scatter(at, below, marker="x", s=34, color=DOWN, linewidths=0.9, zorder=7)


def bar_of(series: Series, alert: Row) -> int | None:
    """Return the number of the bar in which an alert is: of days that of its session, of minutes that in which its own begins."""
    if series.interval == "1d":
        days = [bar["session_date"] for bar in series.bars]
        return days.index(alert["session_date"]) if alert["session_date"] in days else None
    for number, bar in enumerate(series.bars):
        if bar["bar_at"] <= alert["bar_at"] < bar["bar_at"] + timedelta(minutes=_MINUTES):
            return number
    return None


def _dress(prices: Any, volumes: Any, series: Series, places: Sequence[float]) -> None:  # noqa: ANN401
    lows, highs = ([float(bar[name]) for bar in series.bars] for name in ("low", "high"))
    reach = max(highs) - min(lows)
    # Bands are shown as far as they do not press the bars together.
    low = max(min([*lows, *filter(isfinite, _values(series, "bb_lower"))]), min(lows) - reach / 3)
    high = min(max([*highs, *filter(isfinite, _values(series, "bb_upper"))]), max(highs) + reach / 3)
    margin = reach * 0.09 or max(highs) * 0.01
    prices.set_ylim(min(low, min(lows) - margin), high + margin / 2)
    prices.yaxis.set_major_locator(MaxNLocator(5))
    volumes.yaxis.set_major_locator(MaxNLocator(2))
    volumes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    for axes in (prices, volumes):
        axes.yaxis.tick_right()
        axes.grid(visible=True, color="#e6e6e6", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(length=2, width=0.5)
        for side in ("top", "left"):
            axes.spines[side].set_visible(False)
    ticks, labels = _ticks(series)
    prices.set_xlim(*_ends(series, places))
    volumes.set_xticks(ticks, labels)
    volumes.set_ylabel("shares", fontsize=7)
    handles, names = prices.get_legend_handles_labels()
    if names:
        prices.figure.legend(
            handles,
            names,
            loc="outside upper left",
            ncols=min(len(names), 5),
            frameon=False,
            fontsize=7,
            columnspacing=1,
            handlelength=1.4,
        )


def _ends(series: Series, places: Sequence[float]) -> tuple[float, float]:
    session = find_session(series.bars[0]["session_date"])
    if series.interval == "1d" or session is None:
        return places[0] - 1, places[-1] + 1
    return -1, (session.close_at - session.open_at) / timedelta(minutes=_MINUTES)


def _ticks(series: Series) -> tuple[list[float], list[str]]:
    if series.interval == "1d":
        count = len(series.bars)
        numbers = list(range(0, count, max(1, -(-count // 5))))
        return [float(number) for number in numbers], [
            f"{series.bars[number]['session_date']:%d %b %y}" for number in numbers
        ]
    session = find_session(series.bars[0]["session_date"])
    if session is None:
        return [], []
    first = session.open_at.astimezone(EXCHANGE_ZONE).replace(minute=0) + timedelta(hours=1)
    hours = []
    while first <= session.close_at:
        hours.append(first)
        first += timedelta(hours=1)
    return [_place(series, hour) for hour in hours], [f"{hour.astimezone(EXCHANGE_ZONE):%H:%M}" for hour in hours]


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _embedded(svg: str, prefix: str) -> str:
    """Return the element without what stands before it, its ids its own: a page has many charts."""
    element = _METADATA.sub("", _PROLOGUE.sub("", svg))
    return _ID.sub(lambda found: f"{prefix}-{found.group(0)}", element).strip()
