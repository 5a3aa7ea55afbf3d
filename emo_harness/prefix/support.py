"""Which models may be computed packed: an allow-list by configuration.

A model outside the list would not fail, it would give wrong numbers: packed tokens have their own
order of keys, so whatever reads positions from that order (ALiBi by key index, windows, chunks,
recurrences, rotary frequencies that depend on the longest position in hand) is wrong in silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

# Full attention, positions by rotation or by a learned table, attention through transformers'
# `AttentionInterface`; each is compared with its own plain forward pass in the tests.
MODEL_TYPES = frozenset(
    {
        "bitnet",
        "gemma",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "olmo",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
# Their frequencies are the same whatever else is in the batch.
ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
# Models whose layers have windows by `layer_types`. All others have one in every layer where
# `sliding_window` is set, whatever else their configuration says.
WINDOW_BY_LAYER = frozenset(
    {"gemma3_text", "qwen2", "qwen2_5_vl_text", "qwen2_vl_text", "qwen3", "smollm3"}
)
# Adapters that change a layer's products and nothing else, for all tokens alike.
ADAPTERS = frozenset({"IA3", "LORA"})


def base_model(model: Any) -> Any:
    """The transformers model inside an adapter's wrapper; the model itself where there is none."""
    unwrap = getattr(model, "get_base_model", None)
    return unwrap() if unwrap is not None else model


def why_unsupported(model: Any) -> str | None:
    """Why a model cannot be computed packed; None if it can."""
    reason = why_adapter_unsupported(model)
    if reason:
        return reason
    model = base_model(model)
    reasons = (
        _of_class(model),
        why_layers_unsupported(model.config),
        why_placement_unsupported(model),
    )
    return next((reason for reason in reasons if reason), None)


def why_adapter_unsupported(model: Any) -> str | None:
    """Why a model's adapter cannot be computed packed."""
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return "its adapter puts virtual tokens before the prompt"
    for adapter in (getattr(model, "peft_config", None) or {}).values():
        kind = str(getattr(adapter.peft_type, "value", adapter.peft_type))
        if kind not in ADAPTERS or getattr(adapter, "alora_invocation_tokens", None):
            return f"its adapter ({kind}) does not treat all tokens alike"
    return None


def why_layers_unsupported(config: Any) -> str | None:
    """Why a language model's positions or attention cannot be computed packed."""
    return _of_positions(config) or _of_attention(config)


def why_placement_unsupported(model: Any) -> str | None:
    """Why a model cannot be computed packed where its weights lie."""
    devices = set((getattr(model, "hf_device_map", None) or {}).values())
    if len(devices) > 1:
        return "its layers are spread over several devices"
    if getattr(model, "_tp_size", None):
        return "its layers are split over several devices (tp_plan)"
    return None


def attention_window(model: Any) -> int | None:
    """The most tokens that every layer sees all of; None where there is no such bound."""
    config = base_model(model).config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if window is None:
        return None
    if config.model_type in WINDOW_BY_LAYER and "sliding_attention" not in config.layer_types:
        return None
    return int(window)


def _of_class(model: Any) -> str | None:
    kind = getattr(model.config, "model_type", None)
    if kind not in MODEL_TYPES:
        return f"model type {kind!r} is not among those that were checked"
    if not type(model).__module__.startswith("transformers."):
        return f"{type(model).__name__} is not transformers' own class"
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return f"{type(model).__name__} computes the logits of every token"
    return None


def _of_positions(config: Any) -> str | None:
    if getattr(config, "alibi", False):
        return "its positions come from the order of keys (ALiBi)"
    for kind in _rope_types(config):
        if kind not in ROPE_TYPES:
            return f"its rotary frequencies depend on the longest prompt in hand (rope {kind!r})"
    return None


def _rope_types(config: Any) -> set[str]:
    """Every rope type named in a configuration: there may be one for each kind of layer."""
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    settings = [given, *given.values()] if isinstance(given, Mapping) else []
    found = {
        one.get("rope_type", one.get("type"))
        for one in settings
        if isinstance(one, Mapping) and ("rope_type" in one or "type" in one)
    }
    return {str(kind) for kind in found}


def _of_attention(config: Any) -> str | None:
    if getattr(config, "is_encoder_decoder", False) or getattr(
        config, "add_cross_attention", False
    ):
        return "it attends to an encoder"
    unknown = set(getattr(config, "layer_types", None) or ()) - LAYER_TYPES
    if unknown:
        return f"it has layers of type {', '.join(sorted(unknown))}"
    if not getattr(config, "is_causal", True) or getattr(
        config, "use_bidirectional_attention", False
    ):
        return "its tokens see later tokens"
    if getattr(config, "attn_logit_softcapping", None):
        return "it caps its attention scores"
    if getattr(config, "reorder_and_upcast_attn", False):
        return "it reorders its attention (reorder_and_upcast_attn)"
    return None
