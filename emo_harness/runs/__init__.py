"""Run folders: what lm-eval wrote, read back as one score per question and arm.

A run folder holds `results_<date>.json` and one `samples_<task>_<date>.jsonl` per task, directly
or in a subfolder per model. Sample files are read line by line, never held whole.
"""

from emo_harness.runs.results import RECORD_SCHEMA, RunArm, RunTask, find_tasks, find_with_repeats
from emo_harness.runs.samples import ArmScores, read_scores

__all__ = [
    "RECORD_SCHEMA",
    "ArmScores",
    "RunArm",
    "RunTask",
    "find_tasks",
    "find_with_repeats",
    "read_scores",
]
