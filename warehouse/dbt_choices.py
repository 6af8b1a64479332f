"""What a user may choose in ``dbt_project.yml``: a choice that cannot be built is refused before anything is.

What belongs here: whether the choices can be meant. What does not: what follows from them (:mod:`warehouse.dbt_indicators`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from market.errors import SettingsError
from market.indicators import parse_periods
from market.sessions import Segment

PROJECT_FILE: Final = "dbt_project.yml"
PRICES: Final = ("split_adjusted", "raw", "total_return")
"""The daily prices that indicators can be built of. The analytics and the reports are made of the first."""


def read_choices(project: Path) -> Mapping[str, Any]:
    """Return the variables of a dbt project; none if it declares none.

    Raises
    ------
    SettingsError
        If its file cannot be read, or a choice in it cannot be built: the text has the value and what there is to choose from.
    """
    try:
        variables: Mapping[str, Any] = yaml.safe_load((project / PROJECT_FILE).read_text()).get("vars", {})
    except yaml.YAMLError as error:
        msg = f"{project / PROJECT_FILE} cannot be read as YAML: {' '.join(str(error).split())}."
        raise SettingsError(msg) from error
    if variables:
        check_choices(variables)
    return variables


def check_choices(variables: Mapping[str, Any]) -> None:
    """Look at the indicators, the daily prices and the segments.

    Raises
    ------
    SettingsError
        If one of them is missing or cannot be built.
    """
    parse_periods(variables.get("indicators"))
    _check("daily_prices", variables.get("daily_prices"), PRICES)
    _check("indicator_segments", variables.get("indicator_segments"), tuple(Segment))
    if PRICES[0] not in variables["daily_prices"]:
        msg = (
            f"daily_prices of {PROJECT_FILE} is {variables['daily_prices']!r} and lacks {PRICES[0]!r}, of which daily_analytics, "
            f"the analytics and the reports are made. Add it; {' and '.join(PRICES[1:])} may stand beside it."
        )
        raise SettingsError(msg)


def _check(name: str, chosen: object, choices: Sequence[str]) -> None:
    known = ", ".join(choices)
    if not isinstance(chosen, list) or not chosen:
        msg = f"{name} of {PROJECT_FILE} is {chosen!r}. Give it a list of one or more of: {known}."
        raise SettingsError(msg)
    for position, value in enumerate(chosen):
        if value not in choices:
            msg = f"{name} of {PROJECT_FILE} has {value!r}. There are: {known}."
            raise SettingsError(msg)
        if value in chosen[:position]:
            msg = f"{name} of {PROJECT_FILE} has {value!r} twice. Take one of them out."
            raise SettingsError(msg)
