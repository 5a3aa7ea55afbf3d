"""Dose and response: slopes, their intervals, and whether two classes answer differently.

The test of a steering direction is an interaction: the same dose must move continuations of the
high class and of the low class apart. A main effect, both classes moving alike, is what any
disturbance of a model gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty over clusters.

    Attributes:
        value: the estimate.
        low, high: 95% interval; NaN with fewer than two clusters.
        p: two-sided, of the value being 0; NaN with fewer than two clusters.
        n_clusters: independent units.
    """

    value: float
    low: float
    high: float
    p: float
    n_clusters: int


def slopes(doses: ArrayLike, responses: ArrayLike) -> Floats:
    """Least-squares slopes of responses on dose, one for each row.

    sum_d (x_d - mean x) y_d / sum_d (x_d - mean x)^2

    Args:
        doses: (n_doses,) at least two different ones.
        responses: (n, n_doses).

    Returns:
        (n,) change of the response per unit of dose.

    Raises:
        ValueError: fewer than two different doses.

    Example:
        >>> slopes([-1, 0, 1], [[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]]).tolist()
        [1.0, 0.0]
    """
    x = np.asarray(doses, np.float64)
    centred = x - x.mean()
    squared = float((centred**2).sum())
    if not squared > 0:
        raise ValueError(f"no slope over the doses {x.tolist()}")
    return np.asarray(np.asarray(responses, np.float64) @ centred / squared)


def mean_estimate(values: ArrayLike) -> Estimate:
    """The mean of independent values, with Student's t interval.

    Args:
        values: (n,) one per cluster, at least one.
    """
    x = np.asarray(values, np.float64)
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return _estimate(float(x.mean()), error, len(x) - 1, len(x))


def interaction(values: ArrayLike, is_high: ArrayLike, clusters: ArrayLike) -> Estimate:
    """How much more the high class has of something than the low class.

    The difference of the two class means, each cluster counting once in a class. The error is the
    delete-one-cluster jackknife's (Efron and Stein 1981), (G - 1) / G * sum_g (d_g - mean d)^2,
    which is the paired t test's where every cluster has both classes, and leans to the wide side
    otherwise.

    Args:
        values: (n,) e.g. slopes.
        is_high: (n,) which belong to the high class; both classes must occur.
        clusters: (n,) what belongs together, e.g. continuations of one prompt.

    Raises:
        ValueError: a class without values.
    """
    high = np.asarray(is_high, bool)
    if high.all() or not high.any():
        raise ValueError("an interaction needs values of both classes")
    labels, numbers = np.unique(np.asarray(clusters), return_inverse=True)
    means = np.full((len(labels), 2), np.nan)
    x = np.asarray(values, np.float64)
    for column, of_class in enumerate((high, ~high)):
        counts = np.bincount(numbers[of_class], minlength=len(labels))
        sums = np.bincount(numbers[of_class], x[of_class], minlength=len(labels))
        means[counts > 0, column] = sums[counts > 0] / counts[counts > 0]
    value = _difference(means)
    n = len(labels)
    per_class = (~np.isnan(means)).sum(axis=0)
    if per_class.min() < 2:
        return Estimate(value, math.nan, math.nan, math.nan, n)
    without = np.array([_difference(np.delete(means, g, axis=0)) for g in range(n)])
    error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    both = bool((~np.isnan(means)).all())
    return _estimate(value, error, n - 1 if both else n - 2, n)


def anti_steered(own_slopes: ArrayLike) -> Estimate:
    """The share of prompts that the dose moves the wrong way, with Wilson's interval.

    Tan et al. (2024) found steering to work against itself on up to half of a data set's prompts
    while its mean looked fine.

    Args:
        own_slopes: (n,) of each prompt; a slope below 0 is the wrong way. `p` is of as many
            prompts moving either way (exact sign test).
    """
    from scipy import special

    from emo_harness.effects import wilson

    x = np.asarray(own_slopes, np.float64)
    wrong, right = int((x < 0).sum()), int((x > 0).sum())
    low, high = wilson(wrong, len(x), special.ndtri((1 + LEVEL) / 2))
    tail = special.bdtr(min(wrong, right), wrong + right, 0.5) if wrong + right else 0.5
    return Estimate(wrong / len(x), float(low), float(high), min(1.0, 2 * float(tail)), len(x))


def spearman(doses: ArrayLike, responses: ArrayLike) -> float:
    """Rank correlation of dose and response: 1 where every step of dose raises the response.

    Ties share their ranks' mean; NaN where nothing varies.

    Example:
        >>> spearman([-1, 0, 1], [0.1, 0.2, 0.9])
        1.0
    """
    first, second = (_ranks(np.asarray(x, np.float64)) for x in (doses, responses))
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 0 else math.nan


def _ranks(x: Floats) -> Floats:
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def _difference(means: Floats) -> float:
    return float(np.nanmean(means[:, 0]) - np.nanmean(means[:, 1]))


def _estimate(value: float, error: float, df: int, n_clusters: int) -> Estimate:
    from scipy import special

    if not (df > 0 and math.isfinite(error)):
        return Estimate(value, math.nan, math.nan, math.nan, n_clusters)
    if error == 0:
        return Estimate(value, value, value, float(value == 0), n_clusters)
    half = error * float(special.stdtrit(df, (1 + LEVEL) / 2))
    p = 2 * float(special.stdtr(df, -abs(value) / error))
    return Estimate(value, value - half, value + half, p, n_clusters)
