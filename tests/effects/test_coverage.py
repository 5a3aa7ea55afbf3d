"""What the statistics promise, where it is hardest; `perf/inference.py` tries many more designs.

One right-or-wrong arm is tried exactly, by adding up the chances of all outcomes; the rest is
simulated, and the bounds allow for three Monte-Carlo standard errors.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln, xlogy

from emo_harness.effects import EQUIVALENCE_LEVEL, LEVEL, Gains, gains_of_counts
from perf.inference import Design, Rate, effect_of_gain, studied

Counts = np.ndarray


@cache
def outcomes(n: int, most: int) -> tuple[Counts, Counts]:
    """All numbers of gained and lost questions that add up to `most` or fewer."""
    gained, lost = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    kept = gained + lost <= min(n, most)
    return gained[kept], lost[kept]


@cache
def judged(n: int, most: int, level: float) -> Gains:
    gained, lost = outcomes(n, most)
    return gains_of_counts(np.full(len(gained), n), gained, lost, level)


def chances(n: int, most: int, p_gained: float, p_lost: float) -> np.ndarray:
    gained, lost = outcomes(n, most)
    rest = n - gained - lost
    ways = gammaln(n + 1) - gammaln(gained + 1) - gammaln(lost + 1) - gammaln(rest + 1)
    unchanged = xlogy(rest, max(1 - p_gained - p_lost, 0.0))
    return np.exp(ways + xlogy(gained, p_gained) + xlogy(lost, p_lost) + unchanged)


def coverage(n: int, p_gained: float, p_lost: float) -> float:
    gains, truth_pp = judged(n, n, LEVEL), 100 * (p_gained - p_lost)
    covered = (gains.low_pp - 1e-9 <= truth_pp) & (truth_pp <= gains.high_pp + 1e-9)
    return float(chances(n, n, p_gained, p_lost)[covered].sum())


SHARES = (0, 0.002, 0.01, 0.03, 0.1, 0.15, 0.25, 0.4, 0.6, 0.95)
PAIRS = [(a, b) for a in SHARES for b in SHARES if b <= a and 0 < a + b <= 1]


@pytest.mark.parametrize("n", [30, 50, 100, 250])
def test_one_arm_is_covered_in_at_least_93_percent_exactly(n: int) -> None:
    assert min(coverage(n, *pair) for pair in PAIRS) >= 0.93


@pytest.mark.parametrize("n", [30, 50, 100, 250])
def test_one_arm_is_covered_in_at_most_97_percent_where_ten_questions_differ(n: int) -> None:
    # Where differing questions all go one way, few outcomes have a chance and rates go in steps.
    off_mode = {(a, b): n * (1 - max(a, b, 1 - a - b)) for a, b in PAIRS}
    both_ways = [pair for pair in PAIRS if off_mode[pair] >= 10 and n * pair[1] >= 0.5]
    one_way = [pair for pair in PAIRS if off_mode[pair] >= 10]
    assert max(coverage(n, *pair) for pair in both_ways) <= 0.97
    assert max(coverage(n, *pair) for pair in one_way) <= 0.975


@pytest.mark.parametrize("per_subtask", [4, 12, 60])
def test_subtasks_of_many_sizes_and_effects_are_covered_in_at_least_93_percent(
    per_subtask: int,
) -> None:
    rng, n_draws = np.random.default_rng(0), 4000
    p_gained = np.array([0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 0.9])
    p_lost = np.array([0.02, 0.02, 0.2, 0.0, 0.1, 0.3, 0.05])
    n_h = per_subtask * np.array([1, 2, 1, 1, 3, 1, 2])
    shares = np.stack([p_gained, p_lost, 1 - p_gained - p_lost], axis=1)
    drawn = rng.multinomial(np.tile(n_h, (n_draws, 1)), shares)
    gains = gains_of_counts(np.tile(n_h[:, None], n_draws), drawn[..., 0].T, drawn[..., 1].T)
    truth_pp = 100 * float(n_h @ (p_gained - p_lost)) / n_h.sum()
    covered = (gains.low_pp <= truth_pp) & (truth_pp <= gains.high_pp)
    assert covered.mean() >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / n_draws)
    assert ("t" in gains.method) == (per_subtask == 60)


def test_t_alone_covers_78_percent_with_30_questions_of_which_5_percent_differ() -> None:
    # The same counting, so that a method that does not hold its promise is known to fail here.
    n = 30
    gained, lost = outcomes(n, n)
    mean = (gained - lost) / n
    half = stats.t.ppf(0.975, n - 1) * np.sqrt(((gained + lost) / n - mean**2) / (n - 1))
    covered = np.abs(mean) <= half
    chance = chances(n, n, 0.025, 0.025)
    covered &= gained + lost > 0
    assert float(chance[covered].sum()) == pytest.approx(0.78, abs=0.01)
    assert coverage(n, 0.025, 0.025) > 0.98


@pytest.mark.parametrize("n", [400, 1000, 2000, 4000, 6511])
def test_one_arm_at_the_margin_is_called_no_difference_in_at_most_5_percent_exactly(
    n: int,
) -> None:
    most = 220
    narrow = judged(n, most, EQUIVALENCE_LEVEL)
    equal = (narrow.low_pp > -1) & (narrow.high_pp < 1)
    rates = []
    for p_lost in (0, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03):
        if n * (0.01 + 2 * p_lost) < 140:
            rates.append(float(chances(n, most, 0.01 + p_lost, p_lost)[equal].sum()))
    assert max(rates) <= 0.05
    assert max(rates) > 0.0 or n == 400


def name(value: object) -> str:
    if not isinstance(value, Design):
        return str(value)
    n, m, accuracy = value.n_questions, value.n_stimuli, value.accuracy
    return f"{n} questions, {m} stimuli, {accuracy:.0%} right"


def rate(study: str, design: Design, n_reps: int) -> Rate:
    return studied((study, design, n_reps, 20, 0))[1]


@pytest.mark.parametrize(
    "design",
    [
        Design(30, 5, 0.05, 0.9),
        Design(100, 22, 0.6, 0.999, rare_loss=0.01),
        Design(200, 22, 0.6, 0.99, rare_loss=0.01),
        Design(30, 30, 0.95, 0.5),
        Design(30, 30, 0.05, 0.99, -0.3, 0.2),
        Design(100, 5, 0.95, 0.99, -0.3, 0.2),
        Design(100, 30, 0.95, 0.5, -0.3, 0.2),
        Design(400, 12, 0.05, 0.99, 0.0, 0.2),
        Design(400, 5, 0.6, 0.5, -0.3, 0.2),
    ],
    ids=name,
)
def test_a_family_is_covered_in_at_least_93_percent(design: Design) -> None:
    found = rate("family", design, 400)
    assert found.rate >= 0.93 - 3 * found.monte_carlo_se


@pytest.mark.parametrize(
    "design",
    [
        Design(100, 5, 0.6, 0.5),
        Design(400, 12, 0.6, 0.9, -0.3, 0.2),
        Design(400, 30, 0.3, 0.5, -0.3),
    ],
    ids=name,
)
def test_a_family_with_ten_differing_questions_is_covered_in_at_most_97_percent(
    design: Design,
) -> None:
    found = rate("family", design, 400)
    assert found.expected_differing >= 10
    assert 0.93 - 3 * found.monte_carlo_se <= found.rate <= 0.97 + 3 * found.monte_carlo_se


@pytest.mark.parametrize(
    "design",
    [
        Design(250, 10, 0.95, 0.9, -0.3, 0.4),
        Design(250, 10, 0.6, 0.5, -0.3, 0.1),
        Design(250, 30, 0.3, 0.9, -0.3, 0.4),
        Design(2000, 10, 0.05, 0.5, 0.3, 0.4),
    ],
    ids=name,
)
def test_sentences_like_these_are_covered_in_93_to_98_percent_from_10_stimuli(
    design: Design,
) -> None:
    found = rate("two_way", design, 400)
    assert 0.93 - 3 * found.monte_carlo_se <= found.rate <= 0.98 + 3 * found.monte_carlo_se


@pytest.mark.parametrize(
    "design",
    [Design(30, 9, 0.5, 0.5), Design(250, 9, 0.95, 0.9), Design(250, 30, 0.5, 0.9)],
    ids=name,
)
def test_where_nothing_has_an_effect_three_families_are_rarely_said_to_have_one(
    design: Design,
) -> None:
    found = rate("false_claims", design, 300)
    assert found.rate <= 0.05 + 3 * found.monte_carlo_se


def test_a_population_without_an_effect_is_rarely_said_to_have_one() -> None:
    found = rate("false_population_claims", Design(250, 10, 0.5, 0.9, 0.0, 0.4), 300)
    assert found.rate <= 0.05 + 3 * found.monte_carlo_se


@pytest.mark.parametrize(
    ("n", "m", "accuracy", "gain"),
    [(400, 10, 0.95, -0.01), (2000, 10, 0.05, 0.01)],
)
def test_a_family_at_the_margin_is_rarely_called_no_difference(
    n: int, m: int, accuracy: float, gain: float
) -> None:
    share = 0.9 if accuracy == 0.05 else 0.99
    design = Design(n, m, accuracy, share, effect_of_gain(accuracy, gain))
    found = rate("false_no_difference", design, 400)
    assert found.rate <= 0.05 + 3 * found.monte_carlo_se


@pytest.mark.parametrize(
    ("study", "design"),
    [
        ("best", Design(30, 5, 0.6, 0.9)),
        ("best", Design(100, 12, 0.95, 0.9)),
        ("relative", Design(100, 5, 0.3, 0.5, -0.3, 0.2)),
        ("relative", Design(30, 12, 0.6, 0.99)),
    ],
    ids=name,
)
def test_the_best_stimulus_and_relative_gains_are_covered(study: str, design: Design) -> None:
    found = rate(study, design, 150)
    assert found.rate >= 0.93 - 3 * found.monte_carlo_se
