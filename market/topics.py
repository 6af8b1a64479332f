"""Every Kafka topic: its name, key, partitions and retention. No producer or consumer names a topic elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic.

    Attributes
    ----------
    name
        Name on the broker; the suffix is the version of the message format.
    key
        The field of the record that is the message key, and so decides the partition.
    partitions
        Number of partitions on creation.
    retention_hours
        How long the broker keeps a message. Bronze is the archive; the broker only has to outlast an outage.
    description
        What one message is.
    """

    name: str
    key: str
    partitions: int
    retention_hours: int
    description: str


TRADES = Topic(
    name="market.trades.v1",
    key="symbol",
    partitions=4,
    retention_hours=7 * 24,
    description="One message per trade, cancel, correction, heartbeat, halt or resume, as JSON.",
)
QUOTES = Topic(
    name="market.quotes.v1",
    key="symbol",
    partitions=4,
    retention_hours=2 * 24,
    description="One message per change of the best bid or offer, as JSON.",
)
BARS = Topic(
    name="market.bars.v1",
    key="symbol",
    partitions=2,
    retention_hours=7 * 24,
    description="One message per bar that a vendor published (history or live), as JSON.",
)
ACTIONS = Topic(
    name="market.actions.v1",
    key="symbol",
    partitions=1,
    retention_hours=7 * 24,
    description="One message per split, dividend, change of symbol or withdrawal of one, as JSON.",
)

ALERTS = Topic(
    name="market.alerts.v1",
    key="symbol",
    partitions=1,
    retention_hours=30 * 24,
    description="One message per alert, retraction or digest that goes to a Kafka channel, as JSON; its id is in the headers.",
)

TOPICS: tuple[Topic, ...] = (TRADES, QUOTES, BARS, ACTIONS)
"""The topics that the stream takes into the lake."""
ALL_TOPICS: tuple[Topic, ...] = (*TOPICS, ALERTS)
"""Every topic: those of the lake, and what goes out."""
