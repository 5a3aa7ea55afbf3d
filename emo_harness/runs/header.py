"""Headers: a results file's own part, and the tasks' configurations, as far as they are used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from emo_harness.errors import UserError
from emo_harness.runs.no_json import json_kind, no_json
from emo_harness.runs.record import Logged
from emo_harness.validation import validated

# How lm-eval ends the name of a results file.
DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+\w?)\.json$")
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
    except (OSError, ValueError, RecursionError) as error:
        raise _no_results(path, no_json(error)) from error
    if not isinstance(results, dict):
        raise _no_results(path, f"{json_kind(results)}, not the results that lm_eval writes")
    configs = results.get("configs")
    if not isinstance(configs, dict):
        was = f"{json_kind(configs)} as" if "configs" in results else "no"
        raise _no_results(path, f"{was} `configs`, so not the results that lm_eval writes")
    return results


def _no_results(path: Path, found: str) -> UserError:
    dated = DATE.search(path.name) is not None
    return UserError(
        f"reading the results {path}",
        found=found,
        expected="the JSON file results_<date>.json that lm_eval writes",
        fix="run again, or leave this file out of the folder"
        if dated
        else "name the results file or its folder",
    )


def read_header(results: dict[str, Any], tasks: Iterable[str], path: Path) -> Header:
    """The header of a results file, and the configurations of `tasks` in it, looked through.

    Raises:
        UserError: a missing or odd value.
    """
    header = validated(Header, results, f"reading the results {path}", _FIX)
    for task in tasks:
        doing = f"reading the configuration of {task} in {path}"
        validated(_TaskConfig, results["configs"][task], doing, _FIX)
        if task not in header.n_samples:
            raise UserError(
                f"reading the results {path}",
                found=f"no number of questions of {task}",
                expected=f"{task!r} under 'n-samples'",
                fix=_FIX,
            )
    return header
