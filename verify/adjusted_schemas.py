"""What is compared of adjusted days and of the actions that the marts believe, and how PostgreSQL is asked for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from verify.mart_schemas import HISTORICAL, MART_SCHEMA

BIG: Final = pl.Int128()
ADJUSTED_SCHEMA: Final = {
    **{name: MART_SCHEMA[name] for name in ("symbol", "session_date", "open", "high", "low", "close", "volume")},
    **{name: MART_SCHEMA[name] for name in ("origin", "is_vendor_bar")},
    "current_symbol": pl.String(),
    "split_factor": BIG,
    "total_return_factor": BIG,
    **{f"split_adjusted_{name}": BIG for name in ("open", "high", "low", "close", "volume")},
    **{f"total_return_{name}": BIG for name in ("open", "high", "low", "close")},
}
"""What is compared of adjusted days: factors in units of 10^-18, prices in millionths."""
BELIEVED: Final = "marts.corporate_actions"
BELIEVED_SCHEMA: Final = {
    "symbol": pl.String(),
    "action": pl.String(),
    "session_date": pl.Date(),
    "source": pl.String(),
}
"""Which source of an action the marts believe."""
_UNITS: Final = {"split_factor": 18, "total_return_factor": 18, "split_adjusted_volume": 0, "volume": 0}


class AdjustedSnapshot:
    """What a snapshot of PostgreSQL says of adjusted days."""

    _connection: Any

    def adjusted_days(self) -> pl.DataFrame | None:
        """Return the mart's days, or ``None`` if there is no mart, or none that adjusts."""
        question = "select from pg_attribute where attrelid = to_regclass(%s) and attname = 'total_return_close'"
        if self._connection.execute(question, (HISTORICAL,)).fetchone() is None:
            return None
        numbers = [name for name, own in ADJUSTED_SCHEMA.items() if own in (BIG, pl.Int64())]
        as_read = {name: f"trunc({name} * 1e{_UNITS.get(name, 6)})::text" for name in numbers}
        as_read["session_date"] = "case when session_date between '0001-01-02' and '9999-12-30' then session_date end"
        columns = ", ".join(as_read.get(name, name) for name in ADJUSTED_SCHEMA)
        texts = {name: pl.String() if name in numbers else own for name, own in ADJUSTED_SCHEMA.items()}
        found = self._rows(f"select {columns} from {HISTORICAL}", (), texts)  # noqa: S608 - fixed names
        return found.with_columns(pl.col(name).cast(ADJUSTED_SCHEMA[name], strict=False) for name in numbers)

    def believed_actions(self) -> pl.DataFrame | None:
        """Return which source of each action the marts believe, or ``None`` if there is no mart of them."""
        if self._connection.execute("select to_regclass(%s)", (BELIEVED,)).fetchone()[0] is None:
            return None
        query = f"select symbol, action, effective_date, source from {BELIEVED}"  # noqa: S608 - a fixed name
        return self._rows(query, (), BELIEVED_SCHEMA)

    def _rows(self, query: str, parameters: Sequence[object], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        raise NotImplementedError
