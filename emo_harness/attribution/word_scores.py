"""Word scores: prompts of one question, attributed to their words by all methods together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_harness.attribution.aggregate import AttributedPrompt
from emo_harness.attribution.baseline import Baseline, mean_embedding, mean_of, word_positions
from emo_harness.attribution.gradients import attribute_tokens
from emo_harness.attribution.leave_one_out import (
    AskedPrompt,
    leave_one_out,
    log_probabilities,
    scorer,
)
from emo_harness.attribution.methods import INTEGRATED, REFERENCE, Method
from emo_harness.attribution.pieces import pieces_of
from emo_harness.attribution.sample import AskedQuestion
from emo_harness.attribution.target import Target, encode_targets
from emo_harness.errors import UserError
from emo_harness.runs import RunArm
from emo_harness.runs.stimulus_span import stimulus_span

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel

BaselineKind = Literal["mean", "placebo"]
Floats = NDArray[np.float64]
Pair = tuple[str, str]


@dataclass
class Skipped:
    """Prompts that were left out, by why."""

    too_long: int = 0
    without_target: int = 0
    stimulus_not_found: int = 0

    @property
    def n(self) -> int:
        return self.too_long + self.without_target + self.stimulus_not_found


@dataclass(eq=False)
class WordScorer:
    """What attributes prompts to their words, in one model.

    Attributes:
        loaded: the model.
        methods: that are asked for.
        baseline: of integrated gradients: the vocabulary's `mean` embedding in place of every
            token, or on the stimulus alone the mean of the `placebo` whose length is nearest.
        placebos: neutral ones of the run.
        skipped: counts what is left out.
        unknown: why a method has no scores, by method.
    """

    loaded: LoadedModel
    methods: Sequence[Method]
    baseline: BaselineKind = "mean"
    placebos: Sequence[RunArm] = ()
    skipped: Skipped = field(default_factory=Skipped)
    unknown: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.baseline == "placebo" and INTEGRATED in self.methods and not self.placebos:
            raise UserError(
                "choosing the baseline of integrated gradients",
                found="a run without neutral placebos",
                expected="a neutral sentence that stands in for a stimulus",
                fix="--baseline mean, or run the task with its placebos",
            )

    def asked(self, question: AskedQuestion, arms: Sequence[RunArm]) -> list[Asked]:
        """A question's prompts in pieces; those that cannot be attributed are counted instead.

        Args:
            arms: those that the question was not asked under are passed over.
        """
        answer = question.answer
        arms = [arm for arm in arms if arm.id in answer.prompts]
        pairs: list[tuple[RunArm, Pair]] = []
        for arm in arms:
            continuation = question.target(arm.id)
            if continuation is None:
                self.skipped.without_target += 1
            elif question.was_cut(arm.id):
                self.skipped.too_long += 1
            else:
                pairs.append((arm, (answer.prompts[arm.id], continuation)))
        targets = encode_targets(self.loaded.tokenizer, [pair for _, pair in pairs])
        found = []
        for (arm, (prompt, continuation)), target in zip(pairs, targets, strict=True):
            if len(target.input_ids) > self.room:
                self.skipped.too_long += 1
                continue
            is_bare = arm.id == question.control or not arm.text
            control = answer.prompts[question.control]
            span = None
            if not is_bare:
                span = stimulus_span(prompt, control, arm.text, question.member.placement)
                if span is None:
                    self.skipped.stimulus_not_found += 1
                    continue
            pieces = pieces_of(self.loaded.tokenizer, prompt, target.prompt_ids.tolist(), span)
            bare = None if is_bare else control
            asked = AskedPrompt(prompt, continuation, pieces, bare)
            found.append(Asked(arm, asked, target))
        return found

    def attributed(
        self, prompts: Sequence[Asked], integrated: Collection[int] | None = None
    ) -> list[AttributedPrompt]:
        """Every method's scores of each prompt, in the order given.

        Args:
            integrated: numbers of the prompts for which gradients are integrated, which takes many
                times as long as all else; all by default.
        """
        left_out = (
            leave_one_out(self._lm, [one.asked for one in prompts])
            if REFERENCE in self.methods and prompts
            else [None] * len(prompts)
        )
        by_token = self._by_token(
            prompts, range(len(prompts)) if integrated is None else integrated
        )
        found = []
        for one, left, tokens in zip(prompts, left_out, by_token, strict=True):
            scores: dict[Method, Floats] = {}
            for method in self.methods:
                if method == REFERENCE and left is not None:
                    scores[method] = left.pieces
                elif tokens is not None and method in tokens.scores:
                    scores[method] = self._over_pieces(one, method, tokens.scores[method])
            value = left.log_probability if left else tokens.log_probability if tokens else np.nan
            found.append(
                AttributedPrompt(
                    one.asked,
                    one.arm,
                    scores,
                    float(value),
                    left.stimulus if left else float("nan"),
                    tokens.steps if tokens else None,
                    tokens.delta if tokens else None,
                    tokens.converged if tokens else None,
                )
            )
        return found

    def log_probabilities(self, asked: Sequence[tuple[AskedQuestion, str]]) -> Floats:
        """(n,) of targets under arms, nats; NaN where the prompt cannot be asked as it is."""
        found = np.full(len(asked), np.nan)
        pairs: dict[int, Pair] = {}
        for number, (question, arm_id) in enumerate(asked):
            prompt, target = question.answer.prompts.get(arm_id), question.target(arm_id)
            if prompt is not None and target is not None and not question.was_cut(arm_id):
                pairs[number] = (prompt, target)
        targets = encode_targets(self.loaded.tokenizer, list(pairs.values()))
        fits = [len(target.input_ids) <= self.room for target in targets]
        numbers = [number for number, is_asked in zip(pairs, fits, strict=True) if is_asked]
        found[numbers] = log_probabilities(self._lm, [pairs[number] for number in numbers])
        return found

    def of_model(self, loaded: LoadedModel) -> WordScorer:
        """The same in another model, such as one with random weights."""
        return WordScorer(loaded, self.methods, self.baseline, self.placebos)

    @cached_property
    def room(self) -> int:
        """Tokens that prompt and answer may have, without the answer's last."""
        from emo_harness.activations.prompt_rows import context_length

        known = context_length(self.loaded)
        return self._lm.max_length if known is None else min(known, self._lm.max_length)

    @cached_property
    def _lm(self) -> Any:
        return scorer(self.loaded)

    def _by_token(self, prompts: Sequence[Asked], integrated: Collection[int]) -> list[Any]:
        """Of each prompt a `TokenAttribution`; None where no method goes by tokens."""
        wanted = [method for method in self.methods if method != REFERENCE]
        if not wanted or not prompts:
            return [None] * len(prompts)
        # A stimulus that is not there has no placebo in its place.
        is_integrated = [
            number in integrated and (self.baseline == "mean" or one.has_stimulus)
            for number, one in enumerate(prompts)
        ]
        found: list[Any] = [None] * len(prompts)
        for complete in (True, False):
            places = [i for i, own in enumerate(is_integrated) if own == complete]
            own = wanted if complete else [m for m in wanted if m != INTEGRATED]
            if not places or not own:
                continue
            some = [prompts[i] for i in places]
            tokens = attribute_tokens(
                self.loaded,
                [one.target for one in some],
                own,
                baselines=lambda number, some=some: self._baseline(some[number]),  # type: ignore[misc]
            )
            for place, one in zip(places, tokens, strict=True):
                found[place] = one
                self.unknown.update(one.unknown)
        return found

    def _over_pieces(self, one: Asked, method: Method, scores: Floats) -> Floats:
        found = one.asked.pieces.sums(scores)
        if method == INTEGRATED and self.baseline == "placebo":
            # Of what stands in both prompt and baseline nothing is asked.
            found[[piece.role != "stimulus" for piece in one.asked.pieces.pieces]] = np.nan
        return found

    def _baseline(self, one: Asked) -> Baseline:
        if self.baseline == "mean":
            return Baseline(word_positions(self.loaded.tokenizer, one.target), self._mean)
        return Baseline(one.stimulus_tokens, self._nearest_placebo(one))

    @cached_property
    def _mean(self) -> Floats:
        return mean_embedding(self.loaded)

    @cached_property
    def _placebo_ids(self) -> dict[str, list[int]]:
        encode = self.loaded.tokenizer.encode
        return {arm.id: encode(arm.text, add_special_tokens=False) for arm in self.placebos}

    def _nearest_placebo(self, one: Asked) -> Floats:
        """Mean embedding of the neutral sentence, another than this, with about as many tokens."""
        n_tokens = len(one.stimulus_tokens)
        _, name = min(
            (abs(len(ids) - n_tokens) + 1e9 * (name == one.arm.id), name)
            for name, ids in self._placebo_ids.items()
        )
        if name not in self._placebo_means:
            self._placebo_means[name] = mean_of(self.loaded, self._placebo_ids[name])
        return self._placebo_means[name]

    @cached_property
    def _placebo_means(self) -> dict[str, Floats]:
        return {}


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt of a question, ready to be attributed, as text and as tokens."""

    arm: RunArm
    asked: AskedPrompt
    target: Target

    @property
    def has_stimulus(self) -> bool:
        return any(piece.role == "stimulus" for piece in self.asked.pieces.pieces)

    @property
    def stimulus_tokens(self) -> NDArray[np.int64]:
        """Positions of the stimulus's tokens, those of the spaces between its words included."""
        pieces = self.asked.pieces
        own = [i for i, piece in enumerate(pieces.pieces) if piece.role == "stimulus"]
        return np.flatnonzero((pieces.places >= own[0]) & (pieces.places <= own[-1]))
