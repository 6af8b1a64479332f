"""Law 4: one alert per rule, symbol and bar where the rule fires, none else, each with what is to be sent of it.

The rules are evaluated anew over all bars that they look at, bar by bar, by code of this package alone. What is queued for the
rules is counted as behind, and not judged.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from market.indicators import indicators
from market.tiers import INTRADAY as INTRADAY_TIER
from verify.alert_snapshot import DAILY, INTRADAY, LONGEST_BAR, Alert, AlertSnapshot, Pending, Version
from verify.alert_values import UNSTABLE, WINDOW
from verify.alert_walk import Bars, Quotes, Walks, alerts_of, fires_still, is_known
from verify.results import Findings, LawResult
from warehouse.dbt import dbt_variables

_LAW: Final = 4
_TITLE: Final = "one alert per rule, symbol, bar and revision; retracted where it no longer holds"
_EVERY: Final = "*"

Key = tuple[int, str, str, datetime]
"""Rule, symbol, interval, start of the bar."""


def prove_alerts(published: AlertSnapshot) -> LawResult:
    """Prove the law over a snapshot of PostgreSQL."""
    findings = Findings()
    if published.has_alerts():
        _Proof(findings, published).run()
    return findings.result(_LAW, _TITLE)


class _Proof:
    """Compares the recorded alerts with those that there ought to be."""

    def __init__(self, findings: Findings, published: AlertSnapshot) -> None:
        self._findings = findings
        self._published = published
        self._versions = published.alert_versions()
        self._recorded = published.recorded_alerts()
        taken_back = {one.refers_to for one in self._recorded if one.kind == "retraction"}
        self._standing = [one for one in self._recorded if one.kind == "alert" and one.alert_id not in taken_back]
        self._by_rule: dict[int, list[Version]] = {}
        for version in self._versions:
            self._by_rule.setdefault(version.rule_id, []).append(version)
        pending = published.pending_evaluations()
        self._pending = [one for one in pending if one.alert_id is None]
        self._queued = {one.alert_id: one for one in pending if one.alert_id is not None}
        self._tapes = published.followed_tapes()
        self._offsets = published.followed_offsets()
        self._watched = published.watched_since()
        self._kept_since = published.kept_since(INTRADAY_TIER.name)
        self._cut = published.symbols_before(self._kept_since.date()) if self._kept_since is not None else set()
        """Symbols of which a tier may have cut series off."""
        self._expected: set[Key] = set()
        self._judged: dict[Key, bool] = {}
        """By place of a standing alert, if its bar is there, whether it can be judged."""
        self._fires_still: set[Key] = set()
        """Places of standing alerts whose bars by themselves have what their rules ask."""
        self._has_ended: dict[Key, bool] = {}
        """By place of a standing alert whether its bar has ended, if it is there."""
        self._series_of: dict[tuple[str, str], set[str]] = {}
        self._standing_at: dict[tuple[str, str], list[Alert]] = {}
        for one in self._standing:
            self._standing_at.setdefault((one.symbol, one.interval), []).append(one)

    def run(self) -> None:
        """Record what breaks the law, and what was looked at."""
        self._check_rows()
        for mart in (INTRADAY, DAILY):
            if self._published.has_mart(mart):
                self._evaluate(mart)
        self._compare()
        self._findings.count("rules", len({version.rule_id for version in self._versions}))
        self._findings.count("alerts", sum(one.kind == "alert" for one in self._recorded))
        self._findings.count("retractions", sum(one.kind == "retraction" for one in self._recorded))
        if self._pending:
            self._findings.notes.append(f"{len(self._pending)} changed series are yet to be looked at by the rules.")
        if self._queued:
            self._findings.notes.append(f"{len(self._queued)} alerts that fired at once are ahead of the marts.")

    def _check_rows(self) -> None:
        by_id = {one.alert_id: one for one in self._recorded}
        doubled = Counter(_key(one) for one in self._standing)
        self._findings.break_law(
            "two alerts of one rule stand for one bar",
            ({"alert": key} for key, number in doubled.items() if number > 1),
        )
        for one in self._recorded:
            if one.kind != "retraction":
                continue
            alert = by_id.get(one.refers_to or "")
            same = (
                alert is not None
                and alert.kind == "alert"
                and _key(alert) == _key(one)
                and alert.revision == one.revision
            )
            if not same:
                self._findings.break_law("a retraction refers to no alert of its bar", [_shown(one)])
        channels = {(version.rule_id, version.version): version.channels for version in self._versions}
        wanted = {
            (one.alert_id, channel)
            for one in self._recorded
            if not one.is_historical
            for channel in channels.get((one.rule_id, one.version), ())
        }
        found = Counter(self._published.deliveries())
        sent = [{"alert_id": alert, "channel": channel} for alert, channel in wanted - found.keys()]
        self._findings.break_law("an alert is not in the outbox", sent)
        extra = [{"alert_id": alert, "channel": channel} for alert, channel in found.keys() - wanted]
        self._findings.break_law("the outbox has what is not to be sent", extra)
        twice = [{"alert_id": alert, "channel": channel} for (alert, channel), number in found.items() if number > 1]
        self._findings.break_law("the outbox has something twice", twice)

    def _evaluate(self, mart: str) -> None:
        versions = [version for version in self._versions if (version.interval == "1d") == (mart == DAILY)]
        if not versions:
            return
        known = self._published.mart_columns(mart)
        named = {name for version in versions for name in _columns(version)}
        names = sorted((named & known) | {"open", "close"})
        stable_from = {
            one.name: one.stable_from for one in indicators(dbt_variables()["indicators"], daily=mart == DAILY)
        }
        bounds, tapes = self._published.session_bounds(), self._tapes
        by_ticker: dict[tuple[str, str], list[Version]] = {}
        for version in versions:
            for ticker in version.tickers if version.tickers is not None else (_EVERY,):
                by_ticker.setdefault((ticker, version.interval), []).append(version)
        quoted = {of for of, ones in by_ticker.items() if any(version.has_quotes for version in ones)}
        quoted_until = self._published.quoted_until() if quoted else {}
        since = min(version.since_at for version in versions) - timedelta(days=1)
        created = min(version.created_at for version in versions)
        for series, interval in self._published.series_of(mart):
            rows = self._published.judged_rows(mart, (series, interval), names, since, created)
            if rows:
                quotes = (
                    Quotes(self._published.quoted_minutes(series, rows[0][1]), quoted_until)
                    if (series, interval) in quoted or (_EVERY, interval) in quoted
                    else None
                )
                bars = Bars.of(
                    mart,
                    interval,
                    rows,
                    names=names,
                    bounds=bounds,
                    tapes=tapes,
                    stable_from=stable_from,
                    quotes=quotes,
                )
                self._judge(series, bars, by_ticker)

    def _judge(self, series: str, bars: Bars, by_ticker: Mapping[tuple[str, str], list[Version]]) -> None:
        self._findings.count("bars", len(bars.starts))
        for symbol in set(bars.symbols):
            self._series_of.setdefault((symbol, bars.interval), set()).add(series)
        behind = _pending_from(self._pending, bars.mart, series, bars.interval)
        by_place = {place: index for index, place in enumerate(zip(bars.symbols, bars.starts, strict=True))}
        standing: dict[int, list[Alert]] = {}
        for symbol in set(bars.symbols):
            for one in self._standing_at.get((symbol, bars.interval), ()):
                if (symbol, one.bar_at) in by_place:
                    standing.setdefault(one.rule_id, []).append(one)
        places = ((ticker, bars.interval) for ticker in (*sorted(set(bars.symbols)), _EVERY))
        versions = {(one.rule_id, one.version): one for place in places for one in by_ticker.get(place, ())}.values()
        walks: dict[int, Walks] = {}
        for version in versions:
            since = self._since(version, set(bars.symbols))
            ones = standing.get(version.rule_id, ())
            if since:
                told = [by_place[one.symbol, one.bar_at] for one in ones]
                found = alerts_of(version, bars, since, told, walks.setdefault(version.rule_id, {}))
                self._expected |= {
                    (version.rule_id, symbol, bars.interval, bar_at)
                    for symbol, bar_at in found
                    if behind is None or bar_at < behind
                }
            for one in ones:
                if self._in_force(one) is not version:
                    continue
                place = by_place[one.symbol, one.bar_at]
                self._judged[_key(one)] = one.symbol not in self._cut or is_known(version, bars, place)
                if fires_still(version, bars, place):
                    self._fires_still.add(_key(one))
                self._has_ended[_key(one)] = bool(bars.is_closed[place])

    def _since(self, version: Version, symbols: Iterable[str]) -> dict[str, datetime]:
        if version.tickers is not None:
            return {symbol: version.since_at for symbol in symbols if symbol in version.tickers}
        if version.watchlist_group is None:
            return dict.fromkeys(symbols, version.since_at)
        wanted = set(symbols)
        return {
            symbol: max(version.since_at, added)
            for symbol, group, added in self._watched
            if symbol in wanted and version.watchlist_group in {_EVERY, group}
        }

    def _in_force(self, one: Alert) -> Version | None:
        """Return the version that the bar of an alert is of, if any."""
        for version in self._by_rule.get(one.rule_id, ()):
            if one.triggered_at <= version.created_at:
                if version.is_newest:
                    return version
            elif one.triggered_at > version.since_at and one.triggered_at <= (version.until_at or one.triggered_at):
                return version
        return None

    def _compare(self) -> None:
        standing = {_key(one): one for one in self._standing}
        for key in sorted(self._expected - standing.keys()):
            self._findings.break_law("an alert is missing", [_named(key)])
        versions = {(version.rule_id, version.version): version for version in self._versions}
        for key, one in standing.items():
            if (one.rule_id, one.version) not in versions:
                self._findings.break_law("an alert is of no rule", [_shown(one)])
            elif key not in self._expected and self._is_judged(one):
                self._findings.break_law("an alert stands where its rule does not fire", [_shown(one)])

    def _is_judged(self, one: Alert) -> bool:
        """Return whether an alert that ought not to be would have been taken back by now."""
        version = self._in_force(one)
        is_past = version is not None and one.triggered_at <= version.created_at
        if version is None or (is_past and version.until_at is not None):
            return False  # what changed after a rule ended is left alone
        if version.trigger == "at_once" and (self._is_queued(one) or not self._is_decided(one)):
            return False
        mart = DAILY if one.interval == "1d" else INTRADAY
        names = self._series_of.get((one.symbol, one.interval), set()) | {one.symbol, f"{one.symbol}:gone"}
        for name in names:
            behind = _pending_from(self._pending, mart, name, one.interval)
            if behind is not None and one.bar_at >= behind:
                return False
        since = self._since(version, [one.symbol]).get(one.symbol)
        is_meant = since is not None and (is_past or one.triggered_at > since)
        if not is_meant and _key(one) in self._fires_still:
            return False  # of a symbol that left the watchlist what was told is judged by its own bar
        if mart == DAILY or self._kept_since is None:
            return True
        is_kept = one.session_date >= self._kept_since.date()
        return self._judged.get(_key(one), is_kept)

    def _is_queued(self, one: Alert) -> bool:
        """Return whether the next evaluation looks at the bar of an alert because of its place in the queue."""
        queued = self._queued.get(one.alert_id)
        if queued is None or queued.from_at > one.bar_at:
            return False
        return (queued.mart, queued.series, queued.interval) == (INTRADAY, one.symbol, one.interval)

    def _is_decided(self, one: Alert) -> bool:
        """Return whether nothing more is waited for that would decide on an alert that fired at once.

        That is the end of its bar and the message with which it fired, until any tape is a day past.
        """
        is_long_past = any(tape >= one.triggered_at + timedelta(days=1) for tape in self._tapes.values())
        return is_long_past or (self._is_over(one) and self._is_read(one))

    def _is_over(self, one: Alert) -> bool:
        """Return whether the bar of an alert that fired at once has ended as far as the marts know.

        Where they have no such bar the tape of its feed says so.
        """
        known = self._has_ended.get(_key(one))
        if known is not None:
            return known
        return any(tape >= one.triggered_at for source, tape in self._tapes.items() if source == one.origin)

    def _is_read(self, one: Alert) -> bool:
        """Return whether the marts have read the message with which an alert fired at once."""
        if one.fired_offset is None:
            return True
        return self._offsets.get((one.fired_topic, one.fired_partition), 0) > one.fired_offset


def _columns(version: Version) -> set[str]:
    names = {"high", "low"} if version.trigger == "at_once" else set()
    names |= {
        side.field.removesuffix(UNSTABLE)
        for clause in version.clauses
        for side in (clause.left, clause.right, clause.upper)
        if side.field is not None
    }
    windows = (WINDOW.fullmatch(name) for name in names)
    return names | {found.group(2) for found in windows if found}


def _pending_from(pending: Iterable[Pending], mart: str, series: str, interval: str) -> datetime | None:
    """Return from which bar on a series is yet to be looked at."""
    found = [
        one.from_at - LONGEST_BAR if one.source else one.from_at
        for one in pending
        if one.mart == mart and one.series in {_EVERY, series} and one.interval in {_EVERY, interval}
    ]
    return min(found, default=None)


def _key(one: Alert) -> Key:
    return one.rule_id, one.symbol, one.interval, one.bar_at


def _named(key: Key) -> Mapping[str, object]:
    return dict(zip(("rule_id", "symbol", "interval", "bar_at"), key, strict=True))


def _shown(one: Alert) -> Mapping[str, object]:
    return {**_named(_key(one)), "alert_id": one.alert_id}
