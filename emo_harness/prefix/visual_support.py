"""Which vision-language models may be computed packed: an allow-list, as for models of text.

In these, an image's tokens are ordinary positions of a causal language model, and their features
depend on the image alone. In others they see each other both ways (Gemma 3, PaliGemma), enter again
in deeper layers (Qwen3-VL) or stand outside the sequence (Mllama).
"""

from __future__ import annotations

import inspect
from typing import Any

from emo_harness.prefix.support import (
    MODEL_TYPES,
    base_model,
    why_adapter_unsupported,
    why_layers_unsupported,
    why_placement_unsupported,
)

# Each is compared with its own plain forward pass in the tests.
VISUAL_MODEL_TYPES = frozenset(
    {
        "idefics3",
        "internvl",
        "llava",
        "llava_next",
        "mistral3",
        "qwen2_5_vl",
        "qwen2_vl",
        "smolvlm",
        "vipllava",
    }
)
TEXT_MODEL_TYPES = MODEL_TYPES | {"qwen2_5_vl_text", "qwen2_vl_text"}


def why_images_unsupported(model: Any) -> str | None:
    """Why a vision-language model cannot be computed packed; None if it can."""
    reason = why_adapter_unsupported(model)
    if reason:
        return reason
    model = base_model(model)
    reasons = (
        _of_class(model),
        why_layers_unsupported(model.config.get_text_config()),
        why_placement_unsupported(model),
    )
    return next((reason for reason in reasons if reason), None)


def _of_class(model: Any) -> str | None:
    kind = getattr(model.config, "model_type", None)
    if kind not in VISUAL_MODEL_TYPES:
        return f"model type {kind!r} is not among those that were checked with images"
    of_text = model.config.get_text_config().model_type
    if of_text not in TEXT_MODEL_TYPES:
        return f"its language model's type {of_text!r} is not among those that were checked"
    if not type(model).__module__.startswith("transformers."):
        return f"{type(model).__name__} is not transformers' own class"
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return f"{type(model).__name__} computes the logits of every token"
    return None
