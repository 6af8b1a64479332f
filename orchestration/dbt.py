"""dbt in this process: parsing the project into its manifest, and building models.

dbt costs three seconds to import and a third of a second to run, and Dagster's translation of its models imports most of it
anyway. So it runs inside the process, not as a child for each command.
"""

import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from market.errors import ModelsFailedError, ServiceError
from market.settings import Settings
from orchestration.locks import exclusive
from warehouse.dbt import DBT_PROJECT, dbt_environment
from warehouse.dbt_indicators import require_buildable
from warehouse.marts import Rebuild, forget_builds

PARSE_SECONDS: Final = 120.0
"""How long to wait for another process that parses the project."""
BUILD_SECONDS: Final = 1800.0
"""How long to wait for another process that builds models: one dbt at a time, or two write the same table."""

_GENERATED: Final = frozenset({"target", "logs", "dbt_packages", "__pycache__"})
_QUIET: Final = ("--no-send-anonymous-usage-stats", "--no-version-check", "--no-use-colors", "--log-level", "none")
_NO_DATABASE: Final = "postgresql://nobody@127.0.0.1/tapehouse"
"""Enough for parsing, which connects to nothing."""

_SHOWN_FAILURES: Final = 4
_FAILED: Final = frozenset({"error", "fail", "runtime error"})
_PASSING: Final = re.compile(
    "server closed the connection|connection to server|could not connect|terminating connection|the database system is"
    "|connection already closed|connection has been closed|could not receive data|deadlock detected",
    re.IGNORECASE,
)
"""How dbt tells that PostgreSQL was away, or in each other's way: tried again, the models may well be built."""

_LOOK_AT_TOUCHED: Final = {"PGOPTIONS": "-c tapehouse.look=touched"}
"""What PostgreSQL's own client library reads when it connects: a variable of dbt would have the project parsed anew."""

_NOT_BUILT: Final = ("unit_test", "exposure")
"""Of no use in a build. Where the work before the models fails, dbt cannot say that it skips an exposure, which has no schema."""

_PARSED: Final[dict[str, Any]] = {}
"""Projects as dbt has parsed them, by the hash of all that this depends on."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dbt:
    """The dbt project of this checkout, with its artifacts under the home of ``settings``."""

    settings: Settings
    project: Path = DBT_PROJECT

    @property
    def folder(self) -> Path:
        """Where the artifacts are."""
        return self.settings.home / "dbt"

    def manifest(self) -> dict[str, Any]:
        """Return the parsed project, from the cache when neither the project nor the connection changed.

        Raises
        ------
        SettingsError
            If a choice in the project cannot be built, or its pages do not follow from the choices.
        ServiceError
            If the project cannot be parsed.
        """
        path = self.folder / f"manifest-{self._digest()}.json"
        cached = _read(path)
        if cached is not None:
            return cached
        with exclusive(self.folder / "parse.lock", timeout_seconds=PARSE_SECONDS, purpose="parsing the dbt project"):
            cached = _read(path)
            return self._parse_to(path) if cached is None else cached

    def build(self, arguments: Sequence[str], on_event: Callable[[Event], None], *, touched: bool = False) -> None:
        """Run ``dbt build`` with ``arguments``, passing on every event of dbt. The unit tests of models are left to ``dbt test``.

        With ``touched`` the models look at the sessions alone that are queued as changed (``macros/runtime/look.sql``).

        Raises
        ------
        SettingsError
            If no database is set, a choice in the project cannot be built, or its pages do not follow from the choices.
        ModelsFailedError
            If a model or a test failed.
        ServiceError
            If PostgreSQL went away meanwhile, or dbt could not run.
        """
        self.settings.require_database()
        with exclusive(self.folder / "build.lock", timeout_seconds=BUILD_SECONDS, purpose="building the marts"):
            parsed = self.folder / "parse" / "partial_parse.msgpack"
            reuse = ["--partial-parse-file-path", str(parsed)] if parsed.is_file() else []
            command = ["build", "--exclude-resource-type", *_NOT_BUILT, *reuse, *arguments]
            if not touched:
                self._invoke(command, "target", on_event)
                return
            with _environment(_LOOK_AT_TOUCHED):
                self._invoke([*command, "--no-write-json"], "target", on_event, self.parsed())

    def write_page(self) -> Path:
        """Write the documentation of the models with their lineage, as one page that needs no server, and return it.

        Raises
        ------
        SettingsError
            If no database is set.
        ServiceError
            If the database cannot be reached, or the project cannot be parsed.
        """
        self.settings.require_database()
        # A folder of its own: a build that goes on meanwhile writes into the other one.
        with exclusive(self.folder / "page.lock", timeout_seconds=PARSE_SECONDS, purpose="writing the documentation"):
            self._invoke(["docs", "generate", "--static"], "page", lambda _event: None)
        page = self.settings.home / "docs" / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        return (self.folder / "page" / "static_index.html").replace(page)

    def forget_builds(self, rebuild: Rebuild) -> int:
        """Let the next build begin anew with some sessions, and return how many; see :func:`warehouse.marts.forget_builds`."""
        return forget_builds(self.settings, rebuild)

    def parsed(self) -> Any:  # noqa: ANN401 - dbt is untyped
        """Return the parsed project as dbt has it, parsed once a process: of a small build that is most of the time."""
        digest = self._digest()
        if digest not in _PARSED:
            purpose = "parsing the dbt project"
            with exclusive(self.folder / "parse.lock", timeout_seconds=PARSE_SECONDS, purpose=purpose):
                _PARSED[digest] = self._invoke(["parse", "--quiet", "--no-write-json"], "parse", lambda _event: None)
        return _PARSED[digest]

    def _parse_to(self, path: Path) -> dict[str, Any]:
        self._invoke(["parse", "--quiet", "--write-json"], "parse", lambda _event: None)
        parsed = self.folder / "parse" / "manifest.json"
        for outdated in self.folder.glob("manifest-*.json"):
            outdated.unlink()
        parsed.replace(path)
        manifest = _read(path)
        if manifest is None:
            msg = f"dbt parsed {self.project} but left no manifest. Remove {self.folder} and try again."
            raise ServiceError(msg)
        return manifest

    def _invoke(
        self,
        command: Sequence[str],
        target: str,
        on_event: Callable[[Event], None],
        manifest: Any = None,  # noqa: ANN401 - dbt is untyped
    ) -> Any:  # noqa: ANN401
        require_buildable(self.project)
        from dbt.cli.main import dbtRunner
        from dbt_common.events.functions import msg_to_dict

        problems: list[str] = []

        def receive(message: Any) -> None:  # noqa: ANN401 - dbt is untyped
            event = msg_to_dict(message)
            if event["info"]["level"] == "error":
                problems.append(" ".join(event["info"]["msg"].split()))
            on_event(event)

        arguments = [
            *command,
            *_QUIET,
            *("--project-dir", str(self.project), "--profiles-dir", str(self.project)),
            *("--target-path", str(self.folder / target), "--log-path", str(self.folder / "logs")),
        ]
        with _environment(self._environment()):
            result = dbtRunner(manifest, callbacks=[receive]).invoke(arguments)
        if isinstance(result.exception, KeyboardInterrupt):
            raise KeyboardInterrupt
        if not result.success:
            self.refuse_failures(getattr(result.result, "results", None) or [])
            cause = "; ".join(dict.fromkeys(filter(None, problems))) or str(result.exception)
            msg = f"dbt {command[0]} failed: {cause}. The whole log: {self.folder / 'logs' / 'dbt.log'}"
            raise ServiceError(msg) from result.exception
        return result.result

    def refuse_failures(self, results: Sequence[Any]) -> None:
        """Look at the outcomes of what dbt ran.

        Raises
        ------
        ModelsFailedError
            If models or tests failed, all of them by themselves: says which, and where their rows are.
        """
        failed = [result for result in results if str(result.status) in _FAILED]
        if not failed or any(_PASSING.search(result.message or "") for result in failed):
            return
        lines = [self._describe(result) for result in failed[:_SHOWN_FAILURES]]
        if len(failed) > len(lines):
            lines.append(f"{len(failed) - len(lines)} more failed.")
        lines.append(f"The whole log: {self.folder / 'logs' / 'dbt.log'}")
        raise ModelsFailedError("\n".join(lines))

    def _describe(self, result: Any) -> str:  # noqa: ANN401 - dbt is untyped
        node, message = result.node, " ".join((result.message or "").split())
        if str(result.status) != "fail":
            return f"The {node.resource_type} {node.name} failed: {message}"
        model = (getattr(node, "attached_node", None) or "").rpartition(".")[2]
        rows = f"{result.failures:,} row{'s' if result.failures != 1 else ''}" if result.failures else message
        look = f" ./run sql - < '{self.project / node.compiled_path}' shows them." if node.compiled_path else ""
        return f"The test {node.name} of {model or 'the marts'} failed: {rows}.{look}"

    def _environment(self) -> Mapping[str, str]:
        return dbt_environment(self.settings.with_addresses({"DATABASE_URL": _NO_DATABASE}))

    def _digest(self) -> str:
        """Return a hash of all that a manifest depends on: dbt's version, the connection, every file of the project."""
        digest = hashlib.sha256(importlib.metadata.version("dbt-core").encode())
        digest.update(json.dumps(dict(self._environment()), sort_keys=True).encode())
        for path in sorted(self.project.rglob("*")):
            relative = path.relative_to(self.project)
            if path.is_file() and _GENERATED.isdisjoint(relative.parts) and not path.name.startswith("."):
                digest.update(f"\0{relative}\0".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()[:32]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return manifest


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs: dbt reads its profile from nowhere else."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
