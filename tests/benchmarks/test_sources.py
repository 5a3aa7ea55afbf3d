from __future__ import annotations

import json
from pathlib import Path

import pytest

from emo_harness.benchmarks import bbh, bbh_mini, questions
from emo_harness.benchmarks.answer_options import AnswerOptions, listed_options
from emo_harness.errors import UserError
from emo_harness.lm_tasks.expand import declarations
from tests.conftest import SHARED, build_task

SUBTASKS = next(d for d in declarations() if d["benchmark"] == "bbh")["subtasks"]


def test_mini_has_three_questions_per_subtask_81_in_all() -> None:
    counts = [len(bbh_mini.questions(s).rows) for s in SUBTASKS]
    assert counts == [3] * 27


def test_mini_targets_are_of_the_form_of_the_real_ones(bbh_folder: Path) -> None:
    for subtask in SUBTASKS:
        mini = {row["target"] for row in bbh_mini.questions(subtask).rows}
        real = {row["target"] for row in bbh.questions(subtask, str(bbh_folder)).rows}
        if len(real) <= 20:
            assert mini <= real | {f"({c})" for c in "ABCDEFGHIJKLMNOPQR"}
        assert all(t == t.strip() and not t.endswith(".") for t in mini)


def test_folder_is_found_by_data_dir_and_by_variable(
    published_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = bbh.questions("navigate", str(published_folder))
    above = bbh.questions("navigate", str(published_folder.parent))
    monkeypatch.setenv("EMO_HARNESS_DATA", str(published_folder.parent))
    by_variable = bbh.questions("navigate", None)
    assert direct.rows == above.rows == by_variable.rows
    assert direct.source.kind == "folder" and direct.source.sha256 == by_variable.source.sha256


def test_shared_data_is_found_by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (SHARED / "data" / "bbh").is_dir():
        pytest.skip("published BBH data not at hand (../shared/data/bbh)")
    monkeypatch.setenv("EMO_HARNESS_DATA", str(SHARED / "data"))
    assert len(bbh.questions("navigate", None).rows) == 250


def test_without_a_folder_the_hub_is_asked_and_nothing_else() -> None:
    asked = questions("bbh", "navigate")
    assert asked.rows is None and asked.source.kind == "hub"


def test_unreachable_hub_names_the_two_other_ways() -> None:
    with pytest.raises(UserError) as raised:
        build_task("emo_bbh_attack_navigate")
    assert "data_dir" in raised.value.fix and "emo_bbh_mini_" in raised.value.fix
    assert "\n" not in raised.value.found


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "Expecting"),
        ("[]", "no list `examples`"),
        ('{"examples": []}', "no list `examples`"),
        ('{"examples": [{"input": "x"}]}', "{'input': 'x'}"),
        ('{"examples": [{"input": 1, "target": "x"}]}', "{'input': 1"),
        (b"\xff", "can't decode"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, content: str | bytes, told: str) -> None:
    path = tmp_path / "navigate.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as raised:
        bbh.questions("navigate", str(tmp_path))
    assert told in raised.value.found


def test_a_missing_subtask_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "snarks.json").write_text(json.dumps({"examples": []}))
    with pytest.raises(UserError, match="no such file"):
        bbh.questions("navigate", str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        bbh.questions("navigate", str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no \.json file"):
        bbh.questions("navigate", str(tmp_path / "empty"))


def test_variable_without_the_benchmark_does_not_fall_back_to_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMO_HARNESS_DATA", str(tmp_path))
    with pytest.raises(UserError, match="EMO_HARNESS_DATA"):
        questions("bbh", "navigate")


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which?\nOptions:\n(A) one (B) is in here\n(B) two", ["(A)", "(B)"]),
        ("Valid?\nOptions:\n- valid \n- invalid", ["valid", "invalid"]),
        ("No list here", []),
        ("Options: first\nOptions:\n- Yes\n- No", ["Yes", "No"]),
    ],
)
def test_options_are_read_from_the_question(question: str, options: list[str]) -> None:
    assert listed_options(question) == options


def test_questions_without_a_list_get_the_data_sets_targets() -> None:
    rows = [{"input": "x", "target": "no"}, {"input": "y", "target": "yes"}]
    assert AnswerOptions(rows)(rows[0]) == ["no", "yes"]
