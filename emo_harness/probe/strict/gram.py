"""Gram matrices: what linear fits need of n rows, in d x d numbers.

A template's offset m_t is taken out of a Gram matrix without touching the rows again,

    sum_i (x_i - m_t)(x_i - m_t)' = G - sum_t (s_t m_t' + m_t s_t' - n_t m_t m_t'),

with s_t the sum of the template's rows, so that raw and centred fits, those of single heads (blocks
on the diagonal) and many targets at once (right-hand sides) share one G.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
_ROWS = 4096
# Of a scaled feature: less is what rounding leaves of a feature that is constant, within templates
# for example at the last token in layer 0.
CONSTANT = 1e-5


def gram(rows: Floats) -> Doubles:
    """X'X of (n, d) float32 rows: float32 products of at most 4,096 rows, summed in float64."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for first in range(0, len(rows), _ROWS):
        block = rows[first : first + _ROWS]
        total += block.T @ block
    return total


@dataclass(frozen=True, eq=False)
class TemplateSums:
    """Sums over the training rows of each of T templates.

    Attributes:
        n: (T,) how many.
        x: (T, d) of the rows.
        y: (K, T) of K targets.
        yx: (K, T, d) of the rows times a target.
    """

    n: Doubles
    x: Doubles
    y: Doubles
    yx: Doubles

    def only(self, templates: slice | NDArray[np.int64]) -> TemplateSums:
        """Those of some templates."""
        return TemplateSums(
            self.n[templates], self.x[templates], self.y[:, templates], self.yx[:, templates]
        )


@dataclass(frozen=True, eq=False)
class Moments:
    """What a linear fit needs of its training rows.

    Attributes:
        n: number of rows.
        mean: (d,) of the features.
        y_means: (K,) of the targets.
        products: (K, d) sum of (y - mean y)(x - mean x).
        variances: (d,) of the features; 1 where a feature is constant.
        high, low: (K, d) mean features where a two-valued target is +1, and where it is -1.
        scatter: (d, d) sum of (x - mean)(x - mean)', or None where it is not at hand.
    """

    n: float
    mean: Doubles
    y_means: Doubles
    products: Doubles
    variances: Doubles
    high: Doubles
    low: Doubles
    scatter: Doubles | None

    def without_scatter(self) -> Moments:
        """All that takes little memory."""
        return replace(self, scatter=None)

    def only(self, features: slice) -> Moments:
        """Those of some features, without scatter."""
        return Moments(
            self.n,
            self.mean[features],
            self.y_means,
            self.products[:, features],
            self.variances[features],
            self.high[:, features],
            self.low[:, features],
            None,
        )


def moments(sums: TemplateSums, total: Doubles, centres: Floats | None = None) -> Moments:
    """Moments of features whose template centres are taken out.

    Args:
        sums: of the training rows.
        total: their (d, d) Gram matrix, or the (d,) diagonal of it.
        centres: (T, d) to be taken out; None leaves the features raw.
    """
    n = float(sums.n.sum())
    x, yx = sums.x.sum(axis=0), sums.yx.sum(axis=1)
    scatter = total
    if centres is not None:
        m = centres.astype(np.float64)
        x = x - sums.n @ m
        yx = yx - sums.y @ m
        scatter = total - _offsets(sums, m, total.ndim)
    mean = x / n
    y_means = sums.y.sum(axis=1) / n
    scatter = scatter - n * (np.outer(mean, mean) if total.ndim == 2 else mean**2)
    variances = (np.diagonal(scatter) if total.ndim == 2 else scatter) / n
    varies = variances > CONSTANT
    n_high = n * (1 + y_means)[:, None] / 2
    return Moments(
        n,
        mean,
        y_means,
        yx - np.outer(y_means, x),
        np.where(varies, variances, 1.0),
        (x + yx) / 2 / np.maximum(n_high, 1e-9),
        (x - yx) / 2 / np.maximum(n - n_high, 1e-9),
        scatter if total.ndim == 2 else None,
    )


def _offsets(sums: TemplateSums, m: Doubles, ndim: int) -> Doubles:
    """What centring takes out of a Gram matrix, or of its diagonal."""
    half = sums.x - sums.n[:, None] * m / 2
    if ndim == 1:
        return 2 * (half * m).sum(axis=0)
    one_way = half.T @ m
    return one_way + one_way.T
