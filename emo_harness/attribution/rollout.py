"""Attention rollout (Abnar and Zuidema 2020): how attention carries tokens to the answer.

    R = A'_L A'_(L-1) ... A'_1,   A'_l = rows of (0.5 A_l + 0.5 I), each divided by its sum

A_l is the attention of layer l, averaged over its heads; I stands for the residual stream. The row
of R at a position shares out what that position holds among the tokens before it. It says nothing
of what the values carry, and has no sign.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.target import Target, TargetBatch, batch_of, in_batches
from emo_harness.prefix.support import base_model

Floats = NDArray[np.float64]
# Attention weights held at a time, of all layers and heads: 256 MiB in float32.
_WEIGHTS = 2**26


@dataclass(frozen=True, eq=False)
class Rolled:
    """Rollout of one prompt.

    Attributes:
        scores: (n,) of each prompt token: its share in what the positions hold that predict the
            answer, averaged over the answer's tokens. They sum to 1 where the answer is one token,
            else to less, for the answer's own first tokens have a share. NaN where unknown.
        why_unknown: why the model tells no attention.
    """

    scores: Floats
    why_unknown: str | None = None


def attention_rollout(asked: AnswerModel, targets: Sequence[Target]) -> list[Rolled]:
    """Roll attention out from the positions that predict the answers to the prompts' tokens.

    Attention is computed eagerly, for the time being, so that its weights exist.

    Args:
        asked: the model, frozen.
        targets: prompts and answers.
    """
    config = asked.loaded.layout.base.config
    n_layers = asked.loaded.layout.n_layers
    n_heads = int(getattr(config, "num_attention_heads", None) or 1)
    longest = max(len(target.input_ids) for target in targets)
    size = max(1, _WEIGHTS // (n_layers * n_heads * longest**2))
    found: list[Rolled] = []
    with eager_attention(base_model(asked.loaded.layout.base)):
        for rows in in_batches(targets, size * longest):
            some = targets[rows]
            weights = _attention(asked, batch_of(some, asked.device))
            for row, target in enumerate(some):
                if isinstance(weights, str):
                    found.append(Rolled(np.full(len(target.prompt_ids), np.nan), weights))
                else:
                    found.append(_rolled([layer[row] for layer in weights], target))
    return found


def rolled_out(layers: Sequence[Floats], rows: Sequence[int]) -> Floats:
    """(len(rows), n) rows of R.

    Args:
        layers: first to last, (n, n) attention averaged over heads.
        rows: positions whose share in each token is asked for.
    """
    n = len(layers[0])
    found: Floats = np.eye(n)[list(rows)]
    for attention in reversed(layers):
        mixed = 0.5 * attention + 0.5 * np.eye(n)
        found = found @ (mixed / mixed.sum(1, keepdims=True))
    return found


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """Let a model compute attention step by step; on leaving it computes as it did."""
    configs: dict[int, Any] = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation_internal"):
            configs[id(config)] = config
    before = [(one, one._attn_implementation_internal) for one in configs.values()]
    try:
        # Not by `set_attn_implementation`, which leaves some models (Falcon) without the mask that
        # goes with attention they compute eagerly: their weights then see later tokens.
        for config, _ in before:
            config._attn_implementation_internal = "eager"
        yield
    finally:
        for config, kind in before:
            config._attn_implementation_internal = kind


def _attention(asked: AnswerModel, batch: TargetBatch) -> tuple[torch.Tensor, ...] | str:
    """Of each layer (b, n_heads, n, n); or why there is none."""
    layout = asked.loaded.layout
    parameters = inspect.signature(base_model(layout.base).forward).parameters
    takes_more = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    if "output_attentions" not in parameters and not takes_more:
        return "the model has no attention"
    given = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "use_cache": False,
        "output_attentions": True,
    }
    given = {k: v for k, v in given.items() if k in parameters or takes_more}
    with torch.no_grad():
        output = layout.base(**given)
    told = getattr(output, "attentions", None) or ()
    shape = (*batch.input_ids.shape, batch.input_ids.shape[1])
    found = tuple(
        layer
        for layer in told
        if isinstance(layer, torch.Tensor) and (layer.shape[0], *layer.shape[2:]) == shape
    )
    if not found:
        return "the model does not tell its attention"
    if len(found) != layout.n_layers:
        return f"{layout.n_layers - len(found)} of its {layout.n_layers} layers have no attention"
    return found


def _rolled(layers: Sequence[torch.Tensor], target: Target) -> Rolled:
    n, n_prompt = len(target.input_ids), len(target.prompt_ids)
    averaged = [
        layer[:, :n, :n].float().mean(0).cpu().numpy().astype(np.float64) for layer in layers
    ]
    if any(np.triu(layer, 1).any() for layer in averaged):
        later = "the attention that the model tells is not what it computes: it sees later tokens"
        return Rolled(np.full(n_prompt, np.nan), later)
    shares = rolled_out(averaged, range(n_prompt - 1, n))
    return Rolled(shares.mean(0)[:n_prompt])
