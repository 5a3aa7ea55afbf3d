"""The check on the model in hand sees what is wrong with images, and passes what is right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from emo_harness.prefix import VisualPackedModel, why_different, why_images_different
from tests.lm_models.vision_models import KINDS, built
from tests.prefix.visual_prompts import asked, packed

ALL_KINDS = (*KINDS, "qwen2_5_vl")
TEXT = "Q: {b} is this {a} true? A:"


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_models_that_say_the_same_pass(kind: str) -> None:
    model = packed(kind)
    one = asked(model, kind, TEXT)
    assert why_images_different(model, one.tokens, one.inputs) is None
    assert why_different(model, 100) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_rounding_in_half_precision_passes(kind: str, dtype: torch.dtype) -> None:
    model = VisualPackedModel(built(kind)[0].to(dtype), torch.device("cpu"))
    one = asked(model, kind, TEXT)
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in one.inputs.items()}
    assert why_images_different(model, one.tokens, inputs) is None


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_features_of_another_image_do_not_pass(kind: str) -> None:
    model = packed(kind)
    one = asked(model, kind, TEXT)
    other = asked(model, kind, TEXT.replace("{a}", "{d}"))
    assert "image logits" in (why_images_different(model, other.tokens, one.inputs) or "")


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"])
def test_an_image_on_its_side_does_not_pass(kind: str) -> None:
    model = packed(kind)
    one = asked(model, kind, "Q: {b} A:")
    of_b = model._features._pixels["b"]
    ids = model.register("turned", of_b[0], of_b[1], grid=(1, 10, 6))
    turned = one.tokens.copy()
    turned[turned >= model.token_ids("b")[0]] = ids
    assert "image logits" in (why_images_different(model, turned, one.inputs) or "")


def test_wrong_positions_while_generating_do_not_pass() -> None:
    class Off(VisualPackedModel):
        def position_after(self, tokens: object) -> int:
            return super().position_after(np.asarray(tokens)) + 1

    model = Off(built("qwen2_vl")[0], torch.device("cpu"))
    one = asked(model, "qwen2_vl", TEXT)
    assert "generated image" in (why_images_different(model, one.tokens, one.inputs) or "")


def test_what_is_done_to_the_plain_model_is_part_of_the_comparison() -> None:
    model = packed("llava")
    one = asked(model, "llava", TEXT)

    @contextmanager
    def doubled() -> Iterator[None]:
        head = model.model.lm_head
        hook = head.register_forward_hook(lambda module, given, made: 2 * made)
        yield
        hook.remove()

    assert "differ" in (why_images_different(model, one.tokens, one.inputs, doubled()) or "")


def test_the_model_is_left_as_it_was_found() -> None:
    model = packed("idefics3")
    one = asked(model, "idefics3", TEXT)
    before = model.model(**one.inputs).logits
    attention = model.model.config._attn_implementation
    why_images_different(model, one.tokens, one.inputs)
    assert model.model.config._attn_implementation == attention
    assert torch.equal(model.model(**one.inputs).logits, before)
