"""Relative gain, the form of the founding papers: only beside the absolute one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.gain import LEVEL, paired_gain, stratified_variance
from emo_harness.effects.intervals import t_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RelativeGain:
    """Gain over control score, in per cent; NaN where `refused` says why.

    Attributes:
        percent, low_percent, high_percent: 100 (arm / control - 1), with its interval.
        refused: "" or the reason.
    """

    percent: float
    low_percent: float
    high_percent: float
    refused: str = ""


def relative_gain(
    arm: Floats, control: Floats, strata: NDArray[np.int64] | None = None, level: float = LEVEL
) -> RelativeGain:
    """Ratio of means minus one, with Fieller's interval (Fieller 1954, J. R. Stat. Soc. B 16, 175).

    The set of ratios r with (A - r C)^2 <= t^2 Var(A - r C), A and C being the means under arm and
    control, paired by question. It is an interval only if C is reliably above zero; else the
    relative gain is refused. It is never narrower than the gain's own interval over C, which holds
    where few questions differ and Fieller's normal approximation does not.

    Args:
        arm: (n,) float64 scores (means over stimuli).
        control: (n,) float64 scores of the same questions.
        strata: (n,) int, the subtask of each question.
        level: coverage of the interval.
    """
    complete = ~(np.isnan(arm) | np.isnan(control))
    arm, control = arm[complete], control[complete]
    n = len(arm)
    if n < 2:
        return RelativeGain(math.nan, math.nan, math.nan, "fewer than two questions")
    strata = np.zeros(n, dtype=np.int64) if strata is None else strata[complete]
    var_control, df = stratified_variance(control, strata)
    var_arm, _ = stratified_variance(arm, strata)
    var_sum, _ = stratified_variance(arm + control, strata)
    covariance = (var_sum - var_arm - var_control) / 2
    t2 = float(t_quantile(level, df)) ** 2
    a, c = float(arm.mean()), float(control.mean())
    leading = c * c - t2 * var_control
    if leading <= 0 or c <= 0:
        return RelativeGain(
            math.nan, math.nan, math.nan, "the interval of control accuracy touches zero"
        )
    middle = a * c - t2 * covariance
    root = math.sqrt(max(middle**2 - leading * (a * a - t2 * var_arm), 0.0))
    low, high = (middle - root) / leading, (middle + root) / leading
    gain = paired_gain(arm, control, strata, level)
    return RelativeGain(
        100 * (a / c - 1),
        min(100 * (low - 1), gain.low_pp / c),
        max(100 * (high - 1), gain.high_pp / c),
    )
