"""Great Expectations, imported without Spark.

It looks for Spark whenever it is imported, which takes seconds and is of no use here; and Spark's client ends the process
(``sys.exit``) when its main module has neither file nor name, as a worker's may.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let a package be one that is not installed, while the block runs."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(name)
    modules[name] = None  # what the import system takes for absent
    try:
        yield
    finally:
        modules.pop(name)
        if before is not None:
            modules[name] = before


with _hidden("pyspark"):
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.data_context.types.base import DataContextConfig, ProgressBarsConfig

# It warns of each number of a broken row that a float cannot hold: lines that help nobody.
logging.getLogger("great_expectations.util").setLevel(logging.ERROR)

__all__ = ["DataContextConfig", "ProgressBarsConfig", "gx", "gxe"]
