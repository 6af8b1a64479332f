"""Days adjusted for splits, dividends and changes of symbol, and the series as it was known on a day."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest

from market.sessions import find_session
from market.settings import Settings
from tests.integration.action_rows import RUN, Lake, disagreements, text
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read
from verify.adjusted import prove_adjusted
from verify.published import open_snapshot
from verify.results import Findings

pytestmark = pytest.mark.integration


def test_without_an_action_all_three_series_are_the_same(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "10", "11")
    dbt(*RUN)
    for column in ("close", "split_adjusted_close", "total_return_close"):
        assert lake.adjusted("IBM", column) == ["10", "11"]
    assert lake.adjusted("IBM", "current_symbol") == ["IBM", "IBM"]


def test_a_split_divides_the_prices_before_it_and_multiplies_the_volumes(lake: Lake, dbt: Dbt) -> None:
    lake.closes("AAPL", 0, "700", "693", "100")
    lake.split("AAPL", 2, "7")
    dbt(*RUN)
    assert lake.statuses() == [("AAPL", "split", "applied")]
    assert lake.adjusted("AAPL") == ["100", "99", "100"]
    assert lake.adjusted("AAPL", "split_adjusted_volume") == ["49", "49", "7"]
    assert lake.adjusted("AAPL", "close") == ["700", "693", "100"]


def test_a_dividend_before_a_split_is_in_the_shares_of_its_day(lake: Lake, dbt: Dbt) -> None:
    """1 on 50 takes a fiftieth, although the 50 are 25 of today's."""
    lake.closes("IBM", 0, "50", "49", "49", "24.5")
    lake.dividend("IBM", 1, "1")
    lake.split("IBM", 3, "2")
    dbt(*RUN)
    assert lake.adjusted("IBM") == ["25", "24.5", "24.5", "24.5"]
    assert lake.adjusted("IBM", "total_return_close") == ["24.5", "24.5", "24.5", "24.5"]


def test_a_split_and_a_dividend_on_one_day_both_hold(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "50", "24.5")
    lake.dividend("IBM", 1, "1")
    lake.split("IBM", 1, "2")
    dbt(*RUN)
    assert lake.adjusted("IBM", "total_return_close") == ["24.5", "24.5"]
    assert lake.adjusted("IBM") == ["25", "24.5"]


def test_what_was_known_later_or_holds_later_is_not_in_the_series_of_a_day(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "50", "25", "25", "24")
    lake.split("IBM", 1, "2", known=2)
    lake.dividend("IBM", 3, "1", known=0)
    dbt(*RUN)
    assert lake.as_known(0, "IBM") == ["50"]
    assert lake.as_known(1, "IBM") == ["50", "25"], "nobody knew of the split yet"
    assert lake.as_known(2, "IBM") == ["25", "25", "25"]
    assert lake.as_known(2, "IBM", "total_return_close") == ["25", "25", "25"], (
        "the dividend is known, its day is to come"
    )
    assert lake.as_known(3, "IBM", "total_return_close") == lake.adjusted("IBM", "total_return_close") == ["24"] * 4


def test_a_restated_split_is_seen_as_it_stood_and_a_withdrawn_one_until_it_was_withdrawn(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "60", "30", "30", "30")
    lake.split("IBM", 1, "1.9")
    lake.split("IBM", 1, "2", known=2)
    lake.act("IBM", "split", 1, known=3, is_withdrawn=True)
    dbt(*RUN)
    assert lake.as_known(1, "IBM")[0] == "31.578947"
    assert lake.as_known(2, "IBM")[0] == "30"
    assert lake.as_known(3, "IBM")[0] == "60"
    assert lake.adjusted("IBM")[0] == "60"


def test_an_older_knowledge_does_not_replace_a_newer_one_whenever_it_comes_in(
    lake: Lake, dbt: Dbt, settings: Settings
) -> None:
    lake.closes("IBM", 0, "60", "30", "30", "30")
    lake.split("IBM", 1, "2", known=2)
    lake.split("IBM", 1, "1.9", known=1)
    lake.closes("SPY", 0, "60", "61", "61", "61")
    lake.split("SPY", 1, "2", known=2)
    for known, is_withdrawn in ((1, False), (3, True), (1, False)):
        ratio = {} if is_withdrawn else {"new_shares": Decimal(2), "old_shares": Decimal(1)}
        lake.act("SPY", "split", 1, known=known, source="user", is_withdrawn=is_withdrawn, **ratio)
    dbt(*RUN)
    assert lake.adjusted("IBM")[0] == "30"
    assert (lake.as_known(1, "IBM")[0], lake.as_known(2, "IBM")[0]) == ("31.578947", "30")
    assert lake.adjusted("SPY")[0] == "30", (
        "what a person said last counts, whatever the day of the action that it is of"
    )
    assert disagreements(settings) == []


def test_of_several_sources_the_preferred_one_is_believed_unless_it_withdrew(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "60", "30")
    lake.split("IBM", 1, "2")
    lake.split("IBM", 1, "2.2", source="yahoo")
    dbt(*RUN)
    assert lake.adjusted("IBM") == ["30", "30"]
    lake.act("IBM", "split", 1, is_withdrawn=True)
    dbt(*RUN)
    assert lake.adjusted("IBM") == ["27.272727", "30"]


@pytest.mark.parametrize("ratio", ["2", "4", "0.5"])
def test_a_split_that_prices_do_not_show_is_suspicious_and_not_applied_until_it_is_confirmed(
    lake: Lake, dbt: Dbt, ratio: str
) -> None:
    lake.closes("IBM", 0, "60", "61")
    lake.split("IBM", 1, ratio)
    dbt(*RUN)
    assert lake.statuses() == [("IBM", "split", "suspicious")]
    assert lake.adjusted("IBM") == ["60", "61"]
    lake.split("IBM", 1, ratio, source="user")
    dbt(*RUN)
    assert lake.statuses() == [("IBM", "split", "applied")]
    assert Decimal(lake.adjusted("IBM")[0]) == 60 / Decimal(ratio)


def test_a_split_of_the_wrong_size_is_suspicious_a_crash_on_its_day_is_not(lake: Lake, dbt: Dbt) -> None:
    lake.closes("BAD", 0, "60", "30")
    lake.split("BAD", 1, "4")
    lake.closes("CRASH", 0, "60", "21")
    lake.split("CRASH", 1, "2")
    lake.closes("SMALL", 0, "60", "61")
    lake.split("SMALL", 1, "1.0027")
    dbt(*RUN)
    assert [status for _, _, status in lake.statuses()] == ["suspicious", "applied", "applied"]


def test_prices_that_are_long_apart_say_nothing_of_a_split_between_them(lake: Lake, dbt: Dbt) -> None:
    """Years later a share may cost what it did before its split."""
    first = next(number for number, day in enumerate(lake.days) if day - lake.days[0] > timedelta(days=10))
    for symbol, after in (("FAR", first), ("NEAR", first - 1)):
        lake.closes(symbol, 0, "60")
        lake.closes(symbol, after, "61")
        lake.split(symbol, 1, "2")
    dbt(*RUN)
    assert lake.statuses() == [("FAR", "split", "applied"), ("NEAR", "split", "suspicious")]
    assert lake.adjusted("FAR") == ["30", "61"]


def test_a_dividend_in_cents_is_suspicious(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "60", "60")
    lake.dividend("IBM", 1, "50")
    lake.closes("SPY", 0, "60", "60")
    lake.dividend("SPY", 1, "95")
    dbt(*RUN)
    assert [status for _, _, status in lake.statuses()] == ["suspicious", "suspicious"]
    assert lake.adjusted("IBM", "total_return_close") == lake.adjusted("SPY", "total_return_close") == ["60", "60"]


def test_a_jump_without_a_split_is_listed_and_a_split_takes_it_off(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "60", "20.2", "10", "100", "150")
    lake.closes("GAP", 0, "60")
    lake.closes("GAP", 20, "30")
    jumps = (
        "select session_date, round(1 / likely_ratio, 3) as likely from marts.unexplained_jumps order by session_date"
    )
    dbt(*RUN)
    assert [(lake.days.index(row["session_date"]), text(row["likely"])) for row in read(lake.connection, jumps)] == [
        (1, "3"),
        (2, "2"),
        (3, "0.1"),
    ]
    lake.split("IBM", 1, "3")
    dbt(*RUN)
    assert [lake.days.index(row["session_date"]) for row in read(lake.connection, jumps)] == [2, 3]


def test_prices_that_are_off_by_far_are_listed_whatever_the_ratio_and_a_day_of_trading_is_not(
    lake: Lake, dbt: Dbt
) -> None:
    lake.closes("CENTS", 0, "60", "6000", "6000", "60")
    lake.closes("CRASH", 0, "60", "19.9")
    lake.closes("TWELVE", 0, "5", "60")
    lake.closes("WILD", 0, "60", "23", "60")  # 2.6 times: neither a usual split nor more than three times
    jumps = "select symbol, session_date, round(observed_ratio, 2) as ratio, likely_ratio from marts.unexplained_jumps"
    dbt(*RUN)
    found = [
        (row["symbol"], lake.days.index(row["session_date"]), text(row["ratio"]), row["likely_ratio"] is None)
        for row in read(lake.connection, f"{jumps} order by symbol, session_date")
    ]
    assert found == [
        ("CENTS", 1, "100", True),
        ("CENTS", 3, "0.01", True),
        ("CRASH", 1, "0.33", False),
        ("TWELVE", 1, "12", True),
    ]


def test_a_session_that_closes_far_from_the_close_before_is_listed_though_it_opened_near_it(
    lake: Lake, dbt: Dbt
) -> None:
    lake.closes("IBM", 0, "60", "0.6")
    lake.connection.execute("update lake.vendor_bars set open = 61, high = 61 where close = 0.6")
    dbt(*RUN)
    jumps = "select price_before, price_after from marts.unexplained_jumps"
    assert [tuple(map(text, row.values())) for row in read(lake.connection, jumps)] == [("60", "0.6")]


def test_what_is_announced_for_a_day_without_a_bar_is_pending(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "60", "60")
    lake.closes("SPY", 0, "60", "60", "60")
    lake.split("IBM", 2, "2", known=0)
    lake.split("SPY", 0, "2")
    lake.dividend("SPY", 5, "2", known=0)
    lake.change("SPY", 5, "SPYX", known=0)
    dbt(*RUN)
    assert lake.statuses() == [
        ("IBM", "split", "pending"),
        ("SPY", "split", "nothing_before"),
        ("SPY", "dividend", "pending"),
        ("SPY", "symbol_change", "pending"),
    ]
    assert lake.adjusted("IBM") == ["60", "60"]
    assert lake.adjusted("SPY", "current_symbol") == ["SPY"] * 3


def test_a_series_goes_on_through_changes_of_symbol(lake: Lake, dbt: Dbt) -> None:
    """GOOCV becomes GOOG on the day on which GOOG becomes GOOGL; later GOOG splits, GOOGL pays, and GOOG takes a third name."""
    lake.closes("GOOG", 0, "100", "102")
    lake.closes("GOOCV", 1, "101")
    lake.closes("GOOG", 2, "101", "101", "50.5")
    lake.closes("GOOGL", 2, "102", "102", "101")
    lake.change("GOOCV", 2, "GOOG")
    lake.change("GOOG", 2, "GOOGL")
    lake.split("GOOG", 4, "2")
    lake.dividend("GOOGL", 4, "1")
    dbt(*RUN)
    assert lake.adjusted("GOOCV") == ["50.5"]
    assert lake.adjusted("GOOG") == ["100", "102", "50.5", "50.5", "50.5"], "the first two days are another company's"
    assert lake.adjusted("GOOG", "current_symbol") == ["GOOGL", "GOOGL", "GOOG", "GOOG", "GOOG"]
    assert lake.adjusted("GOOCV", "current_symbol") == ["GOOG"]
    assert lake.adjusted("GOOG", "total_return_close")[:2] == ["99.019608", "101"]
    assert lake.as_known(1, "GOOCV", "current_symbol") == ["GOOCV"]
    assert lake.as_known(2, "GOOCV", "current_symbol") == ["GOOG"]
    lake.closes("THIRD", 5, "50.5")
    lake.change("GOOG", 5, "THIRD")
    dbt(*RUN)
    assert lake.adjusted("GOOCV", "current_symbol") == ["THIRD"]


def test_a_split_on_the_first_day_of_a_new_symbol_adjusts_the_old_one(lake: Lake, dbt: Dbt) -> None:
    lake.closes("OLD", 0, "100", "100")
    lake.closes("NEW", 2, "50")
    lake.change("OLD", 2, "NEW")
    lake.split("NEW", 2, "2")
    dbt(*RUN)
    assert lake.statuses() == [("NEW", "split", "applied"), ("OLD", "symbol_change", "applied")]
    assert lake.adjusted("OLD") == ["50", "50"]


def test_a_symbol_that_another_company_takes_over_has_two_series(lake: Lake, dbt: Dbt) -> None:
    lake.closes("META", 0, "10", "10")
    lake.closes("FB", 0, "300", "300", "300")
    lake.closes("META", 3, "300", "150")
    lake.change("FB", 3, "META")
    lake.split("META", 4, "2")
    dbt(*RUN)
    assert lake.adjusted("META") == ["10", "10", "150", "150"]
    assert lake.adjusted("META", "current_symbol") == ["None", "None", "META", "META"]
    assert lake.adjusted("FB") == ["150", "150", "150"]


def test_changes_that_go_in_a_circle_end(lake: Lake, dbt: Dbt) -> None:
    lake.closes("A", 0, "10", "10", "10", "10")
    lake.closes("B", 0, "10", "10", "10", "10")
    lake.change("A", 1, "B")
    lake.change("B", 1, "A")
    lake.change("B", 2, "A")
    lake.change("A", 3, "B")
    dbt(*RUN)
    assert lake.adjusted("A", "current_symbol") == ["B", "None", "B", "A"]
    assert lake.adjusted("B", "current_symbol") == ["None", "B", "None", "B"]


def test_a_new_dividend_builds_the_days_of_its_symbol_and_no_others(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "50", "49")
    lake.closes("SPY", 0, "50", "49")
    dbt(*RUN)
    written = (
        "select symbol, array_agg(xmin::text order by session_date) as rows from marts.historical_ohlcv group by symbol"
    )
    before = {row["symbol"]: row["rows"] for row in read(lake.connection, written)}
    dbt(*RUN)
    assert {row["symbol"]: row["rows"] for row in read(lake.connection, written)} == before
    lake.dividend("IBM", 1, "1")
    dbt(*RUN)
    after = {row["symbol"]: row["rows"] for row in read(lake.connection, written)}
    assert after["SPY"] == before["SPY"]
    assert lake.adjusted("IBM", "total_return_close") == ["49", "49"]


def test_the_project_builds_with_actions_and_its_tests_hold(lake: Lake, dbt: Dbt) -> None:
    lake.closes("IBM", 0, "60", "61")
    lake.split("IBM", 1, "2")
    dbt("build")
    dbt("run", "--full-refresh")
    assert find_session(lake.days[0]) is not None
    assert lake.as_known(1, "IBM") == lake.adjusted("IBM") == ["60", "61"]


def test_whatever_is_said_dbt_and_verify_work_out_the_same(lake: Lake, dbt: Dbt, settings: Settings) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    symbols = ("A", "B", "C", "D")
    for step in range(6):
        for _ in range(12):
            symbol, day = chance.choice(symbols), chance.randrange(1, 30)
            source = chance.choice(["lean", "yahoo", "user"])
            match chance.choice(["closes", "split", "dividend", "change", "withdrawal"]):
                case "closes":
                    closes = [
                        str(chance.choice([5, 10, 20, 30]) + chance.randrange(3))
                        for _ in range(chance.choice([1, 3, 10]))
                    ]
                    lake.closes(symbol, day, *closes, source=chance.choice(["lean", "csv", "yahoo"]))
                case "split":
                    ratio = str(chance.choice([2, 3, 0.5, 1.5, 1.01, 20000]))
                    lake.split(symbol, day, ratio, source=source, known=chance.randrange(30))
                case "dividend":
                    lake.dividend(symbol, day, str(chance.choice([0.1, 1, 3.33, 40])), source=source)
                case "change":
                    lake.change(
                        symbol, day, chance.choice([other for other in symbols if other != symbol]), source=source
                    )
                case _:
                    kind = chance.choice(["split", "dividend", "symbol_change"])
                    lake.act(symbol, kind, day, is_withdrawn=True, source=source)
        dbt(*RUN)
        assert disagreements(settings) == [], f"seed {seed}, step {step}"


def test_verify_sees_a_wrong_factor_a_wrong_value_and_what_is_behind(lake: Lake, dbt: Dbt, settings: Settings) -> None:
    lake.closes("IBM", 0, "60", "30")
    lake.closes("SPY", 0, "60", "60")
    lake.split("IBM", 1, "2")
    dbt(*RUN)
    for column, broken in (
        ("split_adjusted_close", "adjusted values"),
        ("total_return_open", "adjusted values"),
        ("split_adjusted_volume", "adjusted values"),
        ("split_factor", "factors differ"),
        ("total_return_factor", "factors differ"),
    ):
        lake.connection.execute(
            f"update marts.historical_ohlcv set {column} = {column} + 1 where symbol = 'IBM'".encode()
        )
        assert broken in str(disagreements(settings)), column
        dbt(*RUN)
    lake.connection.execute("update marts.historical_ohlcv set current_symbol = null where symbol = 'SPY'")
    assert "factors differ" in str(disagreements(settings))
    dbt(*RUN)
    lake.dividend("SPY", 1, "1")
    findings = Findings()
    with open_snapshot(settings) as published:
        prove_adjusted(findings, published, published.corporate_actions())
    assert (findings.counts["mart_days_adjusted_behind"], findings.result(2, "").offending) == (1, [])
    dbt(*RUN)
