"""A PostgreSQL whose marts adjust nothing: tests/integration/test_adjusted_history.py tries that proof on what dbt builds."""

import polars as pl


class NothingAdjusted:
    """Answers as before the first build of adjusted days."""

    def adjusted_days(self) -> pl.DataFrame | None:
        return None

    def believed_actions(self) -> pl.DataFrame | None:
        return None
