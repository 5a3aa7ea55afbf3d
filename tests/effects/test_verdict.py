from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from emo_harness.effects import (
    EQUIVALENCE_LEVEL,
    UNKNOWN,
    Gain,
    Verdict,
    gains_of_counts,
    mde_pp,
    paired_gain,
    questions_needed,
    tost,
    verdict,
)
from emo_harness.effects.verdict import round_up
from tests.effects.scores import crossed

LEVEL_QUANTILE = 1.96


def gain(mean_pp: float, se_pp: float, n: int = 1000) -> Gain:
    half = LEVEL_QUANTILE * se_pp
    return Gain(n, n // 2, mean_pp, mean_pp - half, mean_pp + half, 0.5, "t", LEVEL_QUANTILE)


def judged(mean_pp: float, se_pp: float, p: float, margin_pp: float = 1.0, **kwargs) -> Verdict:
    wide = gain(mean_pp, se_pp)
    half = 1.7 * se_pp
    narrow = Gain(1000, 500, mean_pp, mean_pp - half, mean_pp + half, 0.5, "t", 1.7)
    return verdict(wide, narrow, p, margin_pp, **kwargs)


@pytest.mark.parametrize(
    ("mean_pp", "se_pp", "p", "word"),
    [
        (5, 1, 0.01, "raises"),
        (-5, 1, 0.01, "lowers"),
        (5, 1, 0.06, "undecided"),
        (1, 1, 0.01, "undecided"),
        (0, 0.3, 1.0, "no difference"),
        (0, 1, 1.0, "undecided"),
        (0.5, 0.1, 1e-6, "no difference"),
        (1.5, 0.1, 1e-6, "raises"),
        (-0.5, 0.1, 1e-6, "no difference"),
    ],
)
def test_every_word_has_its_case_and_no_difference_goes_first(
    mean_pp: float, se_pp: float, p: float, word: str
) -> None:
    assert judged(mean_pp, se_pp, p).word == word


@pytest.mark.parametrize("unknown", [UNKNOWN, Gain(1, 1, 100.0, *[math.nan] * 3, "none", math.nan)])
def test_a_gain_without_an_interval_is_unknown(unknown: Gain) -> None:
    found = verdict(unknown, unknown, math.nan)
    assert found.word == str(found) == "unknown"


@pytest.mark.parametrize("margin_pp", [0.0, -1.0])
def test_a_margin_must_be_above_zero(margin_pp: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        judged(0, 1, 1.0, margin_pp)


def test_the_words_are_plain() -> None:
    assert str(judged(5, 1, 0.01)) == "raises"
    assert str(judged(0, 0.3, 1.0)) == "no difference larger than the margin"
    assert str(Verdict("undecided", 1234.5)) == "undecided: needs about 1,300 questions"
    assert str(Verdict("undecided", 31, "stimuli")) == "undecided: needs about 31 stimuli"


def test_a_wider_margin_turns_raises_into_no_difference() -> None:
    assert judged(2, 0.3, 1e-6, 1.0).word == "raises"
    assert judged(2, 0.3, 1e-6, 3.0).word == "no difference"


@pytest.mark.parametrize("n", [5, 40, 300])
@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.05])
def test_tost_is_that_of_statsmodels(n: int, shift: float) -> None:
    rng = np.random.default_rng(n)
    difference = rng.normal(shift, 0.4, n)
    for margin in (0.05, 0.2):
        reference = ttost_paired(difference, np.zeros(n), -margin, margin)[0]
        assert tost(difference, margin) == pytest.approx(reference, abs=1e-10)


def test_tost_knows_its_limits() -> None:
    assert math.isnan(tost(np.array([0.1]), 0.2))
    assert tost(np.full(9, 0.1), 0.2) == 0 and tost(np.full(9, 0.3), 0.2) == 1


def test_no_difference_is_said_where_both_one_sided_tests_reject() -> None:
    rng = np.random.default_rng(0)
    alpha = (1 - EQUIVALENCE_LEVEL) / 2
    words = []
    for n in np.linspace(1500, 5000, 40).astype(int):
        arms, base = crossed(n, 1, rng)
        arms = np.where(rng.random((n, 1)) < 0.1, arms, base[:, None])
        wide, narrow = (paired_gain(arms, base, level=x) for x in (0.95, EQUIVALENCE_LEVEL))
        word = verdict(wide, narrow, 1.0).word
        assert wide.method == "t"
        assert (word == "no difference") == (tost(arms[:, 0] - base, 0.01) < alpha)
        words.append(word)
    assert set(words) == {"no difference", "undecided"}


@pytest.mark.parametrize(
    ("n", "flips", "published_pp"),
    [
        (250, 0.20, 7.9),
        (6511, 0.05, 0.8),
        (6511, 0.10, 1.1),
        (6511, 0.20, 1.6),
    ],
)
def test_minimum_detectable_effects_are_the_published_ones(
    n: int, flips: float, published_pp: float
) -> None:
    differing = n * flips
    found = gains_of_counts([n], [math.ceil(differing / 2)], [math.floor(differing / 2)])[0]
    assert found.method == "t"
    assert mde_pp(found) == pytest.approx(published_pp, abs=0.06)


@pytest.mark.parametrize(
    ("n", "flips", "published_pp", "above"),
    [(250, 0.1, 5.6, 1.1), (250, 0.05, 4.0, 1.2), (100, 0.2, 12.5, 1.2), (50, 0.2, 17.7, 1.2)],
)
def test_with_few_differing_questions_the_detectable_effect_is_somewhat_larger(
    n: int, flips: float, published_pp: float, above: float
) -> None:
    # The published ones take the normal distribution for granted.
    differing = n * flips
    found = gains_of_counts([n], [math.ceil(differing / 2)], [math.floor(differing / 2)])[0]
    assert published_pp - 0.06 < mde_pp(found) < above * published_pp


@pytest.mark.parametrize("margin_pp", [1.0, 2.0, 5.0])
def test_the_planned_number_of_questions_decides_four_times_in_five(margin_pp: float) -> None:
    rng = np.random.default_rng(1)
    flips, n_draws = 0.2, 4000
    pilot = gains_of_counts([400], [40], [40])[0]
    planned = round(questions_needed(pilot, margin_pp))
    rates = {}
    for true_pp in (0.0, margin_pp):
        up, down = flips / 2 + true_pp / 200, flips / 2 - true_pp / 200
        drawn = rng.multinomial(planned, [up, down, 1 - flips], size=n_draws)
        n = np.full(n_draws, planned)
        wide = gains_of_counts(n, drawn[:, 0], drawn[:, 1])
        narrow = gains_of_counts(n, drawn[:, 0], drawn[:, 1], EQUIVALENCE_LEVEL)
        if true_pp:
            rates["raises"] = np.mean((wide.low_pp > 0) & (wide.p <= 0.05))
        else:
            within = (narrow.low_pp > -margin_pp) & (narrow.high_pp < margin_pp)
            rates["no difference"] = np.mean(within)
    assert min(rates.values()) == pytest.approx(0.8, abs=0.04)
    assert max(rates.values()) < 0.92


def test_needs_are_told_in_questions_unless_only_more_stimuli_help() -> None:
    found = judged(0, 2, 1.0)
    assert found.needs_what == "questions"
    assert found.needs == questions_needed(gain(0, 2), 1.0) > 1000
    spread = judged(0, 2, 1.0, n_stimuli=10, between_variance=0.01**2)
    assert spread.needs_what == "stimuli" and spread.needs > 10
    partly = judged(0, 2, 1.0, n_stimuli=10, between_variance=0.002**2)
    assert partly.needs_what == "questions" and partly.needs > found.needs


@given(
    st.floats(-3, 3),
    st.floats(0.05, 5),
    st.floats(0, 1),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(2, 30),
)
def test_undecided_needs_more_than_there_is_and_no_absurd_number_of_stimuli(
    mean_pp: float, se_pp: float, between_share: float, margin_pp: float, m: int
) -> None:
    between = between_share * se_pp / 100
    found = judged(mean_pp, se_pp, 1.0, margin_pp, n_stimuli=m, between_variance=between**2)
    if found.word == "undecided":
        assert math.isfinite(found.needs)
        assert found.needs > (m if found.needs_what == "stimuli" else 1000)
        if found.needs_what == "stimuli":
            assert found.needs <= max(10, m * max(1.1, (6 * se_pp / margin_pp) ** 2 + 1))


def test_near_the_margin_stimuli_that_vary_are_not_made_up_for_by_trillions_of_questions() -> None:
    # Sure enough for a gain of zero or of the margin; the observed gain lies between them.
    found = judged(0.55, 0.31, 0.3, n_stimuli=12, between_variance=0.0025**2)
    assert found.word == "undecided"
    assert found.needs_what == "stimuli" and 12 < found.needs < 40


def test_numbers_are_rounded_up_to_two_digits() -> None:
    assert [round_up(x) for x in (0.2, 9.1, 10, 11.01, 99.5, 100, 101, 1234, 98_765)] == [
        *(1, 10, 10, 12, 100, 100, 110, 1300, 99_000)
    ]


@given(st.floats(0.1, 1e9))
def test_rounding_up_is_never_below_and_at_most_a_tenth_or_one_above(number: float) -> None:
    assert number <= round_up(number) * (1 + 1e-9)
    assert round_up(number) <= max(1.1 * number, number + 1)


def test_few_stimuli_are_told_to_be_too_few_whatever_the_questions() -> None:
    for m in (2, 5, 9):
        found = judged(0.5, 2.0, 1.0, n_stimuli=m)
        assert (found.needs_what, found.needs >= 10) == ("stimuli", True)
    assert judged(0.5, 2.0, 1.0, n_stimuli=10).needs_what == "questions"
