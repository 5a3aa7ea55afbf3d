from __future__ import annotations

import math

import numpy as np
import pytest

from emo_harness.effects import holm, paired_gain, two_way_gain
from emo_harness.report.ablation import ablations
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.family_claims import family_claims
from emo_harness.report.groups import groups_of
from emo_harness.report.leaderboard import leaderboard, tied_runs
from emo_harness.report.repeated import repeated_remarks
from emo_harness.runs import ArmScores
from tests.report.made_scores import arm, made_scores, one_group


def flips(n: int, lowered: float, seed: int, n_stimuli: int = 4, **kwargs: object) -> ArmScores:
    """Control right on 80%; each stimulus makes a share `lowered` of right answers wrong."""
    rng = np.random.default_rng(seed)
    control = rng.random(n) < 0.8
    scores = {"control": control, "neutral-5": control ^ (rng.random(n) < 0.02)}
    for j in range(n_stimuli):
        scores[f"ea{j}"] = control & (rng.random(n) >= lowered)
    return made_scores(scores, **kwargs)  # type: ignore[arg-type]


def test_a_claim_holds_both_scopes_and_its_numbers_are_the_statistics() -> None:
    scores = flips(400, 0.2, 0)
    (claim,) = family_claims([one_group(scores)])
    arms, control = scores.scores[:, 2:], scores.scores[:, 0]
    these, like = paired_gain(arms, control), two_way_gain(arms, control)
    assert (claim.gain_pp, claim.gain_low_pp, claim.p) == pytest.approx(
        (these.mean_pp, these.low_pp, these.p)
    )
    assert (claim.like_low_pp, claim.like_high_pp) == pytest.approx((like.low_pp, like.high_pp))
    assert claim.like_low_pp <= claim.gain_low_pp and claim.like_high_pp >= claim.gain_high_pp
    assert claim.verdict == claim.like_verdict == "lowers"
    assert claim.placebo_high_pp < 0 and math.isnan(claim.self_check_gain_pp)
    assert claim.boot_low_pp == pytest.approx(claim.gain_low_pp, abs=0.6)
    assert claim.relative_pct == pytest.approx(100 * claim.gain_pp / claim.control_pct)
    assert claim.p_relabelled < 0.001


def test_holm_runs_over_all_claims_of_the_report() -> None:
    runs = [flips(300, 0.01 * k, k, model=f"org/m{k}") for k in range(4)]
    claims = family_claims(groups_of(runs))
    assert [c.p_holm for c in claims] == pytest.approx(holm([c.p for c in claims]).tolist())


def test_a_null_is_called_no_difference_and_a_small_study_undecided() -> None:
    (null,) = family_claims([one_group(flips(4000, 0.0, 1))])
    assert null.verdict == "no difference larger than the margin"
    (small,) = family_claims([one_group(flips(40, 0.05, 2))])
    assert small.verdict.startswith("undecided: needs about ")
    (wide,) = family_claims([one_group(flips(40, 0.05, 2))], margin_pp=30)
    assert wide.verdict == "no difference larger than the margin"


def test_other_sentences_may_stay_open_where_these_are_decided() -> None:
    rng = np.random.default_rng(0)
    control = np.ones(2000)
    scores = {"control": control}
    for j, lowered in enumerate((0.0, 0.0, 0.0, 0.3)):
        scores[f"ea{j}"] = (rng.random(2000) >= lowered).astype(float)
    (claim,) = family_claims([one_group(made_scores(scores))])
    assert claim.verdict == "lowers"
    assert claim.like_verdict.endswith(" stimuli")


def test_best_and_worst_are_estimated_where_they_were_not_chosen() -> None:
    (claim,) = family_claims([one_group(flips(300, 0.1, 3, n_stimuli=12))])
    assert claim.best and claim.worst
    assert claim.best.naive_gain_pp >= claim.best.gain_pp
    assert claim.worst.naive_gain_pp <= claim.worst.gain_pp
    (single,) = family_claims([one_group(flips(300, 0.1, 3, n_stimuli=1))])
    assert single.best is None and single.like_verdict == "unknown"


def test_families_of_one_task_are_claimed_apart_and_placebos_are_no_claim() -> None:
    rng = np.random.default_rng(0)
    scores = {name: rng.random(50) < 0.5 for name in ("control", "neutral-5", "ea01", "ep01")}
    made = made_scores(scores, [arm("ep01", "prompt")], family="all")
    assert [c.family for c in family_claims([one_group(made)])] == ["attack", "prompt"]


def board(*runs: ArmScores) -> list[tuple[str, int, int, str]]:
    groups = groups_of(runs)
    rows = leaderboard(groups, family_claims(groups))
    return [(r.claim.model, r.rank_low, r.rank_high, r.tied) for r in rows]


def test_models_that_cannot_be_told_apart_share_places_and_a_letter() -> None:
    runs = (
        flips(500, 0.02, 1, model="a"),
        flips(500, 0.02, 2, model="b"),
        flips(500, 0.4, 3, model="c"),
    )
    rows = board(*runs)
    assert {row[0] for row in rows[:2]} == {"a", "b"}
    assert {row[1:] for row in rows[:2]} == {(1, 2, "a")}
    assert rows[2] == ("c", 3, 3, "b")
    assert board(runs[0]) == [("a", 1, 1, "a")]


def test_letters_are_runs_of_neighbours_none_of_which_are_apart() -> None:
    assert tied_runs(4, []) == [range(0, 4)]
    assert tied_runs(4, [(0, 3)]) == [range(0, 3), range(1, 4)]
    assert tied_runs(3, [(0, 1), (0, 2), (1, 2)]) == [range(0, 1), range(1, 2), range(2, 3)]
    many = tied_runs(60, [(i, j) for i in range(60) for j in range(i + 3, 60)])
    assert many == [range(i, i + 3) for i in range(58)]


def test_only_models_asked_alike_are_ranked_against_each_other() -> None:
    whole = [flips(200, 0.3, 1, model="a", subtask=s) for s in ("navigate", "snarks")]
    part = [flips(200, 0.0, k, model=f"b{k}", subtask="snarks") for k in (2, 3)]
    groups = groups_of([*whole, *part])
    rows = {r.claim.model: r for r in leaderboard(groups, family_claims(groups))}
    assert (rows["a"].rank_low, rows["a"].rank_high, rows["a"].n_models) == (1, 1, 1)
    assert {(rows[m].rank_low, rows[m].rank_high, rows[m].n_models) for m in ("b2", "b3")} == {
        (1, 2, 2)
    }


def test_an_unknown_gain_has_no_place_and_disturbs_no_other() -> None:
    unknown = made_scores(
        {"control": np.ones(90), "neutral-5": np.ones(90)}
        | {f"ea{j}": np.where(np.arange(90) % 4 == j, np.nan, 1.0) for j in range(4)},
        model="u",
    )
    groups = groups_of([unknown, flips(90, 0.0, 1, model="a"), flips(90, 0.6, 2, model="b")])
    rows = leaderboard(groups, family_claims(groups))
    assert [(r.claim.model, r.rank_low, r.rank_high) for r in rows] == [
        ("a", 1, 1),
        ("b", 2, 2),
        ("u", None, None),
    ]
    assert rows[2].claim.verdict == "unknown" and rows[2].tied == ""


def test_subtasks_asked_under_other_stimuli_are_one_group_with_what_is_missing() -> None:
    one = flips(60, 0.1, 1, n_stimuli=1, subtask="navigate")
    two = flips(60, 0.1, 2, n_stimuli=2, subtask="snarks")
    (group,) = groups_of([one, two])
    (claim,) = family_claims([group])
    assert (claim.n_questions, claim.n_lost, claim.n_stimuli) == (60, 60, 2)
    assert np.isnan(group.scores[:60, group.families["attack"][1]]).all()


def test_what_changes_with_temperature_does_not_hide_a_run() -> None:
    def at(temperature: str, sampled: str, seed: int) -> ArmScores:
        settings = {"temperature": temperature, "do_sample": sampled}
        return flips(100, 0.1, seed, settings=settings)

    runs = [at("0.7", "True", 1), at("0.7", "False", 2), at("1", "True", 3), at("1", "False", 4)]
    rows = ablations(family_claims(groups_of(runs)))
    assert [(r.series, r.value) for r in rows] == [
        ("org/m · do_sample=True", "0.7"),
        ("org/m · do_sample=True", "1"),
        ("org/m · do_sample=False", "0.7"),
        ("org/m · do_sample=False", "1"),
    ]
    repeated = flips(100, 0.1, 5, settings={"temperature": "1", "repeats": "5"})
    greedy = flips(100, 0.1, 6, settings={"temperature": "0"})
    assert len(ablations(family_claims(groups_of([greedy, repeated])))) == 2


def test_the_same_answers_twice_are_told() -> None:
    once = flips(50, 0.1, 1, settings={"random_seed": "1"})
    again = flips(50, 0.1, 1, settings={"random_seed": "2"})
    (told,) = repeated_remarks(groups_of([once, again]))
    assert "one experiment" in told
    as_all = flips(50, 0.1, 1, settings={"random_seed": "1"}, family="all")
    (told,) = repeated_remarks(groups_of([once, as_all]))
    assert "two boards" in told
    assert repeated_remarks(groups_of([once, flips(50, 0.1, 2, model="b")])) == []


def series(claims: list[FamilyClaim]) -> list[tuple[str, str, str]]:
    return [(row.factor, row.series, row.value) for row in ablations(claims)]


def test_runs_that_differ_in_one_factor_make_an_ablation_view() -> None:
    def at(temperature: str, **kwargs: object) -> ArmScores:
        settings = {"temperature": temperature}
        if temperature != "0":
            settings["do_sample"] = "True"
        return flips(100, 0.1, 1, settings=settings, **kwargs)

    claims = family_claims(groups_of([at("1"), at("0"), at("0.7"), at("0", model="other")]))
    assert series(claims) == [("temperature", "org/m", v) for v in ("0", "0.7", "1")]
    placed = family_claims(groups_of([at("0"), at("0", placement="prefix")]))
    assert [(f, v) for f, _, v in series(placed)] == [
        ("placement", "prefix"),
        ("placement", "suffix"),
    ]
    assert series(family_claims(groups_of([at("0")]))) == []


def test_spread_over_repeats_is_told() -> None:
    scores = flips(100, 0.1, 1, n_repeats=4)
    object.__setattr__(scores, "within_variance", np.full(scores.scores.shape, 0.04))
    (claim,) = family_claims([one_group(scores)])
    assert claim.within_sd_pp == pytest.approx(20)
