"""Spearman's rank correlation of two measurements of the same things, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from emo_harness.effects.gain import LEVEL, NAN
from emo_harness.effects.intervals import t_p_value

Floats = NDArray[np.float64]
# With fewer the interval's standard error does not exist.
FEWEST = 4


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation; NaN is unknown.

    Attributes:
        n: pairs in which both values are known.
        value: in [-1, 1].
        low, high: its interval.
        p: two-sided, of no association.
    """

    n: int
    value: float
    low: float
    high: float
    p: float


def rank_correlation(one: ArrayLike, other: ArrayLike, level: float = LEVEL) -> RankCorrelation:
    """Pearson's correlation of mean ranks, ties sharing theirs (Spearman 1904).

    Interval: tanh(atanh r -+ z s) with s^2 = (1 + r^2 / 2) / (n - 3) (Bonett & Wright 2000,
    Psychometrika 65, 23-28, eq. 4). r is first drawn in to 1 - 6 / (n (n^2 - 1)), half way between
    perfect order and order but for one exchange of neighbours, so that a perfect order of few does
    not pass for a certain one. p: t = r sqrt((n - 2) / (1 - r^2)) with n - 2 degrees of freedom.

    Args:
        one, other: (n,) values in any units; pairs with a NaN are left out.
        level: coverage of the interval.

    Returns:
        Value, interval and p are NaN where fewer than four pairs are known or one side is constant.

    Example:
        >>> found = rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
        >>> round(found.value, 2), found.n
        (0.8, 5)
    """
    first, second = (np.asarray(side, dtype=np.float64) for side in (one, other))
    known = ~(np.isnan(first) | np.isnan(second))
    n = int(known.sum())
    if n < FEWEST:
        return RankCorrelation(n, NAN, NAN, NAN, NAN)
    x, y = mean_ranks(first[known]), mean_ranks(second[known])
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    if size == 0:
        return RankCorrelation(n, NAN, NAN, NAN, NAN)
    value = float(np.clip((x @ y) / size, -1.0, 1.0))
    most = 1 - 6 / (n * (n * n - 1))
    drawn_in = float(np.clip(value, -most, most))
    half = float(special.ndtri((1 + level) / 2)) * np.sqrt((1 + drawn_in**2 / 2) / (n - 3))
    centre = np.arctanh(drawn_in)
    p = t_p_value(abs(drawn_in) * np.sqrt((n - 2) / (1 - drawn_in**2)), n - 2)
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return RankCorrelation(n, value, min(low, value), max(high, value), float(p))


def mean_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean, in n log n.

    Example:
        >>> mean_ranks(np.array([3.0, 1.0, 3.0])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.reshape(-1)], dtype=np.float64)
