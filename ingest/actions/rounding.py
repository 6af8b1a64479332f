"""What was meant by an amount that its source rounded."""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from market.records import PRICE_DECIMALS

_FEWEST_DECIMALS: Final = 2


def simplest_amount(low: Fraction, high: Fraction) -> Decimal:
    """Return the amount in dollars with the fewest decimals between two, both included; none has less than cents."""
    for places in range(_FEWEST_DECIMALS, PRICE_DECIMALS + 1):
        step = Fraction(1, 10**places)
        nearest = round((low + high) / 2 / step) * step
        if low <= nearest <= high:
            return as_decimal(nearest, places)
    return as_decimal((low + high) / 2, PRICE_DECIMALS)


def as_decimal(number: Fraction, places: int) -> Decimal:
    """Return a number rounded to so many decimals."""
    return (Decimal(number.numerator) / Decimal(number.denominator)).quantize(Decimal(1).scaleb(-places))
