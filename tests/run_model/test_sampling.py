"""Drawn questions: the same for the same seed, even over subtasks, more of them hold fewer."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.run_model import sampled_questions
from emo_harness.runs import ArmScores
from tests.run_model.asked_runs import scores_of
from tests.runs.made_runs import made_run

SIZES = {"navigate": 30, "snarks": 4, "web_of_lies": 12}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> list[ArmScores]:
    """Three subtasks under two families; two filters each."""
    folder = tmp_path_factory.mktemp("runs")
    for subtask, n in SIZES.items():
        for family in ("attack", "prompt"):
            made_run(
                folder / family / subtask,
                task=f"emo_bbh_{family}_{subtask}",
                questions=[f"{subtask} {i % 25}" for i in range(n)],
                record={"subtask": subtask, "family": family},
            )
    return scores_of(folder)


def drawn(scores: list[ArmScores], n: int | None, seed: int = 0) -> dict[str, set[int]]:
    rows = sampled_questions(scores, n, seed)
    found: dict[str, set[int]] = {}
    for one, own in zip(scores, rows, strict=True):
        assert own.tolist() == sorted(set(own.tolist()))
        known = found.setdefault(one.subtask, set(own.tolist()))
        # Whatever family, metric or filter: the same questions.
        assert known == set(own.tolist())
    return found


def test_all_are_drawn_where_none_or_too_many_are_asked_for(scores: list[ArmScores]) -> None:
    for n in (None, 10_000):
        assert {name: len(rows) for name, rows in drawn(scores, n).items()} == SIZES


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12, 20, 40])
def test_questions_are_drawn_evenly_as_far_as_there_are(scores: list[ArmScores], n: int) -> None:
    counts = {name: len(rows) for name, rows in drawn(scores, n).items()}
    assert sum(counts.values()) == n
    most = max(counts.values())
    assert all(count >= min(most - 1, SIZES[name]) for name, count in counts.items())


def test_the_same_seed_draws_the_same_and_more_hold_fewer(scores: list[ArmScores]) -> None:
    assert drawn(scores, 9, seed=3) == drawn(scores, 9, seed=3)
    assert drawn(scores, 9, seed=3) != drawn(scores, 9, seed=4)
    before: dict[str, set[int]] = {}
    for n in range(1, sum(SIZES.values()) + 1):
        now = drawn(scores, n)
        assert all(before.get(name, set()) <= rows for name, rows in now.items())
        before = now


def test_other_subtasks_do_not_change_the_order_within_one(scores: list[ArmScores]) -> None:
    alone = [one for one in scores if one.subtask == "navigate"]
    some = drawn(scores, 12)["navigate"]
    assert drawn(alone, len(some))["navigate"] == some


def test_scores_at_drawn_questions_are_theirs(scores: list[ArmScores]) -> None:
    one = scores[0]
    rows = np.array([1, 3])
    some = one.at(rows)
    assert some.questions == (one.questions[1], one.questions[3])
    assert some.lines == (one.lines[1], one.lines[3])
    np.testing.assert_array_equal(some.scores, one.scores[rows])
    np.testing.assert_array_equal(some.doc_ids, one.doc_ids[rows])
    assert some.arms == one.arms


def test_fewer_than_one_question_is_refused(scores: list[ArmScores]) -> None:
    with pytest.raises(UserError, match="0 questions"):
        sampled_questions(scores, 0, 0)
