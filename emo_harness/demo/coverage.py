"""Do our intervals cover the truth? Checked against the demo model's exhaustively known gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emo_harness.demo.truth import CONTROL, Truth
from emo_harness.effects import gains_of_counts, paired_gain
from emo_harness.stimuli import shipped_stimuli

ACCEPTED = (0.93, 0.97)
# Where fewer questions are expected to differ, intervals may hold the truth more often than that.
MIN_DIFFERING = 10


@dataclass(frozen=True)
class Coverage:
    """How often one arm's interval held its true gain.

    Attributes:
        stimulus: arm id, or "(family)" for a family's mean.
        true_gain_pp: on every stored question, percentage points.
        expected_differing: questions per draw that differ from control.
        covered: share of draws whose interval held the true gain.
        judged: whether enough questions differ for coverage to be near 95% rather than above.
    """

    family: str
    stimulus: str
    true_gain_pp: float
    expected_differing: float
    covered: float
    judged: bool

    @property
    def passes(self) -> bool:
        low, high = ACCEPTED
        return self.covered >= low and (self.covered <= high or not self.judged)


def coverage(
    truth: Truth,
    n_draws: int,
    n_questions: int,
    rng: np.random.Generator,
    family_of: Mapping[str, str] | None = None,
) -> list[Coverage]:
    """Draw samples of questions and count the intervals that hold the true gain.

    Args:
        truth: the stored answers, (n_stored,) bool per arm.
        n_draws: samples drawn, each without repeating a question.
        n_questions: questions per sample; few beside n_stored, so that a draw is like a new run.
        rng: where the draws come from.
        family_of: family by arm; of the shipped sentences where it is None.

    Returns:
        one entry per arm but control, then one per family with several stimuli.
    """
    arms = [arm for arm in truth.is_right if arm != CONTROL]
    control = truth.is_right[CONTROL].astype(np.int8)
    right = np.stack([truth.is_right[arm] for arm in arms], axis=1).astype(np.float64)
    right_under_control = control.astype(np.float64)
    difference = right.astype(np.int8) - control[:, None]
    if family_of is None:
        family_of = {arm: shipped_stimuli()[arm].family for arm in arms}
    named = dict.fromkeys(family_of[arm] for arm in arms)
    families = {f: [i for i, a in enumerate(arms) if family_of[a] == f] for f in named}
    family_mean = {f: difference[:, m].mean(axis=1) for f, m in families.items() if len(m) > 1}
    hits = np.zeros(len(arms))
    family_hits = dict.fromkeys(family_mean, 0)
    true_gain = difference.mean(axis=0)
    for _ in tqdm(range(n_draws), desc="drawing", unit="draw", disable=None):
        drawn = rng.choice(len(control), size=n_questions, replace=False, shuffle=False)
        hits += _covered(difference[drawn], true_gain)
        for family, mean in family_mean.items():
            gain = paired_gain(right[drawn][:, families[family]], right_under_control[drawn])
            family_hits[family] += int(gain.low_pp <= 100 * mean.mean() <= gain.high_pp)
    expected = n_questions * (difference != 0).mean(axis=0)
    per_arm = [
        Coverage(family_of[arm], arm, 100 * g, d, h / n_draws, d >= MIN_DIFFERING)
        for arm, g, d, h in zip(
            arms, true_gain.tolist(), expected.tolist(), hits.tolist(), strict=True
        )
    ]
    per_family = [
        Coverage(
            family,
            "(family)",
            100 * float(mean.mean()),
            n_questions * float((mean != 0).mean()),
            family_hits[family] / n_draws,
            n_questions * float((mean != 0).mean()) >= MIN_DIFFERING,
        )
        for family, mean in family_mean.items()
    ]
    return per_arm + per_family


def _covered(difference: NDArray[np.int8], true_gain: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n_arms,) bool from (n_questions, n_arms) differences of one draw."""
    gained, lost = (difference > 0).sum(axis=0), (difference < 0).sum(axis=0)
    gains = gains_of_counts(np.full(len(gained), len(difference)), gained, lost)
    return (gains.low_pp <= 100 * true_gain) & (100 * true_gain <= gains.high_pp)
