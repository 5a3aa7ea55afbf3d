"""Small random models of more architectures than can be computed packed."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import transformers

from emo_harness.activations.sites import Layout, layout_of
from tests.prefix.tiny_models import NOT_PACKED, PACKED, POSITIONS, VOCABULARY, build, randomised

WIDTHS = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_MIXTURE = {**WIDTHS, "num_experts_per_tok": 2}
_FALCON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "eos_token_id": 1,
    "bos_token_id": 0,
}
_GPTJ = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": POSITIONS,
    "rotary_dim": 4,
    "eos_token_id": 1,
    "bos_token_id": 0,
}
_WINDOW = 6

MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon_one_head": ("Falcon", _FALCON),
    "falcon_grouped": (
        "Falcon",
        {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False},
    ),
    "falcon_sequential_alibi": ("Falcon", {**_FALCON, "parallel_attn": False, "alibi": True}),
    "gptj": ("GPTJ", _GPTJ),
    "mistral_window": ("Mistral", {**WIDTHS, "sliding_window": _WINDOW}),
    "gemma3_window": (
        "Gemma3Text",
        {
            **WIDTHS,
            "head_dim": 16,
            "sliding_window": _WINDOW,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        },
    ),
    "gpt_oss": (
        "GptOss",
        {**_MIXTURE, "head_dim": 16, "num_local_experts": 4, "sliding_window": _WINDOW},
    ),
    "cohere": ("Cohere", WIDTHS),
    "glm4": ("Glm4", {**WIDTHS, "head_dim": 8}),
    "mixtral": ("Mixtral", {**_MIXTURE, "num_local_experts": 4}),
    "qwen3_moe": (
        "Qwen3Moe",
        {**_MIXTURE, "head_dim": 16, "num_experts": 4, "moe_intermediate_size": 16},
    ),
    "deepseek_v3": (
        "DeepseekV3",
        {
            **_MIXTURE,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 12,
            "q_lora_rank": 24,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
}
ALL = (*PACKED, *NOT_PACKED, *MORE)


def model_of(kind: str, seed: int = 0) -> Any:
    """A random model, in float32 and evaluation mode."""
    if kind not in MORE:
        return build(kind, seed)
    family, settings = MORE[kind]
    config = getattr(transformers, f"{family}Config")(**settings)
    return random_model(f"{family.removesuffix('Text')}ForCausalLM", config, seed)


@cache
def known(kind: str) -> Layout:
    """The layout of a random model, made once."""
    return layout_of(model_of(kind))


def random_model(kind: str, config: Any, seed: int = 0) -> Any:
    return randomised(getattr(transformers, kind)(config).eval(), seed)


def prompts(n_prompts: int = 2, n_tokens: int = 11, seed: int = 3) -> torch.Tensor:
    """(n_prompts, n_tokens) token ids, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, VOCABULARY - 6, (n_prompts, n_tokens), generator=generator)


def everything(layout: Layout) -> dict[str, tuple[int, ...]]:
    """All that can be listened to."""
    return {site: tuple(layers) for site, layers in layout.shapes.items() if layers}
