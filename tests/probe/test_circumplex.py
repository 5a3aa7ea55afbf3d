"""Statistics of the plane: what they give for known arrangements, and what they must not see."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from emo_harness.probe.geometry.circumplex import (
    angle_test,
    circular_correlation,
    procrustes,
    quadrant_accuracy,
    rank_correlation,
    resamples,
    spearman,
)

Floats = NDArray[np.float64]


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def circle(n: int = 40) -> Floats:
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False) + 0.1
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def turned(points: Floats, degrees: float) -> Floats:
    a = np.radians(degrees)
    return points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])


def test_words_where_they_belong_have_no_angular_error() -> None:
    points = circle()
    found = angle_test(3 * points, points, np.arange(40), rng(), 200)
    assert found.error_deg.value == pytest.approx(0, abs=1e-6)
    assert found.agreement.value == pytest.approx(1)
    assert found.correlation.value == pytest.approx(1)
    assert max(found.error_deg.p, found.agreement.p, found.correlation.p) < 0.01


def test_a_turn_of_the_plane_is_told_and_leaves_the_circular_correlation() -> None:
    points = circle() + rng().normal(0, 0.2, (40, 2))
    found = angle_test(turned(points, 50), points, np.arange(40), rng(), 100)
    assert found.rotation_deg == pytest.approx(50)
    assert found.error_deg.value == pytest.approx(50)
    assert found.correlation.value == pytest.approx(1)
    assert found.concentration == pytest.approx(1)


def test_circular_correlation_is_the_sum_over_pairs() -> None:
    one, other = rng().normal(0, 1, (2, 30, 2))
    a, b = np.arctan2(one[:, 1], one[:, 0]), np.arctan2(other[:, 1], other[:, 0])
    sines = np.sin(a[:, None] - a), np.sin(b[:, None] - b)
    expected = (sines[0] * sines[1]).sum() / np.sqrt((sines[0] ** 2).sum() * (sines[1] ** 2).sum())
    assert circular_correlation(one, other) == pytest.approx(expected)


def test_unrelated_words_are_off_by_ninety_degrees_and_rarely_significant() -> None:
    small = 0
    for seed in range(60):
        own = np.random.default_rng(seed)
        found = angle_test(own.normal(0, 1, (40, 2)), circle(), np.arange(40), own, 99)
        small += found.error_deg.p <= 0.05
        assert 50 < found.error_deg.value < 130
    assert small <= 9


def test_words_without_direction_and_unknown_ones_are_left_out() -> None:
    points, reference = circle(10), circle(10)
    reference[0] = 0
    points[1] = np.nan
    found = angle_test(points, reference, np.arange(10), rng(), 50)
    assert found.error_deg.n == 8
    few = angle_test(points[:3], reference[:3], np.arange(3), rng(), 50)
    assert np.isnan(few.error_deg.value) and np.isnan(few.rotation_deg)


def test_quadrants_count_crossed_words_alone() -> None:
    poles = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [0, 1], [np.nan, 1], [1, 0], [1, 1]])
    points = np.array([[1, 1], [1, -2], [-1, 3], [1, 1], [5, 5], [5, 5], [5, 5], [2.0, 2]])
    found = quadrant_accuracy(points, poles, np.arange(8), rng(), 100)
    assert found.n == 5 and found.value == pytest.approx(0.8)
    assert found.low < 0.8 < found.high <= 1


def test_an_interval_keeps_a_width_where_every_word_is_right() -> None:
    poles = np.tile([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], (5, 1))
    found = quadrant_accuracy(poles, poles, np.arange(20), rng(), 100)
    fewer = quadrant_accuracy(poles, poles, np.arange(20) // 4, rng(), 100)
    assert found.value == 1 and fewer.low < found.low < 1


def test_rank_correlation_is_scipys() -> None:
    one, other = rng().integers(0, 8, (2, 50)).astype(float)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    found = rank_correlation(one, one**3, np.arange(50), rng(), 200)
    assert found.value == pytest.approx(1) and found.p < 0.01
    assert np.isnan(rank_correlation(one, np.ones(50), np.arange(50), rng(), 10).value)


def test_intervals_of_the_rank_correlation_cover() -> None:
    covered = 0
    for seed in range(80):
        own = np.random.default_rng([seed, 1])
        x = own.normal(0, 1, 80)
        y = 0.6 * x + 0.8 * own.normal(0, 1, 80)
        found = rank_correlation(x, y, np.arange(80), own, 200)
        # Spearman's correlation of a bivariate normal with correlation .6 (Pearson 1907).
        covered += found.low <= 6 / np.pi * np.arcsin(0.3) <= found.high
    assert covered >= 70


def test_procrustes_finds_the_turn_and_any_scale() -> None:
    points = circle() * np.array([2, 1])
    found = procrustes(7 * turned(points, -30) + 5, points, np.arange(40), rng(), 50)
    assert found.fit.value == pytest.approx(1)
    assert found.rotation_deg == pytest.approx(30)
    assert not found.reflected


def test_a_mirror_image_is_told_and_never_used() -> None:
    points = circle() * np.array([2, 1])
    found = procrustes(points * np.array([1, -1]), points, np.arange(40), rng(), 50)
    assert found.reflected and found.fit.value < 0.5


def test_words_of_one_lemma_are_drawn_together() -> None:
    groups = np.repeat(np.arange(10), 3)
    for rows in resamples(groups, rng(), 20):
        counts = np.bincount(rows, minlength=30).reshape(10, 3)
        assert (counts == counts[:, :1]).all() and counts[:, 0].sum() == 10
