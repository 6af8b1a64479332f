"""The checks: what changed since the last one is held against the suites, and the outcomes are written as pages.

What belongs here: which rows, which suite, what is remembered. What does not: who asks (a job of Dagster, ``./run quality``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from market.errors import ImpossibleValuesError
from market.settings import Settings
from quality.outcomes import Outcome, joined, refusal_of
from quality.overview import PAGE, write_overview
from quality.quick import look
from quality.stored import LAKE, POSTGRES, Checked, checked_marts, read_parts
from warehouse.connection import connect
from warehouse.quality_marks import move_marks, read_marks

if TYPE_CHECKING:
    from quality.suites import Suites

OVERLAP: Final = timedelta(hours=1)
"""How far behind the newest change the next check begins: batches of two topics are not published in the order of their times.
One that others wait for looks at what is queued and at what is newer, and leaves the rest to the next that nobody waits for."""

_APPLICATION: Final = "tapehouse quality"

_Found = tuple[Outcome, datetime | None]
"""An outcome, and when the newest of the rows changed."""


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

    def check_postgres(self, names: AbstractSet[str] | None = None, *, everything: bool = False) -> list[Outcome]:
        """Check the tables that the marts are made from, what changed of them or all, and return an outcome for each.

        What was found broken is looked at again the next time, until it is mended.

        Parameters
        ----------
        names
            Which tables; every one without. A look at some alone is one that others wait for: it begins where the last one ended
            that nobody waited for, and asks Great Expectations only about what is not right.
        everything
            Whether to look at every row.

        Raises
        ------
        SettingsError
            If no database is set.
        ServiceError
            If it cannot be reached.
        """
        chosen = [checked for checked in POSTGRES if names is None or checked.name in names]
        quickly = self._look_in_haste(chosen) if names is not None and not everything else None
        return self._check_relations(chosen, everything=everything) if quickly is None else quickly

    def require_possible(self) -> None:
        """Look at every row that the marts are made from, as who is about to build them anew has to.

        Raises
        ------
        ImpossibleValuesError
            If a value is not possible; the text says which expectations are not met in how many rows.
        SettingsError, ServiceError
            As :meth:`check_postgres`.
        """
        refusal = refusal_of(self.check_postgres(everything=True))
        if refusal is not None:
            raise ImpossibleValuesError(refusal)

    def check_marts(self, *, everything: bool = False) -> list[Outcome]:
        """Check the marts, what follows from what changed or all; raises as :meth:`check_postgres`.

        A mart that does not say when a row of it changed is looked at whole: such ones have few rows.
        """
        with connect(self.settings, read_only=True, application_name=_APPLICATION) as connection:
            marts = checked_marts(connection)
        return self._check_relations(marts, everything=everything)

    def check_lake(self, *, everything: bool = False) -> list[Outcome]:
        """Check the tables of the lake; raises :class:`~market.errors.ServiceError` too if the lake cannot be read."""
        marks = {} if everything else read_marks(self.settings)
        found: list[_Found] = []
        with self._suites() as suites:
            for checked in LAKE:
                parts, newest = [], None
                for frame in read_parts(self.settings.lake, checked, _since(checked, marks, OVERLAP)):
                    parts.append(suites().hold_frame(checked, frame))
                    newest = _newest(frame[checked.moment], newest)
                found.append((joined(parts) if parts else Outcome(checked.name, 0, 0, ()), newest))
        return self._tell(found)

    def _check_relations(self, relations: Sequence[Checked], *, everything: bool) -> list[Outcome]:
        marks = {} if everything else read_marks(self.settings)
        queries = [checked.query(_since(checked, marks, OVERLAP)) for checked in relations]
        found: list[_Found] = []
        with self._suites() as suites:
            for checked, query, (rows, newest) in zip(relations, queries, self._count(relations, queries), strict=True):
                outcome = suites().hold_query(checked, query, rows) if rows else Outcome(checked.name, 0, 0, ())
                found.append((outcome, newest))
        return self._tell(found)

    def _look_in_haste(self, relations: Sequence[Checked]) -> list[Outcome] | None:
        """Return the outcomes if every value is possible, else ``None``: then there is something to show."""
        marks = read_marks(self.settings)
        found = []
        with connect(self.settings, read_only=True, application_name=_APPLICATION) as connection:
            for checked in relations:
                outcome = look(connection, checked, _since(checked, marks, timedelta()))
                if outcome is None:
                    return None
                found.append(outcome)
        write_overview(self.folder, found)
        return found

    def _tell(self, found: Sequence[_Found]) -> list[Outcome]:
        """Write the pages, remember what was looked at, overlap and all, without finding anything, and return the outcomes."""
        outcomes = [outcome for outcome, _newest in found]
        write_overview(self.folder, outcomes)
        good = {outcome.table: newest for outcome, newest in found if outcome.holds and newest is not None}
        move_marks(self.settings, good)
        return outcomes

    def _count(self, relations: Sequence[Checked], queries: Sequence[str]) -> list[tuple[int, datetime | None]]:
        """Return how many rows each query has, and when the newest of them changed."""
        counts = []
        with connect(self.settings, read_only=True, application_name=_APPLICATION) as connection:
            for checked, query in zip(relations, queries, strict=True):
                newest = f"max({checked.moment})" if checked.moment else "null::timestamp with time zone"
                statement = f"select count(*), {newest} from ({query}) as checked"  # noqa: S608 - of names that are declared
                row = connection.execute(statement.encode()).fetchone()
                assert row is not None
                counts.append(row)
        return counts

    @contextmanager
    def _suites(self) -> Iterator[Callable[[], "Suites"]]:
        """Yield what opens the suites, once: they are slow to import, and where nothing changed they are not needed."""
        with ExitStack() as stack:

            @cache
            def suites() -> "Suites":
                from quality.suites import Suites

                return stack.enter_context(Suites(self.folder, self.settings))

            yield suites


def _since(checked: Checked, marks: Mapping[str, datetime], overlap: timedelta) -> datetime | None:
    return marks[checked.name] - overlap if checked.name in marks else None


def _newest(moments: pd.Series, newest: datetime | None) -> datetime | None:
    found: datetime = moments.max().to_pydatetime()
    return found if newest is None else max(newest, found)
