"""How addresses are shown: where everything is, without passwords."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from market.settings import Settings

_HIDDEN = "********"


def without_password(url: str) -> str:
    """Return the URL with its password replaced by asterisks; a text that is no such URL is hidden whole."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return _HIDDEN
    if not parts.scheme:
        return _HIDDEN
    user = f"{parts.username}:{_HIDDEN}@" if parts.password else (f"{parts.username}@" if parts.username else "")
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, "", ""))


def shown_addresses(settings: Settings, running: Mapping[str, str], *, absent: str = "not running") -> dict[str, str]:
    """Return every address by what it is of, as a user may see it.

    Parameters
    ----------
    settings
        With the addresses of the running engines.
    running
        What the running platform published; says which engines are embedded.
    absent
        What is said of an engine without an address.
    """
    kafka = settings.kafka_bootstrap_servers
    database = settings.database_url.get_secret_value() if settings.database_url else None
    return {
        "Kafka": kafka or absent,
        "PostgreSQL": without_password(database) if database else absent,
        "Lake": settings.lake,
        "Spark": settings.spark_master or "local",
        "Dagster": running.get("DAGSTER_URL", absent),
        "Home": str(settings.home),
    }
