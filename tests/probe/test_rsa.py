"""Representational similarity: references, invariances, nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from emo_harness.probe.geometry.rsa import (
    compare,
    correlation_distances,
    euclidean_distances,
    layer_likeness,
    spearman_brown,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_distances_are_scipys() -> None:
    vectors = rng().normal(0, 1, (12, 9))
    assert np.allclose(correlation_distances(vectors), squareform(pdist(vectors, "correlation")))
    scaled = stats.zscore(vectors, axis=0)
    assert np.allclose(euclidean_distances(vectors), squareform(pdist(scaled)), atol=1e-6)


def test_likeness_is_the_rank_correlation_of_pairs() -> None:
    one, other = (correlation_distances(rng().normal(0, 1, (15, d))) for d in (6, 9))
    pairs = np.triu_indices(15, 1)
    found = compare(one, other, np.arange(15), rng(), 50)
    assert found.likeness.value == pytest.approx(stats.spearmanr(one[pairs], other[pairs])[0])
    assert found.n_pairs == 105


def test_a_space_is_like_itself_turned_scaled_and_shifted() -> None:
    vectors = rng().normal(0, 1, (20, 8))
    turn = np.linalg.qr(rng().normal(0, 1, (8, 8)))[0]
    found = compare(
        euclidean_distances(vectors), euclidean_distances(vectors * 3 + 1), np.arange(20), rng(), 99
    )
    assert found.likeness.value == pytest.approx(1) and found.likeness.p == pytest.approx(0.01)
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    turned = 5 * centred @ turn
    both = np.corrcoef(correlation_distances(centred).ravel(), np.ravel(pdist_cosine(turned)))
    assert both[0, 1] == pytest.approx(1)


def pdist_cosine(vectors: np.ndarray) -> np.ndarray:
    return squareform(pdist(vectors, "cosine"))


def test_unrelated_spaces_are_rarely_alike_and_intervals_hold_zero() -> None:
    small, covered = 0, 0
    for seed in range(40):
        own = np.random.default_rng([seed, 2])
        one, other = (correlation_distances(own.normal(0, 1, (25, 10))) for _ in range(2))
        found = compare(one, other, np.arange(25), own, 99).likeness
        small += found.p <= 0.05
        covered += found.low <= 0 <= found.high
    assert small <= 6 and covered >= 34


def test_pairs_without_a_distance_are_left_out() -> None:
    vectors = rng().normal(0, 1, (10, 5))
    vectors[3] = 1
    distances = correlation_distances(vectors)
    found = compare(distances, distances, np.arange(10), rng(), 20)
    assert found.n_pairs == 36 and found.likeness.value == pytest.approx(1)


def test_too_few_words_are_unknown() -> None:
    distances = euclidean_distances(rng().normal(0, 1, (3, 2)))
    assert np.isnan(compare(distances, distances, np.arange(3), rng(), 20).likeness.value)


def test_each_layer_is_most_like_itself() -> None:
    vectors = rng().normal(0, 1, (18, 4, 7))
    grid = layer_likeness(vectors, vectors)
    assert np.allclose(np.diag(grid), 1)
    assert (grid.argmax(axis=1) == np.arange(4)).all()


def test_halves_make_a_whole() -> None:
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(1) == 1 and spearman_brown(0) == 0
