"""Runs of small models that lm-eval itself made, and copies of these models that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from emo_harness.runs import ArmScores, read_runs
from tests.conftest import expanded_texts

MC = "emo_calibration_attack"
GENERATED = "emo_bbh_mini_attack_navigate"
# For these tasks' prompts; and answers no longer than needed.
ROOM = {"max_position_embeddings": 512}
SHORT: dict[str, Any] = {"gen_kwargs": {"max_gen_toks": 12}}


@dataclass(frozen=True)
class Asked:
    """A model, and what it was asked by lm-eval: options rated, and answers generated."""

    model: Path
    rated: Path
    generated: Path


def asked(
    folder: Path,
    args: dict[str, Any],
    *tasks: str,
    model: str = "hf",
    limit: int = 8,
    **kwargs: Any,
) -> Path:
    """A run folder, as `lm_eval --model hf --model_args ...` leaves it."""
    import yaml
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    from emo_harness.lm_models import register_models
    from emo_harness.lm_tasks import EmotionTask

    register_models()
    built = []
    for name in tasks or (MC,):
        config = yaml.safe_load(expanded_texts()[name].split("\n", 1)[1])
        emo = {"stimuli": ["ea01", "ea02"]}
        built.append(
            EmotionTask({**config, "metadata": {**config["metadata"], **args, "emo": emo}})
        )
    tracker = EvaluationTracker(output_path=str(folder))
    results = simple_evaluate(
        model=model,
        model_args=args,
        tasks=built,
        task_manager=TaskManager(include_defaults=False),
        limit=limit,
        bootstrap_iters=0,
        batch_size=1,
        device="cpu",
        evaluation_tracker=tracker,
        **kwargs,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return folder


def scores_of(*folders: Path) -> list[ArmScores]:
    return read_runs(folders, count_tokens=False, progress=False).scores


def unrecorded(scores: Sequence[ArmScores]) -> list[ArmScores]:
    """As of a run that was made before its model's files were recorded."""
    return [told_otherwise(one, identities={}) for one in scores]


def told_otherwise(one: ArmScores, **changes: Any) -> ArmScores:
    """Scores whose results file says something else of the model."""
    return replace(one, facts=replace(one.facts, asked=replace(one.facts.asked, **changes)))


def change_weights(folder: Path, share: float = 0.5) -> None:
    """Replace one weight matrix by itself and noise of a share of its spread, in place."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("layers.0.mlp.down_proj.weight"))
    noise = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))
    weights[name] = weights[name] + share * weights[name].std() * noise
    save_file(weights, path, metadata={"format": "pt"})
