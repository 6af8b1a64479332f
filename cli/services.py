"""The platform's processes as services: which there are, and what each is started with.

What belongs here: the wiring of the packages into processes, used by ``up`` with and without ``--once``. What does not:
how a process is started or watched; that is :mod:`infra.local`.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from infra.local.disk import disk_errors
from infra.local.home import Home, generated_secret
from infra.local.kafka import kafka_service
from infra.local.ports import HOST, accepts_connections, claim_ports, is_free, require_free
from infra.local.postgres import postgres_service
from infra.local.processes import Command
from infra.local.service import Service, as_soon_as_it_runs
from infra.local.supervisor import Supervisor
from market.settings import CHECKOUT, Settings

STREAM: Final = "stream"
FEED: Final = "feed"
ALERTS: Final = "alerts"
PRICE_ALERTS: Final = "price-alerts"
JOBS: Final = "history-and-marts"
SIMULATED: Final = "simulated"
REFUSED_STATUS: Final = 2
"""What the live feed exits with when its source refuses every connection, as for a wrong request."""
STREAM_GRACE_SECONDS: Final = 90.0
"""A stream that is asked to stop finishes its batch first."""
STREAM_START_SECONDS: Final = 240.0
DAGSTER_START_SECONDS: Final = 180.0
DAGSTER_PORT: Final = 3000
_HTTP_SECONDS: Final = 3.0


def start_engines(home: Home, settings: Settings, supervisor: Supervisor) -> dict[str, str]:
    """Start the engines whose addresses are not set, without waiting, and return their addresses.

    Raises
    ------
    ServiceError
        If one cannot be started.
    """
    services, addresses = [], {}
    if settings.kafka_bootstrap_servers is None:
        service, addresses["KAFKA_BOOTSTRAP_SERVERS"] = kafka_service(home, settings)
        services.append(service)
    if settings.database_url is None:
        service, addresses["DATABASE_URL"] = postgres_service(home, settings)
        services.append(service)
    if services:
        supervisor.start(services, wait=False)
    return addresses


def prepare_stores(settings: Settings) -> None:
    """Bring the database's schema and the broker's topics to their declared state, both at once.

    Raises
    ------
    ServiceError
        If an engine cannot be reached.
    """
    from ingest.topics import ensure_topics
    from warehouse.schema import migrate

    with ThreadPoolExecutor(max_workers=2) as pool:
        topics = pool.submit(ensure_topics, settings.require_kafka())
        migrate(settings)
        topics.result()


def admit_analyst(home: Home, settings: Settings, *, owns_server: bool) -> list[str]:
    """Let BI tools read the marts by a role of their own, and return what the user should hear of it: nothing if all is well.

    Parameters
    ----------
    home
        Keeps the role's password, where it is made here.
    settings
        With the address of the running database.
    owns_server
        Whether the server is the embedded one.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    from warehouse import analyst

    def password() -> str:
        with disk_errors(home.postgres):
            home.postgres.mkdir(mode=0o700, exist_ok=True)
        return generated_secret(home.analyst_password_file)

    standing = analyst.admit_analyst(settings, password, owns_server=owns_server)
    if standing.is_well:
        return []
    why = "; ".join(standing.shortcomings) or "there is no such role of ours, and DATABASE_URL's user may not make one"
    return [f"The role {analyst.ROLE} for BI tools is not as it should be: {why}. ./run connect says what to run."]


def stream_service(home: Home, settings: Settings) -> Service:
    """Return the stream: from Kafka to the lake and PostgreSQL."""
    arguments = ["-m", "spark_jobs.jobs.stream"]
    service = _python_service(home, settings, STREAM, arguments, grace_seconds=STREAM_GRACE_SECONDS)
    return replace(service, ready_text="stream_started", ready_within_seconds=STREAM_START_SECONDS)


def feed_service(
    home: Home, settings: Settings, *, feed: str, closed: str, symbols: str | None, speed: float | None
) -> Service:
    """Return the live feed. A real one that ends because its source refuses is not started again: it would be refused again."""
    arguments = ["-m", "ingest.live", "--feed", feed, "--closed", closed]
    if symbols is not None:
        arguments += ["--symbols", symbols]
    if speed is not None:
        arguments += ["--speed", f"{speed:g}"]
    service = _python_service(home, settings, FEED, arguments)
    return service if feed == SIMULATED else replace(service, is_task=True, final_statuses=frozenset({REFUSED_STATUS}))


def alerts_service(home: Home, settings: Settings) -> Service:
    """Return the relay, which delivers alerts."""
    service = _python_service(home, settings, ALERTS, ["-m", "orchestration.alert_relay"])
    return replace(service, ready_text="relay_listens")


def price_alerts_service(home: Home, settings: Settings) -> Service:
    """Return the watch over prices, which records alerts with the trade that makes them."""
    service = _python_service(home, settings, PRICE_ALERTS, ["-m", "orchestration.price_alerts"])
    return replace(service, ready_text="price_alerts_watch")


def jobs_task(home: Home, settings: Settings, *, timeout_seconds: float) -> Service:
    """Return the Dagster jobs history and marts, run once and here; the marts wait for the lake, at most so long."""
    from orchestration.run import FAILS_AGAIN

    arguments = ["-m", "orchestration.run", "history", "marts", "--wait-for-lake", "--timeout", f"{timeout_seconds:g}"]
    service = _python_service(home, settings, JOBS, arguments)
    return replace(service, is_task=True, final_statuses=frozenset({FAILS_AGAIN}))


def choose_dagster_port(home: Home, wanted: int | None) -> int:
    """Return the port of Dagster's pages: the one wanted, else the usual one, else one that is free and remembered.

    Raises
    ------
    ServiceError
        If the port that is wanted is taken.
    """
    if wanted is not None:
        return require_free(wanted, "--dagster-port")
    return DAGSTER_PORT if is_free(DAGSTER_PORT) else claim_ports(home, "dagster-webserver")["dagster-webserver"]


def dagster_services(home: Home, settings: Settings, webserver_port: int) -> tuple[list[Service], list[Service], str]:
    """Return Dagster's code server, then what needs it (webserver and daemon), and the address of the pages."""
    from orchestration.instance import service_commands, write_instance_config

    write_instance_config(settings)
    code_port = claim_ports(home, "dagster-code")["dagster-code"]
    services = []
    for process in service_commands(settings, webserver_port=webserver_port, code_server_port=code_port):
        command = Command(
            name=process.name,
            arguments=process.argv,
            log_file=home.log_file(process.name),
            environment={**settings.child_environment(), **process.environment},
            folder=process.folder,
        )
        services.append(
            Service(command, is_ready=_readiness(process.url, process.port), ready_within_seconds=DAGSTER_START_SECONDS)
        )
    return services[:1], services[1:], f"http://{HOST}:{webserver_port}"


def _readiness(url: str | None, port: int | None) -> Callable[[], bool]:
    """Return what tells whether a process answers at its page, accepts connections at its port, or, without either, runs."""
    if url is not None:
        return partial(_answers, url)
    return partial(accepts_connections, HOST, port) if port is not None else as_soon_as_it_runs


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=_HTTP_SECONDS) as answer:  # noqa: S310 - our own server on this machine
            return bool(answer.status == HTTPStatus.OK)
    except (URLError, OSError):
        return False


def _python_service(
    home: Home,
    settings: Settings,
    name: str,
    arguments: Sequence[str],
    *,
    grace_seconds: float = 20.0,
) -> Service:
    command = Command(
        name=name,
        arguments=[sys.executable, *arguments],
        log_file=home.log_file(name),
        environment=settings.child_environment(),
        folder=CHECKOUT,
        grace_seconds=grace_seconds,
    )
    return Service(command)
