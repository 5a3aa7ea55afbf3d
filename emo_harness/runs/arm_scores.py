"""Arm scores: one subtask's questions under all arms, as matrices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emo_harness.prompt_tokens import PromptLimit
from emo_harness.runs.facts import RunFacts
from emo_harness.runs.record import RunArm
from emo_harness.runs.results import RunTask
from emo_harness.runs.samples import SamplesReading


class SampleLine(NamedTuple):
    """Where one line of a samples file begins, in bytes."""

    file: Path
    offset: int


@dataclass(frozen=True)
class ArmScores:
    """The scores of one subtask under one metric and filter.

    Attributes:
        model: short name of the model.
        task: lm-eval's name of the task.
        benchmark, subtask, mode, family, placement: as declared and selected.
        metric, filter: lm-eval's names.
        primary: whether these are the metric and filter that the benchmark is reported by.
        n_available: how many questions the subtask has; fewer were asked with `--limit`.
        limit: the run's tokenizer and context window, None where unknown.
        settings: how the model was run, "name=value" by name: model arguments, generation
            arguments, temperature, system instruction, chat template, number of worked examples,
            seeds that are not lm-eval's own.
        arms: in the run's order.
        questions: (n_questions,) lm-eval's `doc_hash` of each question.
        prompts: (n_questions,) lm-eval's `prompt_hash`, of the control prompt.
        targets: (n_questions,) lm-eval's `target_hash`.
        doc_ids: (n_questions,) int64, lm-eval's number of the question.
        scores: (n_questions, n_arms) float64, 1.0 is right; mean over repeats; NaN where the arm
            was not asked or not scored.
        unparsed: (n_questions, n_arms) bool, the filter found no answer (in the first response).
        truncated: (n_questions, n_arms) bool, the prompt did not fit; None where unknown.
        refused: (n_questions, n_arms) bool, the (first) answer looks like a refusal; False for
            log-likelihoods.
        answer_chars: (n_questions, n_arms) float64, mean over repeats; NaN for log-likelihoods.
        prompt_chars: (n_questions, n_arms) float64.
        n_repeats: responses per request.
        within_variance: (n_questions, n_arms) float64, variance of the score over repeats, None
            without repeats or where lm-eval's scoring cannot be applied to each.
        lines: (n_questions,) where the question's samples are, for `read_answers`.
        facts: of the results file; of the newest, where runs were merged.
    """

    model: str
    task: str
    benchmark: str
    subtask: str
    mode: str
    family: str
    placement: str
    metric: str
    filter: str
    primary: bool
    n_available: int
    limit: PromptLimit | None
    settings: dict[str, str]
    stimuli_sha256: str
    arms: tuple[RunArm, ...]
    questions: tuple[str, ...]
    prompts: tuple[str, ...] = field(repr=False)
    targets: tuple[str, ...] = field(repr=False)
    doc_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    unparsed: NDArray[np.bool_]
    truncated: NDArray[np.bool_] | None
    refused: NDArray[np.bool_]
    answer_chars: NDArray[np.float64]
    prompt_chars: NDArray[np.float64]
    n_repeats: int
    within_variance: NDArray[np.float64] | None
    lines: tuple[tuple[SampleLine, ...], ...] = field(repr=False)
    facts: RunFacts = field(repr=False)

    @property
    def limited(self) -> bool:
        """Whether only a part of the questions was asked (`--limit`, `--samples`)."""
        return len(self.questions) != self.n_available

    def at(self, rows: NDArray[np.int64]) -> ArmScores:
        """The scores of these questions alone."""

        def texts(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[row] for row in rows)

        def matrix(values: Any) -> Any:
            return None if values is None else values[rows]

        return replace(
            self,
            questions=texts(self.questions),
            prompts=texts(self.prompts),
            targets=texts(self.targets),
            lines=texts(self.lines),
            doc_ids=self.doc_ids[rows],
            scores=self.scores[rows],
            unparsed=self.unparsed[rows],
            truncated=matrix(self.truncated),
            refused=self.refused[rows],
            answer_chars=self.answer_chars[rows],
            prompt_chars=self.prompt_chars[rows],
            within_variance=matrix(self.within_variance),
        )


def occurrences(questions: Iterable[str]) -> list[tuple[str, int]]:
    """(question, how often it came before) of each: equal questions of one run stay apart.

    Single source of what pairs the questions of two runs, so that no two consumers can differ.
    """
    seen: dict[str, int] = {}
    keys = []
    for question in questions:
        seen[question] = seen.get(question, -1) + 1
        keys.append((question, seen[question]))
    return keys


def arm_scores(task: RunTask, reading: SamplesReading, facts: RunFacts) -> list[ArmScores]:
    """One per metric and filter; what does not depend on them is shared, not copied."""
    record = task.record
    return [
        ArmScores(
            model=task.model,
            task=task.task,
            benchmark=record.benchmark,
            subtask=record.subtask or record.benchmark,
            mode=record.mode,
            family=record.family,
            placement=record.placement,
            metric=metric,
            filter=filter_name,
            primary=(metric, filter_name) == (record.metric, record.filter),
            n_available=task.n_available,
            limit=task.limit,
            settings=task.settings,
            stimuli_sha256=record.stimuli_sha256,
            arms=task.arms,
            questions=reading.questions,
            prompts=reading.prompts,
            targets=reading.targets,
            doc_ids=reading.doc_ids,
            scores=reading.scores[i],
            unparsed=reading.unparsed[i],
            truncated=reading.truncated,
            refused=reading.refused,
            answer_chars=reading.answer_chars,
            prompt_chars=reading.prompt_chars,
            n_repeats=reading.n_repeats,
            within_variance=_variance(reading, i),
            lines=tuple(
                (SampleLine(task.samples_file, offset),) for offset in reading.offsets[i].tolist()
            ),
            facts=facts,
        )
        for i, (metric, filter_name) in enumerate(reading.slots)
    ]


def _variance(reading: SamplesReading, i: int) -> NDArray[np.float64] | None:
    if reading.variances is None or np.isnan(reading.variances[i]).all():
        return None
    return reading.variances[i]
