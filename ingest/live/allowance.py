"""How many symbols a source allows at once: learned from what it takes and refuses, since no source says it."""


class Allowance:
    """The most symbols that were taken, and the fewest that were refused."""

    def __init__(self) -> None:
        self._taken = 0
        self._refused: int | None = None

    def next(self, wanted: int) -> int:
        """Return how many symbols to ask for, of so many that are wanted: all of them, or the middle of what is not known."""
        if self._refused is None or wanted < self._refused:
            return wanted
        return (self._taken + self._refused) // 2 if self._refused - self._taken > 1 else self._taken

    def take(self, count: int) -> None:
        """Note that so many were taken."""
        self._taken = max(self._taken, count)
        if self._refused is not None and self._refused <= count:
            self._refused = None

    def refuse(self, count: int) -> None:
        """Note that so many were refused."""
        self._refused = count
        self._taken = min(self._taken, count - 1)

    def settle(self) -> None:
        """Ask for no more than was taken: a refusal cost the connection."""
        if self._taken:
            self._refused = self._taken + 1
