"""What is asked for is what is missing, in pieces that the source takes: no more, no less, nothing twice."""

from collections import Counter
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from ingest.feeds.yahoo.history import YahooHistory
from ingest.history.plan import make_plan
from ingest.history.source import Limit, Offer
from market.sessions import sessions_between

SESSIONS = list(sessions_between(date(2013, 10, 7), date(2013, 10, 18)))
"""Two weeks: ten sessions."""
TODAY = date(2013, 10, 21)


def days(*numbers: int) -> list[date]:
    return [SESSIONS[number].session_date for number in numbers]


def test_symbols_that_lack_the_same_are_asked_for_together() -> None:
    missing = {"SPY": [(2, 5)], "IBM": [(2, 5)], "AAPL": [(0, 1)]}
    plan = make_plan(
        ["SPY", "IBM", "AAPL", "MSFT"], SESSIONS, missing, Offer("1d", symbols_per_ask=5), today=TODAY, limit=None
    )
    assert [(ask.symbols, ask.first, ask.last) for ask in plan.asks] == [
        (("AAPL",), *days(0, 0)),
        (("SPY", "IBM"), *days(2, 4)),
    ]
    assert plan.missing == {"SPY": 3, "IBM": 3, "AAPL": 1}
    assert (plan.symbols, plan.sessions, plan.requests) == (("SPY", "IBM", "AAPL", "MSFT"), 10, 2)


def test_symbols_of_which_all_is_missing_come_first() -> None:
    missing = {"PART": [(0, 7)], "NEW": [(0, 10)], "LATE": [(9, 10)], "NEWER": [(0, 10)]}
    plan = make_plan([*missing], SESSIONS, missing, Offer("1d"), today=TODAY, limit=None)
    assert [ask.symbols for ask in plan.asks] == [("NEW",), ("NEWER",), ("PART",), ("LATE",)]


def test_an_ask_is_not_larger_than_the_source_takes() -> None:
    offer = Offer("5m", sessions_per_ask=4, symbols_per_ask=2, bars_per_request=100)
    plan = make_plan(["A", "B", "C"], SESSIONS, {symbol: [(0, 10)] for symbol in "ABC"}, offer, today=TODAY, limit=None)
    assert [(ask.symbols, len(ask.sessions)) for ask in plan.asks] == [
        (("A", "B"), 4),
        (("C",), 4),
        (("A", "B"), 4),
        (("C",), 4),
        (("A", "B"), 2),
        (("C",), 2),
    ]
    # A session has 78 bars of five minutes: two symbols in four sessions are 624, at 100 a request.
    assert plan.requests == 7 + 4 + 7 + 4 + 4 + 2


def test_requests_for_other_things_than_bars_are_planned_for_too() -> None:
    # Of Yahoo's minutes a symbol takes one request for the bars of five sessions, and one for the splits since.
    plan = make_plan(
        ["A", "B"], SESSIONS, {"A": [(0, 10)], "B": [(0, 3)]}, YahooHistory.offers["1m"], today=TODAY, limit=None
    )
    assert (len(plan.asks), plan.requests) == (3, 6)


def test_what_is_too_old_for_the_source_is_not_asked_for_but_said() -> None:
    plan = make_plan(["SPY"], SESSIONS, {"SPY": [(0, 3), (4, 6)]}, Offer("5m", days_back=10), today=TODAY, limit=None)
    # Ten days before October 21 is Friday the 11th, the fifth session.
    assert [(ask.first, ask.last) for ask in plan.asks] == [tuple(days(4, 5))]
    assert (plan.too_old, plan.missing) == ({"SPY": 3}, {"SPY": 2})


def test_the_least_time_follows_from_the_limit() -> None:
    missing = {f"S{number}": [(0, 1)] for number in range(500)}
    plan = make_plan(list(missing), SESSIONS, missing, Offer("1d"), today=TODAY, limit=Limit(200, 60.0))
    assert (plan.requests, plan.seconds) == (500, 90.0)
    assert make_plan([], SESSIONS, {}, Offer("1d"), today=TODAY, limit=Limit(200, 60.0)).seconds == 0


ranges = st.lists(st.integers(0, 10), min_size=2, max_size=6, unique=True).map(
    lambda cuts: list(zip(*[iter(sorted(cuts)[: len(cuts) // 2 * 2])] * 2, strict=True))
)


@given(
    missing=st.dictionaries(st.sampled_from(["SPY", "IBM", "AAPL"]), ranges),
    sessions=st.integers(1, 11),
    symbols=st.integers(1, 4),
)
def test_every_missing_session_is_asked_for_once(
    missing: dict[str, list[tuple[int, int]]], sessions: int, symbols: int
) -> None:
    offer = Offer("1d", sessions_per_ask=sessions, symbols_per_ask=symbols)
    plan = make_plan(["SPY", "IBM", "AAPL"], SESSIONS, missing, offer, today=TODAY, limit=None)
    asked = Counter(
        (symbol, session.session_date) for ask in plan.asks for symbol in ask.symbols for session in ask.sessions
    )
    wanted = {
        (symbol, SESSIONS[number].session_date)
        for symbol, spans in missing.items()
        for start, end in spans
        for number in range(start, end)
    }
    assert asked == Counter(wanted)
    assert all(len(ask.sessions) <= sessions and len(ask.symbols) <= symbols for ask in plan.asks)
