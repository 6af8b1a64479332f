"""What relays, runs and watches need, imported once by the process that they are forks of: its settings say which platform."""

import importlib
from typing import Final

from market.settings import load_settings
from orchestration.dbt import Dbt
from tests.faults.alert_processes import die_with_parent

MODULES: Final = (
    *("dbt.cli.main", "dbt.adapters.postgres"),
    *("orchestration.alert_relay", "orchestration.price_alerts", "orchestration.resources"),
)

die_with_parent()
for _module in MODULES:
    importlib.import_module(_module)
Dbt(load_settings()).parsed()
