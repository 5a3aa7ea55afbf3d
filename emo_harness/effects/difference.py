"""The difference of two gains: two models, temperatures or revisions on the same questions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.gain import LEVEL, Gain, paired_gain

Floats = NDArray[np.float64]


def difference_of_gains(
    arms: Floats,
    base: Floats,
    other_arms: Floats,
    other_base: Floats,
    strata: NDArray[np.int64] | None = None,
    level: float = LEVEL,
) -> Gain:
    """Gain of the first run minus gain of the other, paired by question.

    (arms - base) - (other_arms - other_base), each a mean over its arms, is twice the paired gain
    of (arms + other_base) / 2 over (base + other_arms) / 2, whose scores lie in [0, 1]; so the same
    intervals serve.

    Args:
        arms: (n,) or (n, m) float64 scores of the first run; base: (n,) float64 its control.
        other_arms, other_base: the other run's scores of the same questions, in the same order.
        strata: (n,) int, the subtask of each question.
        level: coverage of the interval.
    """
    above = (_mean(arms) + other_base) / 2
    below = (base + _mean(other_arms)) / 2
    half = paired_gain(above, below, strata, level)
    return replace(half, mean_pp=2 * half.mean_pp, low_pp=2 * half.low_pp, high_pp=2 * half.high_pp)


def _mean(arms: Floats) -> Floats:
    return arms if arms.ndim == 1 else np.asarray(arms.mean(axis=1), dtype=np.float64)
