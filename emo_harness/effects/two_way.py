"""Stimuli like these: stimuli as a second random factor beside questions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.gain import LEVEL, NAN, Gain, paired_gain
from emo_harness.effects.intervals import t_p_value, t_quantile

Floats = NDArray[np.float64]


def two_way_gain(
    arms: Floats,
    base: Floats,
    strata: NDArray[np.int64] | None = None,
    level: float = LEVEL,
) -> Gain:
    """The gain of the population that the tested stimuli are a sample of.

    The point estimate is that of `paired_gain`. To its variance over questions comes what the
    stimuli vary among themselves, V = V_q + max(0, V_s - V_qs) (two-way clustering: Cameron,
    Gelbach & Miller 2011, J. Bus. Econ. Stat. 29, eq. 2.10), with V_s the variance of the stimuli's
    mean gains over m, and V_qs the residual variance over n m. The interval uses Student's t with
    min(n, m) - 1 degrees of freedom and is never narrower than the one over questions alone.

    Args:
        arms: (n, m) float64 scores under the m stimuli of a family.
        base: (n,) or (n, k) float64 scores of the same questions.
        strata: (n,) int, the subtask of each question.
        level: coverage of the interval.
    """
    these = paired_gain(arms, base, strata, level)
    m = arms.shape[1] if arms.ndim == 2 else 1
    df = min(these.n, m) - 1
    if these.method == "none" or df < 1:
        return Gain(these.n, these.n_differing, these.mean_pp, NAN, NAN, NAN, "none", NAN)
    quantile = float(t_quantile(level, df))
    widening = max(quantile / these.quantile, 1.0)
    between = quantile**2 * between_stimuli_variance(arms, base)
    mean = these.mean_pp / 100
    below = float(np.hypot(widening * (mean - these.low_pp / 100), np.sqrt(between)))
    above = float(np.hypot(widening * (these.high_pp / 100 - mean), np.sqrt(between)))
    towards_zero = below if mean > 0 else above
    statistic = quantile * abs(mean) / towards_zero if towards_zero > 0 else 0.0
    return Gain(
        these.n,
        these.n_differing,
        these.mean_pp,
        100 * max(mean - below, -1.0),
        100 * min(mean + above, 1.0),
        float(t_p_value(statistic, df)),
        "two-way t",
        quantile,
    )


def between_stimuli_variance(arms: Floats, base: Floats) -> float:
    """max(0, V_s - V_qs): what the choice of stimuli adds to the variance of the mean gain.

    Args:
        arms: (n, m) float64, m at least 2.
        base: (n,) or (n, k) float64.
    """
    control = base if base.ndim == 1 else base.mean(axis=1)
    difference = arms - control[:, None]
    difference = difference[~np.isnan(difference).any(axis=1)]
    n, m = difference.shape
    if n < 2 or m < 2:
        return NAN
    by_stimulus, by_question = difference.mean(axis=0), difference.mean(axis=1)
    residual = difference - by_stimulus - by_question[:, None] + difference.mean()
    v_s = float(by_stimulus.var(ddof=1)) / m
    v_qs = float((residual**2).sum()) / ((n - 1) * (m - 1)) / (n * m)
    return max(v_s - v_qs, 0.0)
