"""The checks: what changed since the last one is held against the suites, and the outcomes are written as pages.

What belongs here: which rows, which suite, what is remembered. What does not: who asks (a job of Dagster, ``./run quality``).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from market.settings import Settings
from quality.outcomes import Outcome, joined
from quality.overview import PAGE, write_overview
from quality.stored import LAKE, POSTGRES, Checked, checked_marts, read_parts
from warehouse.connection import connect
from warehouse.quality_marks import move_mark, read_mark

if TYPE_CHECKING:
    from quality.suites import Suites

OVERLAP: Final = timedelta(hours=1)
"""How far behind the newest change the next check begins: batches of two topics are not published in the order of their times."""

_APPLICATION: Final = "tapehouse quality"


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of what the lake and PostgreSQL hold."""

    settings: Settings

    @property
    def folder(self) -> Path:
        """Where outcomes and pages are."""
        return self.settings.home / "quality"

    @property
    def page(self) -> Path:
        """The first of the pages."""
        return self.folder / PAGE

    def check_postgres(self, *, everything: bool = False) -> list[Outcome]:
        """Check the tables that the marts are made from, what changed of them or all, and return an outcome for each.

        What was found broken is looked at again the next time, until it is mended.

        Raises
        ------
        SettingsError
            If no database is set.
        ServiceError
            If it cannot be reached.
        """
        return self._check_relations(POSTGRES, everything=everything)

    def check_marts(self, *, everything: bool = False) -> list[Outcome]:
        """Check the marts, what follows from what changed or all; raises as :meth:`check_postgres`."""
        with connect(self.settings, read_only=True, application_name=_APPLICATION) as connection:
            marts = checked_marts(connection)
        chosen = marts if everything else [mart for mart in marts if mart.moment is not None]
        return self._check_relations(chosen, everything=everything)

    def check_lake(self, *, everything: bool = False) -> list[Outcome]:
        """Check the tables of the lake; raises :class:`~market.errors.ServiceError` too if the lake cannot be read."""
        outcomes: list[Outcome] = []
        with self._suites() as suites:
            for checked in LAKE:
                since = None if everything else self._since(checked)
                parts, newest = [], None
                for frame in read_parts(self.settings.lake, checked, since):
                    parts.append(suites.hold_frame(checked, frame))
                    newest = _newest(frame[checked.moment], newest)
                outcomes.append(joined(parts) if parts else Outcome(checked.name, 0, 0, ()))
                self._remember(outcomes[-1], newest)
        write_overview(self.folder, outcomes)
        return outcomes

    def _check_relations(self, relations: Sequence[Checked], *, everything: bool) -> list[Outcome]:
        outcomes: list[Outcome] = []
        with self._suites() as suites:
            for checked in relations:
                query = checked.query(None if everything else self._since(checked))
                rows, newest = self._count(checked, query)
                outcomes.append(suites.hold_query(checked, query, rows) if rows else Outcome(checked.name, 0, 0, ()))
                self._remember(outcomes[-1], newest)
        write_overview(self.folder, outcomes)
        return outcomes

    def _since(self, checked: Checked) -> datetime | None:
        mark = read_mark(self.settings, checked.name)
        return None if mark is None else mark - OVERLAP

    def _remember(self, outcome: Outcome, newest: datetime | None) -> None:
        if outcome.holds and newest is not None:
            move_mark(self.settings, outcome.table, newest)

    def _count(self, checked: Checked, query: str) -> tuple[int, datetime | None]:
        """Return how many rows a query has, and when the newest of them changed."""
        newest = f"max({checked.moment})" if checked.moment else "null::timestamp with time zone"
        with connect(self.settings, read_only=True, application_name=_APPLICATION) as connection:
            row = connection.execute(f"select count(*), {newest} from ({query}) as checked".encode()).fetchone()  # noqa: S608 - of names that are declared
        assert row is not None
        return row

    @contextmanager
    def _suites(self) -> Iterator["Suites"]:
        from quality.suites import Suites  # slow to import

        with Suites(self.folder, self.settings) as suites:
            yield suites


def _newest(moments: pd.Series, newest: datetime | None) -> datetime | None:
    found: datetime = moments.max().to_pydatetime()
    return found if newest is None else max(newest, found)
