"""Symbols: what counts as one."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import UsageError
from market.instruments import SYMBOL_PATTERN, parse_symbols

symbols = st.from_regex(r"[A-Z][A-Z0-9.\-]{0,14}", fullmatch=True)


def is_symbol(text: str) -> bool:
    """Return whether ``text`` is a symbol, by the words of the rule instead of its pattern."""
    letters = {chr(code) for code in range(ord("A"), ord("Z") + 1)}
    return 1 <= len(text) <= 15 and text[0] in letters and set(text) <= letters | set("0123456789.-")


@given(st.lists(symbols, min_size=1, max_size=8))
def test_a_list_of_symbols_comes_back_in_order_and_without_repeats(given_symbols: list[str]) -> None:
    assert parse_symbols(",".join(given_symbols)) == tuple(dict.fromkeys(given_symbols))


@given(st.lists(symbols, min_size=1, max_size=8))
def test_case_and_blanks_do_not_matter(given_symbols: list[str]) -> None:
    assert parse_symbols(" , ".join(given_symbols).lower() + " ,") == parse_symbols(given_symbols)


@given(st.text(min_size=1, max_size=20).filter(lambda text: "," not in text and text.strip() != ""))
def test_any_text_is_a_symbol_or_is_refused(text: str) -> None:
    cleaned = text.strip().upper()
    if is_symbol(cleaned):
        assert parse_symbols(text) == (cleaned,)
    else:
        with pytest.raises(UsageError, match="is not a symbol"):
            parse_symbols(text)


@given(st.text(max_size=20) | symbols | symbols.map(lambda symbol: symbol + "\n"))
def test_polars_and_the_rule_agree_on_the_pattern(text: str) -> None:
    matches = pl.Series([text]).str.contains(SYMBOL_PATTERN).item()
    assert matches == is_symbol(text)
    assert bool(re.fullmatch(SYMBOL_PATTERN.strip("^$"), text)) == is_symbol(text)


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_an_empty_list_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--symbols spy,ibm"):
        parse_symbols(text)


def test_an_endless_symbol_is_not_repeated_in_full() -> None:
    with pytest.raises(UsageError) as caught:
        parse_symbols("A" * 10_000)
    assert len(str(caught.value)) < 300
