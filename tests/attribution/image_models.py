"""Small random models with images, what they are given, and how big their images are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import layout_of
from emo_harness.activations.store import ModelFacts
from tests.activations.models import WIDTHS, random_model

IMAGE = 95
# Pixels that become one token, and tokens of an image: rows, columns.
BLOCK = 8
SQUARE = (3, 3)
OBLONG = (2, 4)

_CLIP: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": BLOCK * SQUARE[0],
    "patch_size": BLOCK,
}
_HALVED = {**_CLIP, "patch_size": BLOCK // 2}
_QWEN: dict[str, Any] = {
    "depth": 2,
    "num_heads": 2,
    "patch_size": BLOCK // 2,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
_IMAGE = {"image_token_id": IMAGE}


def _llava() -> Any:
    text = transformers.LlamaConfig(**WIDTHS)
    vision = transformers.CLIPVisionConfig(**_CLIP)
    return transformers.LlavaConfig(text_config=text, vision_config=vision, **_IMAGE)


def _vipllava() -> Any:
    return transformers.VipLlavaConfig(
        text_config=transformers.LlamaConfig(**WIDTHS),
        vision_config=transformers.CLIPVisionConfig(**_CLIP),
        vision_feature_layers=[-2, -1],
        **_IMAGE,
    )


def _gemma3() -> Any:
    return transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(**{**WIDTHS, "head_dim": 8}),
        vision_config=transformers.SiglipVisionConfig(**_HALVED),
        mm_tokens_per_image=SQUARE[0] * SQUARE[1],
        **_IMAGE,
    )


def _idefics3(kind: str = "Idefics3") -> Any:
    vision = getattr(transformers, f"{kind}VisionConfig")(**_HALVED)
    text = transformers.LlamaConfig(**WIDTHS)
    config = getattr(transformers, f"{kind}Config")
    return config(text_config=text, vision_config=vision, scale_factor=2, **_IMAGE)


def _internvl() -> Any:
    size = [BLOCK * n for n in SQUARE]
    vision = {**_HALVED, "image_size": size, "patch_size": [BLOCK // 2] * 2}
    return transformers.InternVLConfig(
        text_config=transformers.LlamaConfig(**WIDTHS),
        vision_config=transformers.InternVLVisionConfig(**vision),
        image_seq_length=SQUARE[0] * SQUARE[1],
        **_IMAGE,
    )


def _mistral3() -> Any:
    vision = {k: v for k, v in _HALVED.items() if k != "image_size"}
    return transformers.Mistral3Config(
        text_config=transformers.MistralConfig(**WIDTHS),
        vision_config=transformers.PixtralVisionConfig(**vision, image_size=64, head_dim=8),
        spatial_merge_size=2,
        image_token_index=IMAGE,
    )


def _qwen2_vl() -> Any:
    return transformers.Qwen2VLConfig(
        text_config={**WIDTHS, "rope_parameters": _ROPE},
        vision_config={**_QWEN, "embed_dim": 16, "hidden_size": 32},
        **_IMAGE,
    )


def _qwen2_5_vl() -> Any:
    vision = {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 16}
    return transformers.Qwen2_5_VLConfig(
        text_config={**WIDTHS, "rope_parameters": _ROPE},
        vision_config={**_QWEN, **vision, "window_size": 16, "fullatt_block_indexes": [1]},
        **_IMAGE,
    )


def _qwen3_vl() -> Any:
    vision = {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 16}
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return transformers.Qwen3VLConfig(
        text_config={**WIDTHS, "head_dim": 8, "rope_parameters": _ROPE},
        vision_config={**_QWEN, **vision},
        **_IMAGE,
    )


MAKERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "llava": ("Llava", _llava),
    "vipllava": ("VipLlava", _vipllava),
    "gemma3": ("Gemma3", _gemma3),
    "idefics3": ("Idefics3", _idefics3),
    "smolvlm": ("SmolVLM", lambda: _idefics3("SmolVLM")),
    "internvl": ("InternVL", _internvl),
    "mistral3": ("Mistral3", _mistral3),
    "qwen2_vl": ("Qwen2VL", _qwen2_vl),
    "qwen2_5_vl": ("Qwen2_5_VL", _qwen2_5_vl),
    "qwen3_vl": ("Qwen3VL", _qwen3_vl),
}


def grid(kind: str) -> tuple[int, int]:
    """Rows and columns of the tokens that `inputs` makes for a model."""
    return OBLONG if kind.startswith("qwen") or kind == "mistral3" else SQUARE


def image_model(kind: str) -> LoadedModel:
    family, config = MAKERS[kind]
    model = random_model(f"{family}ForConditionalGeneration", config())
    layout = layout_of(model)
    facts = ModelFacts(
        name=kind, model_type=kind, dtype="float32", n_layers=3, hidden_size=32, vocabulary=96
    )
    return LoadedModel(model, None, layout, facts, "of a test")


def image(kind: str, seed: int = 0) -> torch.Tensor:
    """(3, height, width) of noise, as big as a model's image."""
    rows, columns = grid(kind)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, rows * BLOCK, columns * BLOCK, generator=generator)


def inputs(kind: str, pixels: torch.Tensor, answer: tuple[int, ...] = (7,)) -> dict[str, Any]:
    """What the model is given for an image between words, and an answer."""
    rows, columns = grid(kind)
    tokens = [IMAGE] * (rows * columns)
    if kind == "mistral3":
        tokens = [token for _ in range(rows) for token in (*[IMAGE] * columns, 94)]
    ids = torch.tensor([[0, 11, 12, *tokens, 13, 14, 15, *answer]])
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if kind.startswith("qwen"):
        given["pixel_values"] = _in_blocks(pixels)
        given["image_grid_thw"] = torch.tensor([[1, rows * 2, columns * 2]])
        given["mm_token_type_ids"] = (ids == IMAGE).int()
        return given
    given["pixel_values"] = pixels[None]
    if kind in ("idefics3", "smolvlm"):
        given["pixel_values"] = pixels[None, None]
    if kind == "mistral3":
        given["image_sizes"] = torch.tensor([pixels.shape[1:]])
    if kind == "gemma3":
        given["token_type_ids"] = (ids == IMAGE).long()
    return given


def _in_blocks(pixels: torch.Tensor) -> torch.Tensor:
    """Qwen's patches: those of one token together, each with its frame twice."""
    size = BLOCK // 2
    channels, height, width = pixels.shape
    parts = pixels.reshape(channels, height // BLOCK, 2, size, width // BLOCK, 2, size)
    ordered = parts.permute(1, 4, 2, 5, 0, 3, 6)[..., None, :, :]
    return ordered.expand(*ordered.shape[:5], 2, size, size).reshape(-1, channels * 2 * size**2)


def block(row: int, column: int) -> tuple[slice, slice, slice]:
    """The pixels of a token."""
    y, x = row * BLOCK, column * BLOCK
    return np.s_[:, y : y + BLOCK, x : x + BLOCK]
