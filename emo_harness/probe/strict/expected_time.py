"""Expected time: what an evaluation will take, from its size and two timed products."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Steps that conjugate gradients are expected to take per subset.
USUAL_STEPS = 20
# Of a logistic fit, between a strong signal and a weak one.
USUAL_ITERATIONS = 70
# Of all rows, about.
_TRAINED = 0.65
_TIMED_ROWS = 2048


@dataclass(frozen=True)
class Size:
    """What an evaluation of one dimension is about.

    Attributes:
        rows: of the two poles.
        layers, dim: L layers of d numbers.
        seeds: how many.
        subsets: 3, or 1 where nothing is negated.
    """

    rows: int
    layers: int
    dim: int
    seeds: int
    subsets: int

    @property
    def width(self) -> int:
        """L * d."""
        return self.layers * self.dim


def operations(size: Size) -> dict[str, float]:
    """Floating-point operations: single layers, the full Gram matrix, steps of solutions.

    With n rows, L layers of d numbers and s seeds: 0.65 s n L d^2 for the layers' training Grams;
    n (L d)^2 for the full one and (L d)^3 / 3 for each factor; 4 n L d per step and column, with 8
    columns per seed on all rows and 4 more on either half.
    """
    n, width = float(size.rows), float(size.width)
    columns = (8 if size.subsets == 1 else 12) * size.seeds
    return {
        "layers": 2 * _TRAINED * size.seeds * n * width * size.dim,
        "gram": n * width**2 + 2 * size.subsets * width**3 / 3,
        "steps": USUAL_STEPS * 4 * n * width * columns,
    }


def shares(size: Size) -> dict[str, float]:
    """What each kind of operations is of all."""
    found = operations(size)
    total = sum(found.values())
    return {name: one / total for name, one in found.items()}


def seconds_of_linear_fits(size: Size) -> float:
    """An evaluation without logistic regressions, at the speed of a timed matrix product."""
    some = _rows(size.width)
    few = some[:, : min(size.width, 768)]
    taken = _timed(lambda: few.T @ some)
    return sum(operations(size).values()) * taken / (2 * some.size * few.shape[1])


def seconds_of_logistic_fits(size: Size, n_fits: int) -> float:
    """Fits of all layers together on one seed's training rows, each a number of timed passes."""
    some = _rows(size.width)
    weights = np.ones(size.width, np.float32)
    a_pass = _timed(lambda: some.T @ (some @ weights)) * _TRAINED * size.rows / len(some)
    return a_pass * USUAL_ITERATIONS * n_fits


def _rows(width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((_TIMED_ROWS, width), np.float32)


def _timed(product: Callable[[], object]) -> float:
    product()
    began = time.perf_counter()
    product()
    return time.perf_counter() - began
