"""Models as if loaded, what their last layer gives, and a model with a planted meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import Layout, layout_of
from emo_harness.activations.store import ModelFacts
from tests.activations.models import known, prompts
from tests.lm_models.local_models import word_tokenizer
from tests.prefix.tiny_models import build

Floats = NDArray[np.float32]


def as_loaded(layout: Layout, tokenizer: Any = None) -> LoadedModel:
    embeddings = layout.base.get_input_embeddings()
    facts = ModelFacts(
        name="a test's",
        model_type=layout.base.config.model_type,
        dtype="float32",
        n_layers=layout.n_layers,
        hidden_size=layout.hidden_size,
        vocabulary=embeddings.weight.shape[0],
    )
    return LoadedModel(layout.model, tokenizer, layout, facts, "of a test")


def loaded_kind(kind: str) -> LoadedModel:
    """A random model made once, which tests leave as it is."""
    return as_loaded(known(kind))


def read(layout: Layout, site: str, layer: int, ids: torch.Tensor) -> tuple[Floats, torch.Tensor]:
    """(n, *shape) a site's vectors at all tokens, and (n, vocabulary) the model's own logits."""
    heard: list[torch.Tensor] = []
    with (
        torch.no_grad(),
        layout.listening({site: [layer]}, lambda *at: heard.append(at[2].clone())),
    ):
        logits = layout.model(ids, use_cache=False).logits
    vectors = heard[0].transpose(1, 2) if heard[0].dim() == 4 else heard[0]
    return vectors.flatten(0, 1).float().numpy(), logits.flatten(0, 1)


def last_layer(layout: Layout) -> tuple[Floats, torch.Tensor]:
    """What the last layer gives for random prompts, and the model's own logits there."""
    return read(layout, "resid_post", layout.n_layers - 1, prompts())


def planted(n_words: int = 20) -> LoadedModel:
    """One layer that copies: what it adds to a token is the mean of the tokens up to it.

    Embeddings are orthonormal and the unembedding is the same matrix, so that a vector means the
    words that it is made of, by as much as it is made of them.
    """
    words = word_tokenizer(n_words)
    model = build(
        "llama",
        vocab_size=len(words),
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    width = model.config.hidden_size
    layer = model.model.layers[0]
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(len(words), width))
        layer.input_layernorm.weight.fill_(width**-0.5)
        model.model.norm.weight.fill_(1.0)
        for module in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.down_proj):
            module.weight.zero_()
        for module in (layer.self_attn.v_proj, layer.self_attn.o_proj):
            module.weight.copy_(torch.eye(width))
    return as_loaded(layout_of(model), words)
