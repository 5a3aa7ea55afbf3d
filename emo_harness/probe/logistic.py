"""Logistic regression with an L2 penalty, whose convergence is reported, never assumed.

Activations have a spectrum that falls by many orders of magnitude, so that plain L-BFGS takes
hundreds of steps. Here it works in coordinates in which the greatest principal components of a
sample of rows have all the same variance (the idea of Frangella, Tropp and Udell 2023, "Randomized
Nyström preconditioning", with a sample of rows in place of a sketch). That changes the way, not
the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
Doubles = NDArray[np.float64]

# Rows whose products are taken while they lie in a core's cache: 32 rows of 9,216 float32.
_BLOCK_BYTES = 1_200_000
# Rows of the sample, of whose principal components half are kept.
_SAMPLE = 2048
# Components below this share of the greatest are noise in float32.
_NOISE = 1e-5
# Steps that L-BFGS remembers.
_MEMORY = 20


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """A fitted logistic regression.

    Attributes:
        coef: (d,) float64, in the units of the features it was fitted on.
        intercept: of the same.
        converged: no entry of the gradient is above the tolerance.
        n_iterations: steps that were taken.
        loss: mean log-loss plus penalty, |coef|^2 / (2 C n).
        gradient: the greatest entry of its gradient, in absolute value.
    """

    coef: Doubles
    intercept: float
    converged: bool
    n_iterations: int
    loss: float
    gradient: float

    def decision(self, x: Floats) -> Floats:
        """(n,) log-odds of the true class for features (n, d), in their dtype."""
        return x @ self.coef.astype(x.dtype) + x.dtype.type(self.intercept)


def fit_logistic(
    x: Floats,
    y: NDArray[np.bool_],
    *,
    penalty_c: float = 1.0,
    tolerance: float = 1e-4,
    max_iterations: int = 1000,
) -> LogisticFit:
    """Fit P(y) = 1 / (1 + exp(-(x . coef + intercept))).

    Minimises  mean_i log(1 + exp(-s_i (x_i . coef + intercept))) + |coef|^2 / (2 C n),  s = +-1:
    scikit-learn's objective divided by C n. The intercept is not penalised.

    Args:
        x: (n, d) float32 or float64, row-major, of about unit scale (what the tolerance means
            depends on it); products are computed in this dtype, sums over rows in float64.
        y: (n,) bool.
        penalty_c: C, the inverse strength of the penalty.
        tolerance: converged once no entry of the gradient (by coef and by intercept) is above it,
            the criterion of scikit-learn's lbfgs. In float32 about 1e-5 is the least that can be
            reached.

    Raises:
        ValueError: one class alone, or features that are not finite.
    """
    from scipy.optimize import minimize

    if y.all() or not y.any():
        raise ValueError("one class alone")
    objective = _Objective(x, y, penalty_c)

    def watch(intermediate_result: Any) -> None:
        if objective.gradient_at(intermediate_result.x) <= tolerance:
            raise StopIteration

    found = minimize(
        objective,
        np.zeros(x.shape[1] + 1),
        jac=True,
        method="L-BFGS-B",
        callback=watch,
        options={
            "maxiter": max_iterations,
            "maxfun": 100 * max_iterations,
            "maxls": 50,
            "maxcor": _MEMORY,
            "ftol": 0,
            "gtol": 0,
        },
    )
    gradient = objective.gradient_at(found.x)
    coef, intercept = objective.as_seen_outside(found.x)
    return LogisticFit(
        coef, intercept, gradient <= tolerance, int(found.nit), float(found.fun), gradient
    )


class _Objective:
    """Loss and gradient by (u, v), where coef = T u and intercept = v - mean . coef."""

    def __init__(self, x: Floats, y: NDArray[np.bool_], penalty_c: float) -> None:
        self._x = x
        self._signs = np.where(y, 1, -1).astype(x.dtype)
        self._mean = x.mean(axis=0, dtype=np.float64)
        if not np.isfinite(self._mean).all():
            raise ValueError("features that are not finite")
        self._penalty = 1 / (penalty_c * len(x))
        self._whitening = _Whitening(x, self._mean, self._penalty)
        self._at: Doubles = np.array([])
        self._gradient = np.inf

    def __call__(self, at: Doubles) -> tuple[float, Doubles]:
        n, coef = len(self._x), self._whitening(at[:-1])
        log_loss, by_products, by_shift = self._pass(coef, float(at[-1] - self._mean @ coef))
        by_intercept = by_shift / n
        by_coef = by_products / n + self._penalty * coef
        self._at, self._gradient = at.copy(), float(max(np.abs(by_coef).max(), abs(by_intercept)))
        loss = log_loss / n + 0.5 * self._penalty * float(coef @ coef)
        centred = by_coef - by_intercept * self._mean
        return loss, np.append(self._whitening(centred), by_intercept)

    def gradient_at(self, at: Doubles) -> float:
        """The greatest entry of the gradient by coef and intercept."""
        if not np.array_equal(self._at, at):
            self(at)
        return self._gradient

    def as_seen_outside(self, at: Doubles) -> tuple[Doubles, float]:
        coef = self._whitening(at[:-1])
        return coef, float(at[-1] - self._mean @ coef)

    def _pass(self, coef: Doubles, shift: float) -> tuple[float, Doubles, float]:
        """Sum of log-losses, and its gradient by coef and by shift; rows are read once."""
        coef_as_x, shift_as_x = coef.astype(self._x.dtype), self._x.dtype.type(shift)
        log_loss = by_shift = 0.0
        by_coef = np.zeros(len(coef))
        n_rows = max(1, _BLOCK_BYTES // (self._x.itemsize * len(coef)))
        for first in range(0, len(self._x), n_rows):
            rows = self._x[first : first + n_rows]
            signs = self._signs[first : first + n_rows]
            margins = signs * (rows @ coef_as_x + shift_as_x)
            small = np.exp(-np.abs(margins))
            log_loss += float(np.sum(np.log1p(small) - np.minimum(margins, 0), dtype=np.float64))
            slopes = -signs * np.where(margins > 0, small, 1) / (1 + small)
            by_coef += slopes @ rows
            by_shift += float(slopes.sum(dtype=np.float64))
        return log_loss, by_coef, by_shift


class _Whitening:
    """T = t I + V diag(s - t) V', symmetric: the inverse square root of a sample's Hessian.

    At coef = 0 the Hessian is X'X / 4n + penalty (X centred). Its greatest eigenvalues, and
    eigenvectors V, are those of a sample of rows; the rest is taken to be as great as the least
    of them.
    """

    def __init__(self, x: Floats, mean: Doubles, penalty: float) -> None:
        from scipy.linalg import eigh

        n, d = x.shape
        m = min(n, _SAMPLE)
        rows = np.sort(np.random.default_rng([n, d]).choice(n, m, replace=False))
        sample = (x[rows] - mean.astype(x.dtype)) / x.dtype.type(2 * np.sqrt(m))
        tall = d <= m
        values, vectors = eigh(sample.T @ sample if tall else sample @ sample.T)
        kept = np.arange(len(values) - min(d, max(1, m // 2)), len(values))
        kept = kept[values[kept] > max(_NOISE * values[-1], 0)]
        values = values[kept].astype(np.float64)
        if tall:
            self._vectors = np.ascontiguousarray(vectors[:, kept].T)
        else:
            self._vectors = (vectors[:, kept] / np.sqrt(values)).T.astype(x.dtype) @ sample
        scales = 1 / np.sqrt(values + penalty)
        self._rest = float(scales[0]) if len(scales) else 1.0
        self._beyond = (scales - self._rest).astype(x.dtype)

    def __call__(self, vector: Doubles) -> Doubles:
        along = self._beyond * (self._vectors @ vector.astype(self._vectors.dtype))
        return self._rest * vector + along @ self._vectors
