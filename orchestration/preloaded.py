"""What nearly every run needs, done once: the definitions, dbt with its adapter and the parsed project, Great Expectations.

Whatever cannot be done now, a run does by itself, and says what is wrong.
"""

import importlib
from contextlib import suppress
from typing import Final

from infra.local.home import connected_settings
from market.settings import load_settings
from orchestration.dbt import Dbt

MODULES: Final = (
    "orchestration.definitions",
    "dagster._grpc.impl",
    "dagster_postgres",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "quality.suites",
    "verify.laws",
)

for _module in MODULES:
    with suppress(Exception):
        importlib.import_module(_module)
with suppress(Exception):
    Dbt(connected_settings(load_settings())).parsed()
