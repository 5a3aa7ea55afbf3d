"""The scale of a picture: which shade a contribution has, and how it is written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from emo_harness.report.numerals import MINUS, UNKNOWN, percent, pp

N_CLASSES = 4
# At most one word in 50 leaves the scale, so that one word does not pale all others.
WITHIN = 0.98
STEP_OF_NOTHING = 0.01
LEAST_DECIMALS = 2


@dataclass(frozen=True)
class ShadeScale:
    """Classes of one width around zero, or from zero upwards.

    Attributes:
        step: width of a class; what is less than half of it is about zero.
        signed: whether values below zero have shades of their own.
    """

    step: float
    signed: bool

    def shade(self, value: float) -> str:
        """Its class: `u1` to `u4`, `d1` to `d4`, `s1` to `s4`; "" about zero or unknown.

        >>> ShadeScale(0.1, True).shade(-0.22), ShadeScale(0.1, False).shade(9.0)
        ('d2', 's4')
        """
        if math.isnan(value):
            return ""
        number = min(math.floor(abs(value) / self.step + 0.5), N_CLASSES)
        if not number:
            return ""
        if not self.signed:
            return f"s{number}"
        return f"{'u' if value > 0 else 'd'}{number}"

    def told(self, value: float) -> str:
        """A contribution in as many decimals as the scale can show."""
        decimals = max(math.ceil(-math.log10(self.step)) + 1, LEAST_DECIMALS)
        text = pp(value, decimals) if self.signed else percent(value, decimals)
        return text.replace("-", MINUS)

    def told_bounds(self, value: float, low: float, high: float) -> str:
        """A contribution with its interval."""
        if math.isnan(value):
            return UNKNOWN
        if math.isnan(low) or math.isnan(high):
            return f"{self.told(value)} [unknown]"
        return f"{self.told(value)} [{self.told(low)}, {self.told(high)}]"

    def key(self) -> list[tuple[str, str]]:
        """Every class with its bound, from the lowest to the highest."""
        ends = [(number, f"{(number - 0.5) * self.step:g}") for number in range(1, N_CLASSES + 1)]
        if not self.signed:
            return [("", "about 0"), *((f"s{number}", f"≥ {end}") for number, end in ends)]
        lower = [(f"d{number}", f"≤ {MINUS}{end}") for number, end in reversed(ends)]
        return [*lower, ("", "about 0"), *((f"u{number}", f"≥ +{end}") for number, end in ends)]


def scale_of(values: Iterable[float], signed: bool) -> ShadeScale:
    """The finest scale of 1, 2 or 5 times a power of ten that holds nearly all values.

    >>> scale_of([0.003, -0.07, 0.01], signed=True).step
    0.02
    """
    sizes = sorted(abs(value) for value in values if not math.isnan(value))
    # The smallest size that at most one in 50 exceeds.
    most = sizes[math.ceil(WITHIN * len(sizes)) - 1] if sizes else 0.0
    if most == 0:
        return ShadeScale(STEP_OF_NOTHING, signed)
    least = most / N_CLASSES
    power = math.floor(math.log10(least))
    steps = (factor * 10.0**exponent for exponent in (power, power + 1) for factor in (1, 2, 5))
    step = next(step for step in steps if step >= least * (1 - 1e-9))
    return ShadeScale(float(f"{step:.0e}"), signed)
