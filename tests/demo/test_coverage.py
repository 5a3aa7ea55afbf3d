from __future__ import annotations

import numpy as np
import pytest

from emo_harness.demo.coverage import Coverage, coverage
from emo_harness.demo.truth import read_truth


@pytest.fixture(scope="module")
def checked() -> list[Coverage]:
    return coverage(read_truth(), n_draws=800, n_questions=200, rng=np.random.default_rng(3))


def test_intervals_hold_the_known_truth_in_93_to_97_percent_of_draws(
    checked: list[Coverage],
) -> None:
    planted = [c for c in checked if c.family in ("attack", "prompt")]
    assert all(c.judged for c in planted)
    covered = np.array([c.covered for c in planted])
    # 800 draws leave a Monte-Carlo error of 0.8 points on each arm, none to speak of on the mean.
    assert 0.93 <= covered.mean() <= 0.97
    assert covered.min() >= 0.93 - 0.025 and covered.max() <= 0.97 + 0.025


def test_inert_arms_are_never_covered_less_than_93_percent(checked: list[Coverage]) -> None:
    inert = [c for c in checked if c.family in ("placebo", "negative")]
    assert inert and all(c.covered >= 0.93 and abs(c.true_gain_pp) < 0.5 for c in inert)


def test_attack_lowers_prompt_raises_by_design(checked: list[Coverage]) -> None:
    gains = {c.family: c.true_gain_pp for c in checked if c.stimulus == "(family)"}
    assert gains["attack"] < -5 and gains["prompt"] > 5


def test_a_wrong_interval_would_be_noticed() -> None:
    halved = Coverage("attack", "ea01", -20.0, 40.0, covered=0.68, judged=True)
    too_wide = Coverage("attack", "ea01", -20.0, 40.0, covered=0.999, judged=True)
    assert not halved.passes and not too_wide.passes
