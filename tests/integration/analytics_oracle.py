"""What the analytics marts have to hold, worked out by numpy from the days and actions that a test put into the lake."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import numpy as np

from market.sessions import sessions_between

MICRO = Decimal("0.000001")
MEASURES = {"return": "total_log_return", "overnight_gap": "overnight_gap", "volume": "log_volume"}


@dataclass
class Day:
    """One day of a company, under the symbol that it had then, and what follows from it and the days before."""

    symbol: str
    session_date: date
    open: Decimal
    close: Decimal
    volume: int
    split: Fraction = Fraction(1)
    """Shares after splits of this day for each share before."""
    dividend: Decimal = Decimal(0)
    compared: int | None = None
    """Whether the close is above (1) or below (-1) the one before; none of the first day."""
    total_log_return: float | None = None
    overnight_gap: float | None = None
    log_volume: float | None = None
    volume_ratio: float | None = None
    above: dict[int, bool | None] = field(default_factory=dict)
    is_new_high: bool | None = None
    is_new_low: bool | None = None
    shares: Fraction = Fraction(1)
    """Today's shares for one of this day's."""

    def adjusted(self, price: Decimal) -> Decimal:
        """Return a price in today's shares."""
        return _rounded(Fraction(price) * self._factor, MICRO)

    @property
    def adjusted_volume(self) -> int:
        return int(_rounded(self.volume / self._factor, Decimal(1)))

    @property
    def _factor(self) -> Fraction:
        """The mart's factor, which has 18 decimals: a volume that lies between two whole shares is rounded by it."""
        return Fraction(_rounded(1 / self.shares, Decimal("1e-18")))


def follow(companies: Mapping[str, list[Day]]) -> dict[str, list[Day]]:
    """Fill in what follows from the days of each company."""
    dates = [days[0].session_date for days in companies.values()] + [
        days[-1].session_date for days in companies.values()
    ]
    calendar = [session.session_date for session in sessions_between(min(dates) - timedelta(days=9), max(dates))]
    before = dict(zip(calendar[1:], calendar[:-1], strict=True))
    for days in companies.values():
        days.sort(key=lambda day: day.session_date)
        shares = Fraction(1)
        for day in reversed(days):
            day.shares = shares
            shares *= day.split
        for number, day in enumerate(days):
            _compare(day, days[:number], before[day.session_date])
            _look_at_a_year(day, days[: number + 1])
    return dict(companies)


def _compare(day: Day, earlier: list[Day], session_before: date) -> None:
    day.compared = day.total_log_return = day.overnight_gap = day.volume_ratio = None
    day.log_volume = float(np.log(1 + float(day.volume * day.shares)))
    if earlier:
        close, last_close = day.adjusted(day.close), earlier[-1].adjusted(earlier[-1].close)
        day.compared = (close > last_close) - (close < last_close)
    if earlier and earlier[-1].session_date == session_before:
        last = earlier[-1]
        reinvested = float(Fraction(last.close) / day.split) * (1 - float(day.dividend) / float(last.close))
        day.total_log_return = float(np.log(float(day.close) / reinvested))
        day.overnight_gap = float(np.log(float(day.open) / reinvested))
    usual = float(np.mean([other.adjusted_volume for other in earlier[-20:]])) if len(earlier) >= 20 else 0.0
    day.volume_ratio = day.adjusted_volume / usual if usual else None


def _look_at_a_year(day: Day, until: list[Day]) -> None:
    closes = np.array([float(other.adjusted(other.close)) for other in until])
    for length in (50, 200):
        day.above[length] = bool(closes[-1] > closes[-length:].mean() * (1 + 1e-9)) if len(until) >= length else None
    year_ago = day.session_date - timedelta(days=364)
    day.is_new_high = day.is_new_low = None
    if until[0].session_date <= year_ago:
        year = [other for other in until if other.session_date >= year_ago]
        highs = [other.adjusted(max(other.open, other.close)) for other in year]
        lows = [other.adjusted(min(other.open, other.close)) for other in year]
        day.is_new_high = highs[-1] == max(highs) > min(lows)
        day.is_new_low = lows[-1] == min(lows) < max(highs)


def _rounded(exact: Fraction, step: Decimal) -> Decimal:
    """Return an exact number rounded half up."""
    with localcontext(prec=60):
        return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(step, ROUND_HALF_UP)


def expected_breadth(companies: Iterable[list[Day]]) -> list[dict[str, object]]:
    """Return the rows of ``market_breadth``, in order of their sessions."""
    sessions: dict[date, list[Day]] = defaultdict(list)
    for days in companies:
        for day in days:
            sessions[day.session_date].append(day)
    rows: list[dict[str, object]] = []
    line = 0
    for session_date, days in sorted(sessions.items()):
        sides = {
            "advancing": [day for day in days if day.compared == 1],
            "declining": [day for day in days if day.compared == -1],
            "unchanged": [day for day in days if day.compared == 0],
        }
        line += len(sides["advancing"]) - len(sides["declining"])
        row: dict[str, object] = {"session_date": session_date, "symbols": len(days), "advance_decline_line": line}
        row |= {name: len(side) for name, side in sides.items()}
        row |= {f"{name}_volume": sum(day.adjusted_volume for day in side) for name, side in sides.items()}
        row["not_compared"] = sum(day.compared is None for day in days)
        row["new_highs"] = sum(day.is_new_high is True for day in days)
        row["new_lows"] = sum(day.is_new_low is True for day in days)
        row["symbols_52_weeks"] = sum(day.is_new_high is not None for day in days)
        for length in (50, 200):
            known = [day.above[length] for day in days if day.above[length] is not None]
            row[f"symbols_{length}"] = len(known)
            row[f"share_above_average_{length}"] = sum(map(bool, known)) / len(known) if known else None
        rows.append(row)
    return rows


def expected_anomalies(companies: Iterable[list[Day]]) -> dict[tuple[str, date, str], tuple[float | None, int]]:
    """Return z, null where it has no bound, and the sessions used, of each anomaly by symbol, session and kind."""
    series = list(companies)
    sessions = sorted({day.session_date for days in series for day in days})
    found: dict[tuple[str, date, str], tuple[float | None, int]] = {}
    for days in series:
        by_date = {day.session_date: day for day in days}
        for number in range(max(0, len(sessions) - 20), len(sessions)):
            day = by_date.get(sessions[number])
            past = [by_date[other] for other in sessions[max(0, number - 60) : number] if other in by_date]
            for kind, name in MEASURES.items() if day else ():
                values = [getattr(other, name) for other in past]
                z, used = robust_z(getattr(day, name), [one for one in values if one is not None])
                if day and z is not None and abs(z) >= 3.5:
                    found[day.symbol, day.session_date, kind] = (None if np.isinf(z) else z, used)
    return found


def robust_z(value: float | None, past: Sequence[float]) -> tuple[float | None, int]:
    """Return how many robust standard deviations a value is off the median of the past, and of how many values."""
    if value is None or len(past) < 20:
        return None, len(past)
    distances = np.abs(np.array(past) - np.median(past))
    spread = 1.4826 * float(np.median(distances))
    if np.median(distances) <= 1e-9:
        spread = 1.2533 * float(distances.mean()) if distances.mean() > 1e-9 else 0.0
    off = value - float(np.median(past))
    if spread == 0:
        return (0.0 if abs(off) <= 1e-9 else float(np.inf * np.sign(off))), len(past)
    return off / spread, len(past)


def expected_correlation(days: list[Day], others: list[Day], until: date, window: int) -> tuple[float | None, int]:
    """Return the correlation of two companies' returns in the last sessions of the calendar, and in how many both have one."""
    calendar = [session.session_date for session in sessions_between(until - timedelta(days=2 * window + 30), until)]
    last = set(calendar[-window:])
    own = {day.session_date: day.total_log_return for day in days if day.total_log_return is not None}
    other = {day.session_date: day.total_log_return for day in others if day.total_log_return is not None}
    common = sorted(last & own.keys() & other.keys())
    if len(common) < 0.8 * window:
        return None, len(common)
    left, right = (np.array([side[day] for day in common], dtype=float) for side in (own, other))
    if left.std() == 0 or right.std() == 0:
        return None, len(common)
    return float(np.corrcoef(left, right)[0, 1]), len(common)
