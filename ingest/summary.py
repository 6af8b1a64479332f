"""The account of a publisher: what became of its records."""

from dataclasses import dataclass
from typing import Self

from market.errors import PublishError


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """What became of the records; ``sent == acknowledged + failed + unknown`` always.

    Attributes
    ----------
    sent
        Records handed in.
    acknowledged
        Records that every in-sync replica of the broker has.
    failed
        Records that the broker certainly does not have.
    unknown
        Records without an answer when the publisher gave up: the broker may have them or not. Publishing them again
        is safe, because a record keeps its identity.
    seconds
        Time from opening to closing.
    first_error
        Cause of the first failed or unknown record.
    """

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    seconds: float = 0.0
    first_error: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every record was acknowledged."""
        return self.acknowledged == self.sent

    def plus(self, later: Self) -> "PublishSummary":
        """Return the account of this publisher and a later one together."""
        return PublishSummary(
            sent=self.sent + later.sent,
            acknowledged=self.acknowledged + later.acknowledged,
            failed=self.failed + later.failed,
            unknown=self.unknown + later.unknown,
            seconds=self.seconds + later.seconds,
            first_error=self.first_error or later.first_error,
        )

    def require_complete(self) -> None:
        """Raise if a record was not acknowledged.

        Raises
        ------
        PublishError
            With the counts and the first cause.
        """
        if not self.is_complete:
            msg = (
                f"Of {self.sent:,} records {self.failed:,} failed and {self.unknown:,} are unknown; "
                f"the first cause: {self.first_error}. Publish them again: what the broker has already is recognised."
            )
            raise PublishError(msg)
