"""The configuration that a task of ours starts from: its upstream task's."""

from __future__ import annotations

from typing import Any, Literal

from emo_harness.benchmarks.upstream import load_config
from emo_harness.validation import Strict

# What an upstream generation task says about generating and parsing has no meaning in `mc`.
_GENERATION_KEYS = ("generation_kwargs", "filter_list", "metric_list", "fewshot_config")
# Of these lm-eval itself knows where the questions are.
_ON_THE_HUB = ("bbh", "mmmu_val")
_CALIBRATION_UPSTREAM = "bbh/zeroshot/boolean_expressions.yaml"


class TaskDeclaration(Strict):
    """What a task wraps, as its YAML declares it under `emo_task`.

    `metric` and `filter` are those that the benchmark is reported by; `visual` tells that the
    stimuli are images.
    """

    benchmark: str
    subtask: str | None
    mode: Literal["zeroshot", "mc", "cot"]
    family: str
    visual: bool = False
    upstream: str | None = None
    metric: str
    filter: str


def base_config(declared: TaskDeclaration) -> dict[str, Any]:
    """The upstream task's configuration.

    In `mc` the prompt is upstream's zero-shot prompt and scoring is lm-eval's `multiple_choice`;
    the options are added when the questions are known. Calibration borrows the prompt of
    boolean_expressions.
    """
    config = load_config(declared.upstream or _CALIBRATION_UPSTREAM)
    if declared.mode == "mc":
        config = {k: v for k, v in config.items() if k not in _GENERATION_KEYS}
        if declared.benchmark == "calibration":
            config["metric_list"] = [
                {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
            ]
    # It would stand in lm-eval's table in place of the name of our task.
    config.pop("task_alias", None)
    if declared.benchmark not in _ON_THE_HUB:
        config |= {"dataset_path": None, "dataset_name": None}
    return config
