"""1-minute OHLCV by quixstreams: runs in quixstreams' own environment until SIGTERM, then commits and ends.

As its documentation advises: a window of its own with a custom reducer (one state value per window, where five aggregators
keep five), results when a window is closed, exactly once, state in RocksDB backed by a changelog topic. To use two cores it is
started twice, as members of one consumer group, each with a folder of its own for the state.
"""

import argparse
from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.models import TopicConfig


def main() -> None:
    """Read trades, write bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("servers", "topic", "bars-topic", "group", "state"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--grace-seconds", type=int, required=True)
    options = parser.parse_args()
    application = Application(
        broker_address=options.servers,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=options.state,
        loglevel="WARNING",
    )
    trades = application.topic(options.topic, timestamp_extractor=traded_at, key_deserializer="str")
    # Bars have the time of their trades, which the broker would take for long past what it keeps.
    kept = TopicConfig(num_partitions=1, replication_factor=1, extra_config={"retention.ms": "-1"})
    bars = application.topic(options.bars_topic, key_serializer="str", config=kept)
    (
        application.dataframe(trades)
        .tumbling_window(
            timedelta(minutes=1), grace_ms=timedelta(seconds=options.grace_seconds), on_late=lambda *_: False
        )
        .reduce(reducer=add, initializer=first)
        .final()
        .to_topic(bars)
    )
    application.run()


def traded_at(value: dict[str, Any], *_: object) -> int:
    """Return when a trade happened, in epoch milliseconds."""
    moment: int = value["ts"]
    return moment // 1000


def first(trade: dict[str, Any]) -> list[Any]:
    """Return the bar of one trade: open, high, low, close, volume, count, and the times of open and close."""
    price, at = trade["price"], trade["ts"]
    return [price, price, price, price, trade["size"], 1, at, at]


def add(bar: list[Any], trade: dict[str, Any]) -> list[Any]:
    """Return the bar with one trade more."""
    price, at = trade["price"], trade["ts"]
    if at < bar[6]:
        bar[0], bar[6] = price, at
    if at >= bar[7]:
        bar[3], bar[7] = price, at
    if price > bar[1]:
        bar[1] = price
    elif price < bar[2]:
        bar[2] = price
    bar[4] += trade["size"]
    bar[5] += 1
    return bar


if __name__ == "__main__":
    main()
