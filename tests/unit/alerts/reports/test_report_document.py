"""The document of a report: what its tables say of a market by hand, and how revisions are compared."""

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from alerts.reports.build import build_report
from alerts.reports.chapters.alerting import SHOWN_OF_RULE, verdict
from alerts.reports.choice import MOST_CHARTS, charted_symbols
from alerts.reports.document import Chart, Note, Report, Table, blocks, changes_between
from tests.unit.alerts.reports.report_facts import NOW, RUN, alert, breadth, facts, gap, move, quality, rule, series


def tables(report: Report) -> dict[str, Table]:
    return {block.key: block for block in blocks(report.chapters) if isinstance(block, Table)}


def cells(report: Report, key: str) -> dict[str, tuple[str, ...]]:
    return {row.key: row.cells for row in tables(report)[key].rows}


def built(**changes: Any) -> Report:
    """Return the document without charts, unless a test wants them: they take most of the time."""
    return build_report(facts(**{"series": [], **changes}), NOW)


def test_the_summary_counts_real_symbols_apart_from_simulated_ones() -> None:
    said = {key: row[1] for key, row in cells(built(), "summary_real").items()}
    assert said == {
        "symbols": "5",
        "advancing": "2",
        "declining": "1",
        "unchanged": "1",
        "not_compared": "1",
        "median": "+2.50 %",
        "mean": "+2.81 %",
        "line": "17",
        "highs": "3",
        "lows": "4",
        "old_enough": "5",
        "above_50": "25.00 %",
        "above_200": "\N{EN DASH}",
        "volume": "6,700",
        "ratio": "2.00\N{MULTIPLICATION SIGN}",
        "final": "yes",
    }
    made_up = {key: row[1] for key, row in cells(built(), "summary_simulated").items()}
    assert (made_up["symbols"], made_up["declining"], made_up["median"]) == ("1", "1", "\N{MINUS SIGN}2.00 %")


def test_movers_are_in_order_and_leave_out_what_did_not_move() -> None:
    report = built()
    assert list(cells(report, "gainers_real")) == ["DDD", "AAA"]
    assert list(cells(report, "losers_real")) == ["BBB"]
    assert list(cells(report, "most_active_real")) == ["BBB", "AAA", "EEE", "DDD"]
    assert list(cells(report, "unusual_volume_real")) == ["DDD", "AAA", "BBB"]
    assert cells(report, "gainers_real")["DDD"][:3] == ("DDD", "0.012345", "+7.25 %")
    assert cells(report, "gainers_simulated") == {}
    assert tables(report)["gainers_simulated"].empty == "No symbol rose against its close of the session before."


def test_equal_movers_are_in_the_order_of_the_alphabet() -> None:
    moves = [move(symbol, "1.00", 1.0, 10, 1.0) for symbol in ("B", "C", "A")]
    assert list(cells(built(moves=moves), "gainers_real")) == ["A", "B", "C"]


def test_what_has_no_close_of_the_session_before_is_not_counted_but_named_with_the_day_of_its_change() -> None:
    old = date(2013, 3, 1)
    moves = [
        move("AAA", "10.50", 5.0, 1_000, 2.0),
        move("EEE", "1.00", None, 400, None),  # its first session: there is nothing to name
        move("IBM", "181.87", -10.3, 9_000, 1.0, since=old),
        *(move(f"M{number}", "2.00", 1.0 + number, 10, None, since=old) for number in range(3)),
        move("ZZZ", "5.00", 50.0, 70, 1.0, simulated=True, since=old),
    ]
    report = built(moves=moves, series=[series("IBM"), series("AAA"), series("EEE")])
    said = {key: row[1] for key, row in cells(report, "summary_real").items()}
    assert (said["symbols"], said["advancing"], said["declining"], said["not_compared"]) == ("6", "1", "0", "5")
    assert (said["median"], said["mean"]) == ("+5.00 %", "+5.00 %")
    assert list(cells(report, "gainers_real")) == ["AAA"]
    assert cells(report, "losers_real") == {}
    assert list(cells(report, "most_active_real"))[:2] == ["IBM", "AAA"]
    assert cells(report, "most_active_real")["IBM"][2] == "\N{EN DASH}"
    apart = cells(report, "not_compared_real")
    assert list(apart) == ["IBM", "M2", "M1", "M0"]
    assert apart["IBM"] == ("IBM", "181.87", "\N{MINUS SIGN}10.30 %", "2013-03-01")
    assert "no close of 2013-11-27, the session before" in tables(report)["not_compared_real"].note
    assert list(cells(report, "not_compared_simulated")) == ["ZZZ"]
    assert report.headline[:3] == (
        "6 symbols: 1 up, 0 down, median +5.00 %",
        "Up most: AAA +5.00 %",
        (
            "Not counted, for there is no close of the session before, 2013-11-27: IBM \N{MINUS SIGN}10.30 % since 2013-03-01, "
            "M2 +3.00 % since 2013-03-01, M1 +2.00 % since 2013-03-01, 1 more"
        ),
    )
    titles = [block.title for block in blocks(report.chapters) if isinstance(block, Chart)]
    assert titles == [
        "IBM, 5-minute bars: 101.00; no close of the session before, \N{MINUS SIGN}10.30 % since 2013-03-01",
        "AAA, 5-minute bars: 101.00, +5.00 %",
        "EEE, 5-minute bars: 101.00",
    ]
    assert "not_compared_real" not in tables(built())


def test_simulated_symbols_whose_days_are_real_are_named_for_no_summary_has_them() -> None:
    names = [f"S{number:02}" for number in range(12)]
    simulated = [quality(name, simulated=True) for name in [*names, "SIM"]]
    moves = [move("AAA", "10.50", 5.0, 1_000, 2.0), move("SIM", "2.00", 1.0, 10, None, simulated=True)]
    report = built(quality=[quality("AAA"), *simulated], moves=moves)
    told = [line for line in report.headline if line.startswith("In no summary")]
    assert [line.rpartition(": ")[2] for line in told] == [f"{', '.join(names[:10])}, 2 more"]
    assert not [line for line in built().headline if line.startswith("In no summary")]


def test_every_figure_says_where_it_is_from_and_when_it_was_asked() -> None:
    report = built()
    of_lineage = {block.key for block in report.chapters[-1].blocks}
    for block in blocks(report.chapters):
        if not isinstance(block, Note) and block.key not in of_lineage:
            assert block.sources, block.key
            assert all(source.version and source.changed_at for source in block.sources)
    kept = report.as_json()
    lines = [line for chapter in kept["chapters"] for block in chapter["blocks"] for line in block.get("lineage", [])]
    assert f"built by Dagster run {RUN[:8]}, 2013-12-03 10:00:01 UTC" in lines[0]
    assert kept["asked_at"] == "2013-12-03 11:59:58 UTC"
    assert cells(report, "tables")["marts.market_breadth"][3] == RUN
    assert cells(report, "batches")["aaaaaaaa/7"][2:] == ("12", "2")


def test_alerts_are_told_with_their_evidence_and_retractions_with_what_is_now() -> None:
    report = built()
    fired = list(cells(report, "fired").values())
    assert [row[4] for row in fired] == ["1 sent", "retracted", "1 sent"]
    assert fired[0][:3] == ("09:40", "AAA 5m", "dip")
    assert fired[0][3] == "close 10.5 (before 9.75); bar: close 10.5, revision 1; source lean"
    (taken_back,) = cells(report, "retracted").values()
    assert "bar: close 10.5, revision 1" in taken_back[1]
    assert "bar: close 9.25, revision 2" in taken_back[2]


def test_a_rule_that_fires_all_the_time_leaves_room_for_the_others_and_the_rest_is_counted() -> None:
    many = [alert("AAA", minute) for minute in range(100)]
    report = built(alerts=[*many, alert("BBB", 120, rule="rare")])
    rules = [row[2] for row in cells(report, "fired").values()]
    assert rules.count("dip") == SHOWN_OF_RULE
    assert "rare" in rules
    assert tables(report)["fired"].note.startswith("94 more are in marts.alerts")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "never fired"),
        ({"status": "paused"}, "paused"),
        ({"status": "ended", "fired": 1, "fired_ever": 1, "symbol_sessions": 1}, "deleted"),
        ({"fired": 9, "fired_ever": 9, "symbol_sessions": 1}, ""),
        ({"fired": 10, "fired_ever": 10, "symbol_sessions": 1}, "fires too often"),
        ({"fired": 10, "fired_ever": 10, "symbol_sessions": 2}, ""),
        ({"fired": 1, "fired_ever": 1, "symbol_sessions": 1, "held": 1}, "fires too often"),
        ({"fired_ever": 5}, "silent in this period"),
    ],
)
def test_a_rule_is_judged_by_how_often_it_fired(changes: dict[str, Any], expected: str) -> None:
    assert verdict(rule("r", **changes)) == expected


def test_quality_is_summed_by_feed_and_only_symbols_with_troubles_are_named() -> None:
    report = built()
    feeds = {key: row[1] for key, row in cells(report, "feeds").items()}
    assert (feeds["symbols"], feeds["expected_minutes"], feeds["present_minutes"]) == ("2", "420", "400")
    assert (feeds["coverage"], feeds["feed_down_minutes"], feeds["rejected_messages"]) == ("95.24 %", "6", "2")
    assert feeds["late_trades"] == "\N{EN DASH}"
    troubles = cells(report, "troubles")
    assert troubles["lean/AAA"] == (
        "AAA",
        "lean",
        "95.24 %",
        "feed down 6 min, quarantined 2, corrected 1, prices differ in 1 bars",
    )


def test_gaps_say_their_reason_and_the_market_s_own_are_not_among_the_longest() -> None:
    report = built(gaps=[gap("feed_down", 30, 36, symbols=3), gap("no_trade", 50, 54)])
    assert cells(report, "reasons") == {
        "lean/feed_down": ("lean", "feed down", "3", "18"),
        "lean/no_trade": ("lean", "no trade", "1", "4"),
    }
    (longest,) = cells(report, "longest").values()
    assert longest == ("10:00", "10:06", "3 symbols", "feed down (lean)", "18")


def test_every_chapter_without_figures_says_why() -> None:
    empty: dict[str, Any] = {
        name: []
        for name in ("moves", "breadth", "alerts", "rules", "anomalies", "quality", "gaps", "series", "batches")
    }
    report = built(**empty, scored=0)
    for chapter in report.chapters:
        assert chapter.blocks, chapter.key
        for block in chapter.blocks:
            assert not isinstance(block, Chart)
            if isinstance(block, Table) and not block.rows:
                assert block.empty.endswith((".", "ways.")), block.key
    texts = {chapter.key: chapter.blocks[0].text for chapter in report.chapters if isinstance(chapter.blocks[0], Note)}
    assert "there is no rule" in texts["alerts"]
    assert "cannot be said" in texts["anomalies"]
    assert "No feed was expected" in texts["gaps"]
    assert "No anomaly" in built(anomalies=[], scored=1).chapters[5].blocks[0].text  # type: ignore[union-attr]


def test_a_half_day_is_told() -> None:
    assert built().subtitle.startswith("Half-day")
    assert "Still being traded" in build_report(facts(series=[]), NOW - timedelta(days=4)).subtitle


def test_charts_are_of_movers_and_of_symbols_with_alerts_and_no_more_than_there_is_room_for() -> None:
    moves = [move(f"M{number:02}", "1.00", float(number), number, 1.0) for number in range(1, 60)]
    alerts = [alert(f"A{number:02}", 5) for number in range(40)] + [alert("A39", 10)]
    chosen, left_out = charted_symbols(moves, alerts)
    assert len(chosen) == len(set(chosen)) == MOST_CHARTS
    assert chosen[:3] == ["M59", "M58", "M57"]
    assert "A39" in chosen
    assert left_out == 40 - sum(symbol.startswith("A") for symbol in chosen)
    assert charted_symbols([], []) == ([], 0)


def test_the_same_market_read_later_is_no_change() -> None:
    later = facts()
    later = replace(later, asked_at=later.asked_at + timedelta(hours=1), snapshot="99:99:")
    assert changes_between(build_report(facts(), NOW).figures, build_report(later, NOW).figures) == ()


def test_what_changed_is_told_by_row_and_column_and_what_came_and_went_too() -> None:
    before = built()
    moves = [move("AAA", "10.75", 7.5, 1_000, 2.0), move("NEW", "2.00", 1.0, 5, 1.0)]
    after = built(moves=moves, breadth=[breadth()], quality=[quality("AAA")])
    changes = {change.where: (change.before, change.after) for change in changes_between(before.figures, after.figures)}
    assert changes["Movers, Gainers: real symbols: AAA"] == (
        "Close 10.50, Change +5.00 %",
        "Close 10.75, Change +7.50 %",
    )
    assert changes["Movers, Gainers: real symbols: NEW"][0] == "not there"
    assert changes["Movers, Gainers: real symbols: DDD"][1] == "not there"
    assert changes["Data quality, By feed: Minutes there"] == ("lean 400", "lean 200")


def test_a_message_that_arrives_later_is_no_change_and_one_that_never_does_is() -> None:
    def of(**state: Any) -> Report:
        return built(alerts=[alert("AAA", 5, **{"delivered": 0, **state})])

    assert changes_between(of(pending=1).figures, of(delivered=1).figures) == ()
    (change,) = changes_between(of(pending=1).figures, of(dead=1).figures)
    assert (change.before, change.after) == ("State 1 sent", "State 1 dead")


def test_a_deleted_rule_and_one_of_its_name_are_two_rows() -> None:
    report = built(rules=[rule("dip"), rule("dip", status="ended", rule_id="r1", fired=1, fired_ever=1)])
    assert {key: row[-1] for key, row in cells(report, "rules").items()} == {"dip": "never fired", "dip/r1": "deleted"}


def test_a_chart_says_which_alerts_it_does_not_show() -> None:
    before_the_open = alert("AAA", -30, retracted=True)
    report = build_report(facts(alerts=[alert("AAA", 5), before_the_open]), NOW)
    charts = [block for chapter in report.chapters for block in chapter.blocks if isinstance(block, Chart)]
    assert charts[0].says.endswith("1 alert, 0 retracted. 1 more on bars that are not drawn.")
    assert charts[1].says.endswith("0 alerts, 0 retracted.")


def test_a_corrected_bar_changes_its_chart() -> None:
    market = facts()
    bars = [dict(bar) for bar in market.series[0].bars]
    bars[3]["volume"] += 1
    corrected = replace(market, series=[replace(market.series[0], bars=bars), market.series[1]])
    changes = changes_between(build_report(market, NOW).figures, build_report(corrected, NOW).figures)
    assert [change.where for change in changes] == ["Charts: AAA, 5-minute bars: 101.00, +5.00 %"]


def test_the_json_has_every_figure_and_no_drawing() -> None:
    text = json.dumps(built().as_json())
    assert "<svg" not in text
    assert json.loads(text)["figures"]["movers/gainers_real/AAA"]["cells"]["Change"] == "+5.00 %"
