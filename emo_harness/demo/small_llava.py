"""A small LLaVA: a vision tower and a projector in front of a demo language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import (
        CLIPVisionConfig,
        LlamaForCausalLM,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

IMAGE_TOKEN = "<image>"  # noqa: S105
IMAGE_SIDE = 96
PATCH_SIDE = 16
N_IMAGE_TOKENS = (IMAGE_SIDE // PATCH_SIDE) ** 2


def vision_config() -> CLIPVisionConfig:
    """A vision transformer of four layers that sees `IMAGE_SIDE` pixels in `PATCH_SIDE` blocks."""
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIDE,
        patch_size=PATCH_SIDE,
        projection_dim=128,
    )


def small_llava(
    language_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> LlavaForConditionalGeneration:
    """An untrained vision tower and projector; the language model's weights are copied.

    Args:
        tokenizer: of the model to be, `IMAGE_TOKEN` included (see `with_image_token`).

    The embedding gets a row for every token that the language model did not know, of mean length.
    """
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    # Where the language model was loaded from is no fact about it.
    known = {k: v for k, v in language_model.config.to_dict().items() if k != "_name_or_path"}
    text = LlamaConfig(**{**known, "vocab_size": len(tokenizer)})
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=N_IMAGE_TOKENS,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        state = language_model.model.state_dict()
        rows = state.pop("embed_tokens.weight")
        model.model.language_model.load_state_dict(state, strict=False)
        table = model.get_input_embeddings().weight
        table[: len(rows)] = rows
        table[len(rows) :] = rows.mean(0)
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def with_image_token(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer with `IMAGE_TOKEN` as one more special token; changed in place."""
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.image_token = IMAGE_TOKEN
    return tokenizer


def small_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Images are scaled and cut to `IMAGE_SIDE` pixels; a placeholder becomes its image tokens."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": IMAGE_SIDE},
            crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE},
        ),
        tokenizer=tokenizer,
        patch_size=PATCH_SIDE,
        vision_feature_select_strategy="default",
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    )


def save_llava(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path
) -> None:
    """Half-precision weights that load as float32: `dtype` in the config says so."""
    state = {name: value.to(torch.float16) for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    for part in ("text_config", "vision_config"):
        config[part]["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")
    (folder / "model.safetensors").chmod(0o644)
    processor.save_pretrained(folder)
    # How the tokenizer happened to be loaded is no fact about it.
    settings = folder / "tokenizer_config.json"
    kept = json.loads(settings.read_text())
    for name in ("is_local", "local_files_only"):
        kept.pop(name, None)
    settings.write_text(json.dumps(kept, indent=2) + "\n")
