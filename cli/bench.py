"""``./run bench``: measure, against named peers, one line a figure."""

import importlib
import json
import pkgutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from benchmarks.figures import Figure

_NOT_BENCHMARKS: Final = frozenset({"engines", "figures", "peers", "progress", "receiver"})
HEADER: Final = "figure, value, unit, peer, peer_value, ratio, goal, holds, noise"


def bench(
    name: Annotated[
        str | None, typer.Argument(help="Which benchmark, or which part of one; all of them without.")
    ] = None,
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a figure, a line each.")] = False,
) -> None:
    """Measure this checkout on this machine: one line a figure, whether its goal holds or not."""
    from cli.logs import configure_logging
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.settings import load_settings

    known = benchmark_names()
    if name is not None and name not in (*known, *benchmark_parts()):
        msg = f"{name!r} is not a benchmark. The benchmarks are: {', '.join((*known, *benchmark_parts()))}."
        raise UsageError(msg)
    configure_logging(progress=True)
    settings = connected_settings(load_settings())
    if not json_output:
        typer.echo(HEADER)
    for chosen in [name] if name else known:
        for figure in importlib.import_module(f"benchmarks.{chosen}").run(settings):
            typer.echo(json.dumps(asdict(figure)) if json_output else as_line(figure))


def benchmark_names() -> list[str]:
    """Return the names of the benchmarks: the modules of ``benchmarks``."""
    import benchmarks

    return sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in _NOT_BENCHMARKS
    )


def benchmark_parts() -> list[str]:
    """Return the names of the parts that can be had alone: ``lake.live`` is a part of ``lake``."""
    import benchmarks

    packages = [
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.ispkg and module.name not in _NOT_BENCHMARKS
    ]
    return [f"{name}.{part}" for name in packages for part in importlib.import_module(f"benchmarks.{name}").PARTS]


def as_line(figure: "Figure") -> str:
    """Return a figure as one line under :data:`HEADER`; the noise is the spread over the repeats in percent of the median."""
    parts = [
        figure.figure.replace(",", ";"),
        _number(figure.value),
        figure.unit,
        (figure.peer or "-").replace(",", ";"),
        _number(figure.peer_value),
        _number(figure.ratio),
        figure.goal.replace(",", ""),
        "yes" if figure.holds else "no",
        f"{figure.spread:.1%}",
    ]
    return ", ".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits either way
