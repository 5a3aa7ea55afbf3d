"""The control arm is upstream, byte for byte: prompts, filters and scores, subtask by subtask."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval.api.task import ConfigurableTask

from emo_harness.benchmarks import bbh, bbh_mini
from emo_harness.benchmarks.upstream import load_config
from emo_harness.lm_tasks.expand import declarations
from tests.conftest import build_task

SUBTASKS = next(d for d in declarations() if d["benchmark"] == "bbh")["subtasks"]
UPSTREAM = {
    "zeroshot": ("zeroshot", "emo_bbh_attack"),
    "cot": ("cot_fewshot", "emo_bbh_cot_attack"),
}
MC_SUBTASKS = [
    s
    for s in SUBTASKS
    if s not in ("dyck_languages", "multistep_arithmetic_two", "object_counting", "word_sorting")
]


def chat_template(messages: list[dict], add_generation_prompt: bool = True) -> str:
    turns = "".join(f"<{m['role']}>{m['content']}</{m['role']}>" for m in messages)
    return turns + ("<assistant>" if add_generation_prompt else "")


def upstream_task(subtask: str, mode: str, rows: list[dict], monkeypatch: Any) -> ConfigurableTask:
    test = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "load_dataset", lambda **_: test)
        config = load_config(f"bbh/{UPSTREAM[mode][0]}/{subtask}.yaml")
        task = ConfigurableTask(config=config)
    task.set_fewshot_seed(1234)
    return task


def our_task(subtask: str, mode: str, folder: Path, **emo: Any) -> Any:
    emo = {"stimuli": ["ea01"], "placebos": 1, "data_dir": str(folder), **emo}
    task = build_task(f"{UPSTREAM[mode][1]}_{subtask}", **emo)
    task.set_fewshot_seed(1234)
    return task


def renderings() -> Iterator[dict[str, Any]]:
    chat = {"apply_chat_template": True, "chat_template": chat_template}
    yield {}
    yield {"system_instruction": "Be terse."}
    yield {**chat, "fewshot_as_multiturn": False}
    yield {**chat, "fewshot_as_multiturn": True}
    yield {**chat, "fewshot_as_multiturn": True, "system_instruction": "Be terse."}


@pytest.mark.parametrize("mode", ["zeroshot", "cot"])
@pytest.mark.parametrize("subtask", SUBTASKS)
def test_control_prompt_and_arguments_are_upstreams(
    subtask: str, mode: str, published_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bbh_mini.questions(subtask).rows
    upstream = upstream_task(subtask, mode, rows, monkeypatch)
    ours = our_task(subtask, mode, published_folder)
    for rendering in renderings():
        for task in (upstream, ours):
            task.build_all_requests(rank=0, world_size=1, **rendering)
        n_arms = len(ours.arms)
        control = ours.instances[::n_arms]
        assert [i.args for i in control] == [i.args for i in upstream.instances]
        assert [i.doc for i in control] == [i.doc for i in upstream.instances]
        assert [i.idx for i in ours.instances[:n_arms]] == list(range(n_arms))


def answers_to(doc: dict[str, str], other: str) -> list[str]:
    target = doc["target"]
    return [
        target,
        f" {target}",
        f" {target}.",
        f"\n{target}\n",
        target.lower(),
        target.upper(),
        f"So the answer is {target}.",
        f"Let's see. It is not {other}, so the answer is {target}. Done.",
        f"The answer: {target.strip('()')}",
        f'"{target}"',
        other,
        f"{other} or {target}",
        "",
        " ",
        "I cannot tell.",
        "[invalid]",
        "日本語 🙂 \x00",
        "-12 34",
        "yes no valid invalid True False (A) (B)",
    ]


@pytest.mark.parametrize("mode", ["zeroshot", "cot"])
@pytest.mark.parametrize("subtask", SUBTASKS)
def test_scores_are_upstreams_under_every_filter(
    subtask: str, mode: str, published_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bbh_mini.questions(subtask).rows
    upstream = upstream_task(subtask, mode, rows, monkeypatch)
    ours = our_task(subtask, mode, published_folder)
    other = "(Z)" if rows[0]["target"].startswith("(") else "nothing"
    n_arms = len(ours.arms)
    for task in (upstream, ours):
        task.build_all_requests(rank=0, world_size=1)
    for answer_index in range(len(answers_to(rows[0], other))):
        for task in (upstream, ours):
            for instance in task.instances:
                instance.resps = [answers_to(instance.doc, other)[answer_index]]
            task.apply_filters()
        for number, doc in enumerate(rows):
            theirs = upstream.instances[number]
            mine = ours.instances[number * n_arms : (number + 1) * n_arms]
            assert mine[0].filtered_resps == theirs.filtered_resps
            for name in theirs.filtered_resps:
                expected = upstream.process_results(doc, [theirs.filtered_resps[name]])
                got = ours.process_results(doc, [i.filtered_resps[name] for i in mine])
                for metric, score in expected.items():
                    assert set(got[f"{metric}_by_arm"].values()) == {float(score)}


@pytest.mark.parametrize("subtask", MC_SUBTASKS)
def test_mc_context_is_the_zeroshot_prompt_and_options_hold_the_target(
    subtask: str, bbh_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bbh.questions(subtask, str(bbh_folder)).rows
    upstream = upstream_task(subtask, "zeroshot", rows, monkeypatch)
    ours = build_task(
        f"emo_bbh_mc_attack_{subtask}", data_dir=str(bbh_folder), stimuli=["ea01"], placebos=0
    )
    expected_dropped = {"movie_recommendation": 1, "ruin_names": 2}.get(subtask, 0)
    record = ours.config.metadata["emo"]
    assert ours.n_dropped == record["n_dropped"] == expected_dropped
    assert len(ours.eval_docs) == len(rows) - expected_dropped
    for doc in ours.eval_docs:
        assert doc["target"] in ours.doc_to_choice(doc)
    doc = ours.eval_docs[0]
    assert ours.fewshot_context(doc, num_fewshot=0)[0] == upstream.fewshot_context(
        doc, num_fewshot=0
    )


def test_mc_scores_are_lm_evals_multiple_choice(published_folder: Path) -> None:
    ours = build_task(
        "emo_bbh_mc_attack_navigate", data_dir=str(published_folder), stimuli=["ea01"], placebos=1
    )
    doc = ours.eval_docs[0]
    options = ours.doc_to_choice(doc)
    right = [(0.0 if o == doc["target"] else -5.0, False) for o in options]
    wrong = [(-5.0 if o == doc["target"] else 0.0, False) for o in options]
    plain = partial(super(type(ours), ours).process_results, doc)
    scored = ours.process_results(doc, [*right, *right, *wrong, *wrong])
    by_arm = scored["acc_by_arm"]
    assert list(by_arm.values()) == [1.0, 1.0, 0.0, 0.0]
    assert by_arm["control"] == plain(right)["acc"] and by_arm["ea01"] == plain(wrong)["acc"]
    assert scored["acc_gain"] == -1.0 and scored["acc_gain_vs_placebo"] == -1.0


@pytest.mark.parametrize("mode", ["zeroshot", "cot"])
def test_real_questions_render_as_upstream(
    mode: str, bbh_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subtask in SUBTASKS:
        rows = bbh.questions(subtask, str(bbh_folder)).rows
        upstream = upstream_task(subtask, mode, rows, monkeypatch)
        ours = our_task(subtask, mode, bbh_folder)
        for task in (upstream, ours):
            task.build_all_requests(limit=5, rank=0, world_size=1)
        control = ours.instances[:: len(ours.arms)]
        assert [i.args for i in control] == [i.args for i in upstream.instances]
