"""How far something is, looked at again and again, and what rate follows from that."""

import itertools
from dataclasses import dataclass, field
from typing import Final

_PARTS: Final = 4


@dataclass(slots=True)
class Progress:
    """What was certainly done at which moment.

    Attributes
    ----------
    samples
        Seconds of any one clock and what was done until then, in order; both only grow.
    """

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """What was done last."""
        return self.samples[-1][1] if self.samples else 0

    def note(self, at: float, done: int) -> None:
        """Note what is done at a moment, if it is more than before."""
        if done > self.done:
            self.samples.append((at, done))

    def rate(self, after: int = 0) -> float:
        """Return what was done a second, from the first sample with more than ``after`` to the last; 0 if there are not two."""
        warm = self._warm(after)
        if len(warm) < 2:  # noqa: PLR2004 - a rate lies between two
            return 0.0
        (since, before), (until, done) = warm[0], warm[-1]
        return (done - before) / (until - since)

    def rates(self, after: int = 0) -> list[float]:
        """Return the rates of the parts of that time, about four of equal numbers of samples."""
        warm = self._warm(after)
        step = max(1, (len(warm) - 1) // _PARTS)
        ends = warm[::step]
        return [(done - before) / (until - since) for (since, before), (until, done) in itertools.pairwise(ends)]

    def _warm(self, after: int) -> list[tuple[float, int]]:
        return [sample for sample in self.samples if sample[1] > after]
