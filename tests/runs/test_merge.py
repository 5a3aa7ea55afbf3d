from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.runs import ArmScores, RunsRead, occurrences, read_runs
from tests.runs.made_runs import ARMS, made_run, sha256, without_arm

LATER = "2026-01-02T00-00-00.000000"


def read(*folders: Path) -> RunsRead:
    return read_runs(folders, progress=False)


def primary(read_back: RunsRead) -> list[ArmScores]:
    return [s for s in read_back.scores if s.primary]


def by_question(question: str, arm: str) -> float:
    return float(question in "ab" and arm != "ea01")


def test_identical_repeated_runs_count_once(tmp_path: Path) -> None:
    once = read(made_run(tmp_path / "a", score=by_question))
    twice = read(tmp_path / "a", made_run(tmp_path / "b", date=LATER, score=by_question))
    assert len(once.scores) == len(twice.scores) == 2
    for left, right in zip(once.scores, twice.scores, strict=True):
        assert np.array_equal(left.scores, right.scores)
        assert left.questions == right.questions and left.arms == right.arms
    assert once.remarks == [] and len(twice.remarks) == 1 and len(twice.facts) == 2
    assert "Merged 2 runs of emo_bbh_attack_navigate by org/model" in twice.remarks[0]
    assert "12 scores" in twice.remarks[0]


def test_the_same_folder_named_twice_is_read_once(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    assert read(tmp_path, tmp_path / "a" / ".." / "a").remarks == []


def test_merging_unites_arms_and_questions_and_leaves_the_rest_unknown(tmp_path: Path) -> None:
    common: dict[str, Any] = {"n_available": 4, "score": by_question}
    made_run(tmp_path / "a", arms=without_arm("ea02"), questions=("a", "b", "c"), **common)
    made_run(
        tmp_path / "b",
        arms=without_arm("ea01"),
        questions=("c", "d"),
        first_doc_id=2,
        date=LATER,
        **common,
    )
    (one,) = primary(read(tmp_path))
    assert [arm.id for arm in one.arms] == ["control", "neutral-5", "ea01", "ea02"]
    assert len(one.questions) == 4 and not one.limited
    unknown = np.isnan(one.scores)
    assert unknown.sum(axis=0).tolist() == [0, 0, 1, 2]
    expected = [[by_question(q, a["id"]) for a in ARMS] for q in "abcd"]
    assert np.array_equal(one.scores[~unknown], np.array(expected)[~unknown])
    assert [len(places) for places in one.lines] == [1, 1, 2, 1]
    assert not one.unparsed[unknown].any() and np.isnan(one.prompt_chars[unknown]).all()


def test_a_merged_set_of_arms_hashes_like_a_run_that_asked_them_all(tmp_path: Path) -> None:
    from emo_harness.stimuli import Stimulus, content_hash

    made_run(tmp_path / "a", arms=without_arm("ea02"))
    made_run(tmp_path / "b", arms=without_arm("ea01"), date=LATER)
    (one,) = primary(read(tmp_path))
    stimuli = [
        Stimulus(id=a["id"], text=a["text"], family=a["family"], placebo=a.get("placebo"))
        for a in ARMS[1:]
    ]
    assert one.stimuli_sha256 == content_hash(stimuli)


def test_placebos_come_before_stimuli_though_seen_later(tmp_path: Path) -> None:
    made_run(tmp_path / "a", arms=without_arm("neutral-5"))
    made_run(tmp_path / "b", arms=without_arm("ea01", "ea02"), date=LATER)
    assert [arm.id for arm in primary(read(tmp_path))[0].arms] == [arm["id"] for arm in ARMS]


def test_a_question_that_a_benchmark_has_twice_stays_two(tmp_path: Path) -> None:
    twice = ("a", "b", "a")
    made_run(tmp_path / "a", questions=twice)
    made_run(tmp_path / "b", questions=twice, date=LATER)
    (one,) = primary(read(tmp_path))
    assert len(one.questions) == 3 and len(set(one.questions)) == 2
    assert np.isfinite(one.scores).all()


def drawn_anew(folder: Path, examples: tuple[str, str], **other: Any) -> Path:
    """A run that was asked "a", "b" and "a" again, each "a" after other worked examples."""
    made_run(folder, questions=("a", "b", "a"), **other)
    (samples,) = folder.glob("samples_*")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        if line["doc_id"] != 1:
            line["prompt_hash"] = sha256(examples[line["doc_id"] // 2])
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_question_asked_twice_may_have_other_worked_examples_each_time(tmp_path: Path) -> None:
    drawn_anew(tmp_path / "a", ("first", "second"))
    drawn_anew(tmp_path / "b", ("first", "second"), **OTHER_MODEL)
    assert [one.prompts[0] != one.prompts[2] for one in primary(read(tmp_path))] == [True, True]


@pytest.mark.parametrize("examples", [("first", "other"), ("second", "first")])
def test_every_occurrence_of_a_question_must_be_asked_alike_in_all_runs(
    tmp_path: Path, examples: tuple[str, str]
) -> None:
    drawn_anew(tmp_path / "a", ("first", "second"))
    drawn_anew(tmp_path / "b", examples, **OTHER_MODEL)
    with pytest.raises(UserError, match="another control prompt"):
        read(tmp_path)


def test_occurrences_are_all_different_and_in_order() -> None:
    questions = ["a", "b", "a", "a", "b"]
    numbered = occurrences(questions)
    assert [question for question, _ in numbered] == questions
    assert len(set(numbered)) == len(questions)
    assert [n for question, n in numbered if question == "a"] == [0, 1, 2]
    assert occurrences([]) == []


def test_runs_that_disagree_are_refused_with_their_names(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", date=LATER, score=by_question)
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    assert "6 of 12 scores" in raised.value.found
    assert "results_2026-01-01" in raised.value.found and "results_2026-01-02" in raised.value.found


def test_copies_of_a_run_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    name = "results_2026-01-01T00-00-00.000000.json"
    for folder in "ab":
        made_run(tmp_path / folder / "org__model")
    (remark,) = read(tmp_path).remarks
    assert f"(a/.../{name}, b/.../{name})" in remark
    made_run(tmp_path / "b" / "org__model", score=by_question)
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    assert f"in b/.../{name} differ from those in a/.../{name}" in raised.value.found
    assert str(tmp_path) not in str(raised.value)
    next((tmp_path / "b").rglob("samples_*")).write_text("{}")
    with pytest.raises(UserError, match=r"reading the samples b/\.\.\./samples_"):
        read(tmp_path)


def test_a_name_is_as_long_as_telling_apart_needs(tmp_path: Path) -> None:
    def names(*folders: str) -> list[str]:
        paths = [made_run(tmp_path / folder) for folder in folders]
        files = [fact.results_file for fact in read(*paths).facts]
        return sorted(
            file.removesuffix("results_2026-01-01T00-00-00.000000.json") for file in files
        )

    assert names("a") == [""]
    assert names("a", "b") == ["a/", "b/"]
    assert names("a/m", "b/m") == ["a/.../", "b/.../"]
    assert names("a/m", "a/n", "b/m") == ["a/m/", "a/n/", "b/m/"]


@pytest.mark.parametrize(
    "other",
    [
        {"model": "org/other"},
        {"placement": "prefix"},
        {"config": {"gen_kwargs": {"temperature": 0.7}}},
        {"config": {"torch_seed": 7}},
        {"config": {"model": "vllm"}},
        {"declared": {"generation_kwargs": {"temperature": 1}}},
        {"results": {"n-shot": {"emo_bbh_attack_navigate": 3}}},
        {"results": {"system_instruction": "Hurry."}},
    ],
)
def test_other_conditions_stay_apart(tmp_path: Path, other: dict[str, Any]) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", date=LATER, score=by_question, **other)
    result = read(tmp_path)
    assert len(primary(result)) == 2 and result.remarks == []


def test_other_data_under_one_name_are_refused(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", date=LATER, questions=("a", "b", "d"))
    with pytest.raises(UserError, match="different questions under number 2"):
        read(tmp_path)


def test_settings_name_temperature_and_shots_whenever_known(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", model="org/b", config={"gen_kwargs": {"temperature": 0}})
    made_run(tmp_path / "c", model="org/c", config={"gen_kwargs": "temperature=0.70,top_p=1"})
    found = {s.model: s.settings for s in primary(read(tmp_path))}
    assert [found[m]["temperature"] for m in ("org/model", "org/b", "org/c")] == ["0", "0", "0.7"]
    assert all(s["num_fewshot"] == "0" for s in found.values())
    assert all("torch_seed" not in s for s in found.values())


def test_secrets_among_model_arguments_are_not_shown(tmp_path: Path) -> None:
    made_run(tmp_path, config={"model_args": {"pretrained": "m", "api_key": "sesame"}})
    assert primary(read(tmp_path))[0].settings["api_key"] == "***"


OTHER_TEXT = ({**ARMS[2], "text": "Your friend Bob is well."},)
OTHER_KIND = ({**ARMS[2], "kind": "placebo", "placebo": "neutral"},)
OTHER_MODEL = {"model": "org/other", "date": LATER}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"arms": (*without_arm("ea01"), *OTHER_TEXT)}, "under the one arm id ea01"),
        ({"arms": (*without_arm("ea01"), *OTHER_KIND)}, "a stimulus and a neutral under"),
        ({"questions": ("a", "b"), "n_available": 3}, "other questions"),
        ({"questions": ("a", "b", "d")}, "2 are in both"),
        ({"questions": ("a", "b", "c", "c")}, "other questions"),
        ({"prompt": lambda q: f"Question: {q}"}, "another control prompt"),
        ({"target": lambda q: "No"}, "another target"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", **OTHER_MODEL, **other)
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    assert told in raised.value.found and "org/other" in raised.value.found
    assert raised.value.fix


@pytest.mark.parametrize(
    "shaping",
    [
        {"chat_template_sha": "f" * 64, "chat_template": "{{ messages }}"},
        {"chat_template": ""},
        {"system_instruction": "Hurry."},
        {"n-shot": {"emo_bbh_attack_navigate": 3}},
    ],
)
def test_other_prompts_are_fine_where_settings_explain_them(
    tmp_path: Path, shaping: dict[str, Any]
) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", **OTHER_MODEL, prompt=lambda q: f"[chat] {q}", results=shaping)
    assert len(primary(read(tmp_path))) == 2


def test_generated_questions_of_another_seed_are_no_conflict(tmp_path: Path) -> None:
    for seed, questions in ((7, "abc"), (8, "def")):
        source = {
            "kind": "generated",
            "place": f"seed {seed}, questions 0 to 2",
            "sha256": str(seed),
        }
        made_run(tmp_path / str(seed), questions=tuple(questions), source=source)
    assert {s.settings["questions"] for s in primary(read(tmp_path))} == {
        "generated, seed 7",
        "generated, seed 8",
    }


def test_two_versions_of_lm_eval_are_told(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", **OTHER_MODEL, results={"lm_eval_version": "0.4.14"})
    (remark,) = read(tmp_path).remarks
    assert "0.4.13, 0.4.14" in remark


def test_a_limited_run_is_known_and_may_be_completed(tmp_path: Path) -> None:
    made_run(tmp_path / "a", questions=("a",), n_available=3)
    assert primary(read(tmp_path / "a"))[0].limited
    made_run(tmp_path / "b", questions=("a", "b", "c"), date=LATER)
    assert not primary(read(tmp_path))[0].limited
