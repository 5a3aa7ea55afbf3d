"""Linear fits: three directions from the same moments.

    mean-difference   w = m+ - m-, in raw units, threshold halfway between the class means
    lda               w = ((1 - a) R + a I)^-1 (m+ - m-), standardised features, threshold halfway
                      between the class means; the shrinkage a is estimated (`shrinkage`)
    ridge             w = (R + penalty I)^-1 cov(x, y), standardised features, least-squares
                      intercept; y is +-1, or a human norm

R is the correlation matrix of the training rows. With two classes, taking the covariance within
classes instead changes the length of w and not its direction (Sherman & Morrison 1950; Hastie,
Tibshirani & Friedman 2009, exercise 4.2), so lda and ridge differ in penalty and threshold alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.gram import Moments

Doubles = NDArray[np.float64]
METHODS = ("ridge", "lda", "mean-difference")
# Relative to the variance of a standardised feature.
RIDGE_PENALTY = 0.1
# What rounding in float32 sums needs for a matrix to stay definite where features repeat others.
LEAST_PENALTY = 1e-6


@dataclass(frozen=True, eq=False)
class LinearFit:
    """K decisions x . w + b on features of d numbers.

    Attributes:
        weights: (d, K) float64.
        intercepts: (K,) float64.
    """

    weights: Doubles
    intercepts: Doubles


def mean_difference(found: Moments, units: Doubles) -> LinearFit:
    """The difference of the class means, as it would be in raw units.

    Args:
        units: (d,) the scale that raw features were divided by: raw x . raw w is x . (units^2 w).
    """
    weights = (found.high - found.low) * units**2
    return _halfway(found, weights)


def lda(found: Moments, shrinkage: float) -> LinearFit:
    """Linear discriminant analysis with a shrunk correlation matrix."""
    return halfway(found, solve(found, penalty_of(shrinkage)))


def ridge(found: Moments, penalty: float = RIDGE_PENALTY) -> LinearFit:
    """Ridge regression on +-1 or on norms."""
    return least_squares(found, solve(found, penalty))


def penalty_of(shrinkage: float) -> float:
    """The ridge penalty whose direction is that of a correlation matrix so shrunk."""
    return shrinkage / max(1 - shrinkage, 1e-3)


def solve(found: Moments, penalty: float) -> Doubles:
    """(K, d) solutions of (scatter + n penalty diag(variances)) w = products."""
    if found.scatter is None:
        raise ValueError("no scatter matrix at hand")
    from scipy.linalg import cho_factor, cho_solve

    matrix = found.scatter.copy()
    matrix[np.diag_indices_from(matrix)] += found.n * max(penalty, LEAST_PENALTY) * found.variances
    factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    solved: Doubles = cho_solve(factor, found.products.T, check_finite=False)
    return solved.T


def solve_heads(found: Moments, n_heads: int, penalties: Sequence[float]) -> Doubles:
    """(K, d) solutions as in `solve`, each head by itself with its own penalty."""
    if found.scatter is None:
        raise ValueError("no scatter matrix at hand")
    dim = len(found.mean) // n_heads
    blocks = found.scatter.reshape(n_heads, dim, n_heads, dim)
    matrix = blocks[np.arange(n_heads), :, np.arange(n_heads)].copy()
    enough = np.maximum(penalties, LEAST_PENALTY)[:, None]
    diagonal = enough * found.n * found.variances.reshape(n_heads, dim)
    matrix[:, np.arange(dim), np.arange(dim)] += diagonal
    right = found.products.reshape(-1, n_heads, dim).transpose(1, 2, 0)
    solved: Doubles = np.linalg.solve(matrix, right)
    return solved.transpose(2, 0, 1).reshape(found.products.shape)


def halfway(found: Moments, weights: Doubles) -> LinearFit:
    """Thresholds halfway between the class means; `weights` (K, d)."""
    return _halfway(found, weights)


def least_squares(found: Moments, weights: Doubles) -> LinearFit:
    """Intercepts that make the mean prediction the mean target; `weights` (K, d)."""
    return LinearFit(weights.T, found.y_means - weights @ found.mean)


def _halfway(found: Moments, weights: Doubles) -> LinearFit:
    middle = (found.high + found.low) / 2
    return LinearFit(weights.T, -(weights * middle).sum(axis=1))
