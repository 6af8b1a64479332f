"""How figures are written: prices, percents, counts and moments, the same in HTML, PDF and text."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from alerts.reports.document import Column
from alerts.reports.reading import Facts, Row
from market.sessions import EXCHANGE_ZONE

NONE: Final = "\N{EN DASH}"
POPULATIONS: Final[Mapping[bool, str]] = {False: "Real symbols", True: "Simulated symbols"}


def price(value: Any) -> str:  # noqa: ANN401 - Decimal, float or none, as it came from PostgreSQL
    """Return dollars: with cents, below one dollar with six decimals, as the marts have them."""
    if value is None:
        return NONE
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.6f}".rstrip("0").rstrip(".")


def percent(value: float | None, *, signed: bool = True) -> str:
    """Return a value that is in percent, with two decimals."""
    if value is None:
        return NONE
    text = f"{value:+.2f} %" if signed else f"{value:.2f} %"
    return "0.00 %" if text in {"+0.00 %", "-0.00 %"} else text.replace("-", "\N{MINUS SIGN}")


def since(row: Row) -> str:
    """Return the change of what has no close of the session before, with the day that it is measured against."""
    return f"{percent(row['change_since_pct'])} since {row['since']}"


def share(value: float | None) -> str:
    """Return a part of one in percent."""
    return NONE if value is None else f"{100 * value:.2f} %"


def count(value: Any) -> str:  # noqa: ANN401 - int, Decimal or none
    """Return a whole number."""
    return NONE if value is None else f"{int(value):,}"


def times(value: float | None) -> str:
    """Return how many times the usual."""
    return NONE if value is None else f"{value:.2f}\N{MULTIPLICATION SIGN}"


def number(value: Any) -> str:  # noqa: ANN401 - as it came from JSON
    """Return a value of evidence."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def moment(at: datetime | None) -> str:
    """Return a moment in UTC."""
    return NONE if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: datetime, *, with_day: bool = False) -> str:
    """Return a moment by the exchange's clock."""
    local = at.astimezone(EXCHANGE_ZONE)
    return local.strftime("%d %b %H:%M" if with_day else "%H:%M")


def plural(number_of: int, what: str) -> str:
    """Return a count with its noun."""
    return f"{number_of:,} {what}{'' if number_of == 1 else 's'}"


def columns(*titles: str, numbers: Sequence[str] = ()) -> tuple[Column, ...]:
    """Return columns by their titles; those of ``numbers`` are set to the right."""
    return tuple(Column(title.lower().replace(" ", "_"), title, title in numbers) for title in titles)


def populations(rows: Sequence[Row]) -> list[tuple[bool, str, list[Row]]]:
    """Return the rows of real symbols and those of simulated ones, as far as there are any."""
    parts = [(flag, title, [row for row in rows if row["is_simulated"] == flag]) for flag, title in POPULATIONS.items()]
    return [part for part in parts if part[2]]


def suffix(*, is_simulated: bool) -> str:
    """Return what tells the keys of simulated symbols from those of real ones."""
    return "simulated" if is_simulated else "real"


def evidence(found: Mapping[str, Any] | None) -> str:
    """Return the values that decided, the bar, and where it came from, in one line."""
    if not found:
        return NONE
    parts = []
    values, bar = found.get("values"), found.get("bar")
    if isinstance(values, Mapping):
        parts += [_value(name, value) for name, value in sorted(values.items())]
    if isinstance(bar, Mapping):
        shown = [f"{name} {number(bar[name])}" for name in ("close", "volume", "revision") if name in bar]
        parts.append(f"bar: {', '.join(shown)}")
    elif "bar" in found:
        parts.append("the bar is not there any more")
    if found.get("origin"):
        parts.append(f"source {found['origin']}")
    return "; ".join(parts) or NONE


def lineage(facts: Facts, *relations: str) -> tuple[Any, ...]:
    """Return the sources of a figure, by the names of the relations."""
    return tuple(facts.sources[relation] for relation in relations)


def _value(name: str, value: Any) -> str:  # noqa: ANN401 - as it came from JSON
    if isinstance(value, Mapping):
        return f"{name} {number(value.get('now'))} (before {number(value.get('before'))})"
    return f"{name} {number(value)}"
