"""Representational similarity: do two models arrange the same words alike?

A model's dissimilarities of all pairs of words are compared with another's by rank correlation
(Kriegeskorte, Mur and Bandettini 2008, Front. Syst. Neurosci. 2, 4), so that models of any width
and depth, and human norms, can be laid beside each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.geometry.circumplex import (
    LEAST_WORDS,
    LEVEL,
    NAN,
    Estimate,
    resamples,
    spearman,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Likeness:
    """How alike two spaces arrange words.

    Attributes:
        likeness: Spearman's correlation of the dissimilarities, the interval over groups of words,
            p of exchanging words in one space (Mantel 1967).
        n_pairs: of different words.
    """

    likeness: Estimate
    n_pairs: int


def correlation_distances(vectors: NDArray[np.floating]) -> Floats:
    """(n, n) 1 - Pearson correlation of vectors (n, dim); NaN for a vector that does not vary."""
    rows = vectors.reshape(len(vectors), -1).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, sizes, out=np.full_like(rows, np.nan), where=sizes > 0)
    found = 1 - rows @ rows.T
    np.fill_diagonal(found, 0)
    return found


def euclidean_distances(points: Floats) -> Floats:
    """(n, n) distances of points (n, k) whose columns are standardised first, as norms are."""
    spread = points.std(axis=0)
    scaled = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)
    squares = (scaled**2).sum(axis=1)
    squared = squares[:, None] + squares - 2 * scaled @ scaled.T
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0))


def compare(
    one: Floats, other: Floats, groups: Ints, rng: np.random.Generator, n_draws: int = 1_000
) -> Likeness:
    """Compare two (n, n) matrices of dissimilarities of the same words.

    In a resample a pair counts as often as it was drawn, with the ranks it has among all pairs; a
    word drawn twice has a distance of 0 to itself in both spaces, which says nothing of either, so
    such pairs do not count.
    """
    n = len(one)
    first, second = np.triu_indices(n, 1)
    known = np.isfinite(one[first, second]) & np.isfinite(other[first, second])
    first, second = first[known], second[known]
    n_pairs = len(first)
    unknown = Likeness(Estimate(NAN, NAN, NAN, NAN, n), n_pairs)
    if n < LEAST_WORDS or n_pairs < LEAST_WORDS:
        return unknown
    value = spearman(one[first, second], other[first, second])
    if math.isnan(value):
        return unknown
    drawn = _resampled(one, other, resamples(groups, rng, n_draws))
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if drawn.size else (NAN, NAN)
    return Likeness(
        Estimate(value, float(low), float(high), _mantel(one, other, value, rng, n_draws), n),
        n_pairs,
    )


def layer_likeness(one: NDArray[np.floating], other: NDArray[np.floating]) -> Floats:
    """(n_layers of one, n_layers of other) correlations of dissimilarities, layer by layer.

    Args:
        one, other: (n_words, n_layers, dim), each its own layers and dim.
    """
    ranked = [_ranked_layers(vectors) for vectors in (one, other)]
    return ranked[0] @ ranked[1].T


def spearman_brown(halves: float) -> float:
    """Reliability of the whole from the correlation of two halves: 2r / (1 + r)."""
    return 2 * halves / (1 + halves) if halves > -1 else NAN


def _ranked_layers(vectors: NDArray[np.floating]) -> Floats:
    """(n_layers, n_pairs) centred ranks of norm 1, 0 where a layer does not tell words apart."""
    from scipy.stats import rankdata

    pairs = np.triu_indices(len(vectors), 1)
    found = []
    for layer in range(vectors.shape[1]):
        distances = correlation_distances(vectors[:, layer])[pairs]
        if not np.isfinite(distances).all():
            found.append(np.full(len(distances), np.nan))
            continue
        ranks = rankdata(distances)
        ranks -= ranks.mean()
        size = float(np.linalg.norm(ranks))
        found.append(ranks / size if size > 0 else np.full(len(ranks), np.nan))
    return np.array(found)


def _resampled(one: Floats, other: Floats, draws: list[Ints]) -> Floats:
    """(n_draws,) correlations of the ranks of pairs, each pair as often as it was drawn."""
    from scipy.stats import rankdata

    pairs = np.triu_indices(len(one), 1)
    kept = np.isfinite(one[pairs]) & np.isfinite(other[pairs])
    first, second = pairs[0][kept], pairs[1][kept]
    x, y = (rankdata(m[first, second]) for m in (one, other))
    found = []
    for rows in draws:
        times = np.bincount(rows, minlength=len(one)).astype(np.float64)
        weight = times[first] * times[second]
        total = weight.sum()
        if not total:
            continue
        a, b = x - weight @ x / total, y - weight @ y / total
        size = math.sqrt(float(weight @ a**2) * float(weight @ b**2))
        found.append(float(weight @ (a * b)) / size if size > 0 else NAN)
    return np.array(found)


def _mantel(
    one: Floats, other: Floats, value: float, rng: np.random.Generator, n_draws: int
) -> float:
    """p of a correlation at least this large when one space's words are exchanged."""
    from scipy.stats import rankdata

    n = len(one)
    whole = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    kept = np.flatnonzero(whole) if whole.any() else np.arange(n)
    one, other = one[np.ix_(kept, kept)], other[np.ix_(kept, kept)]
    pairs = np.triu_indices(len(kept), 1)
    if len(pairs[0]) < LEAST_WORDS:
        return NAN
    # Exchanging words exchanges ranks of pairs, so ranks are made once.
    ranks = np.zeros_like(other)
    ranks[pairs] = rankdata(other[pairs])
    ranks += ranks.T
    fixed = rankdata(one[pairs])
    fixed -= fixed.mean()
    size = float(np.linalg.norm(fixed) * np.linalg.norm(ranks[pairs] - ranks[pairs].mean()))
    if not size:
        return NAN
    shuffled = (rng.permutation(len(kept)) for _ in range(n_draws))
    found = np.array([fixed @ ranks[np.ix_(order, order)][pairs] for order in shuffled]) / size
    return (1 + int((found >= value - 1e-12).sum())) / (1 + n_draws)
