"""Run folders made by hand, in the form that lm-eval writes, so that each part can be varied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ARMS: tuple[dict[str, Any], ...] = (
    {"id": "control", "kind": "control"},
    {
        "id": "neutral-5",
        "kind": "placebo",
        "family": "placebo",
        "placebo": "neutral",
        "text": "A week has seven days.",
    },
    {
        "id": "ea01",
        "kind": "stimulus",
        "family": "attack",
        "text": "Your friend Bob is sick.",
        "theory": "sadness",
        "demand": False,
        "arousal_rank": 3,
    },
    {"id": "ea02", "kind": "stimulus", "family": "attack", "text": "Your friend Bob is dead."},
)
FILTER_LIST = [
    {"name": "strict-match", "filter": [{"function": "take_first"}]},
    {
        "name": "flexible-extract",
        "filter": [
            {"function": "regex", "group_select": 0, "regex_pattern": "\\b(Yes|No)\\b"},
            {"function": "take_first"},
        ],
    },
]
METRIC_LIST = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
FILTERS = ("strict-match", "flexible-extract")
TASK = "emo_bbh_attack_navigate"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def made_run(
    folder: Path,
    *,
    model: str = "org/model",
    date: str = "2026-01-01T00-00-00.000000",
    task: str = TASK,
    arms: Sequence[Mapping[str, Any]] = ARMS,
    questions: Sequence[str] = ("a", "b", "c"),
    first_doc_id: int = 0,
    n_available: int | None = None,
    answer: Callable[[str, str], str | list[str]] = lambda question, arm: "Yes",
    score: Callable[[str, str], Any] = lambda question, arm: 1.0,
    prompt: Callable[[str], str] = lambda question: f"Q: {question}\nA:",
    target: Callable[[str], str] = lambda question: "Yes",
    placement: str = "suffix",
    source: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    declared: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write one results file and one samples file; returns the folder.

    Args:
        config: over lm-eval's `config`; `results` over the whole results file; `declared` over the
            task's configuration; `record` over what our task recorded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recorded = {
        "schema": 1,
        "emo_harness": "0.1.0",
        "benchmark": "bbh",
        "subtask": "navigate",
        "mode": "zeroshot",
        "family": "attack",
        "upstream": None,
        "metric": "exact_match",
        "filter": "flexible-extract",
        "placement": placement,
        "separator": "\n",
        "stimuli_sha256": sha256(json.dumps([dict(a) for a in arms])),
        "source": source or {"kind": "folder", "place": "bbh/navigate.json", "sha256": "0" * 64},
        "n_dropped": 0,
        "command": "lm_eval --tasks emo_bbh_attack_navigate",
        "arms": [dict(a) for a in arms],
        **(record or {}),
    }
    logged = {
        "configs": {
            task: {
                "task": task,
                "output_type": "generate_until",
                "generation_kwargs": {"do_sample": False, "temperature": 0.0},
                "filter_list": FILTER_LIST,
                "metric_list": METRIC_LIST,
                "repeats": 1,
                **(declared or {}),
                "metadata": {"emo": recorded},
            }
        },
        "n-shot": {task: 0},
        "n-samples": {
            task: {"original": n_available or len(questions), "effective": len(questions)}
        },
        "config": {
            "model": "hf",
            "model_args": {"pretrained": model},
            "gen_kwargs": {},
            "random_seed": 0,
            "numpy_seed": 1234,
            "torch_seed": 1234,
            "fewshot_seed": 1234,
            **(config or {}),
        },
        "model_name": model,
        "lm_eval_version": "0.4.13",
        "task_hashes": {task: "1" * 64},
        **(results or {}),
    }
    (folder / f"results_{date}.json").write_text(json.dumps(logged), encoding="utf-8")
    lines = []
    for filter_name in FILTERS:
        for doc_id, question in enumerate(questions, start=first_doc_id):
            asked = [arm["id"] for arm in arms]
            texts = [answer(question, arm_id) for arm_id in asked]
            responses = [t if isinstance(t, list) else [t] for t in texts]
            by_arm = {arm_id: score(question, arm_id) for arm_id in asked}
            by_arm = {arm_id: value for arm_id, value in by_arm.items() if value != "absent"}
            sample = {
                "doc_id": doc_id,
                "doc": {"input": question, "target": target(question)},
                "target": target(question),
                "arguments": {
                    f"gen_args_{i}": {
                        "arg_0": prompt(question) + (f"\n{arm.get('text')}" if i else ""),
                        "arg_1": {"until": ["\n"]},
                    }
                    for i, arm in enumerate(arms)
                },
                "resps": responses,
                "filtered_resps": [r[0] for r in responses],
                "filter": filter_name,
                "metrics": ["exact_match", "exact_match_by_arm", "unparsed"],
                "doc_hash": sha256(question),
                "prompt_hash": sha256(prompt(question)),
                "target_hash": sha256(target(question)),
                "exact_match": 0.5,
                "exact_match_by_arm": by_arm,
                "unparsed": {
                    arm_id: int(r[0] == "mumble")
                    for arm_id, r in zip(asked, responses, strict=True)
                },
            }
            lines.append(json.dumps(sample) + "\n")
    (folder / f"samples_{task}_{date}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def without_arm(*names: str) -> tuple[dict[str, Any], ...]:
    return tuple(arm for arm in ARMS if arm["id"] not in names)
