"""The answers to the business questions, worked out by polars and by hand from the raw files, without any SQL of the project.

One function a question, by its number. Numbers that a question rounds are rounded here from doubles; what it takes from a bar
is exact.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from statistics import correlation, linear_regression, mean
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from tests.integration.sample_marts import DAYS, TICK_SYMBOLS, days, factors, minutes, quote, vendor_minutes

Rows = list[tuple[Any, ...]]

ZONE: Final = ZoneInfo("America/New_York")
MONDAY: Final = DAYS[0]
TOLERANCE_BPS, TOLERANCE_VOLUME = Decimal(1), Decimal(1)
"""When two bars agree: dbt_project.yml."""

AAPL_SPLITS: Final = (date(2000, 6, 21), date(2005, 2, 28))
"""Two for one, each: by the two lines of LEAN's factor file."""


class Sample:
    """The raw data, read once."""

    def __init__(self) -> None:
        self.minutes = minutes()
        self.days = days()
        self.vendor = vendor_minutes()

    def bars(self, symbol: str, day: date, length: int, segment: str = "regular") -> list[dict[str, Any]]:
        """Return the bars of so many minutes, counted from the start of the segment."""
        chosen = self.minutes.filter(
            pl.col("symbol") == symbol, pl.col("session_date") == day, pl.col("segment") == segment
        )
        start = {"pre": 4 * 60, "regular": 9 * 60 + 30, "post": 16 * 60}[segment]
        bars: dict[int, list[dict[str, Any]]] = {}
        for row in chosen.iter_rows(named=True):
            bars.setdefault((row["minute"] // 60_000 - start) // length, []).append(row)
        return [self._joined(rows, start + number * length) for number, rows in sorted(bars.items())]

    @staticmethod
    def _joined(rows: list[dict[str, Any]], start: int) -> dict[str, Any]:
        priced = [row for row in rows if row["open"] is not None]
        return {
            "at": f"{start // 60:02}:{start % 60:02}",
            "open": priced[0]["open"],
            "high": max(row["high"] for row in priced),
            "low": min(row["low"] for row in priced),
            "close": priced[-1]["close"],
            "volume": sum(row["volume"] for row in rows),
            "notional": sum(row["notional"] for row in rows),
        }

    def history(self, symbol: str) -> list[dict[str, Any]]:
        """Return the days of a symbol as traded; with the splits of AAPL in today's shares under ``adjusted``, ``shares``."""
        rows = self.days.filter(pl.col("symbol") == symbol).sort("session_date").to_dicts()
        for row in rows:
            splits = AAPL_SPLITS if symbol == "AAPL" else ()
            times = 2 ** sum(row["session_date"] < split for split in splits)
            row["adjusted"] = row["close"] / times
            row["shares"] = row["volume"] * times
        return rows


def rounded(value: float | Decimal, digits: int) -> Decimal:
    return Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def q01(sample: Sample) -> Rows:
    rows = []
    for symbol in TICK_SYMBOLS:
        last = sample.minutes.filter(pl.col("symbol") == symbol, pl.col("close").is_not_null()).to_dicts()[-1]
        before = sample.bars(symbol, DAYS[0], 390)[0]["close"]
        at = last["bar_at"].astimezone(ZONE).replace(tzinfo=None)
        volume = sample.bars(symbol, DAYS[1], 390)[0]["volume"]
        rows.append((symbol, last["close"], at, before, rounded(100 * (last["close"] / before - 1), 3), volume))
    return rows


def q02(_: Sample) -> Rows:
    bid, ask = quote()
    return [("IBM", bid, ask, ask - bid, rounded(10_000 * (ask - bid) / ((ask + bid) / 2), 3))]


def q03(sample: Sample) -> Rows:
    return [
        (
            *(bar[name] for name in ("at", "open", "high", "low", "close", "volume")),
            rounded(bar["notional"] / bar["volume"], 6),
        )
        for bar in sample.bars("SPY", MONDAY, 60)
    ]


def q04(sample: Sample) -> Rows:
    bars = [(symbol, bar) for symbol in TICK_SYMBOLS for bar in sample.bars(symbol, MONDAY, 5)]
    bars.sort(key=lambda pair: (-pair[1]["close"] * pair[1]["volume"], pair[0]))
    return [(s, bar["at"], bar["volume"], rounded(bar["close"] * bar["volume"] / 10**6, 1)) for s, bar in bars[:5]]


def q05(sample: Sample) -> Rows:
    bars = sample.bars("IBM", MONDAY, 5)
    moves = [(bar["at"], bar["close"], 100 * (bar["close"] / before["close"] - 1)) for before, bar in pairwise(bars)]
    moves.sort(key=lambda move: (-abs(move[2]), move[0]))
    return [(at, close, rounded(change, 3)) for at, close, change in moves[:5]]


def q06(sample: Sample) -> Rows:
    rows: Rows = []
    for day in DAYS:
        bars = sample.bars("IBM", day, 5)
        high, low = max(bar["high"] for bar in bars[:6]), min(bar["low"] for bar in bars[:6])
        for bar in bars[6:]:
            if not low <= bar["close"] <= high:
                rows.append((day, low, high, bar["at"], bar["close"], "up" if bar["close"] > high else "down"))
                break
    return rows


def q07(sample: Sample) -> Rows:
    rows: Rows = []
    for symbol in TICK_SYMBOLS:
        segments = ("pre", "regular", "post")
        volumes = [sum(bar["volume"] for bar in sample.bars(symbol, MONDAY, 60, segment)) for segment in segments]
        for segment, volume in zip(segments, volumes, strict=True):
            rows.append((symbol, segment, volume, rounded(Decimal(100 * volume) / sum(volumes), 2)))
    return rows


def q08(sample: Sample) -> Rows:
    rows: Rows = []
    for symbol in TICK_SYMBOLS:
        for day in DAYS:
            halves = [bar["volume"] for bar in sample.bars(symbol, day, 30)]
            shares = (rounded(Decimal(100 * part) / sum(halves), 1) for part in (halves[0], halves[-1]))
            rows.append((symbol, day, sum(halves), *shares))
    return rows


def q09(sample: Sample) -> Rows:
    rows: Rows = []
    for day in DAYS:
        bars, notional, volume, above = sample.bars("SPY", day, 5), Decimal(0), 0, 0
        for bar in bars:
            notional, volume = notional + bar["notional"], volume + bar["volume"]
            above += bar["close"] > notional / volume
        rows.append((day, len(bars), above, rounded(notional / volume, 4)))
    return rows


def _changes(sample: Sample, symbol: str, day: date) -> list[float]:
    return [float(bar["close"] / before["close"]) for before, bar in pairwise(sample.bars(symbol, day, 5))]


def q10(sample: Sample) -> Rows:
    def volatility(symbol: str, day: date) -> Decimal:
        return rounded(100 * math.sqrt(252 * sum(math.log(ratio) ** 2 for ratio in _changes(sample, symbol, day))), 2)

    return [(symbol, day, volatility(symbol, day)) for symbol in TICK_SYMBOLS for day in DAYS]


def q11(sample: Sample) -> Rows:
    rows: Rows = []
    for day in DAYS:
        ibm, spy = _changes(sample, "IBM", day), _changes(sample, "SPY", day)
        beta = linear_regression(spy, ibm).slope
        rows.append((day, len(ibm), rounded(correlation(ibm, spy), 3), rounded(beta, 3)))
    return rows


def q12(sample: Sample) -> Rows:
    rows: Rows = []
    for symbol in TICK_SYMBOLS:
        for day in DAYS:
            found = len(sample.bars(symbol, day, 1))
            rows.append((symbol, day, found, 390 - found, "no_trade" if found < 390 else ""))
    return rows


def q13(sample: Sample) -> Rows:
    keys = ["symbol", "session_date", "bar_at"]
    pairs = sample.minutes.filter(pl.col("segment") == "regular").join(sample.vendor, on=keys, suffix="_other")
    groups: dict[tuple[str, date, str], list[Decimal]] = {}
    for row in pairs.iter_rows(named=True):
        differences = [
            10_000 * (Decimal(str(row[f"{name}_other"])) - row[name]) / row[name]
            for name in ("open", "high", "low", "close")
        ]
        largest = max(abs(difference) for difference in differences)
        apart = abs(row["volume_other"] - row["volume"]) * 100 > TOLERANCE_VOLUME * row["volume"]
        verdict = "prices_differ" if largest > TOLERANCE_BPS else "volume_differs" if apart else "agrees"
        groups.setdefault((row["symbol"], row["session_date"], verdict), []).append(largest)
    return [(*key, len(largest), rounded(max(largest), 2)) for key, largest in sorted(groups.items())]


def q14(sample: Sample) -> Rows:
    found: dict[str, list[tuple[date, Decimal]]] = {}
    for row in sample.days.iter_rows(named=True):
        found.setdefault(row["symbol"], []).append((row["session_date"], row["high"]))
    for symbol in TICK_SYMBOLS:
        found.setdefault(symbol, []).extend((day, sample.bars(symbol, day, 390)[0]["high"]) for day in DAYS)
    return [
        (symbol, len(rows), min(day for day, _ in rows), max(day for day, _ in rows), max(high for _, high in rows))
        for symbol, rows in sorted(found.items())
    ]


def q15(sample: Sample) -> Rows:
    """IBM had no split in these years; the vendor's factor of a day says what its dividends do to the price of that day."""
    listed = factors("IBM")
    ends = {row["session_date"].year: row for row in sample.history("IBM") if row["session_date"].year >= 2007}

    def total(row: dict[str, Any]) -> Decimal:
        return Decimal(row["close"] * next(factor for last, factor, *_ in listed if row["session_date"] <= last))

    def percent(later: Decimal, before: Decimal) -> Decimal:
        return rounded(100 * (later / before - 1), 2)

    return [
        (year, percent(ends[year]["close"], ends[year - 1]["close"]), percent(total(ends[year]), total(ends[year - 1])))
        for year in range(2008, 2013)
    ]


def q16(sample: Sample) -> Rows:
    peak, worst = Decimal(0), (Decimal(1), date.min, Decimal(0), Decimal(0))
    for row in sample.history("AAPL"):
        peak = max(peak, row["adjusted"])
        worst = min(worst, (row["adjusted"] / peak, row["session_date"], row["adjusted"], peak))
    ratio, day, close, peak = worst
    return [(day, close, peak, rounded(100 * (ratio - 1), 2))]


def q17(sample: Sample) -> Rows:
    end, rows = date(2013, 3, 1), []
    for symbol in ("AAPL", "FB", "GOOG", "IBM", "MSFT"):
        year = [row for row in sample.history(symbol) if end - timedelta(days=364) < row["session_date"] <= end]
        low, high, close = min(row["low"] for row in year), max(row["high"] for row in year), year[-1]["close"]
        rows.append((symbol, low, high, close, rounded(100 * (close - low) / (high - low), 1)))
    return sorted(rows, key=lambda row: (-row[4], row[0]))


def q18(sample: Sample) -> Rows:
    gaps = [(row["open"] / before["close"], row, before) for before, row in pairwise(sample.history("GOOG"))]
    gaps.sort(key=lambda gap: (-abs(gap[0] - 1), gap[1]["session_date"]))
    return [
        (row["session_date"], before["close"], row["open"], rounded(100 * (ratio - 1), 2))
        for ratio, row, before in gaps[:5]
    ]


def q19(sample: Sample) -> Rows:
    history = [row for row in sample.history("AAPL") if row["session_date"] >= date(2011, 11, 1)]
    found = []
    for number, row in enumerate(history):
        if row["session_date"].year != 2012:
            continue
        usual = mean(other["shares"] for other in history[number - 20 : number])
        change = 100 * (row["adjusted"] / history[number - 1]["adjusted"] - 1)
        if row["shares"] > 2 * usual:
            found.append((row["session_date"], row["shares"], rounded(row["shares"] / usual, 2), rounded(change, 2)))
    return sorted(found, key=lambda row: -row[2])


def q20(sample: Sample) -> Rows:
    first, split = date(2005, 2, 22), date(2005, 2, 28)
    return [
        (row["session_date"], row["close"], row["close"], row["close"] / 2)
        for row in sample.history("AAPL")
        if first <= row["session_date"] < split
    ]


ANSWERS: Final[Sequence[Callable[[Sample], Rows]]] = (
    *(q01, q02, q03, q04, q05, q06, q07, q08, q09, q10),
    *(q11, q12, q13, q14, q15, q16, q17, q18, q19, q20),
)


def answer(sample: Sample, name: str) -> Rows:
    """Return the answer to the question of that file name."""
    return ANSWERS[int(name[:2]) - 1](sample)


def plain(rows: Iterable[Sequence[Any]]) -> Rows:
    """Return rows with dates and times as they are and every number as a decimal."""
    return [
        tuple(Decimal(str(value)) if isinstance(value, int | float | Decimal) else value for value in row)
        for row in rows
    ]
