"""Sampling continuations, with or without steering."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from emo_harness.steer.forward import Plain, Tokens, context_window, padded
from emo_harness.steer.steering import Steering

BATCH = 64


def sample(
    plain: Plain,
    prompts: Sequence[Tokens],
    n_each: int,
    max_tokens: int,
    *,
    end_token: int | None,
    seed: int,
    steering: Steering | None = None,
) -> list[list[Tokens]]:
    """Continuations as the model would write them (temperature 1, all of its vocabulary).

    Every continuation draws from numbers of its own, by prompt and sample, so that batches change
    nothing and two steerings differ by the steering alone (common random numbers).

    Args:
        prompts: token ids.
        n_each: how many continuations of each.
        max_tokens: of a continuation.
        end_token: ends a continuation, and is not part of it.

    Returns:
        For each prompt, `n_each` continuations of 1 to `max_tokens` tokens; fewer where the model
        ended the text at once.
    """
    window = context_window(plain.layout)
    longest = max(map(len, prompts))
    if window is not None:
        max_tokens = max(1, min(max_tokens, window - longest))
    rows = [(index, number) for index in range(len(prompts)) for number in range(n_each)]
    rows.sort(key=lambda row: len(prompts[row[0]]))
    found: list[list[Tokens]] = [[] for _ in prompts]
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        noise = np.stack(
            [np.random.default_rng([seed, 2, *row]).random(max_tokens) for row in some]
        )
        batch = [prompts[index] for index, _ in some]
        new = _generated(plain, batch, noise, max_tokens, end_token, steering)
        for (index, _), tokens in zip(some, new, strict=True):
            if end_token is not None and end_token in tokens:
                tokens = tokens[: int(np.flatnonzero(tokens == end_token)[0])]
            if len(tokens):
                found[index].append(tokens.astype(np.int32))
        plain.advance(len(some))
    return found


@contextmanager
def _no_settings_of_its_own(model: Any) -> Iterator[None]:
    """Keep a model's penalties and filters, which `generate` would fill in, out of the way."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _generated(
    plain: Plain,
    batch: Sequence[Tokens],
    noise: np.ndarray[Any, np.dtype[np.float64]],
    max_tokens: int,
    end_token: int | None,
    steering: Steering | None,
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(n, up to max_tokens) token ids."""
    from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

    class Drawn(LogitsProcessor):
        """Leaves the one token that the row's random number falls on."""

        n_drawn = 0

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            cumulated = scores.double().softmax(dim=-1).cumsum(dim=-1)
            number = torch.from_numpy(noise[:, self.n_drawn, None].copy()).to(scores.device)
            self.n_drawn += 1
            tokens = torch.searchsorted(cumulated, number * cumulated[:, -1:], right=True)
            tokens = tokens.clamp(max=scores.shape[-1] - 1)
            return torch.full_like(scores, float("-inf")).scatter(1, tokens, 0.0)

    filler = end_token if end_token is not None else 0
    ids, mask = padded(batch, plain.device, left=True, filler=filler)
    settings = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=end_token,
        pad_token_id=filler,
        use_cache=True,
    )
    inside: AbstractContextManager[None] = (
        nullcontext() if steering is None else steering.generating(plain.layout)
    )
    with torch.no_grad(), inside, _no_settings_of_its_own(plain.model):
        found = plain.model.generate(
            ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([Drawn()]),
        )
    return np.asarray(found[:, ids.shape[1] :].cpu().numpy())
