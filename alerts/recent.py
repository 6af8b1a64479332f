"""What was recorded and sent lately, for whoever looks at a run: the alerts of an evaluation, and the last hour's messages."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from alerts.delivery.channels.opening import BUILT_IN
from market.settings import Settings
from warehouse.connection import connect

SHOWN: Final = 20
WINDOW: Final = timedelta(hours=1)

_RECORDED: Final = """
select kind, rule_name, symbol, interval, bar_at, is_historical, message
from app.alerts where recorded_at = %(now)s
order by is_historical, triggered_at desc, rule_name, symbol limit %(shown)s
"""
# Of one channel after the other: that is how the index has them.
_MESSAGES: Final = """
select
    coalesce(sum((
        select count(*) from app.alert_outbox as outbox
        where outbox.channel = channels.channel and outbox.status = 'delivered' and outbox.delivered_at > %(since)s
    )), 0)::bigint,
    (select count(*) from app.alert_outbox where status = 'pending')
from (select channel from app.alert_channels union select unnest(%(built_in)s::text[])) as channels (channel)
"""


@dataclass(frozen=True, slots=True)
class Recent:
    """What there is to see.

    Attributes
    ----------
    recorded
        Alerts and retractions of one evaluation, at most :data:`SHOWN`, those that are sent first.
    delivered
        How many messages receivers took within the last hour.
    waiting
        How many are to be sent still.
    """

    recorded: tuple[dict[str, Any], ...]
    delivered: int
    waiting: int


def recent(settings: Settings, now: datetime) -> Recent:
    """Return what the evaluation of a moment recorded, and how messages stand.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse alerts") as connection:
        cursor = connection.execute(_RECORDED, {"now": now, "shown": SHOWN})
        names = [column.name for column in cursor.description or ()]
        recorded = tuple(dict(zip(names, row, strict=True)) for row in cursor.fetchall())
        asked = {"since": now - WINDOW, "built_in": list(BUILT_IN)}
        ((delivered, waiting),) = connection.execute(_MESSAGES, asked).fetchall()
    return Recent(recorded, delivered, waiting)
