"""The Dagster instance of a home: its configuration files, and the three long-lived processes that serve it."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import yaml

from market.errors import SettingsError
from market.settings import CHECKOUT, Settings

HOST: Final = "127.0.0.1"
LOCATION: Final = "tapehouse"
"""Name of the code location in the UI."""
SCHEMA: Final = "dagster"
"""Schema of the database in which Dagster keeps its tables."""
MAX_CONCURRENT_RUNS: Final = 2
MAX_RUN_SECONDS: Final = 3600
SENSORS_AT_ONCE: Final = 4
EVENTS_AT_ONCE: Final = 500
"""Events of a run's partitions that are stored by one statement: a run for ten years of sessions has 2,500 of a kind."""

STORAGE_URL_VARIABLE: Final = "DAGSTER_POSTGRES_URL"
CODE_SERVER_PORT_VARIABLE: Final = "DAGSTER_CODE_SERVER_PORT"

_PRIVATE_FOLDER: Final = 0o700
_PYTHON: Final = (sys.executable, "-m")


@dataclass(frozen=True, slots=True)
class Service:
    """One long-lived process of Dagster.

    Attributes
    ----------
    name
        Name for users and for the log file.
    argv
        Program and arguments.
    environment
        Variables to be set besides those of a bare environment (``PATH`` and the like). Holds the password.
    folder
        Its working folder.
    port
        The port on 127.0.0.1 that accepts connections once it is ready; ``None`` if it listens nowhere.
    url
        What answers 200 once it is ready; ``None`` if it speaks no HTTP.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path = CHECKOUT
    port: int | None = None
    url: str | None = None


def dagster_home(settings: Settings) -> Path:
    """Return the folder of the instance."""
    return settings.home / "dagster"


def instance_environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that the instance of this home needs, the password included.

    Raises
    ------
    SettingsError
        If no database is set, or not as a URL.
    """
    return {
        **settings.environment(),
        "DAGSTER_HOME": str(dagster_home(settings)),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENTS_AT_ONCE),
        STORAGE_URL_VARIABLE: storage_url(settings.require_database()),
    }


def storage_url(database_url: str) -> str:
    """Return the database's URL as Dagster's storage needs it: with its own schema first and only in the search path.

    Raises
    ------
    SettingsError
        If it is not a URL.
    """
    parts = urlsplit(database_url)
    if parts.scheme not in {"postgresql", "postgres"}:
        msg = "DATABASE_URL cannot be read. Write it as postgresql://user:password@host:port/database."
        raise SettingsError(msg)
    query = dict(parse_qsl(parts.query))
    query["options"] = f"{query.get('options', '')} -csearch_path={SCHEMA}".strip()
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query, quote_via=quote)))


def write_instance_config(settings: Settings) -> Path:
    """Write ``dagster.yaml`` and ``workspace.yaml``, and return the instance's folder.

    Neither holds a password: both refer to environment variables, which :func:`instance_environment` gives.
    """
    home = dagster_home(settings)
    home.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
    _write(home / "dagster.yaml", _instance_config(home))
    _write(home / "workspace.yaml", _workspace_config())
    return home


def service_commands(settings: Settings, *, webserver_port: int, code_server_port: int) -> list[Service]:
    """Return the processes in the order in which they start: each needs those before it.

    Raises
    ------
    SettingsError
        If no database is set, or not as a URL.
    """
    workspace = str(dagster_home(settings) / "workspace.yaml")
    environment = {**instance_environment(settings), CODE_SERVER_PORT_VARIABLE: str(code_server_port)}
    return [
        Service(
            name="dagster-code",
            argv=(*_PYTHON, "orchestration.code_server", str(code_server_port)),
            environment=environment,
            port=code_server_port,
        ),
        Service(
            name="dagster-webserver",
            argv=(
                *(*_PYTHON, "dagster_webserver", "--host", HOST, "--port", str(webserver_port)),
                *("--workspace", workspace, "--dagster-log-level", "warning"),
            ),
            environment=environment,
            port=webserver_port,
            url=f"http://{HOST}:{webserver_port}/server_info",
        ),
        Service(
            name="dagster-daemon",
            argv=(*_PYTHON, "dagster._daemon", "run", "--workspace", workspace, "--log-level", "warning"),
            environment=environment,
        ),
    ]


def _instance_config(home: Path) -> dict[str, Any]:
    return {
        "storage": {
            "custom": {
                "module": "orchestration.storage",
                "class": "PooledPostgresStorage",
                "config": {"postgres_url": {"env": STORAGE_URL_VARIABLE}},
            }
        },
        "local_artifact_storage": {
            "module": "dagster.core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home)},
        },
        "compute_logs": {
            "module": "orchestration.run_output",
            "class": "RunOutput",
            "config": {"base_dir": str(home / "logs")},
        },
        "concurrency": {
            "runs": {"max_concurrent_runs": MAX_CONCURRENT_RUNS},
            "pools": {"default_limit": 1, "granularity": "run"},
        },
        # A run whose turn comes while the code server starts again waits for it.
        "run_queue": {
            "dequeue_interval_seconds": 1,
            "max_user_code_failure_retries": 20,
            "user_code_failure_retry_delay": 15,
        },
        # One sensor goes on looking for seconds (orchestration/touched.py): the others do not wait for it.
        "sensors": {"use_threads": True, "num_workers": SENSORS_AT_ONCE},
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 180,
            "cancel_timeout_seconds": 60,
            "max_runtime_seconds": MAX_RUN_SECONDS,
            "poll_interval_seconds": 30,
        },
        # A run whose process died starts again; a run that failed would only fail again: its steps have retries of their own.
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "python_logs": {"python_log_level": "INFO"},  # what the UI shows anyway stays out of the processes' own logs
        "retention": {
            "schedule": {"purge_after_days": {"skipped": 1, "success": 30, "failure": 30, "started": 1}},
            "sensor": {"purge_after_days": {"skipped": 1, "success": 7, "failure": 30, "started": 1}},
        },
        "freshness": {"enabled": True},
        "auto_materialize": {"enabled": False},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }


def _workspace_config() -> dict[str, Any]:
    server = {"host": HOST, "port": {"env": CODE_SERVER_PORT_VARIABLE}, "location_name": LOCATION}
    return {"load_from": [{"grpc_server": server}]}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` whole or not at all: another process may be reading it."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    new.replace(path)
