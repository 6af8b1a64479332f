"""How many rows the marts have, as status shows it: counted in a real PostgreSQL."""

import psycopg
import pytest

from market.settings import Settings
from warehouse.progress import stream_status
from warehouse.schema import migrate

pytestmark = pytest.mark.integration


def test_rows_of_a_mart_are_counted_and_only_what_takes_too_long_is_an_estimate(
    settings_with_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with_database
    migrate(settings)
    with psycopg.connect(settings.require_database()) as connection:
        connection.execute("create table marts.played as select generate_series(1, 1500)")
        connection.execute("analyze marts.played")
        connection.execute("insert into marts.played values (0)")
        connection.execute("create view marts.seen as select 1")
        connection.commit()
        assert {name: f"{count:,}" for name, count in stream_status(settings).marts.items()} == {"played": "1,501"}
        monkeypatch.setattr("warehouse.progress._COUNT_SECONDS", 0.1)
        connection.execute("lock table marts.played in access exclusive mode")
        status = stream_status(settings)
        assert {name: f"{count:,}" for name, count in status.marts.items()} == {"played": "about 1,500"}
