"""Means over questions are those of an independent test, and what is not known is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from emo_harness.attribution.aggregate import AttributedPrompt, GroupTally
from emo_harness.attribution.leave_one_out import AskedPrompt
from emo_harness.attribution.method_tally import MethodTally
from emo_harness.attribution.methods import chosen_methods, rank_agreement
from emo_harness.attribution.pieces import PromptPieces, cut
from emo_harness.attribution.question_means import QuestionMeans
from emo_harness.effects import benjamini_hochberg
from emo_harness.errors import UserError
from emo_harness.runs import RunArm

METHODS = ("leave-one-out", "integrated-gradients", "gradient-norm")
TEXT, SPAN = "Q: x y z?\nYou failed. You!\nA:", (10, 26)
ARMS = [RunArm(f"ea0{i}", "stimulus", "attack", None, "You failed. You!") for i in (1, 2)]


def prompt(scores: dict[str, list[float]], arm: RunArm = ARMS[0], **more: object):
    """Scores of the words Q: x y z? You failed. You! A:"""
    pieces = PromptPieces(tuple(cut(TEXT, (), SPAN)), np.zeros(0, np.int64))
    spread = {}
    for method, words in scores.items():
        spread[method] = np.full(len(pieces.pieces), np.nan)
        spread[method][pieces.words] = words
    return AttributedPrompt(AskedPrompt(TEXT, " b", pieces, "Q:"), arm, spread, -1.0, 0.5, **more)


def drawn(rng: np.random.Generator) -> list[float]:
    return rng.normal(size=8).tolist()


def test_a_mean_over_questions_is_student_s_t_of_their_own_means() -> None:
    rng = np.random.default_rng(0)
    means: QuestionMeans[str] = QuestionMeans()
    own = []
    for n in (1, 3, 2, 1, 5):
        values = rng.normal(1, size=n)
        own.append(values.mean())
        means.add_question([("a", value) for value in values] + [("a", np.nan), ("b", np.nan)])
    found, expected = means.of("a"), stats.ttest_1samp(own, 0)
    assert found.n == 5 and found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.bounds() == pytest.approx([np.mean(own), interval.low, interval.high])
    assert means.of("b").n == 0 and np.isnan(means.of("b").bounds()).all()


def test_one_question_has_a_mean_and_no_interval() -> None:
    means: QuestionMeans[str] = QuestionMeans()
    means.add_question([("a", 2.0)])
    value, low, high = means.of("a").bounds()
    assert value == 2.0 and np.isnan([low, high, means.of("a").p]).all()


def test_words_and_shares_are_means_over_questions() -> None:
    rng = np.random.default_rng(1)
    tally = GroupTally(METHODS, 2)
    scores = rng.normal(size=(6, 2, 8))
    for number, question in enumerate(scores):
        prompts = [
            prompt({"leave-one-out": own.tolist()}, arm)
            for own, arm in zip(question, ARMS, strict=True)
        ]
        tally.add_question(f"subtask {number // 5}", prompts)
    told = tally.as_json()
    assert (told["n_questions"], told["n_prompts"]) == (6, 12)
    (share,) = [row for row in told["shares"] if row["subtask"] == "(all)"]
    sizes = np.abs(scores)
    by_question = (sizes[:, :, 4:7].sum(2) / sizes.sum(2)).mean(1)
    assert share["share"][0] == pytest.approx(by_question.mean())
    assert share["equal_share"] == pytest.approx(3 / 8) and share["n"] == 6
    words = {
        (row["arm"], row["position"]): row for row in told["words"] if row["subtask"] == "(all)"
    }
    assert len(words) == 6 and words["ea02", 1]["word"] == "failed."
    assert words["ea02", 1]["contribution"][0] == pytest.approx(scores[:, 1, 5].mean())
    # The second subtask has one question, and nothing to tell of its own.
    assert {row["subtask"] for row in told["words"]} == {"(all)", "subtask 0"}
    top = {row["word"]: row for row in told["top_words"]}
    assert set(top) == {"you", "failed"} and top["you"]["n_arms"] == 2
    of_you = scores[:, :, [4, 6]].reshape(6, -1).mean(1)
    p = [stats.ttest_1samp(of_you, 0).pvalue]
    p.append(stats.ttest_1samp(scores[:, :, 5].mean(1), 0).pvalue)
    assert top["you"]["contribution"][0] == pytest.approx(of_you.mean())
    assert [top[w]["q"] for w in ("you", "failed")] == pytest.approx(benjamini_hochberg(p))
    (whole,) = [r for r in told["whole"] if r["arm"] is None and r["subtask"] == "(all)"]
    assert whole["contribution"] == [0.5, 0.5, 0.5]


def test_equal_contributions_give_the_equal_share() -> None:
    tally = GroupTally(METHODS, 1)
    for sign in (1, -1, 1):
        tally.add_question("a", [prompt({"leave-one-out": [sign * 0.3] * 8})])
    (share,) = tally.as_json()["shares"]
    assert share["share"][0] == pytest.approx(share["equal_share"])


def test_unconverged_gradients_are_left_out_of_means_and_counted() -> None:
    rng = np.random.default_rng(2)
    tally, by_method = GroupTally(METHODS, 1), MethodTally(METHODS)
    good = prompt({m: drawn(rng) for m in METHODS}, steps=64, delta=1e-4, converged=True)
    bad = replace(
        prompt({m: [1e6] * 8 for m in METHODS[:2]}, ARMS[1]), steps=256, delta=-3.0, converged=False
    )
    for number in range(3):
        tally.add_question("a", [good, bad])
        by_method.add_question(number, [good, bad])
    told = tally.as_json()
    arms = {row["arm"] for row in told["words"] if row["method"] == "integrated-gradients"}
    assert arms == {"ea01"}
    convergence = by_method.as_json()["convergence"]
    assert convergence == {
        "n": 6,
        "n_unconverged": 3,
        "steps": {"64": 3, "256": 3},
        "largest_delta": 3.0,
    }


def test_an_equal_share_is_that_of_the_prompts_whose_share_is_told() -> None:
    short = PromptPieces(
        tuple(cut("Q: x y z?\nYou failed. A:", (), (10, 21))), np.zeros(0, np.int64)
    )
    few = np.full(len(short.pieces), np.nan)
    few[short.words] = 0.5
    tally = GroupTally(METHODS, 1)
    for _ in range(3):
        # Gradients were integrated for the long stimulus alone: 3 of 8 words, not 2 of 7.
        both = prompt({"leave-one-out": [0.5] * 8, "integrated-gradients": [0.5] * 8})
        asked = replace(both.asked, pieces=short)
        other = replace(both, asked=asked, arm=ARMS[1], scores={"leave-one-out": few})
        tally.add_question("a", [both, other])
    found = {row["method"]: row for row in tally.as_json()["shares"]}
    expected = {"leave-one-out": (3 / 8 + 2 / 7) / 2, "integrated-gradients": 3 / 8}
    for method, equal in expected.items():
        assert found[method]["equal_share"] == pytest.approx(equal)
        assert found[method]["share"][0] == pytest.approx(equal)


def test_a_question_of_several_groups_is_one_witness() -> None:
    rng = np.random.default_rng(5)
    tally, ranks = MethodTally(METHODS), []
    prompts = [[prompt({m: drawn(rng) for m in METHODS}, arm) for arm in ARMS] for _ in range(4)]
    for group in range(2):
        for number, both in enumerate(prompts):
            tally.add_question(number, [both[group]])
            tally.add_randomised(number, [("leave-one-out", 0.1 * number + group)])
    ranks = [np.mean([one.agreement("integrated-gradients") for one in both]) for both in prompts]
    told = tally.as_json()
    row = next(r for r in told["agreement"] if r["method"] == "integrated-gradients")
    interval = stats.ttest_1samp(ranks, 0).confidence_interval(0.95)
    assert row["rank"] == pytest.approx([np.mean(ranks), interval.low, interval.high])
    assert (tally.n_questions, row["n_prompts"]) == (4, 8)
    (random,) = told["randomised"]
    expected = stats.ttest_1samp([0.5, 0.6, 0.7, 0.8], 0).confidence_interval(0.95)
    assert random["rank"] == pytest.approx([0.65, expected.low, expected.high])


def test_agreement_is_spearman_s_and_of_sizes_where_a_method_has_no_signs() -> None:
    rng = np.random.default_rng(3)
    reference = drawn(rng)
    one = prompt(
        {
            "leave-one-out": reference,
            "integrated-gradients": drawn(rng),
            "gradient-norm": np.abs(reference).tolist(),
        }
    )
    expected = stats.spearmanr(one.of_words("integrated-gradients"), reference).statistic
    assert one.agreement("integrated-gradients") == pytest.approx(expected)
    assert one.agreement("gradient-norm") == pytest.approx(1)
    tied = np.array([1.0, 1, 2, np.nan, 3, 3]), np.array([2.0, 1, 1, 5, 4, 4])
    known = ~np.isnan(tied[0])
    expected = stats.spearmanr(*(values[known] for values in tied)).statistic
    assert rank_agreement(*tied) == pytest.approx(expected)
    assert np.isnan(rank_agreement(np.ones(5), np.arange(5.0)))
    assert np.isnan(rank_agreement(np.arange(2.0), np.arange(2.0)))


def test_methods_without_signs_have_no_q() -> None:
    tally = GroupTally(METHODS, 1)
    rng = np.random.default_rng(4)
    for _ in range(4):
        tally.add_question("a", [prompt({m: drawn(rng) for m in METHODS})])
    known = {(r["method"], np.isnan(r["q"])) for r in tally.as_json()["top_words"]}
    assert known == {(m, m == "gradient-norm") for m in METHODS}


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    assert chosen_methods(["gradient-norm", "leave-one-out"]) == ("leave-one-out", "gradient-norm")
    with pytest.raises(UserError, match="nearest: 'gradient-norm'"):
        chosen_methods(["gradient-nrom"])
