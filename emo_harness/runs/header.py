"""Headers: a results file's own part, and the tasks' configurations, as far as they are used."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from emo_harness.errors import UserError
from emo_harness.runs.record import Logged
from emo_harness.validation import validated

_FIX = "the file was changed after lm_eval wrote it; run the task again"


class QuestionCounts(Logged):
    """How many questions a task has, and how many it asked."""

    original: int = Field(ge=0)
    effective: int = Field(ge=0)


class Header(Logged):
    """What lm-eval says of all tasks together. Dictionaries are by task, but for `config`."""

    config: dict[str, Any] = Field(default_factory=dict)
    n_shot: dict[str, Any] = Field(default_factory=dict, alias="n-shot")
    n_samples: dict[str, QuestionCounts] = Field(alias="n-samples")
    task_hashes: dict[str, Any] | None = None


class _Step(Logged):
    function: str


class _FilterChain(Logged):
    name: str
    filter: list[_Step]


class _Metric(Logged):
    metric: str


class _TaskConfig(Logged):
    output_type: str = "generate_until"
    repeats: int = Field(default=1, ge=1)
    filter_list: list[_FilterChain] | None = None
    metric_list: list[_Metric] | None = None


def read_results(path: Path) -> dict[str, Any]:
    """A results file with the configurations of its tasks, whoever's they are.

    Raises:
        UserError: no JSON of lm-eval's.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(results.get("configs"), dict):
            raise ValueError("no `configs`")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"reading the results {path}",
            found=f"{error}",
            expected="the JSON file that lm_eval writes",
            fix="remove the file or run again",
        ) from error
    return results


def read_header(results: dict[str, Any], tasks: Iterable[str], path: Path) -> Header:
    """The header of a results file, and the configurations of `tasks` in it, looked through.

    Raises:
        UserError: a missing or odd value.
    """
    header = validated(Header, results, f"reading the results {path}", _FIX)
    for task in tasks:
        doing = f"reading the configuration of {task} in {path.name}"
        validated(_TaskConfig, results["configs"][task], doing, _FIX)
        if task not in header.n_samples:
            raise UserError(
                f"reading the results {path}",
                found=f"no number of questions of {task}",
                expected=f"{task!r} under 'n-samples'",
                fix=_FIX,
            )
    return header
