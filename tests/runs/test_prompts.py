"""The prompts of a run are those that the model was asked, arm by arm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.runs import read_answers, read_runs, run_prompts
from tests.conftest import answers_mini, build_task, write_run

KEY = ["task", "question", "occurrence", "arm"]


def test_every_question_has_its_prompt_under_every_arm(mini_run: Path) -> None:
    table = run_prompts([mini_run], progress=False)
    scores = [one for one in read_runs([mini_run], progress=False).scores if one.primary]
    assert len(table) == sum(len(one.questions) * len(one.arms) for one in scores)
    assert not table.duplicated(KEY).any()
    for one in scores:
        own = table[table["task"] == one.task].set_index(["doc_id", "arm"])["text"]
        for doc_id, answer in zip(one.doc_ids, read_answers(one.lines), strict=True):
            assert answer.prompts == own[doc_id].to_dict()


def test_arms_differ_from_control_by_their_stimulus(mini_run: Path) -> None:
    table = run_prompts([mini_run], progress=False)
    arms = {arm.id: arm for one in read_runs([mini_run], progress=False).scores for arm in one.arms}
    for _, question in table.groupby(["task", "question", "occurrence"]):
        assert question["text"].is_unique
    for row in table.itertuples():
        assert arms[row.arm].text in row.text
        assert (row.arm_kind, row.family) == (arms[row.arm].kind, arms[row.arm].family)


def test_tasks_arms_and_questions_can_be_chosen(mini_run: Path) -> None:
    whole = run_prompts([mini_run], progress=False)
    some = run_prompts(
        [mini_run], tasks=["navigate"], arms=["control", "ea01"], n_questions=2, progress=False
    )
    assert set(some["subtask"]) == {"navigate"}
    assert set(some["arm"]) == {"control", "ea01"}
    assert len(some) == 4
    first = whole[whole["subtask"] == "navigate"].drop_duplicates("doc_id")["doc_id"][:2]
    assert set(some["doc_id"]) == set(first)


def test_what_precedes_the_options_is_the_prompt(published_folder: Path, tmp_path: Path) -> None:
    task = build_task(
        "emo_bbh_mc_attack_navigate", data_dir=str(published_folder), stimuli=["ea01"], placebos=1
    )
    table = run_prompts([write_run(tmp_path, [task], answers_mini)], progress=False)
    assert not table.duplicated(KEY).any()
    contexts = {request.args[0] for request in task.instances}
    assert set(table["text"]) == contexts
    assert len(contexts) < len(task.instances)


def test_what_was_asked_twice_comes_once(mini_run: Path, tmp_path: Path) -> None:
    emo = {"stimuli": ["ea01", "ea02", "ea03"]}
    again = write_run(tmp_path, [build_task("emo_bbh_mini_attack_navigate", **emo)], answers_mini)
    once, twice = (run_prompts(runs, progress=False) for runs in ([mini_run], [mini_run, again]))
    assert sorted(once["text"]) == sorted(twice["text"])


@pytest.mark.parametrize(
    ("chosen", "told"),
    [({"tasks": ["navigat"]}, "task 'navigat' .*navigate"), ({"arms": ["ea99"]}, "arm 'ea99'")],
)
def test_unknown_names_are_told(mini_run: Path, chosen: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        run_prompts([mini_run], progress=False, **chosen)
