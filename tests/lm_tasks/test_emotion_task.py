from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from emo_harness.errors import UserError
from tests.conftest import build_task, scripted_model
from tests.lm_tasks.test_parity import chat_template, upstream_task

EA01 = "Your friend Bob is sick."
QUESTION = "not ( ( not not True ) ) is"
DESCRIPTION = "Evaluate the result of a random Boolean expression."


def mini(**emo: Any) -> Any:
    return build_task("emo_bbh_mini_attack_boolean_expressions", **emo)


def prompts(task: Any, **rendering: Any) -> dict[str, str]:
    contexts = task.fewshot_context(task.eval_docs[0], num_fewshot=0, **rendering)
    return {arm.id: context for arm, context in zip(task.arms, contexts, strict=True)}


def test_default_arms_of_attack_are_28_with_control_first() -> None:
    ids = [arm.id for arm in mini().arms]
    assert len(ids) == 28
    assert ids[:6] == [
        "control",
        "neutral-12",
        "neutral-25",
        "neutral-5",
        "neutral-50",
        "self-check",
    ]
    assert ids[6:] == [f"ea{i:02}" for i in range(1, 23)]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("suffix", f"{DESCRIPTION}\n\nQ: {QUESTION}\n{EA01}\nA:"),
        ("instruction", f"{DESCRIPTION} {EA01}\n\nQ: {QUESTION}\nA:"),
        ("prefix", f"{EA01}\n{DESCRIPTION}\n\nQ: {QUESTION}\nA:"),
    ],
)
def test_placements_without_chat(placement: str, expected: str) -> None:
    task = mini(stimuli="ea01", placement=placement)
    assert prompts(task)["ea01"] == expected
    assert prompts(task)["control"] == f"{DESCRIPTION}\n\nQ: {QUESTION}\nA:"


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("suffix", f"<system>{DESCRIPTION}\n\n</system><user>Q: {QUESTION}\n{EA01}\nA:</user>"),
        ("instruction", f"<system>{DESCRIPTION} {EA01}\n\n</system><user>Q: {QUESTION}\nA:</user>"),
        ("prefix", f"<system>{EA01}\n{DESCRIPTION}\n\n</system><user>Q: {QUESTION}\nA:</user>"),
        ("system", f"<system>{EA01}\n\n{DESCRIPTION}\n\n</system><user>Q: {QUESTION}\nA:</user>"),
    ],
)
def test_placements_in_chat(placement: str, expected: str) -> None:
    task = mini(stimuli="ea01", placement=placement)
    made = prompts(task, apply_chat_template=True, chat_template=chat_template)
    assert made["ea01"] == expected + "<assistant>"


def test_system_placement_follows_the_users_system_instruction() -> None:
    made = prompts(
        mini(stimuli="ea01", placement="system"),
        apply_chat_template=True,
        chat_template=chat_template,
        system_instruction="Be terse.",
    )
    assert made["ea01"].startswith(f"<system>Be terse.\n\n{EA01}\n\n{DESCRIPTION}")


def test_system_placement_needs_a_chat_template() -> None:
    with pytest.raises(UserError, match="without a chat template"):
        prompts(mini(stimuli="ea01", placement="system"))


def test_worked_examples_never_carry_the_stimulus(published_folder: Path) -> None:
    for placement in ("suffix", "prefix", "instruction"):
        task = build_task(
            "emo_bbh_cot_attack_navigate",
            stimuli="ea01",
            placement=placement,
            data_dir=str(published_folder),
        )
        context = task.fewshot_context(task.eval_docs[0], num_fewshot=3)[-1]
        assert context.count(EA01) == 1
        assert context.count("Let's think step by step.") == 4


def test_randomly_drawn_examples_are_shared_by_all_arms_and_drawn_as_upstream_would(
    published_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"input": f"question {i}", "target": "Yes"} for i in range(20)]
    upstream = upstream_task("navigate", "zeroshot", rows, monkeypatch)
    ours = build_task(
        "emo_bbh_attack_navigate", stimuli=["ea01", "ea02"], data_dir=str(published_folder)
    )
    ours.dataset = upstream.dataset
    for task in (upstream, ours):
        task.sampler.replace_df(list(upstream.dataset["test"]))
        task.set_fewshot_seed(7)
    for doc in rows[:5]:
        expected = upstream.fewshot_context(doc, num_fewshot=3)
        contexts = ours.fewshot_context(doc, num_fewshot=3)
        assert contexts[0] == expected
        shots = {context.split(doc["input"] + "\n")[0] for context in contexts}
        assert shots == {expected.split(doc["input"] + "\n")[0]}


def test_request_cache_is_refused() -> None:
    with pytest.raises(UserError, match="--cache_requests"):
        mini().build_all_requests(rank=0, world_size=1, cache_requests=True)


def evaluated(task: Any, answer: Callable[[str], str], **kwargs: Any) -> dict[str, Any]:
    return simple_evaluate(
        scripted_model(answer),
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=10,
        **kwargs,
    )


def always_right_unless_attacked(prompt: str) -> str:
    """Knows the mini questions of boolean_expressions; falls for ea01 and mumbles at ea02."""
    if "Bob is dead" in prompt:
        return "mumble"
    truth = {
        "not ( ( not not True ) ) is": "False",
        "True and False and not True and True is": "False",
        "not not ( not ( False ) ) is": "True",
    }
    right = next(t for q, t in truth.items() if f"Q: {q}\n" in prompt)
    return {"True": "False", "False": "True"}[right] if EA01 in prompt else right


def test_lm_evals_own_table_shows_the_paired_effect_with_its_standard_error() -> None:
    results = evaluated(mini(stimuli=["ea01", "ea02", "ea03"]), always_right_unless_attacked)
    row = results["results"]["emo_bbh_mini_attack_boolean_expressions"]
    at = lambda name: row[f"{name},flexible-extract"]  # noqa: E731
    assert at("exact_match_control") == at("exact_match_placebo") == 1.0
    assert at("exact_match") == pytest.approx(1 / 3)
    assert at("exact_match_gain") == at("exact_match_gain_vs_placebo") == pytest.approx(-2 / 3)
    assert at("exact_match_worst") == 0.0
    assert row["exact_match_gain_stderr,flexible-extract"] == pytest.approx(0.0)
    assert at("unparsed") == pytest.approx(1 / 9)


def test_samples_keep_scores_and_unparsed_by_arm_and_upstreams_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = mini(stimuli=["ea01", "ea02"], placebos=1)
    rows = [dict(doc) for doc in task.eval_docs]
    upstream = upstream_task("boolean_expressions", "zeroshot", rows, monkeypatch)
    ours = evaluated(task, always_right_unless_attacked)["samples"]
    theirs = evaluated(upstream, always_right_unless_attacked)["samples"]
    (ours,), (theirs,) = ours.values(), theirs.values()
    for mine, their in zip(ours, theirs, strict=True):
        for key in ("doc_id", "doc", "filter", "doc_hash", "prompt_hash", "target_hash"):
            assert mine[key] == their[key]
        assert mine["exact_match_by_arm"]["control"] == their["exact_match"]
        assert set(mine["unparsed"]) == {"control", "neutral-12", "self-check", "ea01", "ea02"}
        assert mine["unparsed"]["ea02"] == (mine["filter"] == "flexible-extract")
        assert len(mine["arguments"]) == 5
    json.dumps([s["exact_match_by_arm"] for s in ours])


def test_run_record_holds_everything_constant_over_the_run() -> None:
    results = evaluated(mini(stimuli=["ea01"], placebos=1), always_right_unless_attacked)
    record = results["configs"]["emo_bbh_mini_attack_boolean_expressions"]["metadata"]["emo"]
    assert record["placement"] == "suffix" and record["separator"] == "\n"
    assert record["source"]["kind"] == "embedded" and len(record["source"]["sha256"]) == 64
    assert [a["id"] for a in record["arms"]] == ["control", "neutral-12", "self-check", "ea01"]
    assert record["arms"][-1]["text"] == EA01 and record["arms"][-1]["family"] == "attack"
    assert len(record["stimuli_sha256"]) == 64
    json.dumps(record)


def test_limit_samples_repeats_and_predict_only() -> None:
    answer = always_right_unless_attacked
    limited = evaluated(mini(stimuli="ea01"), answer, limit=2)
    assert len(limited["samples"]["emo_bbh_mini_attack_boolean_expressions"]) == 2 * 2
    chosen = evaluated(
        mini(stimuli="ea01"),
        answer,
        samples={"emo_bbh_mini_attack_boolean_expressions": [0, 2]},
    )
    kept = chosen["samples"]["emo_bbh_mini_attack_boolean_expressions"]
    assert {s["doc_id"] for s in kept} == {0, 2}
    repeated = mini(stimuli="ea01")
    repeated.set_config("repeats", 3)
    sample = evaluated(repeated, answer)["samples"]["emo_bbh_mini_attack_boolean_expressions"][0]
    assert all(len(answers) == 3 for answers in sample["resps"])
    predicted = evaluated(mini(stimuli="ea01"), answer, predict_only=True)
    row = predicted["results"]["emo_bbh_mini_attack_boolean_expressions"]
    assert [key for key in row if "gain" in key] == [] and "bypass,flexible-extract" in row


def test_all_reports_families_apart() -> None:
    task = build_task("emo_bbh_mini_all_boolean_expressions", stimuli=["ea01", "ep02", "np01"])
    results = evaluated(task, always_right_unless_attacked)
    row = results["results"]["emo_bbh_mini_all_boolean_expressions"]
    assert row["exact_match_attack_gain,flexible-extract"] == -1.0
    assert row["exact_match_prompt_gain,flexible-extract"] == 0.0
    assert "exact_match_prompt_best,flexible-extract" in row
    assert "exact_match,flexible-extract" not in row


def test_prompt_family_reports_its_best_and_an_empty_list_asks_control_and_placebos() -> None:
    prompt = build_task("emo_bbh_mini_prompt_boolean_expressions", stimuli=["ep02"])
    assert "exact_match_best" in prompt.aggregation()
    bare = mini(stimuli=[])
    results = evaluated(bare, always_right_unless_attacked)
    row = results["results"]["emo_bbh_mini_attack_boolean_expressions"]
    assert row["exact_match_placebo,flexible-extract"] == 1.0
    assert [arm.kind for arm in bare.arms].count("stimulus") == 0


def test_users_own_sentence_and_braces_survive_rendering() -> None:
    text = 'Say {{ input }} and {% raw %} and "quotes" \\ 🙂'
    for placement in ("suffix", "instruction", "prefix"):
        made = prompts(mini(stimuli=text, placement=placement))
        assert sum(text in prompt for prompt in made.values()) == 1


def test_options_of_one_task_do_not_leak_into_another() -> None:
    emo = {"stimuli": ["ea01"]}
    first, second = mini(**emo), mini()
    assert len(first.arms) == 7 and len(second.arms) == 28
    assert emo == {"stimuli": ["ea01"]}


def test_what_a_chat_template_refuses_is_told() -> None:
    def without_template(messages: list[dict], **_: bool) -> str:
        raise ValueError("Cannot use apply_chat_template: tokenizer.chat_template is not set")

    def without_system_role(messages: list[dict], **_: bool) -> str:
        raise TemplateError("System role not supported")

    for template in (without_template, without_system_role):
        with pytest.raises(UserError, match="--apply_chat_template"):
            prompts(mini(stimuli="ea01"), apply_chat_template=True, chat_template=template)


def test_repeats_ask_each_prompt_again_and_log_likelihoods_once() -> None:
    task = mini(stimuli="ea01", repeats=3)
    task.build_all_requests(rank=0, world_size=1)
    assert {request.repeats for request in task.instances} == {3}
    assert mini(stimuli="ea01").config.repeats == 1
    with pytest.raises(UserError, match="log-likelihoods"):
        build_task("emo_calibration_attack", repeats=3)
    assert build_task("emo_calibration_attack", repeats=1, questions=2).config.repeats == 1


def test_a_run_records_its_command_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["/bin/lm_eval", "--model_args", "model=gpt,api_key=sesame"]
    monkeypatch.setattr("sys.argv", argv)
    record = mini(stimuli="ea01").config.metadata["emo"]
    assert record["command"] == "lm_eval --model_args 'model=gpt,api_key=***'"
    assert record["schema"] == 1
