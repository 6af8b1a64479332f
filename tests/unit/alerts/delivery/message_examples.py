"""An alert and its retraction, written out by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

from alerts.delivery.message import Alert

DELIVERY = UUID("11111111-1111-1111-1111-111111111111")
ALERT = Alert(
    alert_id=UUID("22222222-2222-2222-2222-222222222222"),
    rule_id=7,
    rule_name="dip",
    rule_version=2,
    symbol="IBM",
    interval="5m",
    bar_at=datetime(2026, 1, 5, 15, 30, tzinfo=UTC),
    session_date=date(2026, 1, 5),
    revision=1,
    kind="alert",
    refers_to=None,
    message="IBM: rsi_14 below 30\nsecond line",
    evidence={
        "values": {"rsi_14": {"now": 28.5, "before": 31.25}},
        "bar": {"close": 181.5, "volume": 1200, "is_final": True},
        "origin": "lean",
        "revised_at": None,
    },
    triggered_at=datetime(2026, 1, 5, 15, 35, tzinfo=UTC),
    recorded_at=datetime(2026, 1, 5, 15, 35, 2, tzinfo=UTC),
)
RETRACTION = replace(
    ALERT,
    alert_id=UUID("33333333-3333-3333-3333-333333333333"),
    kind="retraction",
    refers_to=ALERT.alert_id,
    evidence={
        "values": {"rsi_14": {"now": 30.5, "before": 31.25}},
        "origin": "lean",
        "revised_at": "2026-01-05T15:40:00+00:00",
    },
)
