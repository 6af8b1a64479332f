"""Environments and jars of the peers, made on demand in the checkout's cache; they pin other versions than the project does."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import structlog

from infra.local.jars import java
from market.errors import ServiceError
from market.settings import CHECKOUT, Settings, inherited_environment

_HERE: Final = Path(__file__).parent
_CACHE: Final = CHECKOUT / ".cache"
_ENVIRONMENTS: Final = _CACHE / "peers"
_UV: Final = _CACHE / "tools" / "bin" / "uv"
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_PATIENCE_SECONDS: Final = 900.0

_log = structlog.get_logger(__name__)


class PeerAbsentError(ServiceError):
    """A peer cannot be had on this machine; the text says why."""


def peer_python(name: str, pins: Path | None = None) -> Path:
    """Return the Python of a peer's environment; make it if it is not there or its pins changed.

    Parameters
    ----------
    name
        The environment's name.
    pins
        The file with every package and its digests; ``<name>.txt`` beside this module if not given.

    Raises
    ------
    PeerAbsentError
        If its packages cannot be installed.
    """
    pins, folder = pins or _HERE / f"{name}.txt", _ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / "pins.txt"
    wanted = f"# {sys.version}\n{pins.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    _log.info("peer_environment", peer=name, folder=str(folder))
    _run([str(_UV), "venv", "-q", "--clear", "--python", sys.executable, str(folder)], name)
    _run([str(_UV), "pip", "sync", "-q", "--require-hashes", "--python", str(python), str(pins)], name)
    stamp.write_text(wanted)
    return python


def peer_jar(settings: Settings, name: str) -> Path:
    """Return a jar that ``ivy.xml`` pins and ``SHA256SUMS`` describes, from Maven Central.

    Raises
    ------
    PeerAbsentError
        If it cannot be retrieved, or is not what was pinned.
    """
    lines = [line.split() for line in (_HERE / "SHA256SUMS").read_text().splitlines()]
    digests = {file: digest for digest, file in lines}
    (file,) = (file for file in digests if file.startswith(name))
    path = _ENVIRONMENTS / "jars" / file
    if not _is_right(path, digests[file]):
        _log.info("peer_jar", jar=file)
        (ivy,) = Path(sys.prefix).glob("lib/python3.*/site-packages/pyspark/jars/ivy-*.jar")
        shutil.rmtree(path.parent, ignore_errors=True)
        own = [f"-Divy.default.ivy.user.dir={_CACHE / 'ivy'}", "-jar", str(ivy), "-cache", str(_CACHE / "ivy")]
        files = ["-settings", str(CHECKOUT / "infra" / "jvm" / "ivysettings.xml"), "-ivy", str(_HERE / "ivy.xml")]
        target = ["-retrieve", f"{path.parent}/[artifact]-[revision].[ext]", "-types", "jar", "bundle", "-warn"]
        _run([str(java(settings)), *own, *files, *target], name)
        if not _is_right(path, digests[file]):
            msg = f"{path} is not the file that {_HERE / 'SHA256SUMS'} describes."
            raise PeerAbsentError(msg)
    return path


def _is_right(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _run(command: list[str], name: str) -> None:
    environment = inherited_environment() | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}
    for variable in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
        environment.pop(variable, None)
    if _CERTIFICATES.exists():
        environment.setdefault("UV_SYSTEM_CERTS", "1")
    if "PIP_INDEX_URL" in environment:
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{name} cannot be installed: {error}"
        raise PeerAbsentError(msg) from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        msg = f"{name} cannot be installed: {' '.join(lines)[-300:]}"
        raise PeerAbsentError(msg)
