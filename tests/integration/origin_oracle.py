"""Which source's bars a mart shows, and how those of others compare with them, in plain Python: the oracle of that rule."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from market.sessions import Session, find_session

Row = dict[str, Any]
Group = tuple[str, date, str, str]
"""Symbol, session, segment and length: what is of one source."""

STEPS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}
LAST_RESORT = "simulated"
PRICES = ("open", "high", "low", "close")
PRICE_TOLERANCE_BPS, VOLUME_TOLERANCE_PERCENT = 1, 1


def rank(source: str) -> tuple[int, str]:
    return {"lean": 0, "sample": 1, LAST_RESORT: 3}.get(source, 2), source


def own_feed(segments: Mapping[str, Counter[str]]) -> str:
    """Return whose minutes of a session are taken, by how many with a price of each segment each feed has."""
    has_real = any(source != LAST_RESORT for source in segments)
    real = {source: counts for source, counts in segments.items() if source != LAST_RESORT or not has_real}
    known = {source: counts for source, counts in real.items() if counts.total()} or real
    best = min(rank(source)[0] for source in known)
    equals = {source: counts for source, counts in known.items() if rank(source)[0] == best}
    since = {source: counts["regular"] + counts["post"] for source, counts in equals.items()}
    minutes = since if any(since.values()) else {source: counts.total() for source, counts in equals.items()}
    most = max(minutes.values())
    return min(source for source, count in minutes.items() if count * 10 >= most * 9 or count > most - 5)


def bounds(session: Session, segment: str) -> tuple[datetime, datetime]:
    return {
        "pre": (session.pre_open_at, session.open_at),
        "regular": (session.open_at, session.close_at),
        "post": (session.close_at, session.post_close_at),
    }[segment]


def segment_of(bar: Row) -> tuple[str, Session]:
    session = find_session(bar["session_date"])
    assert session is not None
    segment = session.segment(bar["bar_at"])
    assert segment is not None
    return str(segment), session


def on_its_grid(bar: Row) -> bool:
    segment, session = segment_of(bar)
    step = timedelta(minutes=STEPS[bar["interval"]])
    return (bar["bar_at"] - bounds(session, segment)[0]) % step == timedelta(0)


def merged(parts: list[Row], bar_at: datetime, interval: str) -> Row:
    parts = sorted(parts, key=lambda part: part["bar_at"])
    return {
        **parts[0],
        "interval": interval,
        "bar_at": bar_at,
        "high": max(part["high"] for part in parts),
        "low": min(part["low"] for part in parts),
        "close": parts[-1]["close"],
        "volume": sum(part["volume"] for part in parts),
        "revision": sum(part["revision"] for part in parts),
        "revised_at": max(part["revised_at"] for part in parts),
        "is_given": False,
    }


def vendor_candidates(vendor_bars: list[Row]) -> list[Row]:
    """Return the vendors' bars at every length: those that were given, and what the longest shorter ones come to."""
    given: dict[tuple[Any, ...], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in vendor_bars:
        if row["interval"] == "1d" or not on_its_grid(row):
            continue
        segment, session = segment_of(row)
        bar = {name: row[name] for name in ("symbol", "session_date", "interval", "bar_at", *PRICES, "volume")}
        bar |= {"segment": segment, "origin": row["source"], "is_vendor_bar": True, "is_given": True}
        bar |= {"revision": row["revision"], "revised_at": row["ingested_at"]}
        bar |= {"vwap": None, "trade_count": None, "is_final": True}
        given[row["symbol"], session, segment, row["source"]][row["interval"]].append(bar)
    candidates: list[Row] = []
    for (_, session, segment, _), lengths in given.items():
        base: list[Row] = []
        for interval, step in STEPS.items():
            if interval in lengths:
                base = lengths[interval]
                candidates += base
                continue
            buckets: dict[datetime, list[Row]] = defaultdict(list)
            starts_at = bounds(session, segment)[0]
            for bar in base:
                number = (bar["bar_at"] - starts_at) // timedelta(minutes=step)
                buckets[starts_at + number * timedelta(minutes=step)].append(bar)
            candidates += [merged(parts, bar_at, interval) for bar_at, parts in buckets.items()]
    return candidates


def without_last_resort(candidates: list[Row], real: set[str]) -> list[Row]:
    """Leave the last resort out of every symbol that is real."""
    return [row for row in candidates if row["origin"] != LAST_RESORT or row["symbol"] not in real]


def is_covered(coverage: list[Row], source: str, group: Group) -> bool:
    symbol, day, segment, _ = group
    session = find_session(day)
    assert session is not None
    since, until = bounds(session, segment)
    return any(
        (row["source"], row["symbol"], row["session_date"]) == (source, symbol, day)
        and row["since"] <= since
        and until <= row["until"]
        for row in coverage
    )


def shown_source(group: Group, sides: dict[tuple[bool, str], list[Row]], coverage: list[Row]) -> tuple[bool, str]:
    """Return kind and name of the source that is shown of a group of bars."""
    own = min((side for side in sides if not side[0]), key=lambda side: rank(side[1]), default=None)
    most = max((len(bars) for side, bars in sides.items() if side[0]), default=0)
    whole = [side for side, bars in sides.items() if side[0] and 10 * len(bars) >= 9 * most]
    vendor = min(whole, key=lambda side: rank(side[1]), default=None)
    if own is None or vendor is None:
        found = own or vendor
        assert found is not None
        return found
    mine, theirs = sides[own], sides[vendor]
    priced = [bar["bar_at"] for bar in mine if bar["open"] is not None]
    is_newer = bool(priced) and max(priced) > max(bar["bar_at"] for bar in theirs)
    goes_on = not mine[0]["is_final"]
    has_more = len(priced) > len(theirs) or (len(priced) == len(theirs) and any(bar["volume"] for bar in mine))
    if is_covered(coverage, own[1], group) or (goes_on and is_newer) or has_more:
        return own
    return vendor


def deciding(group: Group, groups: Mapping[Group, dict[tuple[bool, str], list[Row]]]) -> Group:
    """Return the group whose bars decide: that of the longest length, not longer, that a vendor gave; or else of minutes."""
    symbol, day, segment, interval = group
    lengths = list(STEPS)
    for length in reversed(lengths[: lengths.index(interval) + 1]):
        candidate = symbol, day, segment, length
        if any(bar["is_given"] for bars in groups.get(candidate, {}).values() for bar in bars):
            return candidate
    return group


def grouped(candidates: list[Row], real: set[str]) -> dict[Group, dict[tuple[bool, str], list[Row]]]:
    """Return the bars by group and source; of own feeds only that one of each session which is taken."""
    candidates = without_last_resort(candidates, real)
    minutes: dict[tuple[str, date], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in candidates:
        if not row["is_vendor_bar"] and row["interval"] == "1m":
            minutes[row["symbol"], row["session_date"]][row["origin"]][row["segment"]] += row["open"] is not None
    own = {key: own_feed(counts) for key, counts in minutes.items()}
    groups: dict[Group, dict[tuple[bool, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in candidates:
        if row["is_vendor_bar"] or own[row["symbol"], row["session_date"]] == row["origin"]:
            group = row["symbol"], row["session_date"], row["segment"], row["interval"]
            groups[group][row["is_vendor_bar"], row["origin"]].append(row)
    return groups


def choose(
    own_bars: list[Row], vendor_bars: list[Row], coverage: list[Row], real: set[str]
) -> tuple[list[Row], list[Row]]:
    """Return the bars shorter than a day that are shown, and the rows of the reconciliation."""
    shown: list[Row] = []
    compared: list[Row] = []
    own = [{**bar, "is_vendor_bar": False, "is_given": False} for bar in own_bars]
    groups = grouped([*own, *vendor_candidates(vendor_bars)], real)
    for group, sides in groups.items():
        chosen = shown_source(deciding(group, groups), groups[deciding(group, groups)], coverage)
        shown += sides[chosen]
        for other, bars in sides.items():
            if other != chosen and (sides[chosen][0]["is_given"] or bars[0]["is_given"]):
                compared += compare(sides[chosen], bars)
    return shown, compared


def compare_days(days: list[Row], others: list[Row]) -> list[Row]:
    """Return the rows of the reconciliation of days: shown ones, and those of other sources, of the same columns."""
    shown = {(day["symbol"], day["session_date"]): day for day in days}
    rows: list[Row] = []
    for other in others:
        day = shown.get((other["symbol"], other["session_date"]))
        if day is None or (day["origin"], day["is_vendor_bar"]) == (other["origin"], other["is_vendor_bar"]):
            continue
        if (day["origin"] == LAST_RESORT) == (other["origin"] == LAST_RESORT):
            rows += compare([day], [other])
    return rows


def compare(shown: list[Row], others: list[Row]) -> list[Row]:
    """Return a row for each bar that one of two sources has of a group."""
    mine, theirs = ({bar["bar_at"]: bar for bar in bars} for bars in (shown, others))
    return [
        comparison(shown[0], others[0], bar_at, mine.get(bar_at), theirs.get(bar_at))
        for bar_at in sorted(mine.keys() | theirs.keys())
    ]


def comparison(shown: Row, other: Row, bar_at: datetime, mine: Row | None, theirs: Row | None) -> Row:
    row = {name: shown[name] for name in ("symbol", "interval", "session_date", "segment", "origin", "is_vendor_bar")}
    row |= {"bar_at": bar_at, "other_origin": other["origin"], "is_other_vendor_bar": other["is_vendor_bar"]}
    for name in (*PRICES, "volume", "revised_at"):
        row[name] = mine and mine[name]
        row[f"other_{name}"] = theirs and theirs[name]
    for name in PRICES:
        left, right = row[name], row[f"other_{name}"]
        row[f"{name}_difference"] = None if left is None or right is None else right - left
        row[f"{name}_difference_bps"] = None if left is None or right is None else basis_points(left, right)
    row["volume_ratio"] = None
    if row["volume"] and theirs:
        row["volume_ratio"] = rounded(Fraction(theirs["volume"], row["volume"]), 6)
    row["agreement"] = agreement(row, mine, theirs)
    return row


def agreement(row: Row, mine: Row | None, theirs: Row | None) -> str:
    if mine is None or theirs is None:
        if row["is_vendor_bar"] and row["is_other_vendor_bar"]:
            return "only_shown" if theirs is None else "only_other"
        alone = mine or theirs
        assert alone is not None
        return "only_vendor" if alone["is_vendor_bar"] else "only_own"
    for name in PRICES:
        if mine[name] is None or theirs[name] is None:
            return "prices_differ"
        if abs(Fraction(theirs[name]) / Fraction(mine[name]) - 1) * 10_000 > PRICE_TOLERANCE_BPS:
            return "prices_differ"
    apart = abs(theirs["volume"] - mine["volume"]) * 100
    return "volume_differs" if apart > VOLUME_TOLERANCE_PERCENT * mine["volume"] else "agrees"


def basis_points(mine: Decimal, theirs: Decimal) -> Decimal:
    return rounded((Fraction(theirs) - Fraction(mine)) / Fraction(mine) * 10_000, 2)


def rounded(value: Fraction, places: int) -> Decimal:
    """Return a number rounded half away from zero."""
    scaled = abs(value) * 10**places
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    number = Decimal(whole).scaleb(-places)
    return (number if value >= 0 else -number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
