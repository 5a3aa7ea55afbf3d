"""The mean of independent values in any unit, with Student's interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emo_harness.effects.gain import LEVEL, NAN
from emo_harness.effects.intervals import t_p_value, t_quantile


@dataclass(frozen=True)
class MeanInterval:
    """A mean, e.g. of paired differences; NaN is unknown.

    Attributes:
        n: values that are known.
        mean: in their unit.
        low, high: its interval; NaN with a single value, and where all are alike: values without
            spread say nothing of how far others would lie.
        p: two-sided, of a mean of 0; NaN where the interval is.
        standardised: mean over standard deviation (Cohen's d_z where values are differences); NaN
            where the interval is.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    standardised: float


def mean_interval(values: ArrayLike, level: float = LEVEL) -> MeanInterval:
    """mean -+ t s / sqrt(n) with n - 1 degrees of freedom (Student 1908).

    Args:
        values: (n,) independent values; NaN are left out.
        level: coverage of the interval.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0])
        >>> found.mean, round(found.low, 2), found.standardised
        (2.0, -0.48, 2.0)
    """
    given = np.asarray(values, dtype=np.float64)
    known = given[~np.isnan(given)]
    n = len(known)
    if n == 0:
        return MeanInterval(0, NAN, NAN, NAN, NAN, NAN)
    mean = float(known.mean())
    if n == 1:
        return MeanInterval(1, mean, NAN, NAN, NAN, NAN)
    spread = float(known.std(ddof=1))
    # All alike but for rounding.
    if spread <= 1e-12 * max(1.0, float(np.abs(known).max())):
        return MeanInterval(n, mean, NAN, NAN, NAN, NAN)
    error = spread / float(np.sqrt(n))
    half = float(t_quantile(level, n - 1)) * error
    p = float(t_p_value(mean / error, n - 1))
    return MeanInterval(n, mean, mean - half, mean + half, p, mean / spread)
