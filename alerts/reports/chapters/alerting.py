"""Alerts that fired and that were taken back, with their evidence, and rules that never fire or fire too often."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from alerts.reports.document import Block, Chapter, Note, Row, Table
from alerts.reports.period import SESSION
from alerts.reports.reading import Facts
from alerts.reports.reading import Row as Read
from alerts.reports.wording import clock, columns, count, evidence, lineage, moment, plural

SHOWN: Final = 40
"""How many alerts are listed."""
SHOWN_OF_RULE: Final = 6
"""How many of one rule, so that a rule that fires all the time leaves room for the others."""
TOO_OFTEN: Final = 10
"""From so many alerts a symbol and session on a rule fires too often: nobody reads them."""


def alerts_chapter(facts: Facts) -> Chapter:
    """Return the alerts of the period and its retractions."""
    if not facts.alerts:
        return Chapter("alerts", "Alerts", (Note("empty", _why_none(facts)),))
    retracted = [alert for alert in facts.alerts if alert["is_retracted"]]
    historical = sum(alert["is_historical"] for alert in facts.alerts)
    blocks: list[Block] = [
        Note(
            "counts",
            f"{plural(len(facts.alerts), 'alert')} fired, {len(retracted):,} of them retracted, "
            f"{historical:,} historical (about the past when they were found, and so never sent).",
        ),
        _fired(facts),
        _taken_back(facts, retracted),
    ]
    return Chapter("alerts", "Alerts", tuple(blocks))


def rules_chapter(facts: Facts) -> Chapter:
    """Return how often each rule fired, and which never do or do too often."""
    names = ("Rule", "Condition", "Fired", "Retracted", "Held back", "Verdict")
    table = Table(
        "rules",
        "Rules",
        columns(*names, numbers=("Fired", "Retracted", "Held back")),
        tuple(_rule(row) for row in facts.rules),
        lineage(facts, "app.alert_rules", "app.alerts"),
        empty="There is no rule. Add one with ./run alert add.",
        note=(
            f"Too often: {TOO_OFTEN} alerts or more a symbol and session on which it fired, or some were held back. "
            "Never: not once since it was made, on the past that it was tried on neither."
        ),
    )
    return Chapter("rules", "Rules that never fire or fire too often", (table,))


def verdict(row: Read) -> str:
    """Return what is to be said of a rule."""
    if row["held"] or row["fired"] >= TOO_OFTEN * max(row["symbol_sessions"], 1):
        return "fires too often"
    if row["status"] != "active":
        return "deleted" if row["status"] == "ended" else str(row["status"])
    return "never fired" if not row["fired_ever"] else "" if row["fired"] else "silent in this period"


def _rule(row: Read) -> Row:
    said = verdict(row)
    condition = f"{row['condition']} ({row['interval']}, {row['symbols']})"
    cells = (row["name"], condition, count(row["fired"]), count(row["retracted"]), count(row["held"]), said)
    key = f"{row['name']}/{row['rule_id']}" if row["status"] == "ended" else row["name"]  # there may be another by now
    return Row(key, cells, "bad" if said in {"fires too often", "never fired"} else "")


def _fired(facts: Facts) -> Table:
    listed: list[Read] = []
    taken: Counter[str] = Counter()
    for alert in facts.alerts:
        if taken[alert["rule_name"]] < SHOWN_OF_RULE and len(listed) < SHOWN:
            taken[alert["rule_name"]] += 1
            listed.append(alert)
    left_out = len(facts.alerts) - len(listed)
    with_day = facts.period.kind != SESSION
    note = f"{left_out:,} more are in marts.alerts; listed are the first {SHOWN_OF_RULE} of each rule, {SHOWN} at most."
    return Table(
        "fired",
        "Fired",
        columns("Time", "Symbol", "Rule", "Evidence", "State"),
        tuple(
            Row(
                _key(alert),
                (
                    clock(alert["triggered_at"], with_day=with_day),
                    f"{alert['symbol']} {alert['interval']}",
                    alert["rule_name"],
                    evidence(alert["evidence"]),
                    _state(alert),
                ),
                "bad" if alert["is_retracted"] else "",
            )
            for alert in listed
        ),
        lineage(facts, "app.alerts"),
        note=note if left_out else "",
    )


def _taken_back(facts: Facts, retracted: Sequence[Read]) -> Table:
    listed = retracted[:SHOWN]
    left_out = len(retracted) - len(listed)
    return Table(
        "retracted",
        "Retracted",
        columns("Alert", "Then", "Now", "Retracted"),
        tuple(
            Row(
                _key(alert),
                (
                    f"{alert['rule_name']} on {alert['symbol']} {alert['interval']}, bar of {moment(alert['bar_at'])}",
                    evidence(alert["evidence"]),
                    evidence(alert["retraction_evidence"]),
                    moment(alert["retracted_at"]),
                ),
            )
            for alert in listed
        ),
        lineage(facts, "app.alerts"),
        empty="None: no correction took the reason of an alert away.",
        note=f"{left_out:,} more are in marts.alerts." if left_out else "",
    )


def _key(alert: Read) -> str:
    return "/".join(str(alert[name]) for name in ("rule_name", "symbol", "interval", "bar_at", "revision"))


def _state(alert: Read) -> str:
    if alert["is_retracted"]:
        return "retracted"
    if alert["is_historical"]:
        return "historical"
    # Whether it is there by now, or a moment later, is no other figure: else each such moment would make a revision.
    parts = [f"{sent:,} sent"] if (sent := alert["delivered"] + alert["pending"]) else []
    parts += [f"{alert[name]:,} {name}" for name in ("held", "dead") if alert[name]]
    return ", ".join(parts) or "recorded"


def _why_none(facts: Facts) -> str:
    if not facts.rules:
        return "No alert: there is no rule. Add one with ./run alert add."
    active = sum(rule["status"] == "active" for rule in facts.rules)
    return f"No alert: the condition of none of {plural(active, 'active rule')} held on a bar of this period that it looked at."
