"""A model with random weights in place of its own (Adebayo et al. 2018).

What an attribution says of a trained model must not be what it says of the same architecture
without any training. Where both agree, it tells of the prompt and not of the model.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import layout_of
from emo_harness.errors import UserError
from emo_harness.prefix.support import base_model


def with_random_weights(loaded: LoadedModel, seed: int) -> LoadedModel:
    """The same architecture and tokenizer, with weights as the architecture begins its training.

    Weights are drawn on the CPU in float32, so that the same seed gives the same model on every
    machine, and then brought to the device and dtype of the given model. That takes as much memory
    as a second copy of the model does, and float32 weights on the CPU while they are drawn.

    Args:
        loaded: the model whose weights are set aside; it is left as it was.
        seed: of the draw.

    Raises:
        UserError: weights that are quantised, which no architecture draws by itself.
    """
    own: Any = base_model(loaded.model)
    if getattr(own.config, "quantization_config", None) is not None:
        raise UserError(
            f"drawing random weights for {type(own).__name__}",
            found="quantised weights",
            expected="weights in float32, bfloat16 or float16",
            fix="load the model without quantisation, or leave the control out",
        )
    config = copy.deepcopy(own.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = type(own)._from_config(config, dtype=torch.float32)
    theirs = dict(own.named_parameters(remove_duplicate=False))
    for name, weight in drawn.named_parameters():
        weight.requires_grad_(theirs[name].requires_grad)
        weight.data = weight.data.to(theirs[name].device, theirs[name].dtype)
    buffers = dict(own.named_buffers())
    for name, buffer in drawn.named_buffers():
        buffer.data = buffer.data.to(buffers[name].device, buffers[name].dtype)
    drawn.config._attn_implementation = own.config._attn_implementation
    drawn.train(own.training)
    name = f"{loaded.facts.name} with random weights (seed {seed})"
    facts = loaded.facts.model_copy(update={"name": name, "identity": None})
    return replace(loaded, model=drawn, layout=layout_of(drawn), facts=facts)
