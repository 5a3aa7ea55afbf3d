"""BBH mini: the worked examples that lm-eval carries in its chain-of-thought tasks.

Each of the 27 subtasks has three, with a worked answer that ends in "the answer is X."; X is the
target. They are asked zero-shot.
"""

from __future__ import annotations

import re
from importlib.metadata import version

from emo_harness.benchmarks.source import Questions, Source, rows_sha256
from emo_harness.benchmarks.upstream import load_config

_ANSWER = re.compile(r"the answer is (.*?)\.?\s*$", re.IGNORECASE | re.DOTALL)


def questions(subtask: str) -> Questions:
    """The three embedded questions of one subtask."""
    shots = load_config(f"bbh/cot_fewshot/{subtask}.yaml")["fewshot_config"]["samples"]
    rows = [{"input": shot["input"], "target": _target(shot["target"])} for shot in shots]
    place = f"lm_eval {version('lm_eval')}: bbh/cot_fewshot/{subtask}.yaml"
    return Questions(Source("embedded", place, rows_sha256(rows)), rows)


def _target(worked: str) -> str:
    match = _ANSWER.search(worked)
    if match is None:
        raise ValueError(f"a worked example does not end in 'the answer is': {worked[-80:]!r}")
    return match.group(1)
