"""Charts: what is drawn of bars, alerts and gaps, read from the drawing."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alerts.reports.charts import ALERT, DOWN, RETRACTED, UP, candlesticks
from tests.unit.alerts.reports.report_facts import alert, gap, series

SVG = "{http://www.w3.org/2000/svg}"


def drawn(alerts: Sequence[Any] = (), **changes: Any) -> str:
    return candlesticks(replace(series(), **changes), alerts, "c0")


def uses(svg: str, color: str) -> int:
    """Return how many marks have a color as their edge."""
    marks = re.findall(r"<use [^>]*style=\"([^\"]*)\"", svg)
    return sum(f"stroke: {color}" in mark for mark in marks)


def test_a_drawing_is_well_formed_and_its_ids_are_its_own() -> None:
    svg = drawn([alert("AAA", 5)])
    root = ET.fromstring(svg)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(str(one).startswith("c0-") for one in ids)
    targets = re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
    assert targets
    assert set(targets) <= set(ids)


def test_the_same_data_give_the_same_drawing() -> None:
    assert drawn([alert("AAA", 5)]) == drawn([alert("AAA", 5)])


def test_a_rise_is_hollow_and_a_fall_is_filled() -> None:
    bodies = re.findall(r"style=\"(fill: [^\"]*)\"", drawn())
    rises = [body for body in bodies if "fill: #ffffff" in body and f"stroke: {UP}" in body]
    falls = [body for body in bodies if f"fill: {DOWN}" in body and f"stroke: {DOWN}" in body]
    assert (len(rises), len(falls)) == (10, 10)


def test_each_alert_is_a_triangle_and_a_retracted_one_is_hollow_and_crossed_out() -> None:
    plain = drawn()
    assert uses(plain, ALERT) == uses(plain, RETRACTED) == 0
    marked = drawn([alert("AAA", 5), alert("AAA", 15), alert("AAA", 30, retracted=True)])
    assert uses(marked, ALERT) == 2 + 1  # one more in the legend
    assert uses(marked, RETRACTED) == 1 + 1
    assert uses(marked, DOWN) == 1
    crosses = r"d=\"M \S+ \S+\s+L \S+ \S+\s+M \S+ \S+\s+L \S+ \S+\s*\""
    assert re.search(crosses, marked)
    assert not re.search(crosses, drawn([alert("AAA", 5)]))


def test_an_alert_of_a_minute_is_in_the_bar_that_has_the_minute() -> None:
    assert drawn([alert("AAA", 15)]) == drawn([alert("AAA", 17)])
    assert drawn([alert("AAA", 15)]) != drawn([alert("AAA", 20)])


def test_an_alert_outside_the_bars_is_not_drawn() -> None:
    assert uses(drawn([alert("AAA", -30)]), ALERT) == 0


def test_minutes_without_data_are_shaded() -> None:
    assert "#d9d3c3" not in drawn()
    assert drawn(shades=[gap("feed_down", 30, 36)]).count("#d9d3c3") == 2  # over the prices and over the volume


def test_one_bar_at_one_price_without_volume_is_a_chart() -> None:
    bar = {**series().bars[0], "open": 5, "high": 5, "low": 5, "close": 5, "volume": 0}
    assert ET.fromstring(drawn(bars=[bar])).tag == f"{SVG}svg"
    assert ET.fromstring(drawn(bars=[bar], interval="1d")).tag == f"{SVG}svg"
