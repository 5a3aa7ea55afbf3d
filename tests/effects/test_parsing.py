from __future__ import annotations

import math

import numpy as np
import pytest

from emo_harness.effects import Gain, paired_gain, parsed_gain, parsing_flag
from tests.effects.scores import crossed

VANISHES = "vanishes when unparsed answers are left out"


def gain(mean_pp: float, low_pp: float, high_pp: float, n: int = 100) -> Gain:
    return Gain(n, 50, mean_pp, low_pp, high_pp, 0.01, "t", 1.98)


@pytest.mark.parametrize(
    ("all_answers", "parsed", "flag"),
    [
        (gain(5, 1, 9), gain(5, 1, 9), ""),
        (gain(5, 1, 9), gain(3, -1, 7), ""),
        (gain(5, 1, 9), gain(1, 0.5, 1.5), ""),
        (gain(5, 1, 9), gain(2, -2, 6), VANISHES),
        (gain(5, 1, 9), gain(0, -1, 1), VANISHES),
        (gain(5, 1, 9), gain(-4, -5, -3), VANISHES),
        (gain(-5, -9, -1), gain(-2, -5, 1), VANISHES),
        (gain(-5, -9, -1), gain(-4, -9, 1), ""),
        (gain(2, -1, 5), gain(-2, -5, 1), ""),
        (gain(5, 1, 9), gain(math.nan, math.nan, math.nan, 1), "cannot be checked"),
        (gain(math.nan, math.nan, math.nan), gain(0, -1, 1), ""),
    ],
)
def test_an_effect_is_flagged_when_it_vanishes_and_only_an_effect(
    all_answers: Gain, parsed: Gain, flag: str
) -> None:
    found = parsing_flag(all_answers, parsed)
    assert found.startswith(flag) and bool(found) == bool(flag)


def test_where_every_answer_is_parsed_the_gain_stays() -> None:
    arms, base = crossed(120, 3, np.random.default_rng(0))
    found = parsed_gain(arms, base, np.zeros((120, 3), bool), np.zeros(120, bool))
    reference = paired_gain(arms, base)
    assert found.n == 120
    assert found.low_pp == pytest.approx(reference.low_pp)
    assert found.high_pp == pytest.approx(reference.high_pp)


def test_an_unparsed_answer_leaves_out_the_arm_and_an_unparsed_control_the_question() -> None:
    arms = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [1.0, np.nan]])
    base = np.zeros(5)
    unparsed = np.array([[0, 1], [0, 0], [1, 1], [0, 0], [0, 0]], dtype=bool)
    found = parsed_gain(arms, base, unparsed, np.array([0, 0, 0, 1, 0], dtype=bool))
    assert found.n == 3
    assert found.mean_pp == pytest.approx(100)


def test_an_effect_that_is_only_unreadable_answers_is_flagged() -> None:
    rng = np.random.default_rng(1)
    base = (rng.random(400) < 0.6).astype(float)
    unparsed = rng.random((400, 1)) < 0.3
    arms = np.where(unparsed, 0.0, base[:, None])
    lowered = paired_gain(arms, base)
    parsed = parsed_gain(arms, base, unparsed, np.zeros(400, bool))
    assert lowered.high_pp < 0
    assert parsing_flag(lowered, parsed) == VANISHES
