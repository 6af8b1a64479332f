"""The quotes of bars as law 4 reads them, written out by hand."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.unit.verify.tiny_lake import OPEN
from verify.alert_quotes import Minute, Span, quotes_of
from verify.alert_snapshot import Clause, Side, Version

MINUTE = timedelta(minutes=1)


def named(minute: int, bid: str | None = None, ask: str | None = None, source: str = "lean") -> Minute:
    return Minute(source, OPEN + minute * MINUTE, *(None if one is None else Decimal(one) for one in (bid, ask)))


def bar(first: int, minutes: int = 1, source: str | None = "lean") -> Span:
    return Span(source, OPEN + first * MINUTE, OPEN + (first + minutes) * MINUTE)


def test_a_bar_has_the_last_bid_and_the_last_ask_of_its_minutes() -> None:
    minutes = [named(4, "9"), named(0, "100", "100.05"), named(1, None, "101"), named(2, "99"), named(3, None, "98")]
    found = quotes_of([bar(0), bar(1), bar(2), bar(0, 3), bar(0, 5), bar(5)], minutes)
    nothing = np.nan
    np.testing.assert_equal(found["bid"], [100, nothing, 99, 99, 9, nothing])
    np.testing.assert_equal(found["ask"], [100.05, 101, nothing, 101, 98, nothing])
    np.testing.assert_equal(found["spread"], [0.05, nothing, nothing, 2, 89, nothing])


def test_quotes_are_of_the_feed_of_the_bar_and_a_vendor_has_none() -> None:
    minutes = [named(0, "1", "2"), named(0, "5", "9", source="other")]
    found = quotes_of([bar(0), bar(0, source="other"), bar(0, source=None), bar(0, source="third")], minutes)
    np.testing.assert_equal(found["spread"], [1, 4, np.nan, np.nan])


@pytest.mark.parametrize(
    ("field", "has_quotes"),
    [("bid", True), ("spread!", True), ("average(ask, 20)", True), ("close", False), ("average(bb_lower, 2)", False)],
)
def test_a_version_knows_whether_it_names_quotes(field: str, has_quotes: bool) -> None:
    clause = Clause("above", Side("close", 1.0), Side(field, 1.0), Side(None, None))
    settings = dict.fromkeys(name for name in Version.__dataclass_fields__ if name != "clauses")
    assert Version(**settings, clauses=(clause,)).has_quotes is has_quotes  # type: ignore[arg-type]
