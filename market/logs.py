"""How every process of the platform logs: one event a line, to standard error, and nothing that may be a secret.

What belongs here: the form of the log. What does not: from which level on a process logs, which it says itself.
"""

import logging
import sys

import structlog


def log_to_standard_error(level: int | str | None = None) -> None:
    """Have this process log to standard error, so that standard output stays its answer.

    A traceback names files, lines and functions, and no values of variables, which structlog shows by default: URLs with
    passwords are among them.

    Parameters
    ----------
    level
        From which level on events show; all of them without.
    """
    if isinstance(level, str):
        level = logging.getLevelNamesMapping()[level.upper()]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(
        processors=[*structlog.get_config()["processors"][:-1], renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET if level is None else level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
