"""Logistic regression with an L2 penalty, whose convergence is reported, never assumed.

Activations have a spectrum that falls by many orders of magnitude, so that plain L-BFGS takes
hundreds of steps, unless the labels are easy. Where it is not there after a few, it goes on in
coordinates in which the greatest components of a sample of rows have all the same curvature (the
idea of Frangella, Tropp and Udell 2023, "Randomized Nyström preconditioning", with a sample of rows
in place of a sketch). That changes the way, not the minimum.
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
# Steps of plain L-BFGS; easy labels need no more, and then no sample is worth its time.
_PLAIN = 25
# Rows of the sample, of whose components half are kept.
_SAMPLE = 1536
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
    if y.all() or not y.any():
        raise ValueError("one class alone")
    objective = _Objective(x, y, penalty_c)
    n_iterations = _descend(objective, tolerance, min(_PLAIN, max_iterations))
    if objective.gradient > tolerance and n_iterations < max_iterations:
        objective.whiten()
        n_iterations += _descend(objective, tolerance, max_iterations - n_iterations)
    coef, intercept, loss = objective.found()
    gradient = objective.gradient
    return LogisticFit(coef, intercept, gradient <= tolerance, n_iterations, loss, gradient)


def _descend(objective: _Objective, tolerance: float, max_iterations: int) -> int:
    """Take steps until the gradient is small, none helps any more, or these are done."""
    from scipy.optimize import minimize

    def watch(intermediate_result: Any) -> None:
        objective.settle(intermediate_result.x)
        if objective.gradient <= tolerance:
            raise StopIteration

    found = minimize(
        objective,
        objective.start,
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
    objective.settle(found.x)
    return int(found.nit)


class _Objective:
    """Loss and gradient by (u, v), where coef = base + T u and intercept = v - mean . coef.

    Attributes:
        start: (d + 1,) where to begin.
        gradient: at the point that was settled last, the greatest entry by coef and intercept.
    """

    def __init__(self, x: Floats, y: NDArray[np.bool_], penalty_c: float) -> None:
        self._x = x
        self._signs = np.where(y, 1, -1).astype(x.dtype)
        self._mean = x.mean(axis=0, dtype=np.float64)
        if not np.isfinite(self._mean).all():
            raise ValueError("features that are not finite")
        self._penalty = 1 / (penalty_c * len(x))
        self._base = np.zeros(x.shape[1])
        self._whitening: _Whitening | None = None
        self.start: Doubles = np.zeros(x.shape[1] + 1)
        self._at: Doubles = np.array([])
        self._loss = self.gradient = np.inf

    def __call__(self, at: Doubles) -> tuple[float, Doubles]:
        n, coef = len(self._x), self._coef(at)
        log_loss, by_products, by_shift = self._pass(coef, self._intercept(at, coef))
        by_intercept = by_shift / n
        by_coef = by_products / n + self._penalty * coef
        self._at = at.copy()
        self._loss = log_loss / n + 0.5 * self._penalty * float(coef @ coef)
        self.gradient = float(max(np.abs(by_coef).max(), abs(by_intercept)))
        centred = by_coef - by_intercept * self._mean
        if self._whitening is not None:
            centred = self._whitening(centred)
        return self._loss, np.append(centred, by_intercept)

    def settle(self, at: Doubles) -> None:
        """Let `gradient` and `found` be those of this point."""
        if not np.array_equal(self._at, at):
            self(at)

    def found(self) -> tuple[Doubles, float, float]:
        """Coefficients, intercept and loss of the point that was settled last."""
        coef = self._coef(self._at)
        return coef, self._intercept(self._at, coef), self._loss

    def whiten(self) -> None:
        """Go on from the point that was settled last in coordinates that suit it."""
        coef, intercept, _ = self.found()
        whitening = _Whitening(self._x, self._mean, self._penalty, coef, intercept)
        self.start = np.append(np.zeros(len(coef)), self._at[-1])
        self._base, self._whitening = coef, whitening
        self._at = self.start

    def _coef(self, at: Doubles) -> Doubles:
        moved = at[:-1] if self._whitening is None else self._whitening(at[:-1])
        return self._base + moved

    def _intercept(self, at: Doubles, coef: Doubles) -> float:
        return float(at[-1] - self._mean @ coef)

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
    """T = t I + V diag(s - t) V', symmetric: about the inverse square root of the Hessian.

    The Hessian at a point is X' diag(p (1 - p)) X / n + penalty, with X centred. Its greatest
    eigenvalues, and eigenvectors V, are taken from a sample of rows; the rest is taken to be as
    great as the least of them.
    """

    def __init__(
        self, x: Floats, mean: Doubles, penalty: float, coef: Doubles, intercept: float
    ) -> None:
        from scipy.linalg import eigh
        from scipy.special import expit

        n, d = x.shape
        m = min(n, max(_SAMPLE, 4 * d) if d <= _SAMPLE else _SAMPLE)
        picked = np.sort(np.random.default_rng([n, d]).choice(n, m, replace=False))
        sample = x[picked]
        p = expit(sample @ coef.astype(x.dtype) + intercept)
        sample -= mean.astype(x.dtype)
        sample *= np.sqrt(p * (1 - p) / m).astype(x.dtype)[:, None]
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
        """(d,) T times a vector."""
        along = self._beyond * (self._vectors @ vector.astype(self._vectors.dtype))
        return self._rest * vector + along @ self._vectors
