"""What law 4 reads of PostgreSQL: rules, bars, alerts, and what is yet to be looked at.

What belongs here: queries and their rows. What does not: what the alerts ought to be (:mod:`verify.alert_walk`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from verify.alert_quotes import QUOTES, Minute

INTRADAY: Final = "intraday_analytics"
DAILY: Final = "daily_analytics"
LOOK_BACK: Final = 502
"""How many bars before the first one that is judged are read: more than the longest window of a rule."""

LONGEST_BAR: Final = timedelta(hours=1)
"""Of the bars within the day."""

_EVERY: Final = "*"
_FAR_BACK: Final = "0001-01-02"
_ALERTS: Final = "app.alerts"
_PENDING_QUOTES: Final = "staging.pending_quotes"
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Side:
    """A field times a factor; without a field the factor is a number, without that nothing."""

    field: str | None
    factor: float | None


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause as it is stored."""

    operator: str
    left: Side
    right: Side
    upper: Side


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a rule as it is stored, with its clauses."""

    rule_id: int
    version: int
    interval: str
    trigger: str
    is_edge: bool
    cooldown_seconds: int
    hysteresis: float
    is_hysteresis_percent: bool
    segments: tuple[str, ...]
    channels: tuple[str, ...]
    tickers: tuple[str, ...] | None
    watchlist_group: str | None
    has_event: bool
    created_at: datetime
    since_at: datetime
    until_at: datetime | None
    is_newest: bool
    clauses: tuple[Clause, ...]

    @property
    def has_quotes(self) -> bool:
        """Whether a clause names quotes."""
        named = (side.field or "" for clause in self.clauses for side in (clause.left, clause.right, clause.upper))
        return any(not QUOTES.isdisjoint(_WORD.findall(field)) for field in named)


class Alert(NamedTuple):
    """A row of ``app.alerts``."""

    alert_id: str
    rule_id: int
    version: int
    symbol: str
    interval: str
    bar_at: datetime
    session_date: date
    revision: int
    kind: str
    refers_to: str | None
    is_historical: bool
    triggered_at: datetime
    origin: str | None
    fired_topic: str | None = None
    """With the two that follow: the message with which it fired, where it fired at once."""
    fired_partition: int | None = None
    fired_offset: int | None = None


class Pending(NamedTuple):
    """What is queued: everything of a series from a moment on; ``*`` is every series.

    ``source`` is empty, or the feed whose tape moved on, or of one series the alert that fired at once and is to be looked at.
    """

    mart: str
    series: str
    interval: str
    source: str
    from_at: datetime

    @property
    def alert_id(self) -> str | None:
        """The alert that is to be looked at, where it is about one."""
        return self.source if self.source and self.series != "*" else None


class AlertSnapshot:
    """What a snapshot of PostgreSQL says of alerts."""

    _connection: Any

    def has_alerts(self) -> bool:
        """Return whether the tables of alerts are there."""
        return self._is_there(_ALERTS)

    def alert_versions(self) -> list[Version]:
        """Return the versions of rules in order."""
        names = dict(self._asked("select field_number, field from app.alert_fields"))
        clauses: dict[tuple[int, int], list[Clause]] = {}
        query = (
            "select rule_id, version, operator, left_field, left_factor, right_field, right_factor, upper_field, upper_factor "
            "from app.alert_clauses order by rule_id, version, clause"
        )
        for rule_id, version, operator, *sides in self._asked(query):
            left, right, upper = (
                Side(names[number] if number is not None else None, factor)
                for number, factor in zip(sides[::2], sides[1::2], strict=True)
            )
            clauses.setdefault((rule_id, version), []).append(Clause(operator, left, right, upper))
        query = (
            'select rule_id, version, "interval", "trigger", is_edge, cooldown_seconds, hysteresis, is_hysteresis_percent, '
            "segments, channels, tickers, watchlist_group, has_event, rule_created_at, since_at, until_at, is_newest "
            "from app.alert_rule_versions order by rule_id, version"
        )
        return [_version(row, clauses) for row in self._asked(query)]

    def recorded_alerts(self) -> list[Alert]:
        """Return all alerts and retractions."""
        query = (
            'select alert_id::text, rule_id, rule_version, symbol, "interval", bar_at, session_date, revision, kind, '
            "refers_to::text, is_historical, triggered_at, evidence ->> 'origin', evidence -> 'fired_by' ->> 'topic', "
            "(evidence -> 'fired_by' ->> 'partition')::integer, (evidence -> 'fired_by' ->> 'offset')::bigint "
            "from app.alerts order by recorded_at, alert_id"
        )
        return [Alert(*row) for row in self._asked(query)]

    def deliveries(self) -> list[tuple[str, str]]:
        """Return the rows of the outbox that are about alerts: alert and channel."""
        query = "select alert_id::text, channel from app.alert_outbox where kind <> 'notice'"
        return [tuple(row) for row in self._asked(query)]

    def pending_evaluations(self) -> list[Pending]:
        """Return what rules have yet to look at."""
        query = (
            f"select mart, series, \"interval\", source, greatest(from_at, '{_FAR_BACK}') from app.pending_evaluations"  # noqa: S608
        )
        # Of quotes: every rule is taken to wait, and from the start of the longest bar on that a minute can be of.
        quotes = f"select source, symbol, greatest(from_at, '{_FAR_BACK}') from {_PENDING_QUOTES}"  # noqa: S608 - fixed names
        return [
            *(Pending(*row) for row in self._asked(query)),
            *(
                Pending(INTRADAY, _EVERY, _EVERY, source.replace(_EVERY, ""), from_at)
                if symbol == _EVERY
                else Pending(INTRADAY, symbol, _EVERY, "", from_at - LONGEST_BAR)
                for source, symbol, from_at in (self._asked(quotes) if self._is_there(_PENDING_QUOTES) else ())
            ),
        ]

    def watched_since(self) -> list[tuple[str, str, datetime]]:
        """Return the watchlist: symbol, group, since when."""
        return [tuple(row) for row in self._asked("select symbol, symbol_group, added_at from app.watchlist")]

    def session_bounds(self) -> dict[date, tuple[datetime, datetime, datetime]]:
        """Return by session when its segments end: pre, regular, post."""
        rows = self._asked("select session_date, open_at, close_at, post_close_at from lake.sessions")
        return {day: (opens, closes, ends) for day, opens, closes, ends in rows}

    def followed_tapes(self) -> dict[str, datetime]:
        """Return how far the tape of each feed was when the bars of minutes were built."""
        query = "select source, tape_at from staging.built_tapes where mart = %s"
        return dict(self._asked(query, [INTRADAY]))

    def followed_offsets(self) -> dict[tuple[str | None, int | None], int]:
        """Return by topic and partition how far the stream was when the bars of minutes were built."""
        query = "select topic, partition, next_offset from staging.built_offsets where mart = %s"
        return {(topic, partition): reached for topic, partition, reached in self._asked(query, [INTRADAY])}

    def quoted_until(self) -> dict[str, datetime]:
        """Return by feed the newest minute that it has quotes of."""
        return dict(self._asked("select source, max(bar_at) from lake.quotes_1m group by source"))

    def quoted_minutes(self, symbol: str, since: datetime) -> list[Minute]:
        """Return the last bid and ask of each minute of a symbol from a moment on."""
        query = "select source, bar_at, bid, ask from lake.quotes_1m where symbol = %s and bar_at >= %s"
        return [Minute(*row) for row in self._asked(query, [symbol, since])]

    def has_mart(self, mart: str) -> bool:
        """Return whether a mart is there."""
        return self._is_there(f"marts.{mart}")

    def series_of(self, mart: str) -> list[tuple[str, str]]:
        """Return the series of a mart: symbol or company, and interval."""
        column = "company" if mart == DAILY else "symbol"
        return [
            (name, interval)
            for name, interval in self._asked(f'select distinct {column}, "interval" from marts.{mart} order by 1, 2')  # noqa: S608
        ]

    def mart_columns(self, mart: str) -> set[str]:
        """Return the columns of a mart."""
        query = "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        return {name for (name,) in self._asked(query, [f"marts.{mart}"])}

    def judged_rows(
        self, mart: str, series: tuple[str, str], columns: Sequence[str], since: datetime, created: datetime
    ) -> list[tuple[Any, ...]]:
        """Return the bars of a series that a rule may look at, and as many before as a window needs, in order.

        The first columns are symbol, bar_at, session_date, segment, is_final, is_vendor_bar, origin, revised_at, bar_number and
        whether the bar may be looked at; then those asked for, as doubles.
        """
        column = "company" if mart == DAILY else "symbol"
        same = f'{column} = %(series)s and "interval" = %(interval)s'
        values = "".join(f', "{name}"::double precision' for name in columns)
        listed = (
            f"symbol, bar_at, session_date, segment, is_final, is_vendor_bar, origin, revised_at, bar_number{values}"
        )
        first = (
            f"select min(bar_at) from marts.{mart} where {same} and (bar_at > %(since)s or revised_at >= %(created)s)"  # noqa: S608
        )
        query = (
            f"select * from (select {listed} from marts.{mart} where {same} and bar_at >= ({first}) union all "  # noqa: S608
            f"(select {listed} from marts.{mart} where {same} and bar_at < ({first}) order by bar_at desc limit {LOOK_BACK})"
            ") as bars order by bar_at"
        )
        return self._asked(query, {"series": series[0], "interval": series[1], "since": since, "created": created})

    def kept_since(self, tier: str) -> datetime | None:
        """Return since when a tier keeps sessions; ``None`` keeps all."""
        rows = self._asked("select kept_since_at from lake.tiers where tier = %s", [tier])
        return rows[0][0] if rows else None

    def symbols_before(self, day: date) -> set[str]:
        """Return the symbols of which the lake has a session before a day."""
        query = (
            "select symbol from lake.bar_sessions where session_date < %(day)s and bar_count > 0 "
            "union select symbol from lake.vendor_bar_sessions where session_date < %(day)s"
        )
        return {symbol for (symbol,) in self._asked(query, {"day": day})}

    def _is_there(self, relation: str) -> bool:
        return bool(self._asked("select to_regclass(%s) is not null", [relation])[0][0])

    def _asked(
        self, query: str, values: Iterable[object] | Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection.execute(query.encode(), values).fetchall()
        return found


def _version(row: tuple[Any, ...], clauses: Mapping[tuple[int, int], list[Clause]]) -> Version:
    names = [field.name for field in fields(Version)]
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in zip(names, row, strict=False)
    }
    return Version(**values, clauses=tuple(clauses.get((row[0], row[1]), ())))
