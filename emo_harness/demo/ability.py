"""The demo model's ability on real BBH questions, measured by lm-evaluation-harness itself."""

import tempfile
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

from emo_harness.demo.corpus import GENERATORS

UPSTREAM = Path(lm_eval.__file__).parent / "tasks" / "bbh" / "zeroshot"


def bbh_accuracy(model_folder: Path, bbh_folder: Path) -> dict[str, dict[str, float]]:
    """Strict-match accuracy and number of questions per trained subtask, control arm, zero-shot.

    `bbh_folder` holds BBH's files, `SUBTASK.json`, since no hub may be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        for subtask in GENERATORS:
            (Path(folder) / f"{subtask}.yaml").write_text(
                yaml.safe_dump(_local_task(subtask, bbh_folder))
            )
        results: Any = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(model_folder), "device": "cpu"},
            tasks=[_task_name(subtask) for subtask in GENERATORS],
            task_manager=TaskManager(include_path=folder),
            batch_size=50,
            bootstrap_iters=0,
        )
    return {
        subtask: {
            "accuracy": results["results"][_task_name(subtask)]["exact_match,strict-match"],
            "n": results["n-samples"][_task_name(subtask)]["effective"],
        }
        for subtask in GENERATORS
    }


def _task_name(subtask: str) -> str:
    return f"local_bbh_zeroshot_{subtask}"


def _local_task(subtask: str, bbh_folder: Path) -> dict[str, Any]:
    return {
        "include": str(UPSTREAM / f"{subtask}.yaml"),
        "task": _task_name(subtask),
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {"test": str(bbh_folder / f"{subtask}.json")},
            "field": "examples",
        },
    }
