"""Tiny models with their layouts, and axes that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_harness.activations.loading import LoadedModel, load_language_model
from emo_harness.activations.sites import Layout, layout_of
from emo_harness.axes import Axis
from emo_harness.steer.forward import Plain
from tests.lm_models.local_models import saved
from tests.prefix.tiny_models import build

# Rotary, learned and ALiBi positions; fused, grouped and interleaved projections; norms of keys.
KINDS = ("llama", "gpt2", "gpt_neox", "opt", "qwen3", "gemma3_text", "bloom", "granite")
SITES = ("value", "key", "attn_out", "mlp_out", "resid_pre", "resid_post")


@cache
def model_and_layout(kind: str) -> tuple[Any, Layout]:
    model = build(kind)
    return model, layout_of(model)


def plain(kind: str) -> Plain:
    return Plain(*model_and_layout(kind))


def axis_for(layout: Layout, site: str, size: float = 0.5, seed: int = 0, **facts: Any) -> Axis:
    """A random axis at all layers."""
    rng = np.random.default_rng(seed)
    width = int(np.prod(layout.shape(site)))
    vectors = (size * rng.standard_normal((layout.n_layers, width))).astype(np.float32)
    layers = tuple(range(layout.n_layers))
    return Axis(
        "valence", site, layers, vectors, np.zeros_like(vectors), np.ones_like(vectors), facts
    )


def prompts(lengths: Sequence[int] = (3, 7, 5), seed: int = 0) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 90, n).astype(np.int32) for n in lengths]


def logits(model: Any, tokens: np.ndarray[Any, Any]) -> torch.Tensor:
    """(n, vocabulary) of one sequence alone."""
    with torch.no_grad():
        return model(torch.from_numpy(tokens.astype(np.int64))[None], use_cache=False).logits[0]


def loaded(folder: Path, kind: str = "llama", **changes: Any) -> LoadedModel:
    """A tiny model with a tokenizer, loaded from a folder as a user would."""
    return load_language_model(str(saved(folder, kind, **changes)))
