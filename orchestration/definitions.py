"""The code location that Dagster loads."""

from orchestration.build import build_definitions

defs = build_definitions()
