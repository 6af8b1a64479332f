"""``python -m orchestration.price_alerts``: the process that records alerts on price alone with the trade that makes them.

What belongs here: bringing the watch and the topic together, which do not know each other.
"""

import sys
from collections.abc import Mapping

import structlog

from alerts.at_once.process import PriceWatch, Trades
from alerts.delivery.relay import utc_now
from ingest.tail import Tail
from market.errors import TapehouseError
from market.settings import Settings, load_settings
from market.topics import TRADES
from orchestration.alert_relay import configure_logging, stop_at_signals

_log = structlog.get_logger(__name__)


def main() -> int:
    """Watch until SIGTERM or SIGINT, and return the exit code."""
    stop = stop_at_signals()
    try:
        settings = load_settings()
        configure_logging(settings)
        watch = price_watch(settings)
    except TapehouseError as error:
        _log.error("price_alerts_cannot_start", cause=str(error))
        return error.exit_code
    try:
        watch.run(stop)
    except TapehouseError as error:  # whoever supervises starts it again
        _log.exception("price_alerts_failed", cause=str(error))
        return error.exit_code
    _log.info("price_alerts_stopped")
    return 0


def price_watch(settings: Settings) -> PriceWatch:
    """Return the watch over the topic of trades.

    Raises
    ------
    SettingsError
        If no database or no broker is set.
    """
    settings.require_database()
    servers = settings.require_kafka()

    def open_trades(offsets: Mapping[int, int]) -> Trades:
        return Tail(servers, TRADES, offsets).open()

    return PriceWatch(settings, open_trades, utc_now)


if __name__ == "__main__":
    sys.exit(main())
