"""Prompts with images, for a packed model and for the model itself, as its processor makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from emo_harness.prefix import Tokens, VisualPackedModel
from tests.lm_models.vision_models import built, random_image

NOT_PIXELS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
# Different sizes, where a model takes them as they are.
IMAGES = {
    "a": random_image(1),
    "b": random_image(2, 40, 24),
    "c": random_image(3, 16, 32),
    "d": random_image(4),
}


@cache
def model_and_processor(kind: str) -> tuple[Any, Any]:
    return built(kind)


def packed(kind: str, **arguments: Any) -> VisualPackedModel:
    """A packed model that knows no image yet."""
    return VisualPackedModel(model_and_processor(kind)[0], torch.device("cpu"), **arguments)


@dataclass(frozen=True)
class Asked:
    """A prompt: token ids with those of registered images, and the processor's inputs."""

    tokens: Tokens
    inputs: dict[str, torch.Tensor]


def asked(model: VisualPackedModel, kind: str, text: str, prefix: str = "") -> Asked:
    """A prompt in which `{a}` stands for the image of that name.

    Args:
        model: where images are registered that are not yet.
        kind: the architecture.
        text: the prompt.
        prefix: of the keys under which they are registered.
    """
    processor = model_and_processor(kind)[1]
    token = processor.tokenizer.decode([model.model.config.image_token_id])
    names = [text[i + 1] for i, letter in enumerate(text) if letter == "{"]
    plain = text.format(**dict.fromkeys(IMAGES, token))
    inputs = processed(processor, plain, [IMAGES[name] for name in names])
    ids = inputs["input_ids"][0].numpy().astype(np.int32)
    parts = [register(model, kind, prefix + name, IMAGES[name]) for name in names]
    if parts:
        ids[ids == model.model.config.image_token_id] = np.concatenate(parts)
    return Asked(ids, inputs)


def register(model: VisualPackedModel, kind: str, key: str, image: Image.Image) -> Tokens:
    """The ids of an image, from what the processor makes of it alone."""
    processor = model_and_processor(kind)[1]
    image_id = model.model.config.image_token_id
    alone = processed(processor, processor.tokenizer.decode([image_id]), [image])
    pixels = {name: tensor for name, tensor in alone.items() if name not in NOT_PIXELS}
    grid = alone.get("image_grid_thw")
    return model.register(
        key,
        int((alone["input_ids"] == image_id).sum()),
        lambda: pixels,
        grid=None if grid is None else tuple(grid[0].tolist()),
    )


def processed(processor: Any, text: str, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
    """A batch of one prompt."""
    nested = [list(images)] if "Idefics3" in type(processor).__name__ else list(images)
    return dict(processor(text=[text], images=nested if images else None, return_tensors="pt"))


def longer(inputs: dict[str, torch.Tensor], targets: Sequence[int]) -> dict[str, torch.Tensor]:
    """The inputs with text tokens after them."""
    added = torch.tensor([list(targets)])
    fill = {"attention_mask": torch.ones_like(added)}
    fill |= dict.fromkeys(("mm_token_type_ids", "token_type_ids"), torch.zeros_like(added))
    fill["input_ids"] = added
    return {
        name: torch.cat([tensor, fill[name].to(tensor.dtype)], dim=1) if name in fill else tensor
        for name, tensor in inputs.items()
    }


def plain_logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(n, vocabulary), of one prompt alone."""
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits[0]


def plain_score(model: Any, inputs: dict[str, torch.Tensor], targets: Sequence[int]) -> float:
    """The log-probability of a continuation."""
    logits = plain_logits(model, longer(inputs, targets))[-len(targets) - 1 : -1]
    found = logits.log_softmax(dim=-1).gather(1, torch.tensor(list(targets))[:, None])
    return float(found.sum())


def plain_continued(model: Any, inputs: dict[str, torch.Tensor], n_tokens: int) -> list[int]:
    """What the model's own `generate` appends, greedily; end tokens do not end it."""
    found = model.generate(
        **inputs, max_new_tokens=n_tokens, do_sample=False, eos_token_id=None, pad_token_id=1
    )
    return found[0, -n_tokens:].tolist()
