"""Apache Superset, the real one in an environment of its own, reads the marts as the analyst by what ./run connect prints."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.peers.environment import PeerAbsentError, peer_python
from cli.connect import as_json
from market.settings import CHECKOUT, Settings, inherited_environment
from tests.integration.action_rows import MONDAY
from tests.integration.dbt_runs import dbt_runs
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import put_bar
from warehouse.analyst import admit_analyst
from warehouse.schema import migrate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EXAMPLE = CHECKOUT / "examples" / "superset"
PASSWORD = "p@ss/w:ord"
CONFIG = "SECRET_KEY = 'of-this-test-alone-' * 3\nSQLALCHEMY_DATABASE_URI = 'sqlite:///{}'\n"


@pytest.fixture(scope="module")
def said(settings_with_database: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Superset says of marts with one bar of IBM."""
    try:
        python = peer_python("superset", EXAMPLE / "requirements.txt")
    except PeerAbsentError as error:
        pytest.skip(f"Superset cannot be installed here: {error}")
    settings = settings_with_database
    migrate(settings)
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        put_bar(connection, "lean", "IBM", session_of(MONDAY).open_at, None, volume=7)
    with dbt_runs(settings) as dbt:
        dbt("run")
    standing = admit_analyst(settings, lambda: PASSWORD, owns_server=True)
    folder = tmp_path_factory.mktemp("superset")
    config = folder / "superset_config.py"
    config.write_text(CONFIG.format(folder / "metadata.db"))
    done = subprocess.run(
        [str(python), str(EXAMPLE / "marts.py"), "--new"],
        input=json.dumps(as_json(standing, None, PASSWORD)),
        env=_environment(config, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert PASSWORD.encode() not in (folder / "metadata.db").read_bytes()
    return json.loads(done.stdout.splitlines()[-1])


def _environment(config: Path, folder: Path) -> dict[str, str]:
    unset = {"PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV"}
    bare = {name: value for name, value in inherited_environment().items() if name not in unset}
    return bare | {"SUPERSET_CONFIG_PATH": str(config), "SUPERSET_HOME": str(folder)}


def test_every_mart_becomes_a_dataset_whose_columns_say_what_they_mean(said: dict[str, Any]) -> None:
    datasets = said["datasets"]
    assert {"realtime_prices", "intraday_ohlcv", "historical_ohlcv", "bar_gaps", "corporate_actions"} <= set(datasets)
    assert not {"bars_1m", "int_daily_bars", "schema_migrations", "runs"} & set(datasets)
    assert datasets["intraday_ohlcv"]["bar_at"] == "Start of the bar, UTC."
    assert all(meaning for columns in datasets.values() for meaning in columns.values())


def test_a_chart_asks_the_marts_and_gets_their_rows(said: dict[str, Any]) -> None:
    assert said["traded"] == {"IBM": 7}
