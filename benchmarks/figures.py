"""What a benchmark yields."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    figure
        What was measured, in a few words.
    value, unit
        Median over the repeats.
    peer, peer_value
        What it is measured against in the same run, and its median in the same unit; ``None`` without a peer.
    ratio
        ``value / peer_value``; ``None`` without a peer.
    goal
        The goal as a sentence, such as ``ratio >= 0.5``.
    holds
        Whether the goal was reached.
    spread
        Noise of the machine: (largest - smallest) / median of the repeats.
    """

    figure: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    goal: str
    holds: bool
    spread: float


def spread(values: Sequence[float]) -> float:
    """Return (largest - smallest) / median; 0 of no values."""
    return (max(values) - min(values)) / median(values) if values and median(values) else 0.0


def alone(figure: str, value: float, unit: str, most: float, repeats: Sequence[float] = ()) -> Figure:
    """Return a figure without a peer that should be ``most`` at most."""
    return Figure(
        figure=figure,
        value=value,
        unit=unit,
        peer=None,
        peer_value=None,
        ratio=None,
        goal=f"value <= {most:g}",
        holds=value <= most,
        spread=spread(repeats),
    )
