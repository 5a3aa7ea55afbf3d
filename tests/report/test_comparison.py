from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.report.comparison import CONTROL, ComparisonRow, compare
from emo_harness.report.comparison_text import comparison_markdown, write_comparison
from emo_harness.report.groups import groups_of
from emo_harness.runs import ArmScores
from tests.report.made_scores import arm, made_scores

RNG = np.random.default_rng(4)
NAMES = ("control", "neutral-5", "ea01", "ea02")


def run(n: int = 120, **kwargs: object) -> ArmScores:
    return made_scores({name: RNG.random(n) < 0.6 for name in NAMES}, **kwargs)  # type: ignore[arg-type]


def compared(first: ArmScores, second: ArmScores) -> dict[str, ComparisonRow]:
    return {r.stimulus: r for r in compare(groups_of([first]), groups_of([second]))}


def test_differences_are_gains_apart_and_change_sign_with_the_order() -> None:
    first, second = run(), run(settings={"temperature": "1"})
    there, back = compared(first, second), compared(second, first)
    for name, row in there.items():
        assert row.difference_pp == pytest.approx(-back[name].difference_pp)
        assert row.low_pp == pytest.approx(-back[name].high_pp)
        assert row.difference_pp == pytest.approx(row.first_gain_pp - row.second_gain_pp)
    gains = [s.scores[:, 2].mean() - s.scores[:, 0].mean() for s in (first, second)]
    assert there["ea01"].difference_pp == pytest.approx(100 * (gains[0] - gains[1]))
    assert there[CONTROL].first_gain_pp == pytest.approx(100 * first.scores[:, 0].mean())
    assert there["(family)"].p_holm == pytest.approx(there["(family)"].p)
    assert "temperature default / 1" in there["ea01"].differs


def test_runs_that_differ_in_their_steering_show_every_arms_accuracy() -> None:
    first, second = run(), run(settings={"steer": "valence:+1 (0123)"})
    rows = compared(first, second)
    for column, name in enumerate(NAMES):
        row = rows[CONTROL if name == "control" else f"{name} (accuracy)"]
        accuracies = [100 * one.scores[:, column].mean() for one in (first, second)]
        assert (row.first_gain_pp, row.second_gain_pp) == pytest.approx(accuracies)
        assert row.difference_pp == pytest.approx(accuracies[0] - accuracies[1])
    assert not any("(accuracy)" in name for name in compared(first, run()))


def test_questions_are_paired_by_what_they_ask_not_by_their_place() -> None:
    first = run()
    turned = np.arange(120)[::-1]
    second = replace(
        first,
        model="other",
        questions=tuple(first.questions[i] for i in turned),
        prompts=tuple(first.prompts[i] for i in turned),
        targets=tuple(first.targets[i] for i in turned),
        scores=first.scores[turned],
    )
    assert all(row.difference_pp == 0 for row in compared(first, second).values())
    fewer = replace(
        second,
        **{k: getattr(second, k)[:50] for k in ("questions", "prompts", "targets", "scores")},
    )
    row = compared(first, fewer)["(family)"]
    assert (row.n_questions, row.n_only_first, row.n_only_second) == (50, 70, 0)


def test_only_common_stimuli_are_compared() -> None:
    first = run()
    second = made_scores({n: RNG.random(120) < 0.6 for n in ("control", "ea02", "ea03")})
    rows = compared(first, second)
    assert set(rows) == {CONTROL, "(family)", "ea02"} and rows["(family)"].n_stimuli == 1


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (run(subtask="other"), "no question"),
        (run(family="prompt"), "prompt in the second"),
        (made_scores({"control": np.ones(120), "ea09": np.ones(120)}), "expected: at least one"),
        (run(arms=[arm("ea01", text="Another sentence.")]), "Another sentence"),
        (run(targets=tuple(f"changed {i}" for i in range(120))), "target"),
        (run(prompts=tuple(f"changed {i}" for i in range(120))), "prompt"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(second: ArmScores, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compared(run(), second)


def test_gains_over_a_grey_image_are_not_compared_with_gains_over_none() -> None:
    runs = [run(settings={"control_image": shown}) for shown in ("none", "grey")]
    with pytest.raises(UserError, match="'none' in the first and 'grey' in the second"):
        compared(*runs)
    assert compared(runs[1], run(settings={"control_image": "grey"}))


def test_several_models_on_one_side_are_refused() -> None:
    with pytest.raises(UserError, match="several runs"):
        compare(groups_of([run(), run(model="b")]), groups_of([run(model="c")]))


def test_files_hold_every_row(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    rows = compare(groups_of([run()]), groups_of([run(model="b|<i>")]))
    csv, markdown = write_comparison(rows, folder)
    assert len(csv.read_text().splitlines()) == len(rows) + 1
    widths = {
        line.count("|") - line.count("\\|")
        for line in comparison_markdown(rows).splitlines()
        if line.startswith("|")
    }
    assert markdown.exists() and len(widths) == 1
