"""Trends over layers: what they see, what they cannot be fooled by, and what they promise."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from emo_harness.effects import (
    Gain,
    Trend,
    layer_contrasts,
    layer_trend,
    paired_gain,
    trend_word,
    united,
)

Floats = np.ndarray


def drawn(
    n: int, layers: int, rng: np.random.Generator, slope: float = 0.0, own: float = 0.4
) -> tuple[Floats, Floats]:
    """Right-or-wrong scores that share each question's difficulty; share `own` is redrawn."""
    hard = rng.random(n)
    rate = 0.5 + slope * (np.linspace(0, 1, layers) - 0.5)
    redrawn = rng.random((n, layers)) < own
    chance = np.where(redrawn, rng.random((n, layers)), hard[:, None])
    return (chance < rate).astype(float), (hard < 0.5).astype(float)


def trend(
    scores: Floats, base: Floats, layers: object = None, seed: int = 0, **other: Floats
) -> Trend:
    numbers = np.arange(scores.shape[1]) if layers is None else layers
    return layer_trend(scores, base, numbers, np.random.default_rng(seed), **other)


def test_slope_is_that_of_least_squares_through_the_layers_means() -> None:
    rng = np.random.default_rng(1)
    scores, base = drawn(80, 7, rng, 0.4)
    layers = np.array([0, 1, 2, 5, 9, 11, 12])
    expected = stats.linregress(layers, 100 * scores.mean(axis=0)).slope * 12
    assert trend(scores, base, layers).slope.mean_pp == pytest.approx(expected)
    rank = stats.spearmanr(layers, scores.mean(axis=0)).statistic
    assert trend(scores, base, layers).rank_correlation == pytest.approx(rank)


def test_slope_has_the_interval_of_the_questions_own_slopes() -> None:
    rng = np.random.default_rng(2)
    scores, base = drawn(200, 6, rng)
    x = np.linspace(0, 1, 6)
    own = 100 * scores @ ((x - x.mean()) / ((x - x.mean()) ** 2).sum())
    interval = stats.t.interval(0.95, 199, own.mean(), stats.sem(own))
    found = trend(scores, base).slope
    assert found.method == "t"
    assert (found.low_pp, found.high_pp) == pytest.approx(interval)


def test_two_layers_make_the_paired_gain_of_one_over_the_other() -> None:
    scores, base = drawn(60, 2, np.random.default_rng(3))
    found, expected = trend(scores, base), paired_gain(scores[:, 1], scores[:, 0])
    assert found.slope == expected and found.last == expected
    assert found.p == 1.0


def test_what_all_arms_of_a_question_share_makes_no_trend() -> None:
    rng = np.random.default_rng(4)
    scores = rng.random((50, 6)) / 2
    shared = rng.random(50) / 2
    plain, shifted = (trend(s, np.zeros(50)) for s in (scores, scores + shared[:, None]))
    assert shifted.slope.mean_pp == pytest.approx(plain.slope.mean_pp)
    assert shifted.p == plain.p and shifted.p_last == plain.p_last
    assert shifted.slope.low_pp == pytest.approx(plain.slope.low_pp)


def test_the_order_of_arms_and_the_scale_of_layers_do_not_matter() -> None:
    scores, base = drawn(40, 5, np.random.default_rng(5), 0.5)
    order = np.random.default_rng(0).permutation(5)
    plain, mixed = trend(scores, base), trend(scores[:, order], base, 10 * order + 3)
    assert mixed.slope.mean_pp == pytest.approx(plain.slope.mean_pp)
    assert (mixed.p, mixed.p_last, mixed.n_last) == (plain.p, plain.p_last, plain.n_last)


def test_permutation_p_is_the_share_of_all_orders_as_steep() -> None:
    scores, base = drawn(30, 5, np.random.default_rng(6), 0.3)
    means, x = scores.mean(axis=0), np.arange(5.0)
    steep = [abs(np.cov(x, means[list(o)])[0, 1]) for o in itertools.permutations(range(5))]
    expected = np.mean(np.array(steep) >= steep[0] - 1e-12)
    assert trend(scores, base).p == pytest.approx(expected)


def test_drawn_orders_agree_with_all_orders() -> None:
    scores, base = drawn(60, 8, np.random.default_rng(7), 0.2)
    exact = trend(scores, base)
    from emo_harness.effects import trend as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_FOR_ALL_ORDERS", 2)
        sampled = trend(scores, base)
    assert sampled.p == pytest.approx(exact.p, abs=0.02)
    assert sampled.p_last == pytest.approx(exact.p_last, abs=0.02)
    assert sampled.slope == exact.slope


def test_same_seed_same_p() -> None:
    scores, base = drawn(40, 12, np.random.default_rng(8))
    assert trend(scores, base, seed=3) == trend(scores, base, seed=3)


@pytest.mark.parametrize("layers", [5, 12])
def test_p_is_uniform_where_layers_do_not_matter(layers: int) -> None:
    """Also where layers differ, as long as depth has nothing to do with how."""
    rng = np.random.default_rng(9)
    found = []
    for _ in range(300):
        scores, base = drawn(60, layers, rng)
        scores = np.where(rng.random(layers) < 0.3, np.minimum(scores, base[:, None]), scores)
        found.append(trend(scores, base).p)
    shares = np.array([(np.array(found) <= level).mean() for level in (0.05, 0.2, 0.5)])
    error = np.sqrt(np.array([0.05, 0.2, 0.5]) * np.array([0.95, 0.8, 0.5]) / 300)
    assert (shares <= np.array([0.05, 0.2, 0.5]) + 3 * error).all()
    assert (shares[1:] >= np.array([0.2, 0.5]) - 3 * error[1:]).all()


@pytest.mark.parametrize(("n", "own"), [(40, 0.05), (60, 0.4), (300, 1.0)])
def test_the_true_slope_is_covered_in_at_least_93_percent(n: int, own: float) -> None:
    rng = np.random.default_rng(10)
    n_draws, covered = 300, 0
    for _ in range(n_draws):
        scores, base = drawn(n, 6, rng, 0.4, own)
        slope = trend(scores, base).slope
        covered += slope.low_pp <= 40 <= slope.high_pp
    assert covered / n_draws >= 0.93 - 3 * np.sqrt(0.07 * 0.93 / n_draws)


def test_a_known_rise_is_found_and_a_flat_line_is_called_no_difference() -> None:
    rng = np.random.default_rng(11)
    rise = trend(*drawn(400, 8, rng, 0.3))
    assert trend_word(rise, rise.p, 1.0) == "rises"
    fall = trend(*drawn(400, 8, rng, -0.3))
    assert trend_word(fall, fall.p, 1.0) == "falls"
    scores, base = drawn(4000, 8, rng, own=0.01)
    flat = trend(scores, base)
    assert trend_word(flat, flat.p, 2.0) == "no difference larger than the margin"
    assert trend_word(flat, flat.p, 1e-6) == "undecided"


def test_a_jump_of_the_last_layers_alone_is_not_called_no_difference() -> None:
    rng = np.random.default_rng(12)
    scores, base = drawn(3000, 12, rng, own=0.02)
    scores[:, -3:] = np.maximum(scores[:, -3:], (rng.random((3000, 3)) < 0.03))
    found = trend(scores, base)
    wide = replace(found.narrow, low_pp=-0.1, high_pp=0.1)
    assert found.last.low_pp > 0
    assert (
        trend_word(replace(found, narrow=wide), 1.0, 1.0) != "no difference larger than the margin"
    )


def test_too_few_layers_cannot_rise() -> None:
    scores, base = drawn(500, 4, np.random.default_rng(13), 0.6)
    found = trend(scores, base)
    assert found.least_p == pytest.approx(2 / 24) and found.least_p_last == pytest.approx(1 / 4)
    assert found.slope.low_pp > 0
    assert trend_word(found, found.p, 1.0) == "undecided"


def test_verdict_needs_both_permutation_and_questions() -> None:
    rise = trend(*drawn(400, 8, np.random.default_rng(14), 0.3))
    assert trend_word(rise, 0.051, 1.0) == "undecided"
    unclear = replace(rise, slope=replace(rise.slope, low_pp=-1.0))
    assert trend_word(unclear, rise.p, 1.0) == "undecided"
    with pytest.raises(ValueError, match="margin"):
        trend_word(rise, rise.p, 0.0)


def test_missing_scores_leave_out_questions_and_unasked_layers() -> None:
    rng = np.random.default_rng(15)
    scores, base = drawn(60, 6, rng, 0.3)
    holed = scores.copy()
    holed[3, 1] = holed[7, 4] = np.nan
    gone = base.copy()
    gone[20] = np.nan
    keep = np.setdiff1d(np.arange(60), [3, 7, 20])
    assert trend(holed, gone) == trend(scores[keep], base[keep])
    unasked = scores.copy()
    unasked[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    assert trend(unasked, base) == trend(scores[:, kept], base, kept)


@pytest.mark.parametrize("shape", [(0, 6), (10, 1), (10, 0)])
def test_nothing_to_compare_is_unknown(shape: tuple[int, int]) -> None:
    found = trend(np.zeros(shape), np.zeros(shape[0]))
    assert np.isnan(found.p) and trend_word(found, found.p, 1.0) == "unknown"


def test_layers_that_all_score_alike_have_no_trend() -> None:
    found = trend(np.ones((300, 6)), np.zeros(300))
    assert found.p == 1.0 and np.isnan(found.rank_correlation)
    assert found.slope.mean_pp == pytest.approx(0, abs=1e-9)
    assert found.slope.low_pp < 0 < found.slope.high_pp


def test_strata_narrow_the_interval_where_subtasks_differ() -> None:
    rng = np.random.default_rng(16)
    strata = np.repeat([0, 1], 100)
    rises, falls = drawn(100, 6, rng, 0.8), drawn(100, 6, rng, -0.8)
    scores, base = (np.concatenate([a, b]) for a, b in zip(rises, falls, strict=True))
    plain, stratified = trend(scores, base), trend(scores, base, strata=strata)
    assert stratified.slope.mean_pp == plain.slope.mean_pp
    assert stratified.slope.se_pp < plain.slope.se_pp


def test_against_a_base_by_layer_the_trend_is_that_of_the_difference() -> None:
    rng = np.random.default_rng(17)
    scores, _ = drawn(300, 6, rng, 0.4)
    base, _ = drawn(300, 6, rng, 0.4)
    found = trend(scores, base)
    apart = trend(scores, base[:, 0]).slope.mean_pp - trend(base, base[:, 0]).slope.mean_pp
    assert found.slope.mean_pp == pytest.approx(apart)
    assert found.slope.low_pp < 0 < found.slope.high_pp
    assert trend(scores, scores).slope.mean_pp == pytest.approx(0, abs=1e-9)


def test_contrasts_are_paired_gains_with_q_over_the_layers() -> None:
    rng = np.random.default_rng(18)
    scores, _ = drawn(100, 4, rng, 0.6)
    bases = [rng.integers(0, 2, (100, k)).astype(float) for k in (2, 2, 1, 0)]
    gains, q = layer_contrasts(scores, bases)
    for i in range(3):
        assert gains[i] == paired_gain(scores[:, i], bases[i])
    expected = stats.false_discovery_control([gain.p for gain in gains[:3]])
    assert q[:3] == pytest.approx(expected) and np.isnan(q[3])
    assert isinstance(gains[3], Gain) and np.isnan(gains[3].mean_pp)


def test_layers_with_one_text_count_once() -> None:
    scores, base = drawn(50, 4, np.random.default_rng(19), 0.5)
    copied = scores[:, [0, 0, 0, 1, 2, 3]]
    units = [0, 0, 0, 1, 2, 3]
    depth = united(np.arange(6.0), units)
    assert depth.tolist() == [1, 3, 4, 5]
    found = trend(united(copied, units), base, depth)
    assert found.n_layers == 4 and found.p >= 1 / 24


@pytest.mark.parametrize(
    ("scores", "base", "layers"),
    [
        (np.zeros((5, 3)), np.zeros(4), [0, 1, 2]),
        (np.zeros((5, 3)), np.zeros(5), [0, 1]),
        (np.zeros((5, 3)), np.zeros((5, 2)), [0, 1, 2]),
        (np.zeros(5), np.zeros(5), [0]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    scores: Floats, base: Floats, layers: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"scores|base"):
        trend(scores, base, layers)
