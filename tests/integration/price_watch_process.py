"""``python -m tests.integration.price_watch_process MOMENT``: a watch over prices whose wall clock stands still, to be killed."""

import sys
from datetime import datetime
from threading import Event

from alerts.at_once.process import PriceWatch
from ingest.tail import Tail
from market.settings import load_settings
from market.topics import TRADES


def main() -> None:
    settings, moment = load_settings(), datetime.fromisoformat(sys.argv[1])
    servers = settings.require_kafka()
    PriceWatch(settings, lambda offsets: Tail(servers, TRADES, offsets).open(), lambda: moment).run(Event())


if __name__ == "__main__":
    main()
