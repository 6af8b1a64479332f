"""The tables of what alerts are sent with in PostgreSQL: the channels, and what storms held back.

What belongs here: declarations. What does not: the alerts and their outbox (:mod:`market.alert_tables`), and how a message
reaches a channel (``alerts/delivery``).
"""

from typing import Final

from market.columns import Column, DataType, Store, Table

ALERT_CHANNELS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_channels",
    grain="one row per channel that users added; only the role of the platform reads it, for it holds secrets",
    key=("channel",),
    columns=(
        Column("channel", DataType.TEXT, "What rules call it."),
        Column("url", DataType.TEXT, "Where it goes, with passwords and tokens: a secret."),
        Column(
            "signing_secret",
            DataType.TEXT,
            "What messages of a webhook are signed with; null is not signed.",
            nullable=True,
        ),
        Column("is_private_allowed", DataType.BOOLEAN, "Whether it may lead to addresses that are not public."),
        Column(
            "rule_limit", DataType.INTEGER, "Alerts of one rule an hour, above which they are held back; 0 is no limit."
        ),
        Column("channel_limit", DataType.INTEGER, "Alerts an hour, above which they are held back; 0 is no limit."),
        Column("digest_seconds", DataType.INTEGER, "How long after the first that was held back the digest is sent."),
        Column("timeout_seconds", DataType.INTEGER, "How long one attempt may take."),
        Column("is_for_operators", DataType.BOOLEAN, "Whether it is told what is wrong with the platform itself."),
        Column("is_for_reports", DataType.BOOLEAN, "Whether reports are sent to it."),
        Column("added_at", DataType.TIMESTAMP, "When it was added."),
    ),
)
ALERT_DIGESTS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_digests",
    grain="one row per channel and period in which something was held back: the one message that says so",
    key=("digest_id",),
    columns=(
        Column("digest_id", DataType.UUID, "Identity: receivers know a repeat by it."),
        Column("channel", DataType.TEXT, "Where it goes."),
        Column("opened_at", DataType.TIMESTAMP, "When the first was held back."),
        Column("status", DataType.TEXT, "pending, delivered or dead."),
        Column("attempts", DataType.INTEGER, "How often it was tried; while it is 0 more may be added."),
        Column("next_attempt_at", DataType.TIMESTAMP, "Not to be tried before."),
        Column("delivered_at", DataType.TIMESTAMP, "When the receiver took it.", nullable=True),
        Column("last_error", DataType.TEXT, "Why the last attempt failed.", nullable=True),
    ),
)
ALERT_HELD: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_held",
    grain="one row per delivery that was held back, also after it was sent for all that",
    key=("delivery_id",),
    columns=(
        Column("delivery_id", DataType.UUID, "The delivery."),
        Column("digest_id", DataType.UUID, "The digest that says so."),
        Column("held_at", DataType.TIMESTAMP, "When it was held back."),
    ),
)
NOTICES: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="notices",
    grain="one row per thing that the platform itself has to tell: something is wrong, or well again, or a report is there",
    key=("notice_id",),
    columns=(
        Column("notice_id", DataType.UUID, "Identity."),
        Column("kind", DataType.TEXT, "incident, resolved or report."),
        Column(
            "subject", DataType.TEXT, "What it is about, as kind and name: check, feed, marts, report, run or stream."
        ),
        Column("refers_to", DataType.UUID, "Of what is well again: the incident.", nullable=True),
        Column("title", DataType.TEXT, "It in one line."),
        Column("text", DataType.TEXT, "It in full, with the remedy."),
        Column("evidence", DataType.JSON, "What was seen, by name."),
        Column("path", DataType.TEXT, "The file that it is about, such as a report.", nullable=True),
        Column("happened_at", DataType.TIMESTAMP, "When it began, as far as is known."),
        Column("recorded_at", DataType.TIMESTAMP, "When it was recorded."),
    ),
)

DELIVERY_TABLES: Final = (ALERT_CHANNELS, ALERT_DIGESTS, ALERT_HELD, NOTICES)
