"""How long rules take over one more minute of 500 symbols, once the marts have it.

The marts are built as in ``./run bench marts.refresh``; each repeat brings one minute of every symbol, builds what is queued, and
has all rules look at it: bars of a minute, and what changed of longer ones. What is timed is the evaluation alone, to its commit.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import median
from time import monotonic
from typing import Final

import structlog

from alerts.evaluation.evaluate import evaluate
from alerts.rules.rule import Rule
from alerts.store import add_rules
from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone
from benchmarks.marts.refresh import SYMBOLS, UNDER_WAY, put_minutes
from benchmarks.marts.universe import Connection
from market.errors import ServiceError
from market.settings import Settings
from orchestration.dbt import Dbt
from verify.laws import verify_alerts
from warehouse.connection import connect
from warehouse.schema import migrate

ONE_EACH: Final = 100_000
OF_ALL: Final = 1_000
ON_ONE: Final = 1_000
SECONDS: Final = 2.0
ADDED_MS: Final = 100.0
REPEATS: Final = 5
SESSIONS: Final = 2

_MADE: Final = datetime(2024, 3, 1, tzinfo=UTC)
_NOW: Final = datetime(2024, 3, 8, 21, tzinfo=UTC)
_MODELS: Final = ("intraday_ohlcv", "intraday_analytics")
_SHAPES: Final = (
    "close crosses above {price}",
    "close crosses {price}",
    "rsi_14 below {percent}",
    "rsi_14 above {percent}",
    "macd crosses macd_signal",
    "close outside bb_lower .. bb_upper and volume above 2 * average(volume, 20)",
    "close moves {percent} % in 5 bars",
    "close new high of 50",
    "close enters {price} .. {above}",
    "close crosses below sma_{period} and adx_14 above {percent}",
)
_TABLES: Final = (
    "app.alert_rules, app.alert_rule_versions, app.alert_clauses, app.alert_fields, app.alerts, app.alert_outbox, "
    "app.alert_rearms, app.pending_evaluations"
)

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures."""
    with scratch_engines(settings, broker=False) as engines:
        migrate(engines)
        market = _Market(engines)
        nothing = market.evaluations([Rule("other", "close above 1", "NONE", "1d")])
        chance = random.Random(1)
        symbols = [f"S{number:03}" for number in range(1, SYMBOLS + 1)]
        each = market.evaluations(
            [Rule(f"r{number}", _condition(chance), symbols[number % SYMBOLS]) for number in range(ONE_EACH)]
        )
        yield alone(
            f"{ONE_EACH} rules; each on one of {SYMBOLS} symbols; one bar close", median(each), "s", SECONDS, each
        )
        everyone = market.evaluations([Rule(f"r{number}", _condition(chance)) for number in range(OF_ALL)])
        yield alone(f"{OF_ALL} rules on all {SYMBOLS} symbols; one bar close", median(everyone), "s", SECONDS, everyone)
        one = market.evaluations([Rule(f"r{number}", _condition(chance), symbols[0]) for number in range(ON_ONE)])
        added = 1000 * (median(one) - median(nothing))
        repeats = [1000 * seconds for seconds in one]
        yield alone(f"what {ON_ONE} rules on one symbol add to a refresh", added, "ms", ADDED_MS, repeats)
        if not market.is_lawful():
            msg = "Law 4 does not hold over the rules that were measured."
            raise ServiceError(msg)


class _Market:
    """Marts of 500 symbols, to which a minute is added at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dbt = Dbt(settings)
        self._minute = UNDER_WAY
        with connect(settings) as owner:
            put_minutes(owner, SESSIONS, 0, UNDER_WAY)
        self._dbt.build(["--exclude-resource-type", "test"], _ignore)

    def evaluations(self, rules: Sequence[Rule]) -> list[float]:
        """Return how many seconds each evaluation of these rules alone takes; the first, unmeasured one brings all up to date."""
        begun = monotonic()
        with connect(self._settings) as owner:
            owner.execute(f"truncate {_TABLES}".encode())
        add_rules(self._settings, rules, _MADE)
        with connect(self._settings) as owner:
            owner.execute("delete from app.pending_evaluations")
            _vacuum(owner)
        _log.info("rules_added", rules=len(rules), seconds=round(monotonic() - begun, 1))
        seconds = []
        for repeat in range(REPEATS + 1):
            self._next_minute()
            begun = monotonic()
            done = evaluate(self._settings, _NOW)
            if repeat:
                seconds.append(monotonic() - begun)
            _log.info("evaluated", fired=done.fired, retracted=done.retracted, seconds=round(monotonic() - begun, 3))
        return seconds

    def is_lawful(self) -> bool:
        """Return whether law 4 holds."""
        return verify_alerts(self._settings).holds

    def _next_minute(self) -> None:
        with connect(self._settings) as owner:
            put_minutes(owner, 1, self._minute, self._minute + 1)
        self._minute += 1
        self._dbt.build(["--select", *_MODELS, "--exclude-resource-type", "test"], _ignore, touched=True)


def _vacuum(owner: Connection) -> None:
    owner.commit()
    owner.autocommit = True
    owner.execute("vacuum analyze app.alert_rule_versions, app.alert_clauses, app.alert_rules")


def _condition(chance: random.Random) -> str:
    price, percent = chance.randrange(45, 560), chance.randrange(20, 80)
    period = chance.choice((20, 50, 200))
    return chance.choice(_SHAPES).format(price=price, above=price + 5, percent=percent, period=period)


def _ignore(_event: object) -> None:
    """Nothing is told of what dbt does."""
