"""Small random models of many architectures, and what they say when asked plainly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import transformers

from emo_harness.prefix import PackedModel

VOCABULARY = 96
POSITIONS = 128
# Two tokens whose logits are closer than this may change places.
TIE = 1e-5

_WIDTHS = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_GROUPED = {**_WIDTHS, "num_key_value_heads": 2}
_UNTIED = {"tie_word_embeddings": False}
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": POSITIONS,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_ROPE = {"rope_theta": 10_000.0}
_OPT = {"ffn_dim": 40, "word_embed_proj_dim": 32}

# Each with what sets it apart from the others; all can be computed packed.
PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**_GROUPED, **_UNTIED}),
    "llama_tied": ("Llama", {**_GROUPED, "tie_word_embeddings": True, "head_dim": 16}),
    "llama_rope_llama3": (
        "Llama",
        {
            **_GROUPED,
            "rope_parameters": {
                **_ROPE,
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "llama_rope_yarn": (
        "Llama",
        {
            **_GROUPED,
            "rope_parameters": {
                **_ROPE,
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "llama_rope_linear": (
        "Llama",
        {**_GROUPED, "rope_parameters": {**_ROPE, "rope_type": "linear", "factor": 2.0}},
    ),
    "gpt2": ("GPT2", _GPT2),
    "gpt2_scaled_by_layer": ("GPT2", {**_GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gpt_neox": ("GPTNeoX", {**_WIDTHS, "rotary_pct": 0.5}),
    "gpt_neox_sequential": ("GPTNeoX", {**_WIDTHS, "use_parallel_residual": False}),
    "opt": ("OPT", {**_WIDTHS, **_OPT}),
    "opt_post_norm": (
        "OPT",
        {**_WIDTHS, **_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 24},
    ),
    "gemma": ("Gemma", {**_WIDTHS, "num_key_value_heads": 1, "head_dim": 16}),
    "phi": ("Phi", {**_WIDTHS, "partial_rotary_factor": 0.5}),
    "phi3": ("Phi3", {**_GROUPED, "sliding_window": None}),
    "qwen2": ("Qwen2", _GROUPED),
    "qwen3": ("Qwen3", {**_GROUPED, "head_dim": 16}),
    "mistral": ("Mistral", {**_GROUPED, "sliding_window": None}),
    "gemma3_text": ("Gemma3", {**_GROUPED, "head_dim": 16, "sliding_window": 100}),
    "olmo": ("Olmo", _GROUPED),
    "olmo2": ("Olmo2", _GROUPED),
    "stablelm": ("StableLm", {**_GROUPED, "partial_rotary_factor": 0.5}),
    "stablelm_parallel": (
        "StableLm",
        {
            **_WIDTHS,
            "num_key_value_heads": 4,
            "use_parallel_residual": True,
            "qk_layernorm": True,
            "use_qkv_bias": True,
        },
    ),
    "granite": (
        "Granite",
        {
            **_GROUPED,
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.7,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
        },
    ),
    "smollm3": ("SmolLM3", {**_GROUPED, "no_rope_layers": [1, 0]}),
    "starcoder2": ("Starcoder2", {**_GROUPED, "sliding_window": None}),
    "bitnet": ("BitNet", _GROUPED),
}

# None of these can: each would give wrong numbers or none.
NOT_PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": (
        "Bloom",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4, "eos_token_id": 1},
    ),
    "mpt": (
        "Mpt",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "n_layers": 2,
            "n_heads": 4,
            "max_seq_len": POSITIONS,
        },
    ),
    "llama_rope_dynamic": (
        "Llama",
        {
            **_GROUPED,
            "rope_parameters": {**_ROPE, "rope_type": "dynamic", "factor": 2.0},
            "max_position_embeddings": 40,
        },
    ),
    "gemma2": ("Gemma2", {**_GROUPED, "head_dim": 16, "attn_logit_softcapping": 2.0}),
    "gpt_neo": (
        "GPTNeo",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
            "max_position_embeddings": POSITIONS,
            "eos_token_id": 1,
        },
    ),
}


def build(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A random model whose layers all matter, in float32 and evaluation mode."""
    family, settings = (PACKED | NOT_PACKED)[kind]
    suffix = "TextConfig" if family == "Gemma3" else "Config"
    config = getattr(transformers, f"{family}{suffix}")(**(settings | changes))
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    model = getattr(transformers, f"{family}{head}")(config).eval()
    return randomised(model, seed)


def randomised(model: Any, seed: int = 0) -> Any:
    """Weights far from the near-zero ones of an initialisation, the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            noise = torch.randn(weights.shape, generator=generator)
            if weights.dim() > 1:
                weights.copy_(noise * weights.shape[-1] ** -0.5 * 1.2)
            else:
                weights.add_(noise * 0.1)
    return model


@cache
def packed(kind: str) -> PackedModel:
    """A packed model, made once."""
    return PackedModel(build(kind), torch.device("cpu"))


def ids(tokens: Sequence[int]) -> torch.Tensor:
    return torch.tensor(np.asarray(tokens, np.int64)[None])


def plain_logits(model: Any, tokens: Sequence[int]) -> torch.Tensor:
    """(n, vocabulary) of one sequence alone."""
    with torch.no_grad():
        return model(ids(tokens)).logits[0]


def plain_score(model: Any, tokens: Sequence[int], targets: Sequence[int]) -> tuple[float, float]:
    """A continuation's log-probability, and the least lead of its tokens over all others."""
    logits = plain_logits(model, tokens)[-len(targets) :]
    wanted = torch.tensor(np.asarray(targets, np.int64))[:, None]
    found = logits.log_softmax(dim=-1).gather(1, wanted)
    others = logits.scatter(1, wanted, float("-inf"))
    leads = logits.gather(1, wanted)[:, 0] - others.max(dim=-1).values
    return float(found.sum()), float(leads.min())


def plain_continued(model: Any, tokens: Sequence[int], n_tokens: int) -> list[int]:
    """What transformers' own `generate` appends, greedily; end tokens do not end it."""
    prompt = ids(tokens)
    found = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=n_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=1,
    )
    return found[0, len(tokens) :].tolist()


def assert_same_tokens(
    model: Any, prompt: Sequence[int], found: list[int], expected: list[int]
) -> None:
    """Equal, or parted where the two best tokens are as good as equal."""
    if found == expected:
        return
    pairs = zip(found, expected, strict=False)
    parted = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    assert parted is not None, (found, expected)
    best = plain_logits(model, [*prompt, *expected[:parted]])[-1].topk(2).values
    assert float(best[0] - best[1]) < TIE, (parted, found, expected)
