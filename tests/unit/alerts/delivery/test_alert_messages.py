"""What receivers read."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from alerts.delivery.message import HeldCount, alert_message, digest_message
from tests.unit.alerts.delivery.message_examples import ALERT, DELIVERY, RETRACTION


def test_an_alert_says_what_happened_and_what_decided() -> None:
    message = alert_message(DELIVERY, ALERT)
    assert message.subject == "IBM 5m: IBM: rsi_14 below 30"
    assert message.text.split("\n") == [
        "IBM: rsi_14 below 30",
        "second line",
        "",
        "Rule: dip (version 2)",
        "Bar: IBM 5m, 2026-01-05 15:30 UTC, session 2026-01-05",
        "Values: rsi_14 28.5 (before 31.25)",
        "Values, bar: close 181.5, volume 1200, is_final yes",
        "Values, source: lean",
        "Alert: 22222222-2222-2222-2222-222222222222",
    ]


def test_the_json_has_the_id_the_alert_and_its_evidence_and_is_the_same_bytes_each_time() -> None:
    body = alert_message(DELIVERY, ALERT).body()
    assert body == alert_message(DELIVERY, replace(ALERT, evidence=dict(reversed(list(ALERT.evidence.items()))))).body()
    said = json.loads(body)
    assert said["format"] == "tapehouse.alert.v1"
    assert said["kind"] == "alert"
    assert said["delivery_id"] == str(DELIVERY)
    assert said["alert"]["evidence"] == ALERT.evidence
    assert said["alert"]["bar_at"] == "2026-01-05T15:30:00+00:00"


def test_a_retraction_says_what_was_revised_and_which_alert_it_takes_back() -> None:
    message = alert_message(DELIVERY, RETRACTION, ALERT)
    assert message.subject == "Retracted: IBM 5m: dip"
    assert message.text.split("\n")[0] == (
        "Retracted: dip on IBM 5m, bar of 2026-01-05 15:30 UTC: the data were revised, and the condition no longer holds."
    )
    assert "Then: rsi_14 28.5 (before 31.25)" in message.text
    assert "Now: rsi_14 30.5 (before 31.25)" in message.text
    assert "Now, source: lean, revised 2026-01-05T15:40:00+00:00" in message.text
    assert f"Refers to alert: {ALERT.alert_id}" in message.text
    assert json.loads(message.body())["alert"]["refers_to"] == str(ALERT.alert_id)
    assert json.loads(message.body())["retracted"]["message"] == ALERT.message


def test_a_retraction_of_a_bar_that_is_gone_says_so() -> None:
    gone = replace(RETRACTION, evidence={"bar": None})
    assert "the bar is not there any more" in alert_message(DELIVERY, gone, ALERT).text


def test_a_message_cannot_add_headers_markup_or_control_characters() -> None:
    evil = replace(ALERT, message="<script>alert(1)</script>\x1b[2J\u2028x\r\nBcc: all@example.com")
    message = alert_message(DELIVERY, evil)
    assert "<script>" not in message.html
    assert "&lt;script&gt;" in message.html
    assert not set("\x1b\r\u2028") & set(message.subject + message.text)
    assert "\n" not in message.subject


def test_a_digest_counts_by_rule_and_says_how_to_see_them() -> None:
    at = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)
    counts = [HeldCount("dip", 12, 3, at, at.replace(minute=59)), HeldCount("high", 1, 1, at, at)]
    message = digest_message(DELIVERY, "desk", at, counts, (30, 120))
    assert message.subject == "13 alerts were held back"
    assert "dip: 12; symbols: 3; the first at 2026-01-05 15:30 UTC, the last at 2026-01-05 15:59 UTC" in message.text
    assert message.text.split("\n")[-2:] == [
        "See them: ./run alert deliveries --held --channel desk",
        "Send them all the same: ./run alert resend --held --channel desk",
    ]
    assert json.loads(message.body())["rules"][0]["held"] == 12
