"""Spearman's correlation and Student's mean: against independent references, and by coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emo_harness.effects.mean_interval import mean_interval
from emo_harness.effects.rank_correlation import mean_ranks, rank_correlation

LISTS = st.lists(st.integers(-5, 5), min_size=5, max_size=40)


@given(LISTS, st.integers(0, 10_000))
def test_value_is_scipys_ties_and_all(one: list[int], seed: int) -> None:
    other = np.random.default_rng(seed).integers(-3, 4, len(one))
    found = rank_correlation(one, other)
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert np.isnan(found.value)
    else:
        assert found.value == pytest.approx(stats.spearmanr(one, other).statistic)
        assert found.low <= found.value <= found.high


@given(LISTS)
def test_ranks_are_scipys(values: list[int]) -> None:
    assert mean_ranks(np.array(values, float)).tolist() == stats.rankdata(values).tolist()


@pytest.mark.parametrize(("rho", "n"), [(0.0, 12), (0.5, 30), (0.8, 60)])
def test_interval_holds_the_truth_about_as_often_as_it_says(rho: float, n: int) -> None:
    rng = np.random.default_rng(3)
    truth = 6 / np.pi * np.arcsin(rho / 2)
    drawn = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(1_500, n))
    held = 0
    for pairs in drawn:
        found = rank_correlation(pairs[:, 0], pairs[:, 1])
        held += found.low <= truth <= found.high
    assert held / len(drawn) >= 0.93


def test_p_is_rarely_small_where_there_is_nothing() -> None:
    rng = np.random.default_rng(4)
    p = [rank_correlation(*rng.normal(size=(2, 15))).p for _ in range(1_500)]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


def test_perfect_order_of_few_is_not_certain() -> None:
    few, many = rank_correlation(range(5), range(5)), rank_correlation(range(50), range(50))
    assert few.value == many.value == 1 and few.low < many.low < 1 and few.high == 1
    assert rank_correlation(range(5), range(5, 0, -1)).low == -1


def test_unknown_pairs_are_left_out_and_too_few_say_nothing() -> None:
    nan = float("nan")
    assert rank_correlation([1, 2, nan, 4, 5, 6], [1, 3, 2, nan, 9, 7]).n == 4
    assert np.isnan(rank_correlation([1, 2, 3], [1, 2, 3]).value)
    assert np.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)


def test_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(0.4, 2, 23)
    found, told = mean_interval([*values, float("nan")]), stats.ttest_1samp(values, 0)
    assert (found.n, found.mean, found.p) == (23, pytest.approx(values.mean()), told.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(told.confidence_interval(0.95)))
    assert found.standardised == pytest.approx(values.mean() / values.std(ddof=1))


def test_mean_of_one_or_none_has_no_interval() -> None:
    assert np.isnan(mean_interval([]).mean) and mean_interval([]).n == 0
    alone = mean_interval([2.0])
    assert alone.mean == 2 and np.isnan(alone.low) and np.isnan(alone.p)


@pytest.mark.parametrize("values", [[1, 1], [0.1, 0.1, 0.1], [0, 0], [-5e9] * 4])
def test_values_without_spread_have_no_interval_and_no_p(values: list[float]) -> None:
    found = mean_interval(values)
    assert found.n == len(values) and found.mean == pytest.approx(values[0])
    assert np.isnan([found.low, found.high, found.p, found.standardised]).all()
