"""The examinations of ``./run doctor``: each looks at one thing and says what it found and how to mend it."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from cli.services import DAGSTER_PORT
from infra.local.disk import LEAST_FREE_BYTES, free_bytes
from infra.local.home import Home, connected_settings
from infra.local.jars import java, kafka_classpath
from infra.local.ports import HOST, is_free
from infra.local.postgres import postgres_programs
from infra.local.supervisor import recorded_processes
from market.errors import TapehouseError
from market.settings import CHECKOUT, Settings, load_settings

GIBIBYTE: Final = 1024**3
COMFORTABLE_DISK_BYTES: Final = 5 * GIBIBYTE
COMFORTABLE_MEMORY_BYTES: Final = 6 * GIBIBYTE
LEAST_MEMORY_BYTES: Final = 3 * GIBIBYTE
LEAST_JAVA: Final = 17
_PROBE_SECONDS: Final = 30
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Verdict(StrEnum):
    """How serious a finding is: fine, worth knowing, or in the way."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one examination found, and what mends it (empty if nothing must be)."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return the findings of every examination; one that cannot go on says so as its finding."""
    findings = [_python()]
    try:
        settings = connected_settings(load_settings())
    except TapehouseError as error:
        return [*findings, Finding("settings", Verdict.FAIL, str(error), "Correct it, then look again.")]
    findings.append(Finding("settings", Verdict.OK, "all known and readable"))
    home = Home(settings.home)
    examinations: list[Callable[[], Iterator[Finding]]] = [
        lambda: _java(settings),
        _jars,
        lambda: _disk(settings),
        _memory,
        lambda: _home(home),
        lambda: _permissions(home),
        lambda: _ports(home),
        lambda: _live_feed(home),
        lambda: _kafka(settings),
        lambda: _database(settings),
    ]
    with ThreadPoolExecutor(max_workers=len(examinations)) as pool:
        for found in pool.map(lambda examination: list(examination()), examinations):
            findings.extend(found)
    return findings


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("Python", Verdict.OK, f"{version} in {sys.prefix}")


def _java(settings: Settings) -> Iterator[Finding]:
    remedy = "Install it: apt-get install openjdk-17-jre-headless, or set JAVA_HOME."
    try:
        program = java(settings)
        output = subprocess.run(
            [program, "--add-modules", "jdk.incubator.vector", "-version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (TapehouseError, OSError, subprocess.TimeoutExpired) as error:
        yield Finding("Java", Verdict.FAIL, str(error), remedy)
        return
    version = re.search(r'version "(\d+)[^"]*"', output.stderr)
    major = int(version.group(1)) if version else 0
    if output.returncode != 0 or major < LEAST_JAVA:
        lines = [line for line in output.stderr.splitlines() if line.strip()]
        found = (
            f"{program} is Java {major}"
            if 0 < major < LEAST_JAVA
            else f"{program}: {lines[0] if lines else 'no answer'}"
        )
        yield Finding(
            "Java", Verdict.FAIL, f"{found}; Java {LEAST_JAVA} or newer with all its modules is needed", remedy
        )
        return
    yield Finding("Java", Verdict.OK, f"{version.group(0) if version else ''} at {program}")


def _jars() -> Iterator[Finding]:
    remedy = (
        f"Delete {CHECKOUT / '.cache' / 'jars'} and {CHECKOUT / '.venv' / 'tapehouse.stamp'}, then use ./run again."
    )
    folder = CHECKOUT / ".cache" / "jars"
    listed = [line.split("  ", 1)[1] for line in (CHECKOUT / "infra" / "jvm" / "SHA256SUMS").read_text().splitlines()]
    missing = [name for name in listed if not (folder / name).is_file()]
    if missing:
        yield Finding(
            "jars", Verdict.FAIL, f"{len(missing)} of {len(listed)} are missing, such as {missing[0]}", remedy
        )
        return
    try:
        kafka_classpath()
        programs = postgres_programs()
    except TapehouseError as error:
        yield Finding("engines", Verdict.FAIL, str(error), remedy)
        return
    yield Finding("jars", Verdict.OK, f"{len(listed)} in {folder}")
    yield Finding("PostgreSQL's programs", Verdict.OK, str(programs))


def _disk(settings: Settings) -> Iterator[Finding]:
    free = free_bytes(settings.home)
    found = f"{free / GIBIBYTE:.1f} GiB free at {settings.home}"
    remedy = "Free some space, or set TAPEHOUSE_HOME to a folder on a larger disk."
    if free < LEAST_FREE_BYTES:
        yield Finding("disk", Verdict.FAIL, found, remedy)
    elif free < COMFORTABLE_DISK_BYTES:
        yield Finding("disk", Verdict.WARN, found, remedy)
    else:
        yield Finding("disk", Verdict.OK, found)


def _memory() -> Iterator[Finding]:
    available = psutil.virtual_memory().available
    found = f"{available / GIBIBYTE:.1f} GiB available"
    remedy = "Close other programs, or lower TAPEHOUSE_SPARK_MEMORY; everything together takes up to 6 GiB."
    if available < LEAST_MEMORY_BYTES:
        yield Finding("memory", Verdict.FAIL, found, remedy)
    elif available < COMFORTABLE_MEMORY_BYTES:
        yield Finding("memory", Verdict.WARN, found, remedy)
    else:
        yield Finding("memory", Verdict.OK, found)


def _home(home: Home) -> Iterator[Finding]:
    owner = home.owner()
    if owner is not None:
        yield Finding("home", Verdict.OK, f"{home.path} is run by `{owner.command}` (pid {owner.pid})")
        return
    left_over = [name for name, entry in recorded_processes(home).items() if psutil.pid_exists(int(entry["pid"]))]
    if left_over:
        found = f"{home.path} was left by a platform that was killed; {', '.join(left_over)} may still run"
        yield Finding("home", Verdict.WARN, found, "./run down stops them; the next ./run up does so by itself.")
        return
    existing = next(path for path in (home.path, *home.path.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        found = f"{existing} cannot be written"
        yield Finding("home", Verdict.FAIL, found, "Set TAPEHOUSE_HOME to a folder that can.")
        return
    yield Finding("home", Verdict.OK, f"{home.path} is free to use")


def _permissions(home: Home) -> Iterator[Finding]:
    env_file = CHECKOUT / ".env"
    secret_files = [home.addresses_file, home.postgres / "password", home.analyst_password_file]
    if env_file.is_file() and "DATABASE_URL" in env_file.read_text():
        secret_files.append(env_file)
    open_files = [path for path in secret_files if _is_open(path)]
    for path in open_files:
        yield Finding(
            "permissions", Verdict.FAIL, f"others can read {path}, which holds a password", f"chmod 600 {path}"
        )
    if not open_files:
        yield Finding("permissions", Verdict.OK, "passwords are readable by their owner only")


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _ports(home: Home) -> Iterator[Finding]:
    if home.owner() is not None or is_free(DAGSTER_PORT):
        yield Finding("ports", Verdict.OK, f"servers listen on {HOST} only")
        return
    found = f"port {DAGSTER_PORT} of {HOST} is taken by another program"
    yield Finding("ports", Verdict.WARN, found, "Dagster's pages will be at another port; ./run up says which.")


def _live_feed(home: Home) -> Iterator[Finding]:
    from cli.figures import feed_problems
    from ingest.live.notice import read_notice

    notice = read_notice(home.path) if home.owner() is not None else None
    if notice is None:
        return
    problems = feed_problems(notice)
    for problem in problems:
        yield Finding("live feed", Verdict.WARN, problem)
    if not problems:
        yield Finding("live feed", Verdict.OK, f"{notice.source} is {notice.state}")


def _kafka(settings: Settings) -> Iterator[Finding]:
    if settings.kafka_bootstrap_servers is None:
        yield Finding("Kafka", Verdict.OK, "embedded; ./run up starts it")
        return
    from ingest.topics import end_offsets

    try:
        ends = end_offsets(settings.kafka_bootstrap_servers)
    except TapehouseError as error:
        yield Finding("Kafka", Verdict.FAIL, str(error), "Start it, or correct KAFKA_BOOTSTRAP_SERVERS.")
        return
    yield Finding("Kafka", Verdict.OK, f"{settings.kafka_bootstrap_servers} holds {sum(ends.values()):,} messages")


def _database(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None:
        yield Finding("PostgreSQL", Verdict.OK, "embedded; ./run up starts it")
        return
    from cli.addresses import without_password
    from warehouse.connection import connect

    try:
        with connect(settings, read_only=True, application_name="tapehouse doctor") as connection:
            version = connection.info.server_version
    except TapehouseError as error:
        yield Finding("PostgreSQL", Verdict.FAIL, str(error), "Start it, or correct DATABASE_URL.")
        return
    where = without_password(settings.database_url.get_secret_value())
    yield Finding("PostgreSQL", Verdict.OK, f"version {version // 10000}.{version % 10000} at {where}")
