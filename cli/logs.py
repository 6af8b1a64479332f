"""Where the log events of a command go: to standard error, so that its answer on standard output stays clean."""

from market.errors import SettingsError
from market.logs import log_to_standard_error
from market.settings import load_settings


def configure_logging(*, progress: bool = False) -> None:
    """Send events to standard error; a command tells its own story, so events below warnings show only when debugging.

    Parameters
    ----------
    progress
        Whether the command's story is told by events, so that they show.
    """
    try:
        level = load_settings().log_level
    except SettingsError:
        level = "info"  # the command itself reports the bad setting
    log_to_standard_error("warning" if level == "info" and not progress else level)
