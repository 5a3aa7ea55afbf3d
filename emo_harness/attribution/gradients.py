"""Token-level attributions of an answer's log-probability, from gradients and from attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.prompt_rows import context_length
from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.baseline import Baseline, mean_embedding, word_positions
from emo_harness.attribution.gradient_check import check_gradient
from emo_harness.attribution.integrated import integrated_gradients
from emo_harness.attribution.methods import INTEGRATED, Method
from emo_harness.attribution.rollout import attention_rollout
from emo_harness.attribution.target import (
    Target,
    TargetBatch,
    batch_of,
    check_targets,
    in_batches,
)
from emo_harness.errors import UserError, quoted

INPUT: Method = "gradient-x-input"
NORM: Method = "gradient-norm"
ROLLOUT: Method = "attention-rollout"
# Those that score tokens, all in one model, and need no text.
TOKEN_METHODS = (INTEGRATED, INPUT, NORM, ROLLOUT)
# Tokens computed together, of prompts or of steps towards one.
BATCH_TOKENS = 4096

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TokenAttribution:
    """What each token of a prompt does for the answer.

    Attributes:
        scores: by method, (n,) float64, one of each prompt token; NaN where unknown.
            integrated-gradients, gradient-x-input: nats, signed.
            gradient-norm: nats per unit of embedding length, unsigned.
            attention-rollout: a share of the attention, unsigned.
        log_probability: log p(answer | prompt), in nats.
        baseline_log_probability: of the answer where the prompt is its baseline; None unless
            integrated gradients were asked for, as the next three.
        steps: of the integral that was kept.
        delta: sum of the integrated gradients minus what they should sum to, in nats.
        converged: whether `delta` is within its tolerance.
        unknown: by method, why its scores are NaN.
    """

    scores: dict[str, Floats]
    log_probability: float
    baseline_log_probability: float | None = None
    steps: int | None = None
    delta: float | None = None
    converged: bool | None = None
    unknown: dict[str, str] = field(default_factory=dict)


def attribute_tokens(
    loaded: LoadedModel,
    targets: Sequence[Target],
    methods: Sequence[str],
    *,
    baselines: Callable[[int], Baseline] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    advance: Callable[[int], object] | None = None,
) -> Iterator[TokenAttribution]:
    """Attribute the log-probability f of answers to the tokens of their prompts.

    With x_i the input embedding of token i and g_i = df/dx_i:

        gradient-x-input       s_i = sum over d of g_id x_id
        gradient-norm          s_i = |g_i|, Euclidean
        integrated-gradients   see `integrated`
        attention-rollout      see `rollout`

    Gradient x input is what a linear model would lose with the embedding. A model that norms its
    embeddings before all else, as BLOOM does, knows nothing of their length, and all s_i are
    near 0. The norm was the first form of saliency for words (Li et al. 2016).

    Results come in the order of the targets, and do not depend on what was computed together but
    for rounding. Memory does not grow with the number of targets.

    Args:
        loaded: a causal language model; it is left as it was, also between results.
        targets: prompts and answers.
        methods: of `TOKEN_METHODS`.
        baselines: the baseline of a target, by its index, for integrated gradients; by default the
            mean input embedding in place of every token but special ones.
        batch_tokens: tokens computed together, at least those of one prompt.
        advance: called with the number of targets that were done, for a progress bar.

    Raises:
        UserError: no such method, a target that the model cannot be asked, a model without a
            language-model head or with parts that have no derivative.
    """
    foreign = [method for method in methods if method not in TOKEN_METHODS]
    if foreign:
        raise UserError(
            "attributing answers to tokens",
            found=f"the methods {quoted(foreign)}",
            expected=f"some of {quoted(TOKEN_METHODS)}",
            fix="name one of these",
        )
    asked = AnswerModel(loaded)
    check_targets(
        targets, vocabulary=int(asked.embedding.weight.shape[0]), context=context_length(loaded)
    )
    wanted = frozenset(methods)
    if wanted - {ROLLOUT} and targets:
        check_gradient(asked)
    if INTEGRATED in wanted and baselines is None and targets:
        mean = mean_embedding(loaded)

        def baselines(index: int) -> Baseline:
            return Baseline(word_positions(loaded.tokenizer, targets[index]), mean)

    def attributed() -> Iterator[TokenAttribution]:
        for rows in in_batches(targets, batch_tokens):
            some = targets[rows]
            numbers = range(rows.start, rows.stop) if INTEGRATED in wanted else ()
            own = [baselines(i) for i in numbers] if baselines else None
            with asked.frozen():
                found = _of_batch(asked, some, wanted, own, batch_tokens)
            if advance is not None:
                advance(len(found))
            yield from found

    return attributed()


def _of_batch(
    asked: AnswerModel,
    targets: Sequence[Target],
    methods: frozenset[str],
    baselines: Sequence[Baseline] | None,
    batch_tokens: int,
) -> list[TokenAttribution]:
    batch = batch_of(targets, asked.device)
    embeddings = asked.embeddings(batch.input_ids)
    scores: list[dict[str, Floats]] = [{} for _ in targets]
    unknown: list[dict[str, str]] = [{} for _ in targets]
    if methods & {INPUT, NORM}:
        values = _gradients(asked, targets, batch, embeddings, methods, scores)
    else:
        values = asked.value(embeddings, batch)
    further: list[dict[str, float | bool | int]] = [{} for _ in targets]
    if INTEGRATED in methods and baselines is not None:
        found = integrated_gradients(asked, batch, embeddings, values, baselines, batch_tokens)
        for row, one in enumerate(found):
            scores[row][INTEGRATED] = one.contributions[: len(targets[row].prompt_ids)]
            further[row] = {
                "baseline_log_probability": one.baseline_log_probability,
                "steps": one.steps,
                "delta": one.delta,
                "converged": one.converged,
            }
    if ROLLOUT in methods:
        for row, rolled in enumerate(attention_rollout(asked, targets)):
            scores[row][ROLLOUT] = rolled.scores
            if rolled.why_unknown:
                unknown[row][ROLLOUT] = rolled.why_unknown
    for row, own in enumerate(scores):
        for method, values_of in own.items():
            if method not in unknown[row] and not np.isfinite(values_of).all():
                own[method] = np.full_like(values_of, np.nan)
                unknown[row][method] = _not_finite(asked)
    return [
        TokenAttribution(own, float(value), unknown=why, **more)  # type: ignore[arg-type]
        for own, value, why, more in zip(scores, values, unknown, further, strict=True)
    ]


def _gradients(
    asked: AnswerModel,
    targets: Sequence[Target],
    batch: TargetBatch,
    embeddings: torch.Tensor,
    methods: frozenset[str],
    scores: list[dict[str, Floats]],
) -> torch.Tensor:
    """Fill in what one forward and one backward pass give; returns (b,) log-probabilities."""
    values, slopes = asked.gradient(embeddings, batch)
    products = (slopes * embeddings.to(slopes.dtype)).sum(-1).cpu().numpy()
    norms = slopes.norm(dim=-1).cpu().numpy()
    for row, target in enumerate(targets):
        n = len(target.prompt_ids)
        for method, found in ((INPUT, products), (NORM, norms)):
            if method in methods:
                scores[row][method] = found[row, :n].astype(np.float64)
    return values


def _not_finite(asked: AnswerModel) -> str:
    dtype = str(asked.embedding.weight.dtype).removeprefix("torch.")
    return f"gradients that are not finite in {dtype}; load the model in float32"
