"""The last known bid and ask of each symbol, against a loop over the quotes."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.tables import PG_LATEST_QUOTES, QUOTES
from tests.unit.verify.fake_published import Row
from tests.unit.verify.tiny_lake import OPEN, TinyLake, problems
from verify.lake import schema_of
from verify.quotes import QuoteProof
from verify.results import Findings


class Answer:
    """PostgreSQL with these last bids and asks."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def latest_quotes(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows, schema=schema_of(PG_LATEST_QUOTES), orient="row")


def one_by_one(quotes: list[Row]) -> dict[str, Row]:
    """Return the last known sides by symbol."""
    found: dict[str, Row] = {}
    for quote in quotes:
        row = found.setdefault(
            quote["symbol"],
            {**dict.fromkeys(PG_LATEST_QUOTES.column_names), "source": "lean", "symbol": quote["symbol"]},
        )
        row["quoted_at"] = max(quote["quoted_at"], row["quoted_at"] or quote["quoted_at"])
        for side in ("bid", "ask"):
            now = (quote["quoted_at"], quote["sequence"], quote[side], quote[f"{side}_size"])
            old = (row[f"{side}_at"], row[f"{side}_sequence"], row[side], row[f"{side}_size"])
            if quote[side] is not None and (old[0] is None or ordered(now) > ordered(old)):
                row.update(zip((f"{side}_at", f"{side}_sequence", side, f"{side}_size"), now, strict=True))
    return found


def ordered(side: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*side[:3], -1 if side[3] is None else side[3])


def frame(quotes: list[Row]) -> pl.DataFrame:
    rows = [{**dict.fromkeys(QUOTES.column_names), "source": "lean", **quote} for quote in quotes]
    return pl.DataFrame(rows, schema=schema_of(QUOTES), orient="row")


def told(parts: list[list[Row]], expired: list[Row], stored: list[Row]) -> Findings:
    proof = QuoteProof()
    for part in parts:
        proof.add(frame(part), frame(expired))
    findings = Findings()
    proof.check(findings, Answer(stored))  # type: ignore[arg-type]
    return findings


some_quotes = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["IBM", "SPY"]),
            "quoted_at": st.integers(0, 3).map(lambda seconds: OPEN + timedelta(seconds=seconds)),
            "sequence": st.integers(0, 1),
            "bid": st.none() | st.integers(1, 3),
            "bid_size": st.none() | st.integers(0, 2),
            "ask": st.none() | st.integers(1, 3),
            "ask_size": st.none() | st.integers(0, 2),
        }
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(some_quotes, st.integers(0, 12))
def test_the_last_sides_are_those_of_a_loop_over_the_quotes(quotes: list[Row], cut: int) -> None:
    found = told([quotes[:cut], quotes[cut:]], [], list(one_by_one(quotes).values()))
    assert found.result(2, "").offending == []


@settings(deadline=None, max_examples=60)
@given(some_quotes, some_quotes)
def test_of_quotes_that_are_kept_no_longer_nothing_is_said(kept: list[Row], expired: list[Row]) -> None:
    """Whether the stream counted them or not, there is no break."""
    for stored in (one_by_one([*kept, *expired]), one_by_one(kept)):
        found = told([kept], expired, list(stored.values())).result(2, "")
        unseen = {row["symbol"] for row in expired} - {row["symbol"] for row in kept}
        assert [row for row in found.offending if row["symbol"] not in unseen] == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("bid", Decimal("99.51")),
        ("bid_size", None),
        ("bid_sequence", 1),
        ("bid_at", OPEN - timedelta(seconds=1)),
        ("ask", Decimal(100)),
        ("quoted_at", OPEN + timedelta(seconds=1)),
    ],
)
def test_a_last_quote_that_was_changed_by_hand_is_seen(tiny_lake: TinyLake, column: str, value: object) -> None:
    tiny_lake.published.quote_rows[0][column] = value
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"quote differs in lake.latest_quotes"}
    assert set(bars.offending[0]["differs"]) == {column}


def test_a_last_quote_that_nobody_gave_or_that_is_gone_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.quote_rows[0]["symbol"] = "IBM"
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"quote is missing in lake.latest_quotes", "quote should not be in lake.latest_quotes"}
