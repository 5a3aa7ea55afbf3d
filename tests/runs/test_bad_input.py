from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.runs import ArmScores, find_tasks, read_answers, read_runs
from tests.runs.made_runs import ARMS, made_run


def primary(folder: Path) -> ArmScores:
    (one,) = [s for s in read_runs([folder], progress=False).scores if s.primary]
    return one


@pytest.mark.parametrize("missing", [float("nan"), float("inf"), None, "absent"])
def test_a_missing_score_is_unknown_and_nothing_else_is_lost(tmp_path: Path, missing: Any) -> None:
    made_run(
        tmp_path,
        score=lambda q, arm: missing if (q, arm) == ("b", "ea01") else 1.0,
        answer=lambda q, arm: "mumble",
    )
    one = primary(tmp_path)
    unknown = np.isnan(one.scores)
    assert np.argwhere(unknown).tolist() == [[1, 2]]
    assert (one.scores[~unknown] == 1).all()
    assert one.unparsed[~unknown].all() and not one.unparsed[unknown].any()


@pytest.mark.parametrize("missing", [float("nan"), None])
def test_an_arm_that_lost_every_score_is_unknown_and_told(tmp_path: Path, missing: Any) -> None:
    made_run(tmp_path, score=lambda q, arm: missing if arm == "ea01" else 1.0)
    read = read_runs([tmp_path], progress=False)
    for one in read.scores:
        assert np.isnan(one.scores).all(axis=0).tolist() == [False, False, True, False]
    (remark,) = read.remarks
    assert "No score of ea01 in emo_bbh_attack_navigate by org/model" in remark
    assert "all 3 are null or NaN" in remark


def test_an_arm_that_no_question_names_is_of_another_run(tmp_path: Path) -> None:
    made_run(tmp_path, score=lambda q, arm: "absent" if arm == "ea01" else 1.0)
    with pytest.raises(UserError, match="not of one run") as raised:
        read_runs([tmp_path], progress=False)
    assert "no score for ea01 in any question" in raised.value.found


HOSTILE = {
    "html": "</script><script>alert('x')</script><img src=x onerror=alert(1)>",
    "control characters": "a\x00b\x1b[31mc\x07\u202e\u2028",
    "half of a surrogate pair": "a \ud800 b",
    "braces": "{{ 7 * 7 }} {% raw %} \\u0041 $(rm -rf /)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_read_and_read_back(tmp_path: Path, name: str) -> None:
    text = HOSTILE[name]
    made_run(tmp_path, answer=lambda q, arm: text, prompt=lambda q: f"{text} {q}")
    one = primary(tmp_path)
    assert (one.answer_chars == len(text)).all()
    (answer,) = read_answers(one.lines[:1])
    writable = text.replace("\ud800", "?")
    assert answer.responses["ea01"] == writable and answer.prompts["control"] == f"{writable} a"
    answer.responses["ea01"].encode()


def test_raw_control_characters_in_a_line_are_read(tmp_path: Path) -> None:
    made_run(tmp_path, answer=lambda q, arm: "a|b")
    (samples,) = tmp_path.glob("samples_*")
    samples.write_bytes(samples.read_bytes().replace(b"a|b", b"a\x01b"))
    one = primary(tmp_path)
    assert (one.answer_chars == 3).all()
    assert read_answers(one.lines[:1])[0].responses["control"] == "a\x01b"


def test_an_answer_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    long = "ten bytes." * 1_000_000
    made_run(tmp_path, answer=lambda q, arm: long if (q, arm) == ("b", "ea02") else "Yes")
    one = primary(tmp_path)
    assert one.answer_chars[1].tolist() == [3, 3, 3, 10_000_000]
    assert one.scores.tolist() == [[1.0] * 4] * 3


def test_a_file_is_not_held_whole(tmp_path: Path) -> None:
    import tracemalloc

    from emo_harness.runs.samples import read_samples

    long = "ten bytes." * 2_000
    made_run(tmp_path, questions=[str(i) for i in range(200)], answer=lambda q, arm: long)
    (task,) = find_tasks([tmp_path])
    assert task.samples_file.stat().st_size > 30_000_000
    tracemalloc.start()
    read_samples(task)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_long_lines_are_held_one_at_a_time(tmp_path: Path) -> None:
    import tracemalloc

    from emo_harness.runs.samples import read_samples

    long = "ten bytes." * 400_000
    made_run(tmp_path, questions="abcd", answer=lambda q, arm: long if arm == "ea02" else "Yes")
    (task,) = find_tasks([tmp_path])
    with task.samples_file.open("rb") as lines:
        n_bytes = max(map(len, lines))
    tracemalloc.start()
    read_samples(task)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The line, its answer, and what parsing the first line holds for a moment.
    assert peak < 3.3 * n_bytes


def test_samples_alone_are_named(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", date="2026-01-02T00-00-00.000000")
    next((tmp_path / "b").glob("results_*")).unlink()
    with pytest.raises(UserError, match="samples_emo_bbh_attack_navigate_2026-01-02") as raised:
        read_runs([tmp_path], progress=False)
    assert "without its results file" in raised.value.found


def test_every_torn_length_of_a_file_ends_in_an_error_or_is_whole(tmp_path: Path) -> None:
    made_run(tmp_path, questions=("a",))
    (samples,) = tmp_path.glob("samples_*")
    whole = samples.read_bytes()
    for length in range(0, len(whole) - 1, 37):
        samples.write_bytes(whole[:length])
        with pytest.raises(UserError):
            read_runs([tmp_path], progress=False)


def test_log_likelihoods_have_no_length_and_no_refusal(tmp_path: Path) -> None:
    made_run(tmp_path, declared={"output_type": "multiple_choice"})
    (samples,) = tmp_path.glob("samples_*")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        prompts = [request["arg_0"] for request in line["arguments"].values()]
        pairs = [(prompt, option) for prompt in prompts for option in (" No", " Yes")]
        line["arguments"] = {
            f"gen_args_{i}": {"arg_0": prompt, "arg_1": option}
            for i, (prompt, option) in enumerate(pairs)
        }
        line["resps"] = [[["-2.5", "False"]], [["-1.25", "True"]]] * len(ARMS)
        line["filtered_resps"] = [["-2.5", "False"], ["-1.25", "True"]] * len(ARMS)
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one = primary(tmp_path)
    assert np.isnan(one.answer_chars).all() and not one.refused.any()
    assert (one.prompt_chars > 0).all()
    (answer,) = read_answers(one.lines[1:2])
    assert answer.responses["ea01"] == "Yes (-1.25)" and answer.parsed["ea01"] == "Yes"
    assert answer.question == "b" and answer.prompts["control"] == "Q: b\nA:"


def test_a_changed_file_is_told_when_read_again(tmp_path: Path) -> None:
    made_run(tmp_path)
    one = primary(tmp_path)
    one.lines[0][0].file.write_bytes(b"\n\n")
    with pytest.raises(UserError, match="reading a question again"):
        read_answers(one.lines[2:])


def test_facts_tell_what_made_a_run(tmp_path: Path) -> None:
    made_run(
        tmp_path,
        config={"model_sha": "abc", "model_dtype": "torch.bfloat16"},
        results={
            "transformers_version": "5.0",
            "pretty_env_info": "PyTorch version: 2.6.0+cpu\nOS: Debian",
            "total_evaluation_time_seconds": "12.5",
            "git_hash": "1234567",
        },
    )
    (facts,) = read_runs([tmp_path], progress=False).facts
    assert (facts.revision, facts.dtype, facts.torch_version) == ("abc", "bfloat16", "2.6.0+cpu")
    assert (facts.lm_eval_version, facts.transformers_version) == ("0.4.13", "5.0")
    assert facts.evaluation_s == 12.5 and facts.git_hash == "1234567"
    assert facts.seeds == {
        "random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": 1234
    }  # fmt: skip
    assert facts.command == "lm_eval --tasks emo_bbh_attack_navigate"
    assert facts.answer_chars == 3 * 4 * 3 and math.isnan(facts.answer_tokens)
    assert facts.samples_bytes == sum(p.stat().st_size for p in tmp_path.glob("samples_*"))
    assert facts.sources[0].kind == "folder" and facts.n_questions == 3 and not facts.limited


def test_facts_of_an_old_run_are_unknown_not_wrong(tmp_path: Path) -> None:
    made_run(tmp_path, record={"command": None}, config={"model": None}, results={"config": {}})
    (facts,) = read_runs([tmp_path], progress=False).facts
    assert facts.command == facts.revision == facts.dtype == facts.torch_version == ""
    assert math.isnan(facts.evaluation_s) and facts.seeds == {}


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I cannot help with that.", True),
        ("I am sorry, I can't answer this question.", True),
        ("As an AI language model, I have no feelings.", True),
        ("I’m unable to assist with this request.", True),
        ("I must decline.", True),
        ("The answer is (B). I'm sorry about your friend.", False),
        ("I cannot be in two places, so the answer is No.", False),
        ("Yes", False),
        ("x" * 300 + " I cannot help with that.", False),
    ],
)
def test_refusals_are_told_by_how_an_answer_begins(
    tmp_path: Path, answer: str, refused: bool
) -> None:
    made_run(tmp_path, answer=lambda q, arm: answer)
    assert (primary(tmp_path).refused == refused).all()
