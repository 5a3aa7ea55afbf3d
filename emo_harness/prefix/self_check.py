"""Packed against plain, on the model in hand: does our attention reproduce its logits?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from emo_harness.prefix.generation import Prompt, generate
from emo_harness.prefix.limits import Limits
from emo_harness.prefix.packed_model import PackedModel
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.prefill import PathAttention, ends_in, passes
from emo_harness.prefix.trie import Tokens, build_trie
from emo_harness.prefix.units import units_of

# Of the largest logit. Rounding differs between the two, wrong attention is off by far more.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
N_GENERATED = 3
# Units and passes as small as they go, so that every kind of seam occurs.
SMALL = Limits(pass_tokens=16, tree_tokens=13)


def why_different(model: PackedModel, max_length: int, plain: Any = None) -> str | None:
    """How packed and plain logits differ by more than rounding; None if they do not.

    Args:
        model: the model as it is packed.
        max_length: of its prompts.
        plain: what is called otherwise, where that is not the same: an adapter's wrapper.
    """
    plain = model.model if plain is None else plain
    prompts = _prompts(model, max_length)
    packed = packed_logits(model, prompts, SMALL)
    for prompt, found in zip(prompts, packed, strict=True):
        expected = _plain_logits(model, plain, prompt)
        reason = difference("packed", found, expected)
        if reason:
            return reason
    heard: list[tuple[Tokens, torch.Tensor]] = []
    _listen_to_generation(model, prompts, heard)
    for sequence, found in heard:
        reason = difference("generated", found, _plain_logits(model, plain, sequence))
        if reason:
            return reason
    return None


def packed_logits(model: PackedModel, prompts: list[Tokens], limits: Limits) -> list[torch.Tensor]:
    """The logits (vocabulary,) after each prompt."""
    trie, places = build_trie(prompts)
    cache = PathCache(limits.capacity(max(map(len, prompts))))
    found: dict[int, torch.Tensor] = {}
    for one in passes(units_of(trie, limits), limits, ends_in):
        rows, ends = one.ends()
        attention = PathAttention(one.units, cache)
        logits = model.logits(one.tokens, model.positions(one), rows, attention)
        found.update(zip(ends, logits, strict=True))
    return [found[place] for place in places]


def difference(which: str, found: torch.Tensor, expected: torch.Tensor) -> str | None:
    """By how much logits differ, where that is more than rounding."""
    tolerance = TOLERANCE.get(expected.dtype, 5e-2)
    found, expected = found.float(), expected.float()
    largest = float((found - expected).abs().max())
    if largest <= tolerance * max(1.0, float(expected.abs().max())):
        return None
    return f"{which} logits differ from plain ones by {largest:.2g}"


def _prompts(model: PackedModel, max_length: int) -> list[Tokens]:
    """Prompts that branch twice, one a prefix of the others."""
    rng = np.random.default_rng(0)
    unit = max(1, min(12, (max_length - N_GENERATED) // 3))
    words = rng.integers(0, model.vocabulary, (7, unit)).astype(np.int32)
    a, b, c, d, e, f, g = words
    return [np.concatenate(parts) for parts in ((a,), (a, b, c), (a, b, d), (a, e, f), (g,))]


def _listen_to_generation(
    model: PackedModel, prompts: list[Tokens], heard: list[tuple[Tokens, torch.Tensor]]
) -> None:
    """Let the model generate, and note what each choice was made from."""

    def listening(prompt: Tokens) -> Prompt:
        def pick(logits: torch.Tensor, generated: list[int]) -> int:
            heard.append((np.concatenate([prompt, np.array(generated, np.int32)]), logits))
            return int(logits.argmax())

        return Prompt(prompt, N_GENERATED, lambda generated: False, pick)

    for _ in generate(model, [listening(prompt) for prompt in prompts], Limits()):
        pass


def _plain_logits(model: PackedModel, plain: Any, tokens: Tokens) -> torch.Tensor:
    ids = torch.from_numpy(tokens.astype(np.int64))[None].to(model.device)
    with torch.no_grad(), model.autocast():
        return plain(ids, use_cache=False).logits[0, -1]
