"""The statistics of steering, against scipy and against planted effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emo_harness.steer.dose_response import (
    anti_steered,
    interaction,
    mean_estimate,
    slopes,
    spearman,
)

DOSES = [-2.0, -1.0, -0.5, 0.0, 1.0, 2.0]


def test_slopes_are_least_squares() -> None:
    responses = np.random.default_rng(0).standard_normal((5, len(DOSES)))
    expected = [stats.linregress(DOSES, row).slope for row in responses]
    assert slopes(DOSES, responses) == pytest.approx(expected)


def test_one_dose_has_no_slope() -> None:
    with pytest.raises(ValueError, match="no slope"):
        slopes([1.0, 1.0], [[0.0, 1.0]])


def test_a_mean_has_students_interval() -> None:
    values = np.random.default_rng(1).standard_normal(12) + 0.4
    found, expected = mean_estimate(values), stats.ttest_1samp(values, 0.0)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_value_has_no_interval() -> None:
    found = mean_estimate([3.0])
    assert found.value == 3.0 and math.isnan(found.low) and math.isnan(found.p)


def test_interaction_of_pairs_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    high, low = rng.standard_normal((2, 15)) + rng.standard_normal(15) * 3
    found = interaction(np.concatenate([high, low]), [True] * 15 + [False] * 15, [*range(15)] * 2)
    expected = stats.ttest_rel(high, low)
    assert found.value == pytest.approx((high - low).mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert found.n_clusters == 15


def test_repeats_within_a_cluster_are_no_evidence_of_their_own() -> None:
    rng = np.random.default_rng(3)
    values, is_high = rng.standard_normal(20), np.arange(20) % 2 == 0
    clusters = np.arange(20) // 2
    once = interaction(values, is_high, clusters)
    often = interaction(*(np.repeat(x, 50) for x in (values, is_high, clusters)))
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


def test_interaction_of_prompts_of_their_own_is_near_welchs_and_not_narrower() -> None:
    rng = np.random.default_rng(4)
    high, low = rng.standard_normal(14), 2 * rng.standard_normal(20) + 1
    found = interaction(np.concatenate([high, low]), np.arange(34) < 14, np.arange(34))
    welch = stats.ttest_ind(high, low, equal_var=False).confidence_interval(0.95)
    assert (found.high - found.low) == pytest.approx(welch.high - welch.low, rel=0.05)


def test_interaction_holds_its_level_where_nothing_parts_the_classes() -> None:
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(12), 4)
    is_high = np.tile([True, True, False, False], 12)
    wrong = 0
    for _ in range(400):
        values = rng.standard_normal(48) + rng.standard_normal(12)[clusters]
        found = interaction(values, is_high, clusters)
        wrong += not found.low <= 0 <= found.high
    assert wrong / 400 < 0.09


def test_a_main_effect_alone_is_no_interaction() -> None:
    rng = np.random.default_rng(6)
    values = 5 + 0.1 * rng.standard_normal(40)
    found = interaction(values, np.arange(40) % 2 == 0, np.arange(40) // 2)
    assert found.low < 0 < found.high


def test_one_class_has_no_interaction() -> None:
    with pytest.raises(ValueError, match="both classes"):
        interaction([1.0, 2.0], [True, True], [0, 1])
    assert math.isnan(interaction([1.0, 2.0], [True, False], [0, 1]).p)


def test_the_share_of_the_anti_steered_is_exact() -> None:
    found = anti_steered([0.3, -0.1, 0.2, 0.5])
    assert found.value == 0.25 and 0 < found.low < 0.25 < found.high < 1
    assert found.p == pytest.approx(stats.binomtest(1, 4).pvalue)


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=8))
def test_rank_correlation_is_spearmans(responses: list[int]) -> None:
    doses = np.arange(len(responses))
    found = spearman(doses, responses)
    if len(set(responses)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(doses, responses).statistic)
