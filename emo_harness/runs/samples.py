"""Samples files: the score of every question under every arm, read line by line."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.prompt_tokens import PromptTokens
from emo_harness.runs.refusals import is_refusal
from emo_harness.runs.repeats import RepeatScores
from emo_harness.runs.results import RunTask
from emo_harness.runs.sample_lines import LineReader, out_of_range
from emo_harness.runs.settings import shows_images

NAN = float("nan")
# So many questions' prompts and answers are counted in tokens, to tell about how many all have.
TOKEN_SAMPLE = 8


@dataclass(frozen=True)
class SamplesReading:
    """What one samples file says, before it is split by metric and filter.

    Attributes:
        slots: (metric, filter) of each plane of `scores`.
        questions, prompts, targets: (n_questions,) lm-eval's hashes.
        doc_ids: (n_questions,) int64.
        scores: (n_slots, n_questions, n_arms) float64, mean over repeats, NaN is missing.
        variances: like scores, variance over repeats; None without repeats.
        unparsed: (n_slots, n_questions, n_arms) bool.
        offsets: (n_slots, n_questions) int64, where a question's line begins, in bytes.
        refused: (n_questions, n_arms) bool.
        truncated: like refused; None where the tokenizer is not at hand.
        prompt_chars, answer_chars: (n_questions, n_arms) float64.
        tokens_per_char: of prompts and of answers, NaN where unknown.
        remarks: what a reader must know, one sentence each.
    """

    slots: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    prompts: tuple[str, ...]
    targets: tuple[str, ...]
    doc_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    variances: NDArray[np.float64] | None
    unparsed: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    refused: NDArray[np.bool_]
    truncated: NDArray[np.bool_] | None
    prompt_chars: NDArray[np.float64]
    answer_chars: NDArray[np.float64]
    n_repeats: int
    tokens_per_char: tuple[float, float]
    remarks: tuple[str, ...]


def read_samples(task: RunTask, count_tokens: bool = True) -> SamplesReading:
    """Read a task's samples file once, from its first line to its last.

    Args:
        count_tokens: look for truncated prompts where the run's tokenizer is at hand, and prompts
            have no images.

    Raises:
        UserError: a broken or odd line, lines missing or doubled, or an arm that no
            question has.
    """
    # How many tokens an image becomes is not known here.
    countable = count_tokens and not shows_images(task.settings)
    tokens = PromptTokens.for_limit(task.limit) if countable else None
    arm_ids = [arm.id for arm in task.arms]
    repeats = task.config.get("repeats", 1)
    generated = task.config.get("output_type", "generate_until") == "generate_until"
    answers = _Answers(arm_ids, generated, tokens)
    again = RepeatScores(task) if repeats > 1 and generated else None
    slots: dict[tuple[str, str], _Slot] = {}
    lines = LineReader(task.samples_file, task.samples_name)
    for number, offset, sample, full in lines.samples(always_full=again is not None):
        where = f"reading the samples {task.samples_name}, line {number}"
        for index, metric in enumerate(lines.metrics):
            key = (metric, sample.filter)
            slot = slots[key] if key in slots else slots.setdefault(key, _Slot(arm_ids))
            slot.add(sample, sample.scores(index), offset, where)
            leading = next(iter(slots.values())) is slot
            try:
                if full and leading:
                    answers.add(sample, where)
                if again:
                    again.add(sample, metric, sample.scores(index), where)
            except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
                raise UserError(
                    where,
                    found="a missing or odd value among prompts, answers and generation arguments",
                    expected="a sample as our tasks log it",
                    fix="run the task again",
                ) from error
        # Held on, it would stand beside the next line while that is read.
        del sample
    _check(task, slots)
    means, variances = again.means_and_variances(list(slots)) if again else ({}, {})
    first = next(iter(slots.values()))
    logged = {key: slot.matrix() for key, slot in slots.items()}
    return SamplesReading(
        slots=tuple(slots),
        questions=tuple(first.questions),
        prompts=tuple(first.prompts),
        targets=tuple(first.targets),
        doc_ids=np.array(first.doc_ids, dtype=np.int64),
        scores=np.stack([means.get(key, logged[key]) for key in slots]),
        variances=np.stack([variances.get(k, np.full_like(logged[k], NAN)) for k in slots])
        if again
        else None,
        unparsed=np.stack([slot.unparsed_matrix() for slot in slots.values()]),
        offsets=np.array([slot.offsets for slot in slots.values()], dtype=np.int64),
        refused=answers.refused_matrix(),
        truncated=answers.truncated_matrix(),
        prompt_chars=answers.matrix(answers.prompt_chars),
        answer_chars=answers.matrix(answers.answer_chars),
        n_repeats=repeats if again else 1,
        tokens_per_char=answers.tokens_per_char(),
        remarks=tuple(again.remarks()) if again else (),
    )


class _Slot:
    """What has been read of one metric and filter."""

    def __init__(self, arm_ids: Sequence[str]) -> None:
        self._arm_ids = arm_ids
        self._known = set(arm_ids)
        self._seen: set[int] = set()
        # Arms that some question has a score of, be it null.
        self.named: set[str] = set()
        self.doc_ids: list[int] = []
        self.questions: list[str] = []
        self.prompts: list[str] = []
        self.targets: list[str] = []
        self.offsets: list[int] = []
        self._scores = array("d")
        self._unparsed = bytearray()

    def add(self, sample: Any, by_arm: dict[str, float | None], offset: int, where: str) -> None:
        unparsed = sample.unparsed
        if not by_arm.keys() <= self._known or not by_arm.keys() <= unparsed.keys():
            odd = [a for a in by_arm if a not in self._known or a not in unparsed]
            raise UserError(
                where,
                found=f"a score under {quoted(odd)}, but no such arm in the run or in `unparsed`",
                expected="scores and unparsed flags under the arms of the run",
                fix="results and samples are not of one run; run the task again",
            )
        if sample.doc_id in self._seen:
            raise UserError(
                where,
                found=f"question {sample.doc_id} a second time",
                expected="every question once per filter",
                fix="samples of several runs were put into one file; run the task again",
            )
        self._seen.add(sample.doc_id)
        self.named.update(by_arm)
        self.doc_ids.append(sample.doc_id)
        self.questions.append(sample.doc_hash)
        self.prompts.append(sample.prompt_hash)
        self.targets.append(sample.target_hash)
        self.offsets.append(offset)
        scores = [_known(by_arm.get(arm_id)) for arm_id in self._arm_ids]
        for arm_id, score in zip(self._arm_ids, scores, strict=True):
            if score < 0 or score > 1:
                raise out_of_range(score, arm_id, where)
        self._scores.extend(scores)
        self._unparsed.extend(
            [
                not math.isnan(score) and bool(unparsed[arm_id])
                for arm_id, score in zip(self._arm_ids, scores, strict=True)
            ]
        )

    def matrix(self) -> NDArray[np.float64]:
        return np.array(self._scores, dtype=np.float64).reshape(-1, len(self._arm_ids))

    def unparsed_matrix(self) -> NDArray[np.bool_]:
        flags = np.frombuffer(bytes(self._unparsed), dtype=np.uint8).astype(bool)
        return flags.reshape(-1, len(self._arm_ids))


def _known(score: float | None) -> float:
    return NAN if score is None or not math.isfinite(score) else score


def _is_text(responses: list[Any]) -> bool:
    return bool(responses) and all(isinstance(response, str) for response in responses)


class _Answers:
    """What has been read of prompts and answers, which are the same under every filter."""

    def __init__(
        self, arm_ids: Sequence[str], generated: bool, tokens: PromptTokens | None
    ) -> None:
        self._arm_ids = arm_ids
        self._generated = generated
        self._tokens = tokens
        self.prompt_chars = array("d")
        self.answer_chars = array("d")
        self._refused = bytearray()
        self._truncated = bytearray()
        self._counted: list[list[float]] = [[0, 0], [0, 0]]
        self._n_counted = 0

    def add(self, sample: Any, where: str) -> None:
        requests = list(sample.arguments.values())
        asked = self._asked(sample, len(requests))
        if len(sample.resps) != len(requests) or not asked:
            raise UserError(
                where,
                found=f"{len(requests)} requests and {len(sample.resps)} responses "
                f"under {len(asked)} arms",
                expected="as many of each under every arm",
                fix="run the task again",
            )
        if self._generated and not all(map(_is_text, sample.resps)):
            raise UserError(
                where,
                found="a response that is no text, or none at all",
                expected="one or more texts under every arm",
                fix="run the task again",
            )
        per_arm = len(requests) // len(asked)
        prompts = [request.arg_0 for request in requests[::per_arm]]
        self.prompt_chars.extend(self._spread(asked, [len(prompt) for prompt in prompts], NAN))
        if self._tokens:
            pairs = [(request.arg_0, request.arg_1) for request in requests]
            cut = self._tokens.truncated(pairs, len(asked))
            self._truncated.extend(self._spread(asked, cut, False))
        if self._generated:
            lengths = [sum(map(len, responses)) / len(responses) for responses in sample.resps]
            refused = [is_refusal(responses[0]) for responses in sample.resps]
            self.answer_chars.extend(self._spread(asked, lengths, NAN))
            self._refused.extend(self._spread(asked, refused, False))
        else:
            self.answer_chars.extend([NAN] * len(self._arm_ids))
            self._refused.extend([False] * len(self._arm_ids))
        if self._tokens and self._n_counted < TOKEN_SAMPLE:
            self._count(requests[0].arg_0, sample.resps[0][0] if self._generated else "")

    def _spread(self, asked: Sequence[str], values: Sequence[Any], unknown: Any) -> Sequence[Any]:
        """The asked arms' values over all arms."""
        if asked is self._arm_ids:
            return values
        known = dict(zip(asked, values, strict=True))
        return [known.get(arm_id, unknown) for arm_id in self._arm_ids]

    def _asked(self, sample: Any, n_requests: int) -> Sequence[str]:
        """The arms that the requests belong to: all, or those with a score."""
        if n_requests and n_requests % len(self._arm_ids) == 0:
            return self._arm_ids
        scored = sample.scores(0)
        asked = [arm_id for arm_id in self._arm_ids if arm_id in scored]
        return asked if asked and n_requests % len(asked) == 0 else []

    def _count(self, prompt: str, answer: str) -> None:
        assert self._tokens is not None  # noqa: S101
        self._n_counted += 1
        for counted, text in zip(self._counted, (prompt, answer), strict=True):
            counted[0] += self._tokens.about(text)
            counted[1] += len(text)

    def tokens_per_char(self) -> tuple[float, float]:
        prompts, answers = (tokens / chars if chars else NAN for tokens, chars in self._counted)
        return prompts, answers

    def matrix(self, flat: array[float]) -> NDArray[np.float64]:
        return np.array(flat, dtype=np.float64).reshape(-1, len(self._arm_ids))

    def refused_matrix(self) -> NDArray[np.bool_]:
        return self._flags(self._refused)

    def truncated_matrix(self) -> NDArray[np.bool_] | None:
        return self._flags(self._truncated) if self._tokens else None

    def _flags(self, flat: bytearray) -> NDArray[np.bool_]:
        flags = np.frombuffer(bytes(flat), dtype=np.uint8).astype(bool)
        return flags.reshape(-1, len(self._arm_ids))


def _check(task: RunTask, slots: dict[tuple[str, str], _Slot]) -> None:
    """Refuse lines missing or doubled, and an arm that nothing is known of."""
    first = next(iter(slots.values()))
    name = task.samples_name
    for (metric, filter_name), slot in slots.items():
        doing = f"reading the samples {name} ({metric}, {filter_name})"
        if len(slot.questions) != task.n_questions:
            raise UserError(
                doing,
                found=f"{len(slot.questions)} questions",
                expected=f"the {task.n_questions} that {task.facts.results_file} tells of",
                fix="lines are missing or doubled; run the task again",
            )
        if slot.questions != first.questions or slot.doc_ids != first.doc_ids:
            raise UserError(
                doing,
                found="other questions, or another order, than under another filter",
                expected="the same questions under every filter",
                fix="run the task again",
            )
        ids = [arm.id for arm in task.arms if arm.id not in slot.named]
        if ids:
            raise UserError(
                doing,
                found=f"no score for {quoted(ids)} in any question",
                expected="a score for every arm of the run",
                fix="results and samples are not of one run; run the task again",
            )
