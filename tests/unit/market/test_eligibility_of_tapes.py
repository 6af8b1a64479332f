"""The rule of ``alpaca``, against the tables of the tapes' specifications, written out by hand."""

from datetime import UTC, datetime

import polars as pl
import pytest

from market.eligibility import RULES, Rule, Use, sale_condition_bit
from spark_jobs.transforms.silver import JUDGEMENT, with_eligibility
from verify.messages import judged_again

# Code, and whether it updates last, high and low, and volume: CTS Output Specification and UTP specification, "consolidated".
# What depends on whether it is the first trade of the day counts as "no".
TABLE = {
    "A": "yyy", "B": "yyy", "C": "nny", "D": "yyy", "E": "yyy", "F": "yyy", "G": "nyy", "H": "nny", "I": "nny", "K": "yyy",
    "L": "yyy", "M": "nnn", "N": "nny", "O": "yyy", "P": "nyy", "Q": "nnn", "R": "nny", "S": "yyy", "T": "nny", "U": "nny",
    "V": "nny", "W": "nny", "X": "yyy", "Y": "yyy", "Z": "nyy", "1": "yyy", "4": "nyy", "5": "yyy", "6": "yyy", "7": "nny",
    "9": "nnn",
}  # fmt: skip
IN_EXTENDED_HOURS = TABLE | {"T": "yyy"}


def conditions_of(codes: str) -> str:
    bits = 0
    for code in codes:
        bits |= 1 << (ord(code) - ord("A") if code.isalpha() else 26 + int(code))
    return f"{bits:X}" if bits else ""


def judged(codes: str, segment: str) -> list[str]:
    trades = pl.DataFrame(
        {"source": ["alpaca"], "segment": [segment], "conditions": [conditions_of(codes)], "at": [datetime.now(UTC)]}
    )
    fast = with_eligibility(trades).select(JUDGEMENT).row(0)
    proof = judged_again(with_eligibility(trades)).select(JUDGEMENT).row(0)
    assert fast == proof
    return ["".join("y" if counts else "n" for counts in fast[:3]), str(fast[3])]


@pytest.mark.parametrize("code", sorted(TABLE))
def test_a_condition_updates_what_the_tapes_say(code: str) -> None:
    assert judged(code, "regular")[0] == TABLE[code]
    assert judged(code, "post")[0] == judged(code, "pre")[0] == IN_EXTENDED_HOURS[code]


def test_conditions_together_take_away_what_each_of_them_does() -> None:
    assert judged("F4", "regular") == ["nyy", "derivatively_priced"]
    assert judged("4I", "regular") == ["nny", "odd_lot"]
    assert judged("TI", "post") == ["nny", "odd_lot"]
    assert judged("", "regular") == ["yyy", "None"]


def test_every_code_has_a_bit_of_its_own_and_unknown_ones_share_one() -> None:
    bits = {sale_condition_bit(code) for code in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"}
    assert len(bits) == 36
    assert sale_condition_bit("?") == sale_condition_bit("AB") == sale_condition_bit("") == 1 << 36


def test_samples_of_yahoo_never_add_to_a_volume() -> None:
    rule: Rule = RULES["yahoo"]
    (only,) = rule.exclusions
    assert (only.regular, only.extended) == (Use.VOLUME, Use.VOLUME)
