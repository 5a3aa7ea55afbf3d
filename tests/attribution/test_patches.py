"""Patches of an image: the right ones, in their places, with what they do for the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.attribution.patch_grid import grid_of
from emo_harness.attribution.patches import (
    DEEPER,
    patch_contributions,
    patch_contributions_of,
)
from emo_harness.errors import UserError
from tests.attribution.image_models import (
    BLOCK,
    IMAGE,
    MAKERS,
    block,
    grid,
    image,
    image_model,
    inputs,
)
from tests.attribution.models import shared

KINDS = tuple(MAKERS)


def entering(loaded: Any, given: dict[str, Any], scale: float = 1.0) -> tuple[Any, torch.Tensor]:
    """What the language half is given for an image, and the logits with that much of it."""
    seen: dict[str, Any] = {}
    is_patch = given["input_ids"] == IMAGE

    def see(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        states = kwargs["inputs_embeds"].clone()
        seen["states"] = states[is_patch].clone()
        states[is_patch] *= scale
        deeper = {DEEPER: [scale * one for one in kwargs[DEEPER]]} if DEEPER in kwargs else {}
        return args, {**kwargs, "inputs_embeds": states, **deeper}

    hook = loaded.layout.base.register_forward_pre_hook(see, with_kwargs=True)
    try:
        with torch.no_grad():
            logits = loaded.model(**given).logits
    finally:
        hook.remove()
    return seen["states"], logits


def answer_log_probability(logits: torch.Tensor, answer: tuple[int, ...]) -> float:
    n = len(answer)
    found = logits[0, -n - 1 : -1].log_softmax(-1)
    return float(found[range(n), list(answer)].sum())


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_the_slope_along_the_images_embeddings(kind: str) -> None:
    loaded, answer = image_model(kind), (7, 21)
    given = inputs(kind, image(kind), answer)
    found = patch_contributions_of(loaded, given, len(answer))
    assert found.contributions.shape == grid(kind)
    at = [
        answer_log_probability(entering(loaded, given, scale)[1], answer)
        for scale in (1, 1.001, 0.999)
    ]
    assert found.log_probability == pytest.approx(at[0], abs=1e-4)
    assert found.contributions.sum() == pytest.approx((at[1] - at[2]) / 0.002, rel=0.02, abs=5e-3)
    assert len(found.tokens) == given["input_ids"].shape[1] - len(answer)
    is_patch = (given["input_ids"][0] == IMAGE).numpy()[: len(found.tokens)]
    assert np.array_equal(found.tokens[is_patch], found.contributions.ravel())


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_lie_where_their_pixels_do(kind: str) -> None:
    loaded, plain = image_model(kind), image(kind)
    before, _ = entering(loaded, inputs(kind, plain))
    rows, columns = grid(kind)
    for row in range(rows):
        for column in range(columns):
            changed = plain.clone()
            changed[block(row, column)] = 3 * image(kind, 1)[block(row, column)]
            after, _ = entering(loaded, inputs(kind, changed))
            assert int((after - before).norm(dim=-1).argmax()) == row * columns + column


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "mistral3", "internvl"])
def test_a_model_that_reads_one_patch_lights_that_one_alone(kind: str) -> None:
    loaded = image_model(kind)
    given = inputs(kind, image(kind))
    places = torch.nonzero(given["input_ids"][0] == IMAGE)[:, 0]
    rows, columns = grid(kind)
    for chosen in (0, columns, rows * columns - 1):
        n = given["input_ids"].shape[1]
        sees = torch.eye(n, dtype=torch.bool)
        # The position that predicts the answer.
        sees[-2, places[chosen]] = True
        mask = torch.zeros(n, n).masked_fill(~sees, torch.finfo(torch.float32).min)
        positions = {"position_ids": _positions(kind, n)} if kind.startswith("qwen") else {}
        found = patch_contributions_of(
            loaded, {**given, **positions, "attention_mask": mask[None, None]}, 1
        )
        lit = np.zeros((rows, columns), bool)
        lit.flat[chosen] = True
        assert np.array_equal(found.contributions != 0, lit)


def _positions(kind: str, n: int) -> torch.Tensor:
    return torch.arange(n).expand(3, 1, n)


class Processor:
    """A processor of words that are numbers, and of images that are tensors."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, text: list[str], images: list[torch.Tensor], **_: Any) -> dict[str, Any]:
        before, after = text[0].split("<image>")
        given = inputs(self.kind, images[0], ())
        tokens = given["input_ids"][0][given["input_ids"][0] == IMAGE].tolist()
        ids = torch.tensor([[*map(int, before.split()), *tokens, *map(int, after.split())]])
        return {**given, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_a_processor_gives_the_same() -> None:
    loaded, pixels = image_model("llava"), image("llava")
    found = patch_contributions(
        loaded, Processor("llava"), pixels, "0 11 12 <image> 13 14 15", " 7 21"
    )
    plain = patch_contributions_of(loaded, inputs("llava", pixels, (7, 21)), 2)
    assert np.allclose(found.contributions, plain.contributions, atol=1e-6)
    with pytest.raises(UserError, match="no token of its own"):
        patch_contributions(loaded, Processor("llava"), pixels, "0 <image> 13", "")


def test_the_model_is_left_as_it_was_also_after_errors() -> None:
    loaded = image_model("llava")
    given = inputs("llava", image("llava"))

    def state() -> Any:
        return (
            [weight.requires_grad for weight in loaded.model.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules()],
        )

    # transformers puts hooks of its own on a model when it is first run.
    loaded.model(**given)
    before = state()
    patch_contributions_of(loaded, given, 1)
    assert state() == before
    with pytest.raises(UserError):
        patch_contributions_of(loaded, given, 1, grid=(2, 4))
    assert state() == before


def test_a_grid_that_is_named_is_taken_if_it_fits() -> None:
    loaded, given = image_model("llava"), inputs("llava", image("llava"))
    plain = patch_contributions_of(loaded, given, 1)
    flat = patch_contributions_of(loaded, given, 1, grid=(1, 9))
    assert np.array_equal(flat.contributions.ravel(), plain.contributions.ravel())
    with pytest.raises(UserError, match="2 x 4 for 9 tokens"):
        patch_contributions_of(loaded, given, 1, grid=(2, 4))


def test_a_prompt_without_an_image_is_refused() -> None:
    loaded, ids = image_model("llava"), torch.tensor([[0, 5, 6, 7]])
    with pytest.raises(UserError, match="stand for an image"):
        patch_contributions_of(loaded, {"input_ids": ids}, 1)
    # The mark is there, but no image came with it.
    given = inputs("llava", image("llava"))
    with pytest.raises(UserError, match="keep the embedding of a word"):
        patch_contributions_of(loaded, {"input_ids": given["input_ids"]}, 1)


def test_a_language_model_without_images_is_refused() -> None:
    with pytest.raises(UserError, match="image enters as embeddings"):
        patch_contributions_of(shared("llama"), {"input_ids": torch.tensor([[0, 5, 6, 7]])}, 1)


class Config:
    """What a grid is told by."""

    vision_config = None

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type


def one_image(n_tiles: int = 1) -> dict[str, Any]:
    return {"pixel_values": torch.zeros(n_tiles, 3, BLOCK, BLOCK)}


@pytest.mark.parametrize(
    ("kind", "n_tokens", "given"),
    [
        ("blip-2", 36, one_image()),
        ("idefics2", 64, one_image()),
        ("llava_next", 16, one_image()),
        # Its class token is among them.
        ("llava", 577, one_image()),
        # Four tiles of 16 x 16 in one row of tokens: a square by chance.
        ("internvl", 1024, one_image(4)),
        ("qwen2_vl", 16, {"image_grid_thw": [[1, 8, 8], [1, 8, 8]]}),
        ("qwen2_vl", 16, {}),
        ("qwen2_vl", 15, {"image_grid_thw": [[1, 8, 8]]}),
    ],
)
def test_an_unknown_order_is_refused_rather_than_guessed(
    kind: str, n_tokens: int, given: dict[str, Any]
) -> None:
    is_patch = np.array([False] + [True] * n_tokens)
    with pytest.raises(UserError, match="one whole image"):
        grid_of(Config(kind), given, is_patch)


def test_tiles_and_several_images_are_refused() -> None:
    two = np.array([False, *[True] * 9, False, *[True] * 9])
    with pytest.raises(UserError, match="2 runs"):
        grid_of(Config("llava"), one_image(), two)


def test_gradients_that_overflow_are_told() -> None:
    loaded = image_model("llava")
    first = loaded.layout.base.layers[0]

    def steep(states: torch.Tensor) -> torch.Tensor:
        return states * float("inf") if states.shape[1] > 13 else states

    first.register_forward_hook(lambda _m, _a, output: _with_gradient(output, steep))
    found = patch_contributions_of(loaded, inputs("llava", image("llava")), 1)
    assert np.isnan(found.contributions).all()
    assert "not finite" in (found.why_unknown or "")
    assert np.isfinite(found.log_probability)


def _with_gradient(states: torch.Tensor, change: Any) -> torch.Tensor:
    if states.requires_grad:
        states.register_hook(change)
    return states
