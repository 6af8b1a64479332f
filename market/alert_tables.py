"""The tables of alerts in PostgreSQL: the rules, what is yet to be looked at, the alerts, and what is to be sent of them.

What belongs here: declarations. What does not: how a rule reads (``alerts/rules``), and how it is
evaluated (``alerts/evaluation``).
"""

from typing import Final

from market.columns import Column, DataType, Store, Table

_SETTINGS: Final = (
    Column("symbols", DataType.TEXT, "Which symbols: tickers with commas, watchlist, watchlist:GROUP, or all."),
    Column("interval", DataType.TEXT, "Length of the bars that it looks at: 1m, 5m, 15m, 1h or 1d."),
    Column("trigger", DataType.TEXT, "once, once_per_bar, once_per_bar_close or at_once."),
    Column(
        "is_edge", DataType.BOOLEAN, "Whether it fires only when it becomes true; else on every bar that it is true on."
    ),
    Column(
        "cooldown_seconds",
        DataType.BIGINT,
        "For how long it is silent after it fired, by the ends of bars; 0 is no time.",
    ),
    Column("hysteresis", DataType.DOUBLE, "How far a value has to go back before it may fire again; 0 is nothing."),
    Column("is_hysteresis_percent", DataType.BOOLEAN, "Whether hysteresis is in percent of what is compared with."),
    Column("segments", DataType.TEXTS, "Parts of the session in which it may fire."),
    Column("message", DataType.TEXT, "Template of the message."),
    Column("channels", DataType.TEXTS, "Where its alerts go."),
)

ALERT_RULES: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_rules",
    grain="one row per rule, as it is now",
    key=("rule_id",),
    columns=(
        Column("rule_id", DataType.BIGINT, "Number of the rule."),
        Column("name", DataType.TEXT, "What it is called; unique among rules that have not ended."),
        Column("condition", DataType.TEXT, "The condition, in the language of rules."),
        *_SETTINGS,
        Column("expires_at", DataType.TIMESTAMP, "Bars that end later do not fire; null is never.", nullable=True),
        Column("status", DataType.TEXT, "active, paused or ended."),
        Column("version", DataType.INTEGER, "Number of its newest version, from 1."),
        Column("created_at", DataType.TIMESTAMP, "When it was made."),
        Column("changed_at", DataType.TIMESTAMP, "When it was changed, paused, resumed or ended last."),
    ),
)
ALERT_RULE_VERSIONS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_rule_versions",
    grain="one row per version of a rule: what is evaluated",
    key=("rule_id", "version"),
    columns=(
        Column("rule_id", DataType.BIGINT, "Number of the rule."),
        Column("version", DataType.INTEGER, "Number of the version, from 1."),
        Column("condition", DataType.TEXT, "The condition, in the language of rules."),
        *_SETTINGS,
        Column(
            "tickers",
            DataType.TEXTS,
            "The tickers of symbols; null where the watchlist or all are meant.",
            nullable=True,
        ),
        Column(
            "watchlist_group", DataType.TEXT, "Group of the watchlist that is meant; * is all of it.", nullable=True
        ),
        Column("has_event", DataType.BOOLEAN, "Whether a clause says by itself what was before, as a crossing does."),
        Column(
            "has_quotes",
            DataType.BOOLEAN,
            "Whether a clause names quotes: then a bar has ended when they have passed its end too.",
        ),
        Column("rule_created_at", DataType.TIMESTAMP, "When the rule was made."),
        Column("since_at", DataType.TIMESTAMP, "It looks at bars that end after this moment."),
        Column(
            "until_at",
            DataType.TIMESTAMP,
            "It looks at bars that end until this moment; null is no end.",
            nullable=True,
        ),
        Column(
            "is_newest",
            DataType.BOOLEAN,
            "Whether there is none after it: then bars from before the rule was made are its.",
        ),
    ),
)
ALERT_CLAUSES: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_clauses",
    grain="one row per clause of a version of a rule; a rule holds where all its clauses do",
    key=("rule_id", "version", "clause"),
    columns=(
        Column("rule_id", DataType.BIGINT, "Number of the rule."),
        Column("version", DataType.INTEGER, "Number of the version."),
        Column("clause", DataType.INTEGER, "Place of the clause in the condition, from 1."),
        Column("operator", DataType.TEXT, "What is asked of the left side; see docs/alerts.md."),
        Column("left_field", DataType.INTEGER, "Field of the left side."),
        Column("left_factor", DataType.DOUBLE, "What that field is multiplied by."),
        Column(
            "right_field",
            DataType.INTEGER,
            "Field of the right side, or of the lower end; null is a number.",
            nullable=True,
        ),
        Column("right_factor", DataType.DOUBLE, "What that field is multiplied by, or the number."),
        Column("upper_field", DataType.INTEGER, "Field of the upper end; null is a number.", nullable=True),
        Column(
            "upper_factor",
            DataType.DOUBLE,
            "What that field is multiplied by, or the number; null without an end.",
            nullable=True,
        ),
    ),
)
ALERT_FIELDS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_fields",
    grain="one row per field that a rule ever named",
    key=("field_number",),
    columns=(
        Column("field_number", DataType.INTEGER, "Number of the field, by which clauses name it."),
        Column("field", DataType.TEXT, "What it is, as the language of rules writes it; ! behind it: warm-up or not."),
    ),
)
PENDING_EVALUATIONS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="pending_evaluations",
    grain="one row per series of bars that changed since rules looked at it, per tape that moved on, and per alert at once",
    key=("mart", "series", "interval", "source"),
    columns=(
        Column("mart", DataType.TEXT, "intraday_analytics or daily_analytics."),
        Column("series", DataType.TEXT, "Symbol, or company of days; * is every one."),
        Column("interval", DataType.TEXT, "Length of the bars; * is every one."),
        Column(
            "source",
            DataType.TEXT,
            "Empty; of every series the feed whose tape moved on, so that bars have ended; of one the alert that is ahead of it.",
        ),
        Column("from_at", DataType.TIMESTAMP, "First bar that changed; of a tape how far it was."),
    ),
)
ALERTS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alerts",
    grain="one row per alert, and per retraction of one; rows are never changed",
    key=("alert_id",),
    columns=(
        Column(
            "alert_id",
            DataType.UUID,
            "Identity, the same whoever finds it: of rule, symbol, interval, bar, revision and kind.",
        ),
        Column("rule_id", DataType.BIGINT, "Number of the rule."),
        Column("rule_name", DataType.TEXT, "What the rule was called."),
        Column("rule_version", DataType.INTEGER, "Version of the rule that fired."),
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("interval", DataType.TEXT, "Length of the bar."),
        Column("bar_at", DataType.TIMESTAMP, "Start of the bar, UTC."),
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column(
            "revision",
            DataType.INTEGER,
            "Number of the alert of this rule about this bar: 2 is the first after a retraction.",
        ),
        Column("kind", DataType.TEXT, "alert or retraction."),
        Column("refers_to", DataType.UUID, "Of a retraction: the alert that no longer stands.", nullable=True),
        Column("is_historical", DataType.BOOLEAN, "Whether it is about the past, and so never sent."),
        Column("message", DataType.TEXT, "The message, ready to be sent."),
        Column("evidence", DataType.JSON, "The values that decided, the bar, its source and when it was revised."),
        Column("triggered_at", DataType.TIMESTAMP, "Event time: the end of the bar."),
        Column("recorded_at", DataType.TIMESTAMP, "When it was recorded."),
    ),
)
ALERT_OUTBOX: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_outbox",
    grain="one row per alert, retraction or notice and channel that it goes to",
    key=("delivery_id",),
    columns=(
        Column("delivery_id", DataType.UUID, "Identity, of alert and channel: receivers know a repeat by it."),
        Column("alert_id", DataType.UUID, "The alert or retraction, or the notice."),
        Column("channel", DataType.TEXT, "Where it goes."),
        Column("kind", DataType.TEXT, "alert, retraction or notice."),
        Column(
            "refers_to", DataType.UUID, "What is taken back by it, or well again: that goes before it.", nullable=True
        ),
        Column("triggered_at", DataType.TIMESTAMP, "Event time of what it is about: what goes first of one recording."),
        Column("status", DataType.TEXT, "pending, delivered, dead, held or void."),
        Column("attempts", DataType.INTEGER, "How often it was tried."),
        Column("next_attempt_at", DataType.TIMESTAMP, "Not to be tried before."),
        Column("created_at", DataType.TIMESTAMP, "When it was recorded."),
        Column("delivered_at", DataType.TIMESTAMP, "When the receiver took it.", nullable=True),
        Column("last_error", DataType.TEXT, "Why the last attempt failed.", nullable=True),
    ),
)
ALERT_REARMS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="alert_rearms",
    grain="one row per alert of a rule with hysteresis after which the value has gone back",
    key=("alert_id",),
    columns=(
        Column("alert_id", DataType.UUID, "The alert."),
        Column(
            "rearmed_at", DataType.TIMESTAMP, "Start of the first bar after it on which the value was far enough back."
        ),
    ),
)

ALERT_TABLES: Final = (
    ALERT_RULES,
    ALERT_RULE_VERSIONS,
    ALERT_CLAUSES,
    ALERT_FIELDS,
    PENDING_EVALUATIONS,
    ALERTS,
    ALERT_OUTBOX,
    ALERT_REARMS,
)
