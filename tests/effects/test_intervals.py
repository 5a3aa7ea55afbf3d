from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.special import xlogy
from statsmodels.stats.proportion import proportion_confint

from emo_harness.effects import tango, wilson
from emo_harness.effects.intervals import (
    WeightedDifferences,
    _predicted_moments,
    dealt_to_base,
    differing_of_counts,
    t_p_value,
    t_quantile,
)
from tests.effects.scores import right_or_wrong

Z = float(stats.norm.ppf(0.975))


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(2, 400))
    gained = draw(st.integers(0, n))
    return n, gained, draw(st.integers(0, n - gained))


@pytest.mark.parametrize("n", [1, 7, 250])
def test_wilson_is_that_of_statsmodels(n: int) -> None:
    right = np.arange(n + 1)
    reference = proportion_confint(right, n, method="wilson")
    np.testing.assert_allclose(wilson(right, n, Z), reference, atol=1e-10)


def test_students_t_is_scipys() -> None:
    for df in (1, 7, 250.5):
        assert t_quantile(0.9, df) == pytest.approx(stats.t.ppf(0.95, df), abs=1e-10)
        assert t_p_value(-2.2, df) == pytest.approx(2 * stats.t.sf(2.2, df), abs=1e-10)


def score_statistic(d: float, n: int, gained: int, lost: int) -> float:
    """From a likelihood maximised numerically under a true difference of d."""
    unchanged = n - gained - lost

    def loss(q: float) -> float:
        shares = xlogy(gained, q + d) + xlogy(lost, q) + xlogy(unchanged, 1 - 2 * q - d)
        return -float(shares)

    ends = (max(0.0, -d), (1 - d) / 2)
    q = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-13}).x
    return (gained - lost - n * d) / np.sqrt(n * (2 * q + d * (1 - d)))


@pytest.mark.parametrize(
    ("n", "gained", "lost"),
    [(60, 7, 2), (44, 1, 0), (30, 3, 3), (100, 40, 5), (25, 0, 4), (12, 9, 2), (500, 1, 12)],
)
@pytest.mark.parametrize("z", [1.2, Z])
def test_tango_ends_where_the_score_statistic_of_an_independent_fit_is_z(
    n: int, gained: int, lost: int, z: float
) -> None:
    mean, edge = (gained - lost) / n, 1 - 1e-6
    low, high = tango(n, gained, lost, z)
    arguments = (n, gained, lost)
    found_low = optimize.brentq(lambda d: score_statistic(d, *arguments) - z, -edge, mean)
    found_high = optimize.brentq(lambda d: score_statistic(d, *arguments) + z, mean, edge)
    assert low == pytest.approx(found_low, abs=1e-6)
    assert high == pytest.approx(found_high, abs=1e-6)


@pytest.mark.parametrize("n", [2, 10, 400])
def test_tango_without_a_differing_question_is_z2_over_n_plus_z2(n: int) -> None:
    # The likeliest share of lost questions is then 0, so n d^2 = z^2 d (1 - d) at the end.
    low, high = tango(n, 0, 0, Z)
    assert high == pytest.approx(Z**2 / (n + Z**2)) and low == pytest.approx(-high)


@pytest.mark.parametrize("n", [2, 20, 300])
def test_tango_when_every_question_is_gained_is_wilsons_for_all_right(n: int) -> None:
    # Under a difference of d it is likeliest that (1 + d) / 2 are gained and the rest lost.
    low, high = tango(n, n, 0, Z)
    assert high == 1
    assert low == pytest.approx(2 * float(wilson(n, n, Z)[0]) - 1)


@given(counts())
def test_tango_holds_the_mean_is_bounded_and_never_of_zero_width(c: tuple[int, int, int]) -> None:
    n, gained, lost = c
    low, high = tango(n, gained, lost, Z)
    assert -1 <= low <= (gained - lost) / n + 1e-12
    assert (gained - lost) / n - 1e-12 <= high <= 1
    assert high - low > 1 / n


@given(counts())
def test_tango_turns_round_when_gained_and_lost_are_exchanged(c: tuple[int, int, int]) -> None:
    n, gained, lost = c
    low, high = tango(n, gained, lost, Z)
    low_turned, high_turned = tango(n, lost, gained, Z)
    assert low == pytest.approx(-high_turned, abs=1e-9)
    assert high == pytest.approx(-low_turned, abs=1e-9)


@given(counts(), st.floats(0.5, 3), st.floats(0.01, 1))
def test_tango_widens_with_the_level_and_narrows_with_n(
    c: tuple[int, int, int], z: float, more: float
) -> None:
    low, high = tango(*c, z)
    wider_low, wider_high = tango(*c, z + more)
    assert wider_low <= low + 1e-12 and high <= wider_high + 1e-12
    finer_low, finer_high = tango(*(4 * x for x in c), z)
    assert finer_high - finer_low < high - low


def test_tango_broadcasts() -> None:
    low, high = tango([[10], [20]], [1, 2, 3], 0, Z)
    assert low.shape == high.shape == (2, 3)
    assert high[1, 2] == tango(20, 3, 0, Z)[1]


def test_differing_counts_from_the_most_common_difference() -> None:
    np.testing.assert_array_equal(
        differing_of_counts([10, 10, 10], [1, 8, 0], [2, 1, 10]), [3, 2, 0]
    )


@pytest.mark.parametrize(("n", "gained", "lost"), [(60, 12, 5), (40, 20, 11), (100, 7, 90)])
def test_weighted_differences_of_one_arm_are_plain_counts(n: int, gained: int, lost: int) -> None:
    arm, base = right_or_wrong(n, gained, lost)
    weighted = WeightedDifferences(arm[:, None], base[:, None])
    assert weighted.mean == pytest.approx((gained - lost) / n)
    assert weighted.n_effective == pytest.approx(float(differing_of_counts(n, gained, lost)))


def test_weighted_interval_of_one_arm_is_newcombes_square_and_add() -> None:
    n, gained, lost = 80, 14, 6
    arm, base = right_or_wrong(n, gained, lost)
    low, high = WeightedDifferences(arm[:, None], base[:, None]).interval(Z)
    low_up, high_up = proportion_confint(gained, n, method="wilson")
    low_down, high_down = proportion_confint(lost, n, method="wilson")
    up, down = gained / n, lost / n
    phi = -np.sqrt(up * down / ((1 - up) * (1 - down)))
    below, fall = up - low_up, high_down - down
    above, drop = high_up - up, down - low_down
    assert low == pytest.approx(up - down - np.sqrt(below**2 - 2 * phi * below * fall + fall**2))
    assert high == pytest.approx(up - down + np.sqrt(above**2 - 2 * phi * above * drop + drop**2))


def test_relabelled_moments_are_those_of_all_relabellings() -> None:
    rng = np.random.default_rng(0)
    for n, m, k in itertools.product((1, 4), (1, 2, 3), (1, 2)):
        cells = rng.integers(0, 2, (n, m + k)).astype(float)
        expected = np.zeros(4)
        for row in cells:
            dealt = [np.array(order) for order in itertools.permutations(row)]
            d = np.array([order[:m].mean() - order[m:].mean() for order in dealt])
            up, down = np.maximum(d, 0), np.maximum(-d, 0)
            expected += [x.mean() for x in (up, up**2, down, down**2)]
        difference = cells[:, :m].mean(axis=1) - cells[:, m:].mean(axis=1)
        found = _predicted_moments(cells[:, :m], cells[:, m:], difference)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_dealing_right_answers_to_the_base_is_hypergeometric() -> None:
    m, k = 5, 3
    for total, row in enumerate(dealt_to_base(m, k)):
        reference = stats.hypergeom.pmf(np.arange(k + 1), m + k, total, k)
        np.testing.assert_allclose(row, reference, atol=1e-12)
