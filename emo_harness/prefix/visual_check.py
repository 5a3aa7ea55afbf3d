"""Packed against plain on a prompt with images: does the model in hand say the same?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from emo_harness.prefix.generation import Prompt, generate
from emo_harness.prefix.limits import Limits
from emo_harness.prefix.self_check import N_GENERATED, difference, packed_logits
from emo_harness.prefix.trie import Tokens
from emo_harness.prefix.visual_model import VisualPackedModel


def why_images_different(
    model: VisualPackedModel,
    tokens: Tokens,
    inputs: Mapping[str, Any],
    plainly: AbstractContextManager[Any] | None = None,
) -> str | None:
    """How packed and plain logits differ on one prompt by more than rounding; None if they do not.

    Args:
        model: the model as it is packed.
        tokens: (n,) the prompt, with the ids of registered images.
        inputs: the same prompt as the processor made it, a batch of one on the model's device, for
            the model's own `generate`: input_ids, attention_mask, pixel_values and so on.
        plainly: in which the model's own `generate` runs; e.g. a steering.
    """
    with plainly or nullcontext():
        said, expected = _plain(model, inputs)
    # Another prompt that parts from it makes it two nodes, where it is long enough.
    other = np.concatenate([tokens[:-1], [0, 0]]).astype(np.int32)
    limits = Limits(pass_tokens=max(16, len(tokens) // 3), tree_tokens=13)
    found = packed_logits(model, [tokens, other], limits)[0]
    # `generate` gives float32, whatever it computes in; how far off is allowed goes by the latter.
    expected = [logits.to(found.dtype) for logits in expected]
    reason = difference("packed image", found, expected[0])
    if reason:
        return reason
    for found, wanted in zip(_packed(model, [tokens, other], said), expected, strict=True):
        reason = difference("generated image", found, wanted)
        if reason:
            return reason
    return None


def _plain(
    model: VisualPackedModel, inputs: Mapping[str, Any]
) -> tuple[list[int], list[torch.Tensor]]:
    """What the model generates by itself, and the logits of each choice."""
    with torch.no_grad(), model.autocast():
        made = model.model.generate(
            **inputs,
            max_new_tokens=N_GENERATED,
            min_new_tokens=N_GENERATED,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return made.sequences[0, -N_GENERATED:].tolist(), [step[0] for step in made.logits]


def _packed(model: VisualPackedModel, prompts: list[Tokens], said: list[int]) -> list[torch.Tensor]:
    """The logits of the same choices, generated packed for the first prompt."""
    heard: list[torch.Tensor] = []

    def pick(logits: torch.Tensor, generated: list[int]) -> int:
        heard.append(logits)
        return said[len(generated)]

    asked = [Prompt(tokens, N_GENERATED, lambda generated: False) for tokens in prompts]
    asked[0] = Prompt(prompts[0], N_GENERATED, lambda generated: False, pick)
    for _ in generate(model, asked, Limits()):
        pass
    return heard
