"""The circumplex: do words lie in the valence-arousal plane where their poles or norms say?

Russell (1980, J. Pers. Soc. Psychol. 39, 1161) arranges words of affect on a circle whose axes are
valence and arousal. Every statistic here takes coordinates and a reference, both (n, 2) with
valence first, and has the word as its unit: intervals resample groups of words (lemmas), p-values
exchange the words' references.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.intervals import t_quantile, wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic = Callable[[Floats, Floats], float]
NAN = math.nan
LEVEL = 0.95
LEAST_WORDS = 4


@dataclass(frozen=True)
class Estimate:
    """A statistic of words.

    Attributes:
        value: NaN where it is not defined.
        low, high: bounds of the 95% interval over groups of words.
        p: of exchanging the words' references; NaN where that was not asked for.
        n: words.
    """

    value: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class AngleTest:
    """How the words' angles agree with where they should be.

    Attributes:
        agreement: mean cosine of the angular errors, 1 when every word points where it should, 0 by
            chance.
        error_deg: mean absolute angular error; 90 by chance.
        correlation: circular correlation, which no rotation of the plane changes.
        rotation_deg: by how much the words are turned as a whole, counter-clockwise.
        concentration: mean resultant length of the errors, the agreement after undoing that turn.
    """

    agreement: Estimate
    error_deg: Estimate
    correlation: Estimate
    rotation_deg: float
    concentration: float


@dataclass(frozen=True)
class Procrustes:
    """Words laid onto a reference by shift, turn and scale.

    Attributes:
        fit: 1 - disparity, the share of the reference's variance that the laid words explain.
        rotation_deg: the turn that lays them, counter-clockwise.
        reflected: whether allowing a mirror image would fit better than any turn.
    """

    fit: Estimate
    rotation_deg: float
    reflected: bool


def angles(points: Floats) -> Floats:
    """(n,) radians of points (n, 2), NaN at the origin."""
    turned = np.arctan2(points[:, 1], points[:, 0])
    return np.where((points**2).sum(axis=1) > 0, turned, np.nan)


def angle_test(
    points: Floats, reference: Floats, groups: Ints, rng: np.random.Generator, n_draws: int = 1_000
) -> AngleTest:
    """Compare the words' angles with those of a reference.

    The circular correlation is that of Fisher and Lee (1983, Biometrika 70, 327), which compares
    pairs of words and so needs no mean direction (words all round the circle have none):
    sum_ij sin(a_i - a_j) sin(b_i - b_j) over the root of the product of both sums of squares.

    Args:
        points, reference: (n, 2); rows with NaN, and those without a direction, are left out.
        groups: (n,) words of one group are resampled together.
    """
    kept = np.isfinite(angles(points)) & np.isfinite(angles(reference))
    points, reference, groups = points[kept], reference[kept], groups[kept]
    agreement = estimate(_agreement, points, reference, groups, rng, n_draws)
    error = estimate(_error_deg, points, reference, groups, rng, n_draws, upper=False)
    correlation = estimate(circular_correlation, points, reference, groups, rng, n_draws)
    if len(points) < LEAST_WORDS:
        return AngleTest(agreement, error, correlation, NAN, NAN)
    mean = np.exp(1j * (angles(points) - angles(reference))).mean()
    turn = float(np.degrees(np.angle(mean)))
    return AngleTest(agreement, error, correlation, turn, float(abs(mean)))


def circular_correlation(points: Floats, reference: Floats) -> float:
    """See `angle_test`; NaN where one of the two does not vary. Sums over pairs in closed form."""
    one, other = np.exp(1j * angles(points)), np.exp(1j * angles(reference))
    product = 4 * (
        (one.real * other.real).sum() * (one.imag * other.imag).sum()
        - (one.real * other.imag).sum() * (one.imag * other.real).sum()
    )
    squares = (len(one) ** 2 - abs((one**2).sum()) ** 2) * (
        len(one) ** 2 - abs((other**2).sum()) ** 2
    )
    return float(product / math.sqrt(squares)) if squares > 1e-9 else NAN


def quadrant_accuracy(
    points: Floats, poles: Floats, groups: Ints, rng: np.random.Generator, n_draws: int = 1_000
) -> Estimate:
    """Share of the words in the quadrant that their poles name; a quarter by chance.

    The interval is Wilson's at as many words as there are groups, so that it keeps a width where
    every word is right.

    Args:
        poles: (n, 2) of -1 and 1; words with a 0 or NaN belong to no quadrant and are left out.
    """
    kept = np.isfinite(points).all(axis=1) & (np.abs(poles) == 1).all(axis=1)
    found = estimate(_in_quadrant, points[kept], poles[kept], groups[kept], rng, n_draws)
    if math.isnan(found.value):
        return found
    n_groups = len(np.unique(groups[kept]))
    low, high = wilson(found.value * n_groups, n_groups, t_quantile(LEVEL, n_groups - 1))
    return replace(found, low=float(low), high=float(high))


def spearman(one: Floats, other: Floats) -> float:
    """Rank correlation of (n,) values, ties at their mean rank; NaN where one is constant."""
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(one), rankdata(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / size if size > 0 else NAN


def rank_correlation(
    one: Floats, other: Floats, groups: Ints, rng: np.random.Generator, n_draws: int = 1_000
) -> Estimate:
    """Spearman's correlation of (n,) values; rows with NaN are left out."""
    kept = np.isfinite(one) & np.isfinite(other)
    return estimate(
        lambda a, b: spearman(a[:, 0], b[:, 0]),
        one[kept][:, None],
        other[kept][:, None],
        groups[kept],
        rng,
        n_draws,
        two_sided=True,
    )


def procrustes(
    points: Floats, reference: Floats, groups: Ints, rng: np.random.Generator, n_draws: int = 1_000
) -> Procrustes:
    """Turn and scale words (n, 2) onto a reference (n, 2), without mirror images.

    The turn is the solution of Schoenemann (1966, Psychometrika 31, 1) with determinant 1; the fit
    is (s1 + d s2)^2 for the singular values of the two centred, unit-norm configurations' product,
    d the sign that forbids reflection.
    """
    kept = np.isfinite(points).all(axis=1) & np.isfinite(reference).all(axis=1)
    points, reference, groups = points[kept], reference[kept], groups[kept]
    fit = estimate(_procrustes_fit, points, reference, groups, rng, n_draws)
    if len(points) < LEAST_WORDS:
        return Procrustes(fit, NAN, False)
    # The best turn of the plane has a closed form: the angle of sum conj(point) * reference.
    product = _unit(points).T @ _unit(reference)
    turn = math.atan2(product[0, 1] - product[1, 0], product[0, 0] + product[1, 1])
    return Procrustes(fit, math.degrees(turn), bool(np.linalg.det(product) < 0))


def estimate(
    statistic: Statistic,
    points: Floats,
    reference: Floats,
    groups: Ints,
    rng: np.random.Generator,
    n_draws: int = 1_000,
    upper: bool = True,
    two_sided: bool = False,
) -> Estimate:
    """A statistic with a percentile interval over groups and a permutation p-value.

    p = (1 + draws at least as extreme) / (1 + draws) (Phipson and Smyth 2010).

    Args:
        upper: large values are extreme; else small ones. `two_sided`: those far from 0 are.
    """
    n = len(points)
    if n < LEAST_WORDS:
        return Estimate(NAN, NAN, NAN, NAN, n)
    value = statistic(points, reference)
    if math.isnan(value):
        return Estimate(NAN, NAN, NAN, NAN, n)
    drawn = np.array([statistic(points[i], reference[i]) for i in resamples(groups, rng, n_draws)])
    exchanged = np.array([statistic(points, reference[rng.permutation(n)]) for _ in range(n_draws)])
    drawn, exchanged = drawn[np.isfinite(drawn)], exchanged[np.isfinite(exchanged)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if drawn.size else (NAN, NAN)
    if two_sided:
        extreme = np.abs(exchanged) >= abs(value) - 1e-12
    else:
        extreme = exchanged >= value - 1e-12 if upper else exchanged <= value + 1e-12
    p = (1 + int(extreme.sum())) / (1 + len(exchanged))
    return Estimate(value, float(low), float(high), p, n)


def resamples(groups: Ints, rng: np.random.Generator, n_draws: int) -> list[Ints]:
    """Rows of as many groups as there are, drawn with replacement, `n_draws` times."""
    _, group_of = np.unique(groups, return_inverse=True)
    rows = [np.flatnonzero(group_of == g) for g in range(group_of.max(initial=-1) + 1)]
    if not rows:
        return []
    draws = rng.integers(0, len(rows), (n_draws, len(rows)))
    if len(rows) == len(groups):
        return list(np.concatenate(rows)[draws])
    return [np.concatenate([rows[g] for g in draw]) for draw in draws]


def _agreement(points: Floats, reference: Floats) -> float:
    return float(np.cos(angles(points) - angles(reference)).mean())


def _error_deg(points: Floats, reference: Floats) -> float:
    errors = np.angle(np.exp(1j * (angles(points) - angles(reference))))
    return float(np.degrees(np.abs(errors)).mean())


def _in_quadrant(points: Floats, poles: Floats) -> float:
    return float((np.sign(points) == poles).all(axis=1).mean())


def _procrustes_fit(points: Floats, reference: Floats) -> float:
    one, other = _unit(points), _unit(reference)
    if not (one.any() and other.any()):
        return NAN
    product = one.T @ other
    values = np.linalg.svd(product, compute_uv=False)
    signed = values[0] + math.copysign(values[1], float(np.linalg.det(product)))
    return float(signed**2)


def _unit(points: Floats) -> Floats:
    centred = points - points.mean(axis=0)
    size = float(np.linalg.norm(centred))
    return centred / size if size > 0 else np.zeros_like(centred)
