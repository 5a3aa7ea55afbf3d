"""The best stimulus, honestly: chosen on one half of the questions, estimated on the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from emo_harness.effects.gain import Gain, paired_gain

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """A stimulus picked for its gain.

    Attributes:
        halves: index of the stimulus chosen on each half of the questions.
        gain: cross-fitted: each half estimated with the stimulus chosen on the other; `p` is
            unknown, as the stimulus was not fixed beforehand.
        naive: index of the stimulus with the greatest (least) gain on all questions.
        naive_gain: its gain on the same questions, too far from zero for having been picked.
    """

    halves: tuple[int, int]
    gain: Gain
    naive: int
    naive_gain: Gain


def best_stimulus(
    arms: Floats,
    base: Floats,
    rng: np.random.Generator,
    strata: NDArray[np.int64] | None = None,
    worst: bool = False,
) -> Chosen:
    """Choose and estimate on different questions, both ways round.

    Args:
        arms: (n, m) float64 scores under m stimuli.
        base: (n,) float64 scores of the same questions under control.
        rng: how questions are halved, within strata.
        strata: (n,) int, the subtask of each question.
        worst: choose the least gain rather than the greatest.

    Raises:
        ValueError: fewer than two stimuli.
    """
    if arms.ndim != 2 or arms.shape[1] < 2:
        raise ValueError(f"arms {arms.shape} must have at least two stimuli")
    complete = ~(np.isnan(arms).any(axis=1) | np.isnan(base))
    arms, base = arms[complete], base[complete]
    strata = np.zeros(len(base), dtype=np.int64) if strata is None else strata[complete]
    order = np.lexsort((rng.random(len(base)), strata))
    half = np.empty(len(base), dtype=np.int64)
    half[order] = np.arange(len(base)) % 2
    sign = -1 if worst else 1
    gains = arms - base[:, None]

    def pick(questions: NDArray[np.bool_]) -> int:
        return int(np.argmax(sign * gains[questions].mean(axis=0))) if questions.any() else 0

    halves = (pick(half == 0), pick(half == 1))
    crossed = np.where(half == 0, arms[:, halves[1]], arms[:, halves[0]])
    naive = pick(np.ones(len(base), dtype=bool))
    return Chosen(
        halves,
        _widened(paired_gain(crossed, base, strata), arms.shape[1]),
        naive,
        paired_gain(arms[:, naive], base, strata),
    )


def _widened(gain: Gain, m: int) -> Gain:
    """The interval, allowing for what choosing ties together.

    With m equal stimuli both halves choose the same one with chance 1 / m, and then both estimates
    are maxima, about e standard errors too high each, e being the expected maximum of m standard
    normal variables (Blom 1958). Their correlation is at most e^2 / m.
    """
    expected_maximum = float(special.ndtri((m - 0.375) / (m + 0.25)))
    factor = math.sqrt(1 + expected_maximum**2 / m)
    return replace(
        gain,
        low_pp=max(gain.mean_pp - factor * (gain.mean_pp - gain.low_pp), -100.0),
        high_pp=min(gain.mean_pp + factor * (gain.high_pp - gain.mean_pp), 100.0),
        p=math.nan,
    )
