"""The version of the rules that decide which messages are accepted (``docs/wire-format.md``)."""

from typing import Final

RULES_VERSION: Final = 2
"""Raised with every change of what is accepted, the calendar's included.

A rejected message says which version rejected it. What an older version rejected and this one accepts waits in quarantine for
``./run quarantine retry``.
"""
