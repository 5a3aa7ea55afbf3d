"""Associations: does what a stimulus shifts inside a model predict what it does to the score?

Two questions that must not be mixed. *Between* stimuli: do stimuli that shift more on average gain
more on average? Its sample is the stimuli. *Within* stimuli: where one and the same stimulus shifts
one question's prompt more than another's, does that question gain more? Its sample is the
questions, and what stimuli differ in otherwise (length, demand) cannot produce it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.gain import LEVEL, NAN
from emo_harness.effects.intervals import t_p_value, t_quantile

Floats = NDArray[np.float64]
N_RESAMPLES = 2_000
N_PERMUTATIONS = 9_999
# Fewer make no trend.
FEWEST_STIMULI = 4


@dataclass(frozen=True)
class Association:
    """How gain goes with shift; NaN is unknown.

    Attributes:
        n: stimuli (between) or questions (within).
        slope_pp: percentage points of gain for a shift by one class-mean distance.
        low_pp, high_pp: its 95% interval.
        correlation: Pearson's.
        p: two-sided.
        rank_correlation, rank_low, rank_high: Spearman's and its 95% interval (between only).
    """

    n: int
    slope_pp: float
    low_pp: float
    high_pp: float
    correlation: float
    p: float
    rank_correlation: float = NAN
    rank_low: float = NAN
    rank_high: float = NAN


UNRELATED = Association(0, NAN, NAN, NAN, NAN, NAN)


def between_stimuli(
    shift: Floats,
    gain: Floats,
    rng: np.random.Generator,
    strata: NDArray[np.int64] | None = None,
) -> Association:
    """Least squares of the stimuli's mean gains on their mean shifts.

    Intervals: percentiles over resampled questions (within strata) times resampled stimuli
    (Owen 2007, Ann. Appl. Stat. 1, 386). p: the share of random pairings of shifts and gains whose
    correlation is at least as strong.

    Args:
        shift: (n_questions, n_stimuli) arm minus control along the axis; NaN where unknown.
        gain: (n_questions, n_stimuli) arm minus control score, in [-1, 1]; NaN where unknown.
        rng: for resamples and pairings.
        strata: (n_questions,) subtask of each question.
    """
    shift, gain = _both_known(shift, gain)
    asked = ~np.isnan(shift).all(axis=0) if len(shift) else np.zeros(shift.shape[1], bool)
    shift, gain = shift[:, asked], 100 * gain[:, asked]
    m = shift.shape[1]
    if m < FEWEST_STIMULI:
        return Association(m, NAN, NAN, NAN, NAN, NAN)
    x, y = np.nanmean(shift, axis=0), np.nanmean(gain, axis=0)
    slope, correlation = _fit(x[None], y[None])
    if np.isnan(slope[0]):
        return Association(m, NAN, NAN, NAN, NAN, NAN)
    slopes, ranks = _resampled(shift, gain, strata, rng)
    permuted = rng.permuted(np.broadcast_to(y, (N_PERMUTATIONS, m)), axis=1)
    _, by_chance = _fit(np.broadcast_to(x, permuted.shape), permuted)
    # Equal correlations may differ in their last digits.
    n_as_strong = int((np.abs(by_chance) >= abs(correlation[0]) - 1e-12).sum())
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(slopes[~np.isnan(slopes)], [tail, 1 - tail])
    ranks = ranks[~np.isnan(ranks)]
    rank_low, rank_high = np.quantile(ranks, [tail, 1 - tail]) if len(ranks) else (NAN, NAN)
    _, rank = _fit(_ranks(x[None]), _ranks(y[None]))
    return Association(
        m,
        float(slope[0]),
        float(low),
        float(high),
        float(correlation[0]),
        # Equal gains pair alike however they are dealt.
        1.0 if np.isnan(correlation[0]) else (n_as_strong + 1) / (N_PERMUTATIONS + 1),
        float(rank[0]),
        float(rank_low),
        float(rank_high),
    )


def within_stimuli(
    shift: Floats, gain: Floats, strata: NDArray[np.int64] | None = None
) -> Association:
    """Least squares of gain on shift, each stimulus in each subtask compared with itself only.

    From shifts and gains their means over the questions of one stimulus and subtask are taken
    away; the slope's variance is sum_q (sum_s x e)^2 / (sum x^2)^2 times n / (n - 1), clustered by
    question (Liang & Zeger 1986, Biometrika 73, 13), with Student's t of n - 1 degrees of freedom.

    Args:
        shift, gain, strata: see `between_stimuli`.
    """
    shift, gain = _both_known(shift, gain)
    strata = np.zeros(len(shift), np.int64) if strata is None else strata
    x, y = _within(shift, strata), _within(100 * gain, strata)
    known = ~np.isnan(x)
    n = int(known.any(axis=1).sum())
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    squares = float((x**2).sum())
    if n < 3 or squares <= 1e-12 * max(1.0, float(np.nanmax(np.abs(shift), initial=0.0)) ** 2):
        return Association(n, NAN, NAN, NAN, NAN, NAN)
    slope = float((x * y).sum()) / squares
    by_question = (x * (y - slope * x)).sum(axis=1)
    error = float(np.sqrt((by_question**2).sum() * n / (n - 1))) / squares
    half = float(t_quantile(LEVEL, n - 1)) * error
    spread = float(np.sqrt(squares * (y**2).sum()))
    return Association(
        n,
        slope,
        slope - half,
        slope + half,
        float((x * y).sum()) / spread if spread else NAN,
        float(t_p_value(abs(slope) / error, n - 1)) if error else NAN,
    )


def correlations(
    shifts: Floats, gain: Floats, strata: NDArray[np.int64] | None = None
) -> tuple[Floats, Floats]:
    """Correlations between and within stimuli for many directions at once.

    What any direction would show: questions differ in many ways that move both prompts and scores,
    so that a random direction, too, may go with gain from question to question. An axis means
    something where it goes with gain more closely than random ones do.

    Args:
        shifts: (n_questions, n_stimuli, n_directions), any float.
        gain, strata: see `between_stimuli`.

    Returns:
        Two arrays (n_directions,); NaN as in the two functions.
    """
    between, within = [], []
    strata = np.zeros(len(gain), np.int64) if strata is None else strata
    for number in range(shifts.shape[2]):
        x, y = _both_known(shifts[:, :, number].astype(np.float64), gain)
        asked = ~np.isnan(x).all(axis=0) if len(x) else np.zeros(x.shape[1], bool)
        if asked.sum() < FEWEST_STIMULI:
            between.append(NAN)
        else:
            means = [np.nanmean(values[:, asked], axis=0)[None] for values in (x, y)]
            between.append(float(_fit(*means)[1][0]))
        inner = [np.nan_to_num(_within(values, strata)) for values in (x, y)]
        spread = float(np.sqrt((inner[0] ** 2).sum() * (inner[1] ** 2).sum()))
        within.append(float((inner[0] * inner[1]).sum()) / spread if spread else NAN)
    return np.array(between), np.array(within)


def _both_known(shift: Floats, gain: Floats) -> tuple[Floats, Floats]:
    unknown = np.isnan(shift) | np.isnan(gain)
    return np.where(unknown, np.nan, shift), np.where(unknown, np.nan, gain)


def _within(values: Floats, strata: NDArray[np.int64]) -> Floats:
    found = np.full(values.shape, np.nan)
    for stratum in np.unique(strata):
        own = values[strata == stratum]
        n_known = (~np.isnan(own)).sum(axis=0)
        mean = np.nansum(own, axis=0) / np.maximum(n_known, 1)
        found[strata == stratum] = own - mean
    return found


def _resampled(
    shift: Floats, gain: Floats, strata: NDArray[np.int64] | None, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """(N_RESAMPLES,) slopes and rank correlations; NaN where a resample has one stimulus alone."""
    n, m = shift.shape
    strata = np.zeros(n, np.int64) if strata is None else strata
    known = (~np.isnan(shift)).astype(np.float64)
    x, y = np.nan_to_num(shift), np.nan_to_num(gain)
    sums = [np.zeros((N_RESAMPLES, m)) for _ in range(3)]
    for stratum in np.unique(strata):
        own = strata == stratum
        size = int(own.sum())
        weights = rng.multinomial(size, np.full(size, 1 / size), size=N_RESAMPLES)
        for total, part in zip(sums, (x, y, known), strict=True):
            total += weights @ part[own]
    with np.errstate(invalid="ignore"):
        mean_x, mean_y = sums[0] / sums[2], sums[1] / sums[2]
    drawn = rng.integers(0, m, (N_RESAMPLES, m))
    mean_x = np.take_along_axis(mean_x, drawn, axis=1)
    mean_y = np.take_along_axis(mean_y, drawn, axis=1)
    slopes, _ = _fit(mean_x, mean_y)
    _, ranks = _fit(_ranks(mean_x), _ranks(mean_y))
    return slopes, ranks


def _fit(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(k,) slopes and correlations of k rows; NaN where x, or for correlations y, is constant."""
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    xx, yy, xy = (x**2).sum(axis=1), (y**2).sum(axis=1), (x * y).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(xx > 0, xy / xx, np.nan)
        correlation = np.where((xx > 0) & (yy > 0), xy / np.sqrt(xx * yy), np.nan)
    return slope, correlation


def _ranks(values: Floats) -> Floats:
    """Mean ranks along rows, ties sharing theirs: 1 + #smaller + (#equal - 1) / 2."""
    smaller = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return 1 + smaller + (equal - 1) / 2
