"""Paired gains: arm minus base over the same questions, with an interval and a p-value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_harness.effects.intervals import (
    Floats,
    WeightedDifferences,
    differing_of_counts,
    is_binary,
    t_p_value,
    t_quantile,
    tango,
)
from emo_harness.effects.randomisation import mcnemar, mean_test

LEVEL = 0.95
# From so many (effective) questions off the most common difference of their stratum, Student's t
# holds what it promises; below, a score-type interval is used.
DIFFERING_FOR_T = 45
# One right-or-wrong arm: where fewer than so many differ in one of the two directions, so many must
# differ in all, since the difference is then skewed.
EITHER_WAY_FOR_T = 10
ONE_WAY_FOR_T = 200
# Degrees of freedom added to that number for a score interval's quantile.
_SCORE_DF = 40
NAN = float("nan")


@dataclass(frozen=True)
class Gain:
    """A paired mean difference.

    Attributes:
        n: questions that have a score under every arm concerned.
        n_differing: questions whose (mean) score differs between arm and base.
        mean_pp, low_pp, high_pp: percentage points; NaN where unknown.
        p: two-sided p-value of no gain; t's, or where `method` is no t McNemar's, and of means over
            several arms that of `randomisation.mean_test`.
        method: `t` (Student's t over questions), `score` (Tango 1998), `weighted score` (means
            over several arms), `two-way t`, or `none` (fewer than two questions).
        quantile: the quantile that the interval was made with.
    """

    n: int
    n_differing: int
    mean_pp: float
    low_pp: float
    high_pp: float
    p: float
    method: str
    quantile: float

    @property
    def se_pp(self) -> float:
        """Standard error that an interval of this width has, percentage points."""
        return (self.high_pp - self.low_pp) / (2 * self.quantile)


@dataclass(frozen=True)
class Gains:
    """Many gains at once, see `Gain`; every field is an array of one shape."""

    n: NDArray[np.int64]
    n_differing: NDArray[np.int64]
    mean_pp: Floats
    low_pp: Floats
    high_pp: Floats
    p: Floats
    method: NDArray[np.str_]
    quantile: Floats

    def reshaped(self, shape: tuple[int, ...]) -> Gains:
        """The same gains in another shape."""
        return Gains(**{name: value.reshape(shape) for name, value in vars(self).items()})

    def __getitem__(self, index: int | tuple[int, ...]) -> Gain:
        return Gain(
            int(self.n[index]),
            int(self.n_differing[index]),
            float(self.mean_pp[index]),
            float(self.low_pp[index]),
            float(self.high_pp[index]),
            float(self.p[index]),
            str(self.method[index]),
            float(self.quantile[index]),
        )


UNKNOWN = Gain(0, 0, NAN, NAN, NAN, NAN, "none", NAN)


def paired_gain(
    arms: Floats,
    base: Floats,
    strata: NDArray[np.int64] | None = None,
    level: float = LEVEL,
) -> Gain:
    """Mean over arms minus mean over base arms, averaged over questions, with an interval.

    Args:
        arms: (n,) or (n, m) float64, scores in [0, 1]; NaN where there is none.
        base: (n,) or (n, k) float64, scores of the same questions under control (or placebos).
        strata: (n,) int, the subtask of each question; the standard error is then that of a
            stratified sample. None for one subtask.
        level: coverage of the interval.

    Questions without a score under one of the arms are left out. Where (effectively) at least
    `DIFFERING_FOR_T` questions are off the most common difference, of all and of their stratum,
    the interval is Student's t over questions, mean +- t(n - strata) * SE with
    SE^2 = sum over strata of n_h sd_h^2 / n^2. Below,
    it is Tango's score interval for one right-or-wrong arm against another, and its weighted form
    for means over several arms or graded scores; both pooled over strata.

    Raises:
        ValueError: shapes that do not fit, or scores outside [0, 1].

    >>> gain = paired_gain(np.ones(50), np.ones(50))
    >>> gain.mean_pp, gain.method, gain.low_pp < 0 < gain.high_pp
    (0.0, 'score', True)
    """
    arms, base = _columns(arms), _columns(base)
    if len(arms) != len(base) or (strata is not None and len(strata) != len(arms)):
        raise ValueError(f"arms {arms.shape}, base {base.shape} and strata must be of one length")
    complete = ~(np.isnan(arms).any(axis=1) | np.isnan(base).any(axis=1))
    arms, base = arms[complete], base[complete]
    if arms.size and (min(arms.min(), base.min()) < 0 or max(arms.max(), base.max()) > 1):
        raise ValueError("scores must lie in [0, 1]")
    strata = np.zeros(len(arms), dtype=np.int64) if strata is None else strata[complete]
    if arms.shape[1] == base.shape[1] == 1 and is_binary(arms) and is_binary(base):
        _, stratum = np.unique(strata, return_inverse=True)
        gained = np.bincount(stratum, weights=(arms > base)[:, 0])
        lost = np.bincount(stratum, weights=(arms < base)[:, 0])
        n_h = np.bincount(stratum)
        return gains_of_counts(n_h[:, None], gained[:, None], lost[:, None], level)[0]
    return _mean_gain(arms, base, strata, level)


def gains_of_counts(
    n: ArrayLike, gained: ArrayLike, lost: ArrayLike, level: float = LEVEL
) -> Gains:
    """`paired_gain` of many right-or-wrong arms from their counts.

    Args:
        n: (strata, k) or (k,) questions.
        gained: the same shape, questions right under the arm alone.
        lost: the same shape, questions right under the base alone.
        level: coverage of the intervals.

    Returns:
        arrays of shape (k,), pooled over strata.
    """
    n_h, gained_h, lost_h = (
        np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (n, gained, lost)
    )
    total, up, down = n_h.sum(axis=0), gained_h.sum(axis=0), lost_h.sum(axis=0)
    known = total >= 2
    safe = np.where(known, total, 2.0)
    mean = np.where(total > 0, (up - down) / np.maximum(total, 1), NAN)
    off_mode = differing_of_counts(safe, up, down)
    variance, df, off_mode_within = _stratified(n_h, gained_h, lost_h)
    both_ways = np.minimum(up, down) >= EITHER_WAY_FOR_T
    use_t = off_mode_within >= np.where(both_ways, DIFFERING_FOR_T, ONE_WAY_FOR_T)
    quantile = t_quantile(level, np.where(use_t, df, _SCORE_DF + off_mode))
    half = quantile * np.sqrt(variance)
    low, high = tango(safe, up, down, quantile)
    low, high = np.where(use_t, mean - half, low), np.where(use_t, mean + half, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_of_t = t_p_value(mean / np.sqrt(variance), df)
    p = np.where(use_t, p_of_t, mcnemar(up, down))
    return Gains(
        n=total.astype(np.int64),
        n_differing=(up + down).astype(np.int64),
        mean_pp=100 * mean,
        low_pp=np.where(known, 100 * low, NAN),
        high_pp=np.where(known, 100 * high, NAN),
        p=np.where(known, p, NAN),
        method=np.where(known, np.where(use_t, "t", "score"), "none"),
        quantile=quantile,
    )


def _stratified(n_h: Floats, gained_h: Floats, lost_h: Floats) -> tuple[Floats, Floats, Floats]:
    """Variance, degrees of freedom and questions off the most common difference of their stratum.

    (k,) each; see `stratified_variance`.
    """
    small = n_h < 2
    n_h, gained_h, lost_h = (
        np.concatenate([np.where(small, 0, x), np.where(small, x, 0).sum(axis=0, keepdims=True)])
        for x in (n_h, gained_h, lost_h)
    )
    used = n_h >= 2
    size = np.where(used, n_h, 2.0)
    mean = (gained_h - lost_h) / size
    squares = np.where(used, (gained_h + lost_h) - size * mean**2, 0.0)
    total = np.maximum(n_h.sum(axis=0), 1)
    variance = (np.where(used, size / (size - 1), 0.0) * squares).sum(axis=0) / total**2
    df = np.maximum(np.maximum(n_h - 1, 0).sum(axis=0), 1)
    return variance, df, differing_of_counts(n_h, gained_h, lost_h).sum(axis=0)


def _mean_gain(arms: Floats, base: Floats, strata: NDArray[np.int64], level: float) -> Gain:
    n = len(arms)
    difference = arms.mean(axis=1) - base.mean(axis=1)
    n_differing = int(np.count_nonzero(np.abs(difference) > 1e-12))
    if n < 2:
        mean_pp = 100 * float(difference.mean()) if n else NAN
        return Gain(n, n_differing, mean_pp, NAN, NAN, NAN, "none", NAN)
    weighted = WeightedDifferences(arms, base)
    if min(weighted.n_effective, _off_mode_within(difference, strata)) >= DIFFERING_FOR_T:
        variance, df = stratified_variance(difference, strata)
        quantile = float(t_quantile(level, df))
        half = quantile * np.sqrt(variance)
        low, high, method = float(weighted.mean - half), float(weighted.mean + half), "t"
        p = float(t_p_value(weighted.mean / np.sqrt(variance), df))
    else:
        quantile = float(t_quantile(level, _SCORE_DF + weighted.n_effective))
        low, high = _weighted_interval(weighted, difference, quantile)
        method, p = "weighted score", mean_test(arms, base)
    return Gain(n, n_differing, 100 * weighted.mean, 100 * low, 100 * high, p, method, quantile)


def _weighted_interval(
    weighted: WeightedDifferences, difference: Floats, quantile: float
) -> tuple[float, float]:
    low, high = weighted.interval(quantile)
    if np.ptp(difference) < 1e-12:
        # Every question changed by the same amount: nothing was seen of how amounts vary.
        up, down = max(weighted.mean, 0.0), max(-weighted.mean, 0.0)
        wide = tango(weighted.n, weighted.n * up, weighted.n * down, quantile)
        low, high = min(low, float(wide[0])), max(high, float(wide[1]))
    return low, high


def stratified_variance(difference: Floats, strata: NDArray[np.int64]) -> tuple[float, float]:
    """Variance of a mean over a stratified sample, and its degrees of freedom.

    sum over strata of n_h sd_h^2 / n^2 (Cochran 1977, Sampling Techniques, eq. 5.8), with n minus
    the number of strata degrees of freedom. Strata of one question are put together.

    Args:
        difference: (n,) float64.
        strata: (n,) int.
    """
    n = len(difference)
    if n < 2:
        return NAN, 1.0
    stratum = _together(strata)
    size = np.bincount(stratum)
    mean = np.bincount(stratum, weights=difference) / size
    squares = np.bincount(stratum, weights=(difference - mean[stratum]) ** 2)
    correction = size / np.maximum(size - 1, 1)
    return float((correction * squares).sum() / n**2), float(max(n - len(size), 1))


def _off_mode_within(difference: Floats, strata: NDArray[np.int64]) -> int:
    """How many questions are off the most common difference of their stratum."""
    values, value = np.unique(difference.round(12), return_inverse=True)
    stratum = _together(strata)
    pair, count = np.unique(stratum * len(values) + value, return_counts=True)
    most_common = np.zeros(stratum.max() + 1, dtype=np.int64)
    np.maximum.at(most_common, pair // len(values), count)
    return len(difference) - int(most_common.sum())


def _together(strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Strata numbered from 0, those of one question put together."""
    _, stratum, size = np.unique(strata, return_inverse=True, return_counts=True)
    together = np.where(size[stratum] < 2, len(size), stratum)
    return np.asarray(np.unique(together, return_inverse=True)[1], dtype=np.int64)


def _columns(scores: Floats) -> Floats:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim not in (1, 2):
        raise ValueError(f"scores {scores.shape} must be (n,) or (n, arms)")
    return scores[:, None] if scores.ndim == 1 else scores
