"""The channels in PostgreSQL: adding, removing and reading them."""

from datetime import datetime
from typing import Any, Final

from pydantic import SecretStr

from alerts.delivery import outbox
from alerts.delivery.channels.channel import ChannelSettings
from alerts.delivery.channels.opening import BUILT_IN, check_settings
from market.errors import UsageError
from market.settings import Settings
from warehouse.connection import connect

APPLICATION: Final = "tapehouse channels"
_COLUMNS: Final = (
    "channel, url, signing_secret, is_private_allowed, rule_limit, channel_limit, digest_seconds, timeout_seconds, "
    "is_for_operators, is_for_reports, added_at"
)
_ADD: Final = f"""
insert into app.alert_channels ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (channel) do nothing
"""  # noqa: S608 - names of columns


def add_channel(settings: Settings, channel: ChannelSettings, now: datetime) -> None:
    """Add a channel; what waits for one of its name is tried at once.

    Raises
    ------
    UsageError
        If it cannot be one, or there is one of that name.
    ServiceError
        If the database cannot be reached.
    """
    check_settings(channel)
    secret = channel.signing_secret
    values = [
        channel.name,
        channel.url.get_secret_value(),
        secret.get_secret_value() if secret is not None else None,
        channel.is_private_allowed,
        channel.rule_limit,
        channel.channel_limit,
        channel.digest_seconds,
        channel.timeout_seconds,
        channel.is_for_operators,
        channel.is_for_reports,
        now,
    ]
    with connect(settings, application_name=APPLICATION) as connection:
        if connection.execute(_ADD, values).rowcount == 0:
            msg = (
                f"There is a channel {channel.name} already. Remove it first: ./run alert channel remove {channel.name}"
            )
            raise UsageError(msg)
        _wake(connection, channel.name, now)


def remove_channel(settings: Settings, name: str, now: datetime) -> bool:
    """Remove a channel and return whether it was there; what waits for it dies at once with that reason, and can be resent.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, application_name=APPLICATION) as connection:
        removed = connection.execute("delete from app.alert_channels where channel = %s", [name]).rowcount
        _wake(connection, name, now)
        return bool(removed)


def channels(settings: Settings) -> list[ChannelSettings]:
    """Return the built-in channels and those that users added, in order.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name=APPLICATION) as connection:
        rows = connection.execute(f"select {_COLUMNS} from app.alert_channels order by channel").fetchall()  # noqa: S608
    return [*BUILT_IN.values(), *(_channel(row) for row in rows)]


def read_channel(connection: Any, name: str) -> ChannelSettings | None:  # noqa: ANN401 - psycopg is known to warehouse only
    """Return a channel as it is now, or ``None`` if there is none of that name."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    row = connection.execute(f"select {_COLUMNS} from app.alert_channels where channel = %s", [name]).fetchone()  # noqa: S608
    return None if row is None else _channel(row)


def _wake(connection: Any, name: str, now: datetime) -> None:  # noqa: ANN401
    """Have the relay look at what waits for a channel, also for a later attempt."""
    outbox.try_sooner(connection, name, now)
    connection.execute("select pg_notify(%s, '')", [outbox.WAKES])


def _channel(row: tuple[Any, ...]) -> ChannelSettings:
    name, url, secret, *others = row
    return ChannelSettings(name, SecretStr(url), SecretStr(secret) if secret is not None else None, *others)
