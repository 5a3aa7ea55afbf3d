from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from emo_harness.effects import benjamini_hochberg, mcnemar, paired_gain
from emo_harness.report.effect_table import EffectRow, effect_rows
from emo_harness.report.family_claims import family_claims
from emo_harness.report.groups import groups_of
from tests.report.made_scores import arm, made_scores, one_group

RNG = np.random.default_rng(1)


def random_scores(n: int, *names: str, **kwargs: object):  # type: ignore[no-untyped-def]
    return made_scores({name: RNG.random(n) < 0.6 for name in names}, **kwargs)  # type: ignore[arg-type]


ARMS = ("control", "neutral-5", "self-check", "ea01", "ea02")


def by_stimulus(rows: list[EffectRow], subtask: str = "(all)") -> dict[str, EffectRow]:
    return {row.stimulus: row for row in rows if row.subtask == subtask}


def test_every_number_of_a_row_is_that_of_the_statistics_on_its_questions() -> None:
    parts = [random_scores(40, *ARMS, subtask="a"), random_scores(60, *ARMS, subtask="b")]
    rows = effect_rows(groups_of(parts))
    whole = np.concatenate([p.scores for p in parts])
    strata = np.repeat([0, 1], [40, 60])
    single = by_stimulus(rows)["ea01"]
    expected = paired_gain(whole[:, 3], whole[:, 0], strata)
    assert (single.gain_pp, single.gain_low_pp, single.gain_high_pp, single.p) == pytest.approx(
        (expected.mean_pp, expected.low_pp, expected.high_pp, expected.p)
    )
    assert single.control_pct == pytest.approx(100 * whole[:, 0].mean())
    assert single.arm_pct == pytest.approx(100 * whole[:, 3].mean())
    check = paired_gain(whole[:, 3], whole[:, 2], strata)
    assert single.gain_vs_self_check_pp == pytest.approx(check.mean_pp)
    family = by_stimulus(rows)["(family)"]
    mean = paired_gain(whole[:, 3:], whole[:, 0], strata)
    assert family.gain_low_pp == pytest.approx(mean.low_pp)
    subtask = by_stimulus(rows, "b")["ea02"]
    own = paired_gain(parts[1].scores[:, 4], parts[1].scores[:, 0])
    assert (subtask.gain_pp, subtask.gain_low_pp) == pytest.approx((own.mean_pp, own.low_pp))


def test_q_is_benjamini_hochberg_over_the_stimulus_by_subtask_map() -> None:
    parts = [random_scores(40, *ARMS, subtask=s) for s in "abc"]
    rows = effect_rows(groups_of(parts))
    cells = [r for r in rows if r.kind == "stimulus" and r.subtask != "(all)"]
    assert len(cells) == 6
    assert [r.q for r in cells] == pytest.approx(benjamini_hochberg([r.p for r in cells]).tolist())
    assert all(math.isnan(r.q) for r in rows if r not in cells)
    (part,) = [p for p in parts if p.subtask == "a"]
    up = (part.scores[:, 3] > part.scores[:, 0]).sum()
    down = (part.scores[:, 3] < part.scores[:, 0]).sum()
    assert cells[0].p == pytest.approx(float(mcnemar(up, down)))


def test_missing_scores_are_left_out_of_pairs_and_counted() -> None:
    scores = random_scores(50, *ARMS)
    holed = scores.scores.copy()
    holed[:5, 3] = np.nan
    rows = by_stimulus(effect_rows([one_group(replace(scores, scores=holed))]), "navigate")
    assert (rows["ea01"].n_questions, rows["ea01"].n_lost) == (45, 5)
    assert (rows["ea02"].n_questions, rows["ea02"].n_lost) == (50, 0)
    assert (rows["(family)"].n_questions, rows["(family)"].n_lost) == (45, 5)
    assert rows["ea01"].control_pct == pytest.approx(100 * scores.scores[5:, 0].mean())
    assert rows["ea01"].gain_pp == pytest.approx(
        100 * (scores.scores[5:, 3] - scores.scores[5:, 0]).mean()
    )


def test_theories_and_tags_of_stimuli_are_told() -> None:
    arms = [
        arm("ea01", theory="loss", demand=False),
        arm("ea02", theory="loss", demand=True),
        arm("ea03", theory="joy", arousal_rank=2, demand=False),
    ]
    scores = random_scores(30, "control", "ea01", "ea02", "ea03", arms=arms)
    rows = by_stimulus(effect_rows([one_group(scores)]), "navigate")
    assert rows["(theory: loss)"].n_stimuli == 2 and rows["(theory: loss)"].kind == "theory"
    assert rows["(theory: joy)"].gain_pp == rows["ea03"].gain_pp
    assert (rows["ea02"].demand, rows["ea03"].demand, rows["(family)"].demand) == ("yes", "no", "")
    assert rows["ea03"].arousal_rank == 2 and math.isnan(rows["ea01"].arousal_rank)
    assert rows["ea01"].theory == "loss" and rows["(family)"].theory == ""


def test_an_effect_of_unparsed_answers_alone_is_flagged() -> None:
    n = 200
    right = np.ones(n)
    broken = np.where(np.arange(n) < 60, 0.0, 1.0)
    scores = made_scores(
        {"control": right, "ea01": broken, "ea02": broken},
        unparsed={"ea01": broken == 0},
    )
    rows = by_stimulus(effect_rows([one_group(scores)]), "navigate")
    assert "vanishes" in rows["ea01"].parsing_flag
    assert rows["ea01"].gain_parsed_pp == 0 and rows["ea01"].unparsed_arm_pct == 30
    assert rows["ea02"].parsing_flag == ""


def test_family_rows_carry_the_claims_verdict() -> None:
    groups = [one_group(made_scores({"control": np.ones(60), "ea01": np.zeros(60)}))]
    rows = effect_rows(groups, family_claims(groups))
    assert [r.verdict for r in rows] == ["lowers", ""]


def test_graded_scores_and_other_filters_have_rows_too() -> None:
    graded = made_scores(
        {name: RNG.integers(0, 5, 40) / 4 for name in ARMS}, filter="other", primary=False
    )
    rows = by_stimulus(effect_rows([one_group(graded)]), "navigate")
    assert rows["ea01"].gain_low_pp < rows["ea01"].gain_pp < rows["ea01"].gain_high_pp
    assert math.isnan(rows["(family)"].gain_parsed_pp) and not rows["ea01"].primary


def test_models_of_one_name_are_told_apart_by_what_differs() -> None:
    runs = [
        random_scores(20, "control", "ea01", settings={"temperature": t, "dtype": "float32"})
        for t in ("0", "0.7")
    ]
    labels = [group.label for group in groups_of(runs)]
    assert labels == ["org/m [temperature=0]", "org/m [temperature=0.7]"]
    assert groups_of(runs[:1])[0].label == "org/m"
