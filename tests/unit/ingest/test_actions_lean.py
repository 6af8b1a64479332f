"""Corporate actions out of LEAN's factor and map files: what was meant by rounded factors, and every published factor again."""

import csv
import io
import zipfile
from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.actions.source import Range
from ingest.feeds.lean.actions import LeanActions, cash_of, simplest_between, split_of
from ingest.history.source import SourceError
from market.records import Dividend, Split, SymbolChange
from market.settings import CHECKOUT

DATA = CHECKOUT.parent / "shared" / "data" / "lean"
EVER = Range(date(1990, 1, 2), date(2030, 1, 1))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real market data are not at {DATA}")
HALF_OF_THE_LAST_DECIMAL = Fraction(1, 2 * 10**7)


def folder(root: Path, **files: str) -> LeanActions:
    """A folder with ``factors_<symbol>`` and ``map_<symbol>``."""
    for name, text in files.items():
        kind, symbol = name.split("_")
        path = root / "equity" / "usa" / {"factors": "factor_files", "map": "map_files"}[kind] / f"{symbol}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return LeanActions(root)


def unpaced() -> None:
    """Nobody counts."""


def test_a_split_a_dividend_and_a_change_of_symbol_are_on_the_session_after_their_row(tmp_path: Path) -> None:
    source = folder(
        tmp_path,
        factors_new="20140404,0.1425000,0.1428571,200\n20140611,0.95,1,20\n20501231,1,1,0\n",
        map_new="20100104,old,Q\n20140611,old,Q\n20501231,new,Q\n",
    )
    listing = source.fetch(["NEW"], EVER, unpaced)
    new_york_midnight = {"2014-04-07": 1396843200000000, "2014-06-12": 1402545600000000}
    assert [item.action for item in listing.actions] == [
        Split("lean", "OLD", new_york_midnight["2014-04-07"], "2014-04-07", Decimal(7), Decimal(1)),
        Dividend("lean", "OLD", new_york_midnight["2014-04-07"], "2014-04-07", Decimal("170")),
        Dividend("lean", "NEW", new_york_midnight["2014-06-12"], "2014-06-12", Decimal("1")),
        SymbolChange("lean", "OLD", new_york_midnight["2014-06-12"], "2014-06-12", "NEW"),
    ]
    assert not any(item.is_known_stated for item in listing.actions)
    assert source.symbols() == ("NEW",)


def test_only_the_range_that_is_asked_for_is_listed_and_an_unknown_company_is_said(tmp_path: Path) -> None:
    source = folder(tmp_path, factors_ibm="20140404,0.98,1,200\n20150611,0.99,1,20\n20501231,1,1,0\n")
    listing = source.fetch(["IBM", "NONE"], Range(date(2015, 1, 2), date(2015, 12, 31)), unpaced)
    assert [item.action.effective_date for item in listing.actions] == ["2015-06-12"]
    assert listing.unknown == {"NONE"}


@pytest.mark.parametrize(
    ("factors", "symbol_map", "why"),
    [
        ("20140404,abc,1,200\n20501231,1,1,0", "", "'abc', which is no number"),
        ("20140404,NaN,1,200\n20501231,1,1,0", "", "'NaN', which is no number"),
        ("20140404,0,1,200\n20501231,1,1,0", "", "not above 0"),
        ("20140404,1,-1,200\n20501231,1,1,0", "", "not above 0"),
        ("20140404,1,1,200\n20501231,1,0.00000005,0", "", "not above 0"),
        ("20140404,1,1,200\n20501231,1,0.0000004,0", "", "a split of"),
        ("2014-4-4,1,1,200\n20501231,1,1,0", "", "begins with '2014-4-4'"),
        ("20140404\n", "", "has 1 fields"),
        ("20501231,1,1,0\n20140404,1,1,200", "", "not in the order"),
        ("20140404,1.1,1,200\n20501231,1,1,0", "", "a dividend of -20"),
        ("", "20140404,\n", "no symbol"),
        ("", "yesterday,IBM\n", "begins with 'yesterday'"),
    ],
)
def test_a_bad_file_is_a_problem_of_its_company_and_the_others_are_done(
    tmp_path: Path, factors: str, symbol_map: str, why: str
) -> None:
    source = folder(
        tmp_path, factors_ibm=factors, map_ibm=symbol_map, factors_spy="20140404,0.98,1,200\n20501231,1,1,0\n"
    )
    listing = source.fetch(["IBM", "SPY"], EVER, unpaced)
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [("IBM", "not_a_number")]
    assert why in listing.problems[0].detail
    assert [item.action.symbol for item in listing.actions] == ["SPY"]


def test_a_file_that_is_no_text_is_a_problem_of_its_company_and_the_others_are_done(tmp_path: Path) -> None:
    source = folder(tmp_path, factors_ibm="", factors_spy="20140404,0.98,1,200\n20501231,1,1,0\n")
    (tmp_path / "equity" / "usa" / "factor_files" / "ibm.csv").write_bytes(b"\xff\xfe20140606,1,1,1\n")
    listing = source.fetch(["IBM", "SPY"], EVER, unpaced)
    (problem,) = listing.problems
    assert (problem.symbol, problem.code) == ("IBM", "damaged_file")
    assert problem.detail.startswith("factor_files/ibm.csv cannot be read: 'utf-8' codec can't decode")
    assert [item.action.symbol for item in listing.actions] == ["SPY"]
    assert listing.unknown == frozenset()


def test_a_folder_without_files_of_actions_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="neither factor_files nor map_files"):
        LeanActions(tmp_path).check()


def test_what_is_no_simple_ratio_is_told_by_the_factors() -> None:
    assert split_of(Decimal("0.997307"), Decimal(1)) == (Decimal(10), Decimal("9.97307"))


@given(st.integers(1, 20), st.integers(1, 20), st.decimals("0.01", "1", places=7))
def test_a_simple_split_comes_back_from_rounded_factors(new: int, old: int, later: Decimal) -> None:
    factor = round(later * old / new, 7)
    if factor < Decimal("0.01") or new == old:
        return
    found_new, found_old = split_of(factor, later)
    assert Fraction(found_old) / Fraction(found_new) == Fraction(old, new)


@given(st.decimals("0.1", "3", places=2), st.decimals("20", "500", places=2), st.decimals("0.3", "1", places=7))
def test_a_dividend_in_cents_comes_back_from_rounded_factors(cash: Decimal, price: Decimal, later: Decimal) -> None:
    assert cash_of(round(later * (1 - cash / price), 7), later, price) == cash


@given(st.fractions("1/100", "100"), st.fractions("1/100000", "1/10"))
def test_the_simplest_fraction_between_two_is_between_them_and_none_is_simpler(low: Fraction, width: Fraction) -> None:
    high = low + width
    found = simplest_between(low, high)
    assert low <= found <= high
    for denominator in range(1, min(found.denominator, 200)):
        assert -(-low * denominator // 1) > high * denominator // 1


@needs_data
def test_apples_splits_and_dividends_are_those_of_history() -> None:
    listing = LeanActions(DATA).fetch(["AAPL"], EVER, unpaced)
    splits = [item.action for item in listing.actions if isinstance(item.action, Split)]
    assert [(split.effective_date, int(split.new_shares / split.old_shares)) for split in splits] == [
        ("2000-06-21", 2),
        ("2005-02-28", 2),
        ("2014-06-09", 7),
        ("2020-08-31", 4),
    ]
    paid = {
        item.action.effective_date: item.action.cash for item in listing.actions if isinstance(item.action, Dividend)
    }
    # from Apple's own history of dividends
    assert [paid[day] for day in ("2012-08-09", "2014-05-08", "2014-08-07", "2020-08-07", "2020-11-06")] == [
        Decimal(text) for text in ("2.65", "3.29", "0.47", "0.82", "0.205")
    ]


@needs_data
def test_the_change_from_goocv_to_goog_is_found() -> None:
    listing = LeanActions(DATA).fetch(["GOOG"], EVER, unpaced)
    assert [
        (item.action.symbol, item.action.effective_date, item.action.new_symbol)
        for item in listing.actions
        if isinstance(item.action, SymbolChange)
    ] == [("GOOCV", "2014-04-03", "GOOG")]


@needs_data
@pytest.mark.parametrize(("symbol", "roundings"), [("AAPL", 1), ("GOOG", 1), ("IBM", 1), ("SPY", 2.2)])
def test_the_factors_of_every_day_are_those_that_lean_publishes(symbol: str, roundings: float) -> None:
    """To half of their last decimal; SPY's, which LEAN computed one from the rounded other, drift by a little more."""
    closes = dict(daily_closes(symbol))
    by_day: dict[date, list[Split | Dividend]] = {}
    for item in LeanActions(DATA).fetch([symbol], EVER, unpaced).actions:
        if isinstance(item.action, Split | Dividend):
            by_day.setdefault(date.fromisoformat(item.action.effective_date), []).append(item.action)
    published = list(published_factors(symbol))
    untils = [until for until, _, _ in published]
    own = Fraction(1)
    days = sorted(closes)
    for number in reversed(range(len(days))):
        day, before = days[number], days[max(number - 1, 0)]
        _, price_factor, split_factor = published[bisect_left(untils, day)]
        allowed = (price_factor + split_factor) * HALF_OF_THE_LAST_DECIMAL * Fraction(roundings)
        assert abs(own - price_factor * split_factor) <= allowed, day
        for action in by_day.get(day, ()) if number else ():
            if isinstance(action, Split):
                own *= Fraction(action.old_shares) / Fraction(action.new_shares)
            else:
                own *= 1 - Fraction(action.cash) / closes[before]


def daily_closes(symbol: str) -> Iterator[tuple[date, Fraction]]:
    with zipfile.ZipFile(DATA / "equity" / "usa" / "daily" / f"{symbol.lower()}.zip") as archive:
        text = archive.read(archive.namelist()[0]).decode()
    for row in csv.reader(io.StringIO(text)):
        yield datetime.strptime(row[0][:8], "%Y%m%d").date(), Fraction(int(row[4]), 10_000)  # noqa: DTZ007


def published_factors(symbol: str) -> Iterator[tuple[date, Fraction, Fraction]]:
    text = (DATA / "equity" / "usa" / "factor_files" / f"{symbol.lower()}.csv").read_text()
    for row in csv.reader(io.StringIO(text)):
        yield datetime.strptime(row[0], "%Y%m%d").date(), Fraction(row[1]), Fraction(row[2])  # noqa: DTZ007
