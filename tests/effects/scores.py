"""Scores for the tests of the statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def right_or_wrong(n: int, gained: int, lost: int) -> tuple[Floats, Floats]:
    """Arm and base scores of n questions, so many right under one of them alone."""
    arm, base = np.zeros(n), np.zeros(n)
    arm[:gained] = 1
    base[gained : gained + lost] = 1
    return arm, base


def crossed(
    n: int, m: int, rng: np.random.Generator, right: float = 0.5, base_right: float = 0.5
) -> tuple[Floats, Floats]:
    """(n, m) arms and (n,) base, right-or-wrong, without any effects but chance."""
    arms = (rng.random((n, m)) < right).astype(float)
    return arms, (rng.random(n) < base_right).astype(float)
