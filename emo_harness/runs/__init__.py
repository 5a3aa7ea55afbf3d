"""Run folders: what lm-eval wrote, read back as one score per question and arm.

A run folder holds `results_<date>.json` and one `samples_<task>_<date>.jsonl` per task, directly
or in a subfolder per model. Sample files are read line by line, never held whole.
"""

from emo_harness.runs.answers import Answer, read_answers
from emo_harness.runs.arm_scores import ArmScores, SampleLine, occurrences
from emo_harness.runs.asked_model import AskedModel
from emo_harness.runs.facts import QuestionSource, RunFacts
from emo_harness.runs.merge import united_arms
from emo_harness.runs.prompts import run_prompts
from emo_harness.runs.record import RECORD_SCHEMA, RunArm
from emo_harness.runs.results import RunTask, find_tasks
from emo_harness.runs.run_reader import RunsRead, read_runs, read_scores

__all__ = [
    "RECORD_SCHEMA",
    "Answer",
    "ArmScores",
    "AskedModel",
    "QuestionSource",
    "RunArm",
    "RunFacts",
    "RunTask",
    "RunsRead",
    "SampleLine",
    "find_tasks",
    "occurrences",
    "read_answers",
    "read_runs",
    "read_scores",
    "run_prompts",
    "united_arms",
]
