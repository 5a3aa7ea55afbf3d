"""Aggregate: what prompts say of their words, by word, over questions and subtasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.attribution.leave_one_out import AskedPrompt
from emo_harness.attribution.methods import (
    INTEGRATED,
    METHODS,
    REFERENCE,
    UNSIGNED,
    Method,
    agreement_with_reference,
)
from emo_harness.attribution.pieces import plain_word
from emo_harness.attribution.question_means import Mean, QuestionMeans
from emo_harness.effects.multiplicity import benjamini_hochberg
from emo_harness.runs import RunArm

Floats = NDArray[np.float64]
ALL_SUBTASKS = "(all)"


@dataclass(frozen=True, eq=False)
class AttributedPrompt:
    """One prompt and what every method says of its pieces.

    Attributes:
        scores: by method (n_pieces,): nats, except for `gradient-norm` (nats per unit of the
            embedding) and `attention-rollout` (share of attention); NaN is unknown.
        log_probability: of the target answer, nats.
        stimulus: what the whole stimulus adds to it, nats; NaN where it has none.
        steps: of integrated gradients; None where they were not taken.
        delta: f(x) - f(baseline) minus the sum of their attributions, nats.
        converged: whether this is small enough to be believed.
    """

    asked: AskedPrompt
    arm: RunArm
    scores: Mapping[Method, Floats]
    log_probability: float
    stimulus: float
    steps: int | None = None
    delta: float | None = None
    converged: bool | None = None

    def of_words(self, method: Method) -> Floats:
        """(n_words,) scores of the words alone."""
        return self.scores[method][self.asked.pieces.words]

    def is_counted(self, method: Method) -> bool:
        """Whether what a method says goes into means: unconverged gradients do not."""
        return method in self.scores and not (method == INTEGRATED and self.converged is False)

    def agreement(self, method: Method) -> float:
        """Rank agreement with leave-one-out over this prompt's words; NaN is unknown."""
        if REFERENCE not in self.scores:
            return float("nan")
        return agreement_with_reference(method, self.of_words(method), self.of_words(REFERENCE))

    def share(self, method: Method) -> float:
        """Of sum |contribution| over all words, what falls on the stimulus's; NaN is unknown."""
        sizes = np.abs(self.of_words(method))
        of_stimulus = self.asked.pieces.of_stimulus
        total = float(np.nansum(sizes))
        if not of_stimulus.any() or total <= 0 or np.isnan(sizes[~of_stimulus]).all():
            return float("nan")
        return float(np.nansum(sizes[of_stimulus])) / total


@dataclass(frozen=True)
class _Share:
    family: str
    method: Method
    subtask: str


@dataclass(frozen=True)
class _Word:
    family: str
    arm: str
    position: int
    word: str
    subtask: str
    method: Method


@dataclass(frozen=True)
class _TopWord:
    family: str
    word: str
    method: Method


class GroupTally:
    """The words of one group's stimuli, over its questions.

    Args:
        n_subtasks: a group of one subtask has no rows of its own for it.
    """

    def __init__(self, methods: Sequence[Method], n_subtasks: int) -> None:
        self._methods = methods
        self._apart = n_subtasks > 1
        self._shares: QuestionMeans[_Share] = QuestionMeans()
        self._equal: QuestionMeans[_Share] = QuestionMeans()
        self._whole: QuestionMeans[tuple[str, str, str]] = QuestionMeans()
        self._words: QuestionMeans[_Word] = QuestionMeans()
        self._top: QuestionMeans[_TopWord] = QuestionMeans()
        self._arms: defaultdict[_TopWord, set[str]] = defaultdict(set)
        self.n_questions = 0
        self.n_prompts = 0

    def add_question(self, subtask: str, prompts: Sequence[AttributedPrompt]) -> None:
        """Take in one question's prompts of all arms."""
        self.n_questions += 1
        self.n_prompts += len(prompts)
        scopes = (ALL_SUBTASKS, subtask) if self._apart else (ALL_SUBTASKS,)
        shares = list(self._shares_of(prompts, scopes))
        self._shares.add_question((key, share) for key, share, _ in shares)
        self._equal.add_question((key, equal) for key, _, equal in shares)
        self._whole.add_question(
            ((one.arm.family, arm, scope), one.stimulus)
            for one in prompts
            for arm in (one.arm.id, "")
            for scope in scopes
        )
        words = list(self._words_of(prompts))
        self._words.add_question(
            (_Word(arm.family, arm.id, position, word, scope, method), score)
            for arm, position, word, method, score in words
            for scope in scopes
        )
        top = [
            (_TopWord(arm.family, plain_word(word), method), arm.id, score)
            for arm, _, word, method, score in words
        ]
        self._top.add_question((key, score) for key, _, score in top)
        for key, arm_id, _ in top:
            self._arms[key].add(arm_id)

    def as_json(self) -> dict[str, Any]:
        return {
            "n_questions": self.n_questions,
            "n_prompts": self.n_prompts,
            "shares": [
                {
                    **vars(key),
                    "n": mean.n,
                    "share": mean.bounds(0.0, 1.0),
                    "equal_share": self._equal.of(key).mean,
                }
                for key, mean in sorted(self._shares, key=lambda one: _in_order(one[0]))
                if _is_told(key.subtask, mean)
            ],
            "whole": [
                {
                    "family": family,
                    "arm": arm or None,
                    "subtask": subtask,
                    "n": mean.n,
                    "contribution": mean.bounds(),
                }
                for (family, arm, subtask), mean in self._whole
                if _is_told(subtask, mean)
            ],
            "words": [
                {**vars(key), "n": mean.n, "contribution": mean.bounds()}
                for key, mean in sorted(self._words, key=lambda one: _in_order(one[0]))
                if _is_told(key.subtask, mean)
            ],
            "top_words": self._top_words(),
        }

    def _shares_of(
        self, prompts: Sequence[AttributedPrompt], scopes: Sequence[str]
    ) -> Iterator[tuple[_Share, float, float]]:
        """(whose, share, what it would be if all words had the same), of known shares alone.

        A method is not asked of all prompts, and prompts differ in how much of them is stimulus.
        """
        for one in prompts:
            for method in self._methods:
                share = one.share(method) if one.is_counted(method) else float("nan")
                if not np.isnan(share):
                    equal = float(one.asked.pieces.of_stimulus.mean())
                    yield from ((_Share(one.arm.family, method, s), share, equal) for s in scopes)

    def _words_of(
        self, prompts: Iterable[AttributedPrompt]
    ) -> Iterator[tuple[RunArm, int, str, Method, float]]:
        """(arm, position in its stimulus, word, method, contribution)."""
        for one in prompts:
            pieces = one.asked.pieces
            numbers = pieces.words[pieces.of_stimulus].tolist()
            for method in self._methods:
                if not one.is_counted(method):
                    continue
                for position, number in enumerate(numbers):
                    score = float(one.scores[method][number])
                    yield one.arm, position, pieces.pieces[number].text, method, score

    def _top_words(self) -> list[dict[str, Any]]:
        """Every word of every family; q over all words of a method (Benjamini-Hochberg)."""
        rows = []
        for method in self._methods:
            of_method = [(key, mean) for key, mean in self._top if key.method == method]
            is_signed = method not in UNSIGNED
            q = benjamini_hochberg([mean.p if is_signed else np.nan for _, mean in of_method])
            listed = [
                {
                    **vars(key),
                    "n_arms": len(self._arms[key]),
                    "n": mean.n,
                    "contribution": mean.bounds(),
                    "q": value,
                }
                for (key, mean), value in zip(of_method, q.tolist(), strict=True)
            ]
            rows += sorted(listed, key=lambda row: (row["family"], -abs(row["contribution"][0])))
        return rows


def _is_told(subtask: str, mean: Mean) -> bool:
    """A subtask with one sampled question has no interval, and tells nothing of its own."""
    return subtask == ALL_SUBTASKS or mean.n > 1


def _in_order(key: _Share | _Word) -> tuple[Any, ...]:
    method = METHODS.index(key.method)
    if isinstance(key, _Share):
        return (key.family, key.subtask, method)
    return (key.family, key.arm, key.subtask, method, key.position)
