"""The statistics: numbers in, numbers out. Knows no model, no file.

Every estimate is a mean of question-level differences (arm minus control, paired by question),
in percentage points, with a 95% interval and the name of the method that made it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

LEVEL = 0.95
# With fewer questions than this off the most common difference, t intervals are too narrow and a
# score interval is used.
MIN_DIFFERING_FOR_T = 10


@dataclass(frozen=True)
class Gain:
    """A paired mean difference.

    Attributes:
        n: questions.
        n_differing: questions whose score differs between the two arms.
        mean_pp, low_pp, high_pp: percentage points; NaN where unknown.
        method: `t`, `score` (Tango 1998), or `none` (fewer than two questions).
    """

    n: int
    n_differing: int
    mean_pp: float
    low_pp: float
    high_pp: float
    method: str


def paired_gain(arm: NDArray[np.float64], base: NDArray[np.float64], level: float = LEVEL) -> Gain:
    """Mean of `arm - base` over questions, with an interval.

    Args:
        arm: (n,) float64, scores in [0, 1] under the arm.
        base: (n,) float64, scores of the same questions under control (or a placebo).
        level: coverage of the interval.

    The interval is Student's t over questions, mean +- t(n-1) * sd / sqrt(n). Where fewer than
    `MIN_DIFFERING_FOR_T` questions are off the most common difference (nearly all equal, or nearly
    all changed), it is the score interval of `score_interval`, which is never of zero width; for
    means over several stimuli, that or t's, whichever reaches further on each side.

    Raises:
        ValueError: the arrays differ in shape or are not one-dimensional.

    >>> import numpy as np
    >>> gain = paired_gain(np.ones(50), np.ones(50))
    >>> gain.mean_pp, gain.method, gain.low_pp < 0 < gain.high_pp
    (0.0, 'score', True)
    """
    if arm.shape != base.shape or arm.ndim != 1:
        raise ValueError(f"arm {arm.shape} and base {base.shape} must be equal and 1-dimensional")
    difference = arm - base
    n = len(difference)
    n_differing = int(np.count_nonzero(difference))
    mean = float(difference.mean()) if n else float("nan")
    if n < 2:
        return Gain(n, n_differing, 100 * mean, float("nan"), float("nan"), "none")
    n_off_mode = n - int(np.unique(difference, return_counts=True)[1].max())
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n))
    if n_off_mode >= MIN_DIFFERING_FOR_T:
        return Gain(n, n_differing, 100 * mean, 100 * (mean - half), 100 * (mean + half), "t")
    low, high = score_interval(difference, level)
    if not np.isin(difference, (-1, 0, 1)).all():
        low, high = max(min(low, mean - half), -1.0), min(max(high, mean + half), 1.0)
    return Gain(n, n_differing, 100 * mean, 100 * low, 100 * high, "score")


@lru_cache(maxsize=65_536)
def binary_gain(n: int, gained: int, lost: int, level: float = LEVEL) -> Gain:
    """`paired_gain` of right-or-wrong scores from their counts.

    Args:
        n: questions.
        gained: questions right under the arm alone.
        lost: questions right under the base alone.
    """
    difference = np.zeros(n)
    difference[:gained] = 1
    difference[gained : gained + lost] = -1
    return paired_gain(difference, np.zeros(n), level)


def score_interval(difference: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Score interval for the mean of paired differences that lie in [-1, 1].

    For differences in {-1, 0, 1}, b of them gained and c lost, this is Tango's interval (1998,
    Statistics in Medicine 17, 891-908): all d with (b - c - n d)^2 <= z^2 n (2 q + d (1 - d)),
    where q is the share of lost questions that is most likely if d were true. Fractional
    differences (means over stimuli) count by their absolute value, which keeps the variance on the
    safe side (E[D^2] <= E|D|): a larger difference than any seen is not ruled out.

    Args:
        difference: (n,) float64, n >= 1.
        level: coverage.

    Returns:
        (low, high) as shares; never of zero width.
    """
    n = len(difference)
    gained = float(difference[difference > 0].sum())
    lost = float(-difference[difference < 0].sum())
    mean = min(max((gained - lost) / n, -1.0), 1.0)
    z = stats.norm.ppf((1 + level) / 2)

    def excess(delta: float) -> float:
        """Positive where `delta` is incompatible with what was seen, negative where compatible."""
        variance = n * _constrained_variance(gained, lost, n, delta)
        distance = gained - lost - n * delta
        if abs(distance) <= 1e-9 * n:
            return -1.0
        return 1.0 if distance**2 > (z**2 + 1) * variance else distance**2 - z**2 * variance

    return _boundary(excess, -1.0, mean), _boundary(excess, 1.0, mean)


def _constrained_variance(gained: float, lost: float, n: int, delta: float) -> float:
    """Variance per question of the difference when its true mean is `delta` (Tango 1998).

    The share of lost questions q solves 2 n q^2 + B q + C = 0 with
    B = -gained - lost + (2 n - gained + lost) delta and C = -lost delta (1 - delta);
    the variance is 2 q + delta (1 - delta).
    """
    b = -gained - lost + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    q = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return float(max(2 * q + delta * (1 - delta), 0.0))


def _boundary(excess: Callable[[float], float], end: float, mean: float) -> float:
    """Where, from the mean towards `end` of the scale, values cease to be compatible."""
    if excess(end) <= 0:
        return end
    return float(optimize.brentq(excess, end, mean, xtol=1e-12))
