"""Confidence intervals for the mean of paired differences that lie in [-1, 1].

Student's t is too narrow, or of zero width, where few questions differ: with 30 questions of which
5% differ it holds the truth 78 times in 100. Score-type intervals do not break down there. All
functions work on shares (not percentage points); `quantile` is that of a standard normal or a
Student's t distribution at the interval's level.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
_BISECTIONS = 48
# How much the sizes that relabelling predicts, and one unseen difference of full size, weigh
# beside the sizes that were seen. Chosen by simulation, see `perf/inference.py`.
_PREDICTED_WEIGHT = 0.1
_UNSEEN_WEIGHT = 0.5
_UNSEEN_UNTIL = 20


def wilson(right: ArrayLike, n: ArrayLike, quantile: ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's score interval for a share (Wilson 1927, JASA 22, 209-212).

    Args:
        right: number right, may be fractional.
        n: number asked, at least 1.
        quantile: see the module.

    Returns:
        (low, high), of the common shape; never of zero width.
    """
    n = np.asarray(n, dtype=np.float64)
    share = np.asarray(right, dtype=np.float64) / n
    z2 = np.asarray(quantile, dtype=np.float64) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def tango(
    n: ArrayLike, gained: ArrayLike, lost: ArrayLike, quantile: ArrayLike
) -> tuple[Floats, Floats]:
    """Score interval for a difference of paired shares (Tango 1998, Stat. Med. 17, 891-908).

    All d with (gained - lost - n d)^2 <= z^2 n (2 q + d (1 - d)), where q, the share of lost
    questions most likely if d were true, solves 2 n q^2 + B q + C = 0 with
    B = -gained - lost + (2 n - gained + lost) d and C = -lost d (1 - d).

    Args:
        n, gained, lost: questions in all, right under the arm alone, right under the base alone;
            any shapes that broadcast.
        quantile: see the module.

    Returns:
        (low, high), of the common shape; never of zero width.
    """
    n, gained, lost, z = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (n, gained, lost, quantile))
    )
    mean = (gained - lost) / n

    def compatible(d: Floats) -> NDArray[np.bool_]:
        b = -gained - lost + (2 * n - gained + lost) * d
        c = -lost * d * (1 - d)
        q = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * np.maximum(2 * q + d * (1 - d), 0.0)
        distance = gained - lost - n * d
        return np.asarray(distance**2 <= z**2 * variance + 1e-12 * n)

    limits = []
    for end in (-1.0, 1.0):
        inside, outside = mean, np.full(mean.shape, end)
        outside_too = compatible(outside)
        for _ in range(_BISECTIONS):
            middle = (inside + outside) / 2
            holds = compatible(middle)
            inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
        limits.append(np.where(outside_too, end, inside))
    return limits[0], limits[1]


def differing_of_counts(n: ArrayLike, gained: ArrayLike, lost: ArrayLike) -> Floats:
    """How many questions are off the most common difference (of gained, lost, unchanged)."""
    n, gained, lost = (np.asarray(x, dtype=np.float64) for x in (n, gained, lost))
    return np.asarray(n - np.maximum(np.maximum(gained, lost), n - gained - lost))


class WeightedDifferences:
    """Mean over `m` arms minus mean over `k` base arms, as gains and losses of estimated sizes.

    The sum of the positive differences is taken for a count of gained questions times their size,
    the sum of the negative ones for a count of lost questions times theirs. A size is the mean of
    the differences weighted by themselves, E[d^2] / E[d]; so that a large difference not yet seen
    is not ruled out, it also counts, lightly, what relabelling arms and base within each question
    would give (exchanging arm and base as a whole, where scores are graded), and, while few
    questions differ under a single arm, one difference of full size.

    Args:
        arms: (n, m) float64 scores in [0, 1].
        base: (n, k) float64 scores of the same questions.

    Attributes:
        mean: mean difference.
        n_effective: effective number of questions off the most common difference, gained and lost
            sums divided by their sizes; the plain number where all sizes are 1.
    """

    def __init__(self, arms: Floats, base: Floats) -> None:
        self.n = len(arms)
        difference = arms.mean(axis=1) - base.mean(axis=1)
        self.mean = float(difference.mean())
        predicted = _predicted_moments(arms, base, difference)
        n_differing = _differing_per_arm(arms, base)
        unseen = _UNSEEN_WEIGHT * max(0.0, 1 - n_differing / _UNSEEN_UNTIL)
        self._gained, self._gained_size, self._gained_sd = self._side(
            np.maximum(difference, 0), predicted[0], predicted[1], unseen
        )
        self._lost, self._lost_size, self._lost_sd = self._side(
            np.maximum(-difference, 0), predicted[2], predicted[3], unseen
        )
        gained, lost = self._gained / self._gained_size, self._lost / self._lost_size
        self.n_effective = max(float(differing_of_counts(self.n, gained, lost)), 0.0)

    def _side(
        self, part: Floats, predicted: float, predicted_square: float, unseen: float
    ) -> tuple[float, float, float]:
        """(sum, size, standard deviation per question) of the gains or of the losses."""
        total, square = float(part.sum()), float((part**2).sum())
        weight = total + _PREDICTED_WEIGHT * predicted + unseen
        if weight < 1e-12:
            return total, 1.0, 0.0
        size = (square + _PREDICTED_WEIGHT * predicted_square + unseen) / weight
        return total, min(max(size, 1e-9), 1.0), float(part.std())

    def interval(self, quantile: float) -> tuple[float, float]:
        """Wilson intervals of the gained and the lost share, their sizes applied, put together.

        Square-and-add with their correlation (Newcombe 1998, Stat. Med. 17, 2635-2650, method 10;
        Zou 2007, Psychol. Methods 12, 399-413, eq. 15).
        """
        n = self.n
        share_gained, share_lost = self._gained / n, self._lost / n
        low_gained, high_gained = self._wilson(self._gained, self._gained_size, quantile)
        low_lost, high_lost = self._wilson(self._lost, self._lost_size, quantile)
        spread = self._gained_sd * self._lost_sd
        correlation = max(-share_gained * share_lost / spread, -1.0) if spread > 0 else 0.0

        def reach(a: float, b: float) -> float:
            return float(np.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0)))

        low = self.mean - reach(share_gained - low_gained, high_lost - share_lost)
        high = self.mean + reach(high_gained - share_gained, share_lost - low_lost)
        return max(low, -1.0), min(high, 1.0)

    def _wilson(self, total: float, size: float, quantile: float) -> tuple[float, float]:
        count = min(total / size, float(self.n))
        low, high = wilson(count, self.n, quantile)
        return float(low) * size, float(high) * size


def is_binary(scores: Floats) -> bool:
    """Whether every score is right (1) or wrong (0)."""
    return bool(((scores == 0) | (scores == 1)).all())


def _differing_per_arm(arms: Floats, base: Floats) -> float:
    """How many questions differ between an arm and a base arm, on average over such pairs."""
    k = base.shape[1]
    differing = sum(np.count_nonzero(arms != base[:, [j]]) for j in range(k))
    return differing / (arms.shape[1] * k)


def _predicted_moments(arms: Floats, base: Floats, difference: Floats) -> Floats:
    """Expected sums of d+, d+^2, d-, d-^2 if labels were dealt anew within each question."""
    if not (is_binary(arms) and is_binary(base)):
        either_way = [np.abs(difference).sum() / 2, (difference**2).sum() / 2]
        return np.array(either_way * 2)
    m, k = arms.shape[1], base.shape[1]
    right = (arms.sum(axis=1) + base.sum(axis=1)).astype(int)
    return np.asarray(np.bincount(right, minlength=m + k + 1) @ _moments_by_total(m, k))


@lru_cache(maxsize=256)
def _moments_by_total(m: int, k: int) -> Floats:
    """(m + k + 1, 4): the moments of `_predicted_moments` by number of right answers."""
    in_base = np.arange(k + 1)
    total = np.arange(m + k + 1)[:, None]
    chance = dealt_to_base(m, k)
    difference = (total - in_base) / m - in_base / k
    up, down = np.maximum(difference, 0), np.maximum(-difference, 0)
    return np.stack([(chance * x).sum(axis=1) for x in (up, up**2, down, down**2)], axis=1)


@lru_cache(maxsize=256)
def dealt_to_base(m: int, k: int) -> Floats:
    """(m + k + 1, k + 1): chance that h of t right answers fall to the base's k of m + k cells."""
    total, in_base = np.arange(m + k + 1)[:, None], np.arange(k + 1)
    ways = special.comb(total, in_base) * special.comb(m + k - total, k - in_base)
    return np.asarray(ways / special.comb(m + k, k), dtype=np.float64)


def t_quantile(level: float, df: ArrayLike) -> Floats:
    """Two-sided quantile of Student's t at `level`."""
    return np.asarray(special.stdtrit(df, (1 + level) / 2), dtype=np.float64)


def t_p_value(statistic: ArrayLike, df: ArrayLike) -> Floats:
    """Two-sided p-value of a t statistic."""
    statistic = np.asarray(statistic, dtype=np.float64)
    return np.asarray(2 * special.stdtr(df, -np.abs(statistic)), dtype=np.float64)
