"""Which vision-language models are computed packed; those give the logits of their own forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from emo_harness.prefix import (
    Limits,
    Tokens,
    VisualPackedModel,
    why_images_unsupported,
)
from emo_harness.prefix.self_check import packed_logits
from tests.activations.models import random_model
from tests.attribution.image_models import IMAGE, MAKERS, image, image_model, inputs
from tests.prefix.tiny_models import PACKED, build
from tests.prefix.visual_prompts import NOT_PIXELS

REFUSED = ("gemma3", "qwen3_vl")
# LLaVA takes no language model whose table has another name.
NOT_IN_LLAVA = ("gpt", "opt")
SMALL = Limits(pass_tokens=5, tree_tokens=4)
TOLERANCE = 1e-4


def logits_of_two_texts(
    model: Any, given: dict[str, Any], n_tokens: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Packed and plain logits of two texts that part behind the same image."""
    packed = VisualPackedModel(model, torch.device("cpu"))
    pixels = {name: tensor for name, tensor in given.items() if name not in NOT_PIXELS}
    grid = given.get("image_grid_thw")
    of_image = packed.register(
        "one", n_tokens, lambda: pixels, grid=None if grid is None else tuple(grid[0].tolist())
    )
    prompts: list[Tokens] = []
    expected = []
    for answer in ((7,), (8, 9)):
        ids = torch.cat([given["input_ids"][:, :-1], torch.tensor([answer])], dim=1)
        whole = {**given, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "mm_token_type_ids" in given:
            whole["mm_token_type_ids"] = (ids == IMAGE).int()
        with torch.no_grad():
            expected.append(model(**whole).logits[0, -1])
        tokens = ids[0].numpy().astype(np.int32)
        tokens[tokens == IMAGE] = of_image
        prompts.append(tokens)
    return packed_logits(packed, prompts, SMALL), expected


def assert_alike(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) < TOLERANCE * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in REFUSED])
def test_packed_logits_are_the_models_own(kind: str) -> None:
    model = image_model(kind).model
    assert why_images_unsupported(model) is None
    given = inputs(kind, image(kind))
    n_tokens = int((given["input_ids"] == IMAGE).sum())
    assert_alike(*logits_of_two_texts(model, given, n_tokens))


@pytest.mark.parametrize("kind", [k for k in PACKED if not k.startswith(NOT_IN_LLAVA)])
def test_every_language_model_of_text_may_stand_in_a_visual_one(kind: str) -> None:
    config = transformers.LlavaConfig(
        text_config=build(kind).config,
        vision_config=image_model("llava").model.config.vision_config,
        image_token_id=IMAGE,
    )
    model = random_model("LlavaForConditionalGeneration", config)
    assert why_images_unsupported(model) is None
    given = inputs("llava", image("llava"))
    assert_alike(*logits_of_two_texts(model, given, 9))


def test_llava_next_reads_tiles_of_an_image_that_is_not_square() -> None:
    base = image_model("llava").model.config
    config = transformers.LlavaNextConfig(
        text_config=base.text_config,
        vision_config=base.vision_config,
        image_token_id=IMAGE,
        image_grid_pinpoints=[[24, 48], [48, 24], [48, 48]],
    )
    model = random_model("LlavaNextForConditionalGeneration", config)
    pixels = {
        "pixel_values": torch.randn(1, 3, 3, 24, 24, generator=torch.Generator().manual_seed(0)),
        "image_sizes": torch.tensor([[20, 48]]),
    }
    with torch.no_grad():
        n_tokens = model.get_image_features(**pixels).pooler_output[0].shape[0]
    ids = torch.tensor([[0, 11, *[IMAGE] * n_tokens, 13, 14, 7]])
    assert why_images_unsupported(model) is None
    assert_alike(*logits_of_two_texts(model, {"input_ids": ids, **pixels}, n_tokens))


@pytest.mark.parametrize("kind", REFUSED)
def test_models_whose_images_are_no_ordinary_tokens_are_refused(kind: str) -> None:
    reason = why_images_unsupported(image_model(kind).model)
    assert reason is not None and kind in reason


def test_a_language_model_that_is_not_computed_packed_is_refused_with_images_too() -> None:
    vision = image_model("llava").model.config.vision_config
    text = transformers.Gemma2Config(vocab_size=96, hidden_size=32, num_hidden_layers=2)
    model = transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(text_config=text, vision_config=vision, image_token_id=IMAGE)
    )
    assert "gemma2" in (why_images_unsupported(model) or "")


def test_rotations_that_depend_on_the_longest_prompt_are_refused() -> None:
    model = image_model("llava").model
    text = model.config.text_config
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**{**text.to_dict(), "rope_parameters": rope}),
        vision_config=model.config.vision_config,
        image_token_id=IMAGE,
    )
    reason = why_images_unsupported(transformers.LlavaForConditionalGeneration(config))
    assert reason is not None and "dynamic" in reason


def test_a_model_of_text_is_no_visual_one() -> None:
    assert "llama" in (why_images_unsupported(build("llama")) or "")
