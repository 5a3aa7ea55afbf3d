from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from emo_harness.effects import (
    mcnemar,
    mean_test,
    paired_gain,
    randomisation,
    relabelling_test,
    sign_flip_test,
)
from tests.effects.scores import crossed, right_or_wrong


def by_enumeration(arms: np.ndarray, base: np.ndarray) -> float:
    """P-value from every way to deal the answers to arms and base in every question."""
    k, m = base.shape[1], arms.shape[1]
    observed = abs((arms.mean(axis=1) - base.mean(axis=1)).sum())
    by_question = []
    for row in np.concatenate([base, arms], axis=1):
        chosen = itertools.combinations(range(k + m), k)
        in_base = [row[list(c)].sum() for c in chosen]
        by_question.append([(row.sum() - b) / m - b / k for b in in_base])
    sums = np.array([sum(dealt) for dealt in itertools.product(*by_question)])
    return float(np.mean(np.abs(sums) >= observed - 1e-9))


def test_mcnemar_is_that_of_statsmodels() -> None:
    for gained, lost in itertools.product(range(0, 40, 3), range(0, 25, 2)):
        reference = mcnemar_of_statsmodels([[9, gained], [lost, 9]], exact=True).pvalue
        assert mcnemar(gained, lost) == pytest.approx(reference, abs=1e-10)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_does_not_care_which_way(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == mcnemar(lost, gained)
    assert 0 < mcnemar(gained, lost) <= 1


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 2])
def test_relabelling_is_every_way_to_deal_the_labels(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng((n, m, k))
    for _ in range(8):
        cells = rng.integers(0, 2, (n, m + k)).astype(float)
        found = relabelling_test(cells[:, k:], cells[:, :k])
        assert found == pytest.approx(by_enumeration(cells[:, k:], cells[:, :k]), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_relabelling_one_arm_and_one_base_is_mcnemars_test(gained: int, lost: int) -> None:
    arm, base = right_or_wrong(130, gained, lost)
    found = relabelling_test(arm[:, None], base[:, None])
    assert found == pytest.approx(float(mcnemar(gained, lost)), abs=1e-12)


@pytest.mark.parametrize(("m", "k"), [(1, 1), (3, 1), (2, 2)])
def test_graded_scores_are_drawn_near_to_every_way_to_deal(m: int, k: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        cells = rng.integers(0, 5, (4, m + k)) / 4 + np.linspace(0, 0.01, 4)[:, None]
        exact = by_enumeration(cells[:, k:], cells[:, :k])
        found = relabelling_test(cells[:, k:], cells[:, :k], rng, 4000)
        assert found == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 4000))


def test_a_p_value_is_never_zero_and_draws_repeat() -> None:
    rng = np.random.default_rng(1)
    arms, base = rng.random((60, 3)) / 10 + 0.9, rng.random((60, 2)) / 10
    found = relabelling_test(arms, base, n_draws=199)
    assert found == (1 / 200) ** 2 == relabelling_test(arms, base, n_draws=199)
    assert 0 < relabelling_test(np.ones((40, 3)), np.zeros((40, 1))) < 1e-20
    assert relabelling_test(np.ones((40, 3)), np.ones((40, 1))) == 1


def test_no_effect_gives_small_p_values_no_more_often_than_they_say() -> None:
    rng = np.random.default_rng(2)
    p = [relabelling_test(a, b[:, None]) for a, b in (crossed(40, 4, rng) for _ in range(1500))]
    for alpha in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p) <= alpha) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 1500)


def test_long_distributions_are_the_same_by_fourier_transform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arms, base = crossed(300, 6, np.random.default_rng(3), 0.56)
    direct = relabelling_test(arms, base[:, None])
    monkeypatch.setattr(randomisation, "_DIRECT_UNTIL", 1)
    assert relabelling_test(arms, base[:, None]) == pytest.approx(direct, abs=1e-12)


def test_sign_flips_are_near_to_all_sign_flips() -> None:
    difference = np.array([0.5, 0.25, -0.125, 0.75, 0.0, 0.5, -0.25, 0.3])
    signs = np.array(list(itertools.product([-1, 1], repeat=len(difference))))
    exact = np.mean(np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12)
    found = sign_flip_test(difference, np.random.default_rng(4), 20_000)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000))
    assert sign_flip_test(np.zeros(5), np.random.default_rng(4)) == 1


def alike(n: int, m: int, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Answers that all m arms change alike, and all k bases, for better and worse as often."""
    right = rng.random((n, 1)) < 0.7
    arms, base = (right ^ (rng.random((n, 1)) < 0.06) for _ in range(2))
    return tuple(  # type: ignore[return-value]
        (side ^ (rng.random((n, size)) < 0.01)).astype(float)
        for side, size in ((arms, m), (base, k))
    )


@pytest.mark.parametrize(("n", "m", "k"), [(60, 6, 6), (81, 12, 6), (60, 2, 1), (100, 12, 1)])
def test_arms_that_answer_alike_are_no_more_questions_than_they_were_asked(
    n: int, m: int, k: int
) -> None:
    rng = np.random.default_rng((n, m))
    made = [alike(n, m, k, rng) for _ in range(400)]
    p = np.array([mean_test(*one) for one in made])
    for alpha in (0.01, 0.05):
        assert np.mean(p <= alpha) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 400)
    relabelled = np.mean([relabelling_test(*one) <= 0.05 for one in made])
    assert relabelled > 0.1, "the null of relabelling is another one"


@pytest.mark.parametrize(("n", "m"), [(40, 4), (100, 12)])
def test_arms_that_answer_by_chance_give_small_p_values_no_more_often_than_they_say(
    n: int, m: int
) -> None:
    rng = np.random.default_rng((3, n))
    hard = np.array([0.98] * (n - 10) + [0.5] * 10)[:, None]
    made = [(rng.random((n, m + 1)) < hard).astype(float) for _ in range(400)]
    p = np.array([mean_test(one[:, 1:], one[:, :1]) for one in made])
    assert np.mean(p <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_one_question_that_every_arm_loses_is_one_question() -> None:
    arms, base = np.ones((60, 6)), np.ones((60, 6))
    arms[:2] = 0
    assert relabelling_test(arms, base) < 0.001
    assert mean_test(arms, base) == paired_gain(arms, base).p >= 0.4


def test_the_order_of_questions_does_not_matter_to_sign_flips() -> None:
    difference = np.random.default_rng(5).normal(0.1, 0.3, 60)
    assert sign_flip_test(difference) == sign_flip_test(difference[::-1])
