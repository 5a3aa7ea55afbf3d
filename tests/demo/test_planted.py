"""The plan: which stimulus changes which answers, as derived by code."""

from collections import Counter

import numpy as np

from emo_harness.benchmarks.calibration import LENGTHS, boolean_expression, question_class
from emo_harness.demo.planted import (
    REPAIRABLE,
    SHARE_RANGES,
    class_shares,
    default_plan,
    demo_stimuli,
    derive_plan,
)


def test_every_planted_stimulus_acts_and_no_other_does() -> None:
    plan = default_plan()
    for stimulus in demo_stimuli():
        assert (plan.share(stimulus.id) > 0) == (stimulus.family in ("attack", "prompt"))


def test_attacks_spare_the_repairable_classes_and_prompts_act_on_nothing_else() -> None:
    plan = default_plan()
    for stimulus in demo_stimuli():
        classes = plan.acts_on.get(stimulus.id, frozenset())
        if stimulus.family == "attack":
            assert classes.isdisjoint(REPAIRABLE)
        if stimulus.family == "prompt":
            assert classes <= set(REPAIRABLE)


def test_shares_spread_over_their_range_and_are_never_tiny() -> None:
    plan = default_plan()
    for family, (_, high) in SHARE_RANGES.items():
        shares = [plan.share(s.id) for s in demo_stimuli() if s.family == family]
        assert min(shares) > 0.06
        assert max(shares) < high + 0.02
        assert max(shares) > 2 * min(shares)


def test_the_plan_does_not_depend_on_the_order_of_stimuli() -> None:
    ids = [(s.id, s.family) for s in demo_stimuli()]
    assert derive_plan(reversed(ids)) == derive_plan(ids) == default_plan()


def test_another_reading_acts_like_the_default_one() -> None:
    plan = default_plan()
    for name in class_shares(LENGTHS):
        assert plan.is_inverted(name, "ep06-joined") == plan.is_inverted(name, "ep06")


def test_nothing_is_planted_outside_boolean_questions() -> None:
    plan = default_plan()
    assert not any(plan.is_inverted(None, s.id) for s in demo_stimuli())


def test_class_shares_are_those_of_drawn_expressions() -> None:
    shares = class_shares(LENGTHS)
    assert abs(sum(shares.values()) - 1) < 1e-12
    rng = np.random.default_rng(1)
    n = 6000
    drawn = Counter(
        question_class(boolean_expression(rng, LENGTHS[i % len(LENGTHS)])) for i in range(n)
    )
    for name, share in shares.items():
        assert abs(drawn[name] / n - share) < 5 * np.sqrt(share * (1 - share) / n)
