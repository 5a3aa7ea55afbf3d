"""A packed model at work: within its memory, counting what it does, telling what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from emo_harness.errors import UserError
from emo_harness.lm_models.progress import Progress
from emo_harness.lm_models.sharing_record import SharingRecord
from emo_harness.prefix import (
    Continuation,
    Continued,
    Limits,
    NaNLogitsError,
    PackedModel,
    Prompt,
    Score,
    Tokens,
    build_trie,
    default_budget,
    despite_full_memory,
    generate,
    in_words,
    limits_within,
    score,
)

log = logging.getLogger(__name__)

ON_ACCELERATOR = Limits(pass_tokens=8192, tree_tokens=1024, wanted=4096, rows=1024)
ON_CPU = Limits()
# Of the budget, where prompts are continued: the rest is for what their rows keep.
SHARE_OF_PASSES = 0.5


class PackedEngine:
    """Scores and continues tokens with a packed model.

    Args:
        model: the model.
        budget_bytes: memory beside the weights; None for the default budget.
        softmax_dtype: of log-softmaxes; None for the logits' own.
        sharing: where to count.
    """

    def __init__(
        self,
        model: PackedModel,
        budget_bytes: int | None,
        softmax_dtype: torch.dtype | None,
        sharing: SharingRecord,
    ) -> None:
        self.model = model
        self.softmax_dtype = softmax_dtype
        self.sharing = sharing
        self._largest = ON_CPU if model.device.type == "cpu" else ON_ACCELERATOR
        # What a model keeps of its images is beside the default budget, but within a given one.
        self._budget_bytes = (
            None if budget_bytes is None else budget_bytes - model.reserve(budget_bytes)
        )

    def scores(self, questions: Sequence[Continuation], progress: Progress) -> Iterator[Score]:
        """Scores, in the order in which they become known.

        Raises:
            UserError: a budget too small for one prompt, no memory left, or NaN.
        """
        tokens = [question.tokens for question in questions]
        self._plan(tokens, progress)

        def answers_to(some: Sequence[int], limits: Limits) -> Iterator[Score]:
            asked = [questions[i] for i in some]
            advance = self._advance(progress)
            return score(
                self.model, asked, limits, softmax_dtype=self.softmax_dtype, advance=advance
            )

        yield from self._steady(answers_to, tokens)

    def continued(self, prompts: Sequence[Prompt], progress: Progress) -> Iterator[Continued]:
        """Continued prompts, in the order in which they become complete.

        Raises:
            UserError: a budget too small for one prompt, no memory left, or NaN.
        """
        tokens = [prompt.tokens for prompt in prompts]
        self._plan(tokens, progress)
        progress.expect(sum(prompt.max_tokens - 1 for prompt in prompts))

        def answers_to(some: Sequence[int], limits: Limits) -> Iterator[Continued]:
            asked = [prompts[i] for i in some]
            return generate(self.model, asked, limits, advance=self._advance(progress))

        most = max(prompt.max_tokens for prompt in prompts)
        for one in self._steady(answers_to, tokens, most):
            # The last token is generated, but nothing is computed from it.
            self.sharing.distinct_tokens += len(one.generated) - 1
            progress.expect(len(one.generated) - prompts[one.index].max_tokens)
            yield one

    def _plan(self, tokens: Sequence[Tokens], progress: Progress) -> None:
        distinct = build_trie(tokens)[0].n_tokens
        self.sharing.distinct_tokens += distinct
        progress.expect(distinct)

    def _steady(
        self,
        answers_to: Callable[[Sequence[int], Limits], Iterator[Any]],
        tokens: Sequence[Tokens],
        max_tokens: int = 0,
    ) -> Iterator[Any]:
        """Answers, whatever memory does; NaN is told as the user's to mend."""
        limits = self._limits(max(map(len, tokens)), max_tokens)
        try:
            yield from despite_full_memory(answers_to, len(tokens), limits, self._halved)
        except NaNLogitsError as error:
            raise UserError(
                "running the model",
                found=f"NaN among its logits, in {self.model.model.dtype}",
                expected="numbers",
                fix="load it in another dtype, e.g. --model_args ...,dtype=bfloat16 or float32; "
                "if that does not help, its weights are broken",
            ) from error

    def _limits(self, longest: int, max_tokens: int) -> Limits:
        budget_bytes = self._budget_bytes
        if budget_bytes is None:
            # Once: what a run has taken meanwhile would count as not free.
            budget_bytes = default_budget(self.model.model, self.model.device)
            self._budget_bytes = budget_bytes
            log.info("passes are computed within %s beside the weights", in_words(budget_bytes))
        costs = self.model.costs
        beside = (
            costs.of_rows(1, new=longest, kept=0, columns=longest, own=0, max_tokens=max_tokens)
            if max_tokens
            else 0
        )
        return limits_within(
            budget_bytes,
            costs,
            longest,
            self._largest,
            share=SHARE_OF_PASSES if max_tokens else 1.0,
            beside=beside,
        )

    def _halved(self, limits: Limits) -> None:
        self.sharing.halvings += 1
        self._largest = limits
        log.warning(
            "memory ran out: going on with passes of %d tokens and %d prompts together; "
            "no answer is lost",
            limits.pass_tokens,
            limits.rows,
        )

    def _advance(self, progress: Progress) -> Callable[[int], None]:
        before = self.model.seconds

        def advance(n_tokens: int) -> None:
            nonlocal before
            self.sharing.computed_tokens += n_tokens
            self.sharing.model_s += self.model.seconds - before
            before = self.model.seconds
            progress.computed(n_tokens)

        return advance
