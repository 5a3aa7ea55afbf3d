"""Randomisation tests: is the labelling of arm and base within each question arbitrary?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from emo_harness.effects.intervals import dealt_to_base

Floats = NDArray[np.float64]
# Products of longer distributions are made by Fourier transforms.
_DIRECT_UNTIL = 4_000_000
# With more questions that can differ, the sum over them is as good as normal.
DRAWN_UNTIL = 300


def mcnemar(gained: ArrayLike, lost: ArrayLike) -> Floats:
    """Two-sided exact p-value of McNemar's test (McNemar 1947; binomial form, Fay 2010).

    2 P(Binomial(gained + lost, 1/2) <= min(gained, lost)), at most 1.

    Args:
        gained: questions right under the arm alone; any shape.
        lost: questions right under the base alone; the same shape.
    """
    up, down = (np.rint(np.asarray(x)).astype(np.int64) for x in (gained, lost))
    tail = special.bdtr(np.minimum(up, down), up + down, 0.5)
    return np.asarray(np.minimum(2 * tail, 1.0), dtype=np.float64)


def mean_test(arms: Floats, base: Floats) -> float:
    """P-value of a mean gain of zero: the larger one of `relabelling_test` and `sign_flip_test`.

    Each is right where the other may be far too small. Relabelling takes the m + k answers to one
    question for exchangeable, which they are not where stimuli change answers alike: then two
    questions that all of 12 arms lose look like 24 losses. Flipping the signs of the questions'
    differences counts a question once, but takes differences for symmetric, which they are not
    where one base stands against many arms that differ by chance alone.

    Args:
        arms: (n, m) float64 scores in [0, 1].
        base: (n, k) float64 scores of the same questions.
    """
    relabelled = relabelling_test(arms, base)
    if arms.shape[1] == base.shape[1] == 1:
        return relabelled
    return max(relabelled, sign_flip_test(arms.mean(axis=1) - base.mean(axis=1)))


def relabelling_test(
    arms: Floats,
    base: Floats,
    rng: np.random.Generator | None = None,
    n_draws: int = 1_999,
) -> float:
    """P-value of no effect at all: the labels "arm" and "base" are dealt anew in each question.

    If stimuli change nothing, the m + k answers to one question are exchangeable; where they are
    not (stimuli change answers, but alike and as often for the better), p is far too small, and
    `mean_test` is the one to take. The test counts how often dealing the labels at random gives a
    mean difference at least as far from zero as the one observed. With one arm and one base it is
    McNemar's exact test. Right-or-wrong scores are treated exactly (the number right in the base is
    a sum of hypergeometric variables); graded ones by drawing, or by the normal limit where more
    than `DRAWN_UNTIL` questions differ.

    Args:
        arms: (n, m) float64 scores in [0, 1].
        base: (n, k) float64 scores of the same questions.
        rng: where draws come from (graded scores only); seeded with 0 by default.
        n_draws: how many are drawn.
    """
    cells = np.concatenate([base, arms], axis=1)
    cells = cells[np.ptp(cells, axis=1) > 1e-12]
    if not len(cells):
        return 1.0
    k, m = base.shape[1], arms.shape[1]
    if np.isin(cells, (0, 1)).all():
        return _exact(cells.astype(np.int64), k, m)
    if k == m == 1:
        return sign_flip_test(cells[:, 1] - cells[:, 0], rng, n_draws)
    observed = abs(_contrast(cells, k))
    spread = math.sqrt((cells.var(axis=1, ddof=1) * (1 / m + 1 / k)).sum())
    if len(cells) > DRAWN_UNTIL:
        return _normal_p(observed, spread)
    rng = rng or np.random.default_rng(0)
    drawn = (abs(_contrast(rng.permuted(cells, axis=1), k)) for _ in range(n_draws))
    n_far = sum(value >= observed - 1e-12 for value in drawn)
    return _drawn_p(n_far, n_draws, observed, spread)


def _contrast(cells: Floats, k: int) -> float:
    return float(cells[:, k:].mean(axis=1).sum() - cells[:, :k].mean(axis=1).sum())


def _exact(cells: NDArray[np.int64], k: int, m: int) -> float:
    totals = np.bincount(cells.sum(axis=1), minlength=k + m + 1)
    distribution = np.ones(1)
    for total in np.flatnonzero(totals):
        one = dealt_to_base(m, k)[total]
        distribution = _convolved(distribution, _power(one, int(totals[total])))
    expected = float((np.arange(k + m + 1) * totals).sum()) * k / (k + m)
    distance = abs(float(cells[:, :k].sum()) - expected)
    outcomes = np.arange(len(distribution))
    far = np.abs(outcomes - expected) >= distance - 1e-9
    return float(min(max(distribution[far].sum(), 0.0), 1.0))


def _power(one: Floats, times: int) -> Floats:
    """The distribution of a sum of `times` independent copies."""
    result = np.ones(1)
    while times:
        if times % 2:
            result = _convolved(result, one)
        times //= 2
        if times:
            one = _convolved(one, one)
    return result


def _convolved(a: Floats, b: Floats) -> Floats:
    if len(a) * len(b) < _DIRECT_UNTIL:
        return np.convolve(a, b)
    size = len(a) + len(b) - 1
    product = np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)
    return np.maximum(product, 0.0)


def sign_flip_test(
    difference: Floats, rng: np.random.Generator | None = None, n_draws: int = 1_999
) -> float:
    """P-value of a mean of zero if differences are symmetric: signs are flipped at random.

    Args:
        difference: (n,) float64, paired by question.
        rng: where the signs come from; seeded with 0 by default.
        n_draws: how many are drawn; the observed one counts as one more (Phipson & Smyth 2010).
    """
    # In order, so that the order of questions does not matter.
    sizes = np.sort(np.abs(difference))
    sizes = sizes[sizes > 1e-12]
    if not len(sizes):
        return 1.0
    observed, spread = abs(float(difference.sum())), float(np.sqrt((sizes**2).sum()))
    if len(sizes) > DRAWN_UNTIL:
        return _normal_p(observed, spread)
    rng = rng or np.random.default_rng(0)
    signs = rng.integers(0, 2, size=(n_draws, len(sizes)), dtype=np.int8) * 2.0 - 1
    n_far = int(np.count_nonzero(np.abs(signs @ sizes) >= observed - 1e-9))
    return _drawn_p(n_far, n_draws, observed, spread)


def _normal_p(observed: float, spread: float) -> float:
    """Two-sided p-value of a sum of many independent terms."""
    return float(2 * special.ndtr(-observed / spread))


def _drawn_p(n_far: int, n_draws: int, observed: float, spread: float) -> float:
    """Share of draws as far out; where there is none, the normal tail, trusted that far again."""
    drawn = (n_far + 1) / (n_draws + 1)
    return drawn if n_far else min(drawn, max(_normal_p(observed, spread), drawn**2))
