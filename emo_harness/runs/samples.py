"""Samples files: the score of every question under every arm, read line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.prompt_tokens import PromptLimit, PromptTokens
from emo_harness.runs.results import RunArm, RunTask


@dataclass(frozen=True)
class ArmScores:
    """The scores of one subtask under one metric and filter.

    Attributes:
        model: short name of the model.
        benchmark, subtask, mode, family, placement: as declared and selected.
        metric, filter: lm-eval's names.
        primary: whether these are the metric and filter that the benchmark is reported by.
        limited: whether the run asked only a part of the questions (`--limit`, `--samples`).
        limit: the run's tokenizer and context window, None where unknown.
        settings: how the model was run, "name=value" by name: model arguments, generation
            arguments, system instruction, chat template, number of worked examples.
        arms: in the run's order.
        questions: (n_questions,) lm-eval's `doc_hash` of each question.
        scores: (n_questions, n_arms) float64, 1.0 is right.
        unparsed: (n_questions, n_arms) bool, the filter found no answer.
        truncated: (n_questions, n_arms) bool, the prompt did not fit; None where unknown.
    """

    model: str
    benchmark: str
    subtask: str
    mode: str
    family: str
    placement: str
    metric: str
    filter: str
    primary: bool
    limited: bool
    limit: PromptLimit | None
    settings: dict[str, str]
    stimuli_sha256: str
    arms: tuple[RunArm, ...]
    questions: tuple[str, ...]
    scores: NDArray[np.float64]
    unparsed: NDArray[np.bool_]
    truncated: NDArray[np.bool_] | None


def read_scores(run_task: RunTask, count_tokens: bool = True) -> list[ArmScores]:
    """Read a task's samples: one `ArmScores` per metric and filter.

    Args:
        count_tokens: look for truncated prompts where the run's tokenizer is at hand.

    Raises:
        UserError: a broken line, an arm missing from a question, or samples without scores.
    """
    tokens = PromptTokens.for_limit(run_task.limit) if count_tokens else None
    readings: dict[tuple[str, str], _Reading] = {}
    arm_ids = [arm.id for arm in run_task.arms]
    for number, sample in _samples(run_task.samples_file):
        where = f"reading the samples {run_task.samples_file.name}, line {number}"
        try:
            for key in [key for key in sample if key.endswith("_by_arm")]:
                slot = (key.removesuffix("_by_arm"), sample["filter"])
                readings.setdefault(slot, _Reading()).add(sample, key, arm_ids, where)
            leading = next(iter(readings.values()), None)
            if tokens and leading and len(leading.truncated) < len(leading.questions):
                leading.truncated.append(tokens.truncated(sample["arguments"], len(arm_ids)))
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise UserError(
                where,
                found=f"a sample with a missing or odd value ({error!r})",
                expected="a sample as our tasks log it",
                fix="run the task again",
            ) from error
    if not readings:
        raise UserError(
            f"reading the samples {run_task.samples_file.name}",
            found="no scores by arm (was it a --predict_only run?)",
            expected="samples with <metric>_by_arm",
            fix="run the task again without --predict_only",
        )
    for (metric, filter_name), reading in readings.items():
        if len(reading.questions) != run_task.n_questions:
            raise UserError(
                f"reading the samples {run_task.samples_file.name} ({metric}, {filter_name})",
                found=f"{len(reading.questions)} questions",
                expected=f"the {run_task.n_questions} that {run_task.results_file.name} tells of",
                fix="lines are missing or doubled; run the task again",
            )
    first, *others = readings.values()
    if any(other.questions != first.questions for other in others):
        raise UserError(
            f"reading the samples {run_task.samples_file.name}",
            found="other questions, or another order, under another filter",
            expected="the same questions under every filter",
            fix="run the task again",
        )
    truncated = first.truncated if tokens else None
    return [_arm_scores(run_task, *slot, reading, truncated) for slot, reading in readings.items()]


class _Reading:
    """What has been read of one metric and filter."""

    def __init__(self) -> None:
        self._doc_ids: set[int] = set()
        self.questions: list[str] = []
        self.scores: list[list[float]] = []
        self.unparsed: list[list[bool]] = []
        self.truncated: list[list[bool]] = []

    def add(self, sample: dict[str, Any], key: str, arm_ids: Sequence[str], where: str) -> None:
        missing = [a for a in arm_ids if a not in sample[key] or a not in sample["unparsed"]]
        if missing:
            raise UserError(
                where,
                found=f"no score for {quoted(missing)}",
                expected="a score for every arm of the run",
                fix="results and samples are not of one run; run the task again",
            )
        if sample["doc_id"] in self._doc_ids:
            raise UserError(
                where,
                found=f"question {sample['doc_id']} a second time",
                expected="every question once per filter",
                fix="samples of several runs were put into one file; run the task again",
            )
        self._doc_ids.add(sample["doc_id"])
        self.questions.append(sample["doc_hash"])
        self.scores.append([float(sample[key][a]) for a in arm_ids])
        self.unparsed.append([bool(sample["unparsed"][a]) for a in arm_ids])


def _arm_scores(
    run_task: RunTask,
    metric: str,
    filter_name: str,
    reading: _Reading,
    truncated: list[list[bool]] | None,
) -> ArmScores:
    record = run_task.record
    return ArmScores(
        model=run_task.model,
        benchmark=record["benchmark"],
        subtask=record["subtask"] or record["benchmark"],
        mode=record["mode"],
        family=record["family"],
        placement=record["placement"],
        metric=metric,
        filter=filter_name,
        primary=(metric, filter_name) == (record["metric"], record["filter"]),
        limited=run_task.limited,
        limit=run_task.limit,
        settings=run_task.settings,
        stimuli_sha256=record["stimuli_sha256"],
        arms=run_task.arms,
        questions=tuple(reading.questions),
        scores=np.array(reading.scores, dtype=np.float64),
        unparsed=np.array(reading.unparsed, dtype=bool),
        truncated=np.array(truncated, dtype=bool) if truncated else None,
    )


def _samples(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    n_lines = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            n_lines += 1
            try:
                sample = json.loads(line.decode("utf-8"))
                if not isinstance(sample, dict) or "filter" not in sample:
                    raise ValueError("no sample of lm_eval's")
            except (ValueError, RecursionError) as error:
                torn = "" if line.endswith(b"\n") else " (a torn last line: was the run killed?)"
                raise UserError(
                    f"reading the samples {path.name}, line {number}",
                    found=f"{str(error)[:80]}{torn}",
                    expected="one JSON object per line",
                    fix="run the task again; answers kept by --use_cache are not asked twice",
                ) from error
            yield number, sample
    if n_lines == 0:
        raise UserError(
            f"reading the samples {path.name}",
            found="an empty file",
            expected="one line per question",
            fix="run the task again",
        )
