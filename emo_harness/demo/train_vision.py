"""Stage one of the demo vision-language model: its vision tower learns what an image shows.

A linear head that is thrown away reads the kind of the image from every image token and from
their mean, so that each token that the language model will see speaks of the whole image. Another
reads from a middle layer which glyph covers which patch, which speeds learning up many times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from emo_harness.demo.small_llava import IMAGE_SIDE, PATCH_SIDE, vision_config
from emo_harness.demo.train_lm import learning_rate_share
from emo_harness.demo.training_images import Images, image_kinds

if TYPE_CHECKING:
    from transformers import CLIPVisionModel

STEPS = 2800
IMAGES_PER_STEP = 64
PEAK_LEARNING_RATE = 1.2e-3
TOKEN_WEIGHT = 0.3
GLYPH_LAYER = 3
GLYPH_WEIGHT = 1.0
LABEL_SMOOTHING = 0.05
MAX_SHIFT = 1
CHECK_EVERY = 200
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def train_vision(
    images: Images, held_out: Images, *, seed: int, steps: int = STEPS
) -> tuple[CLIPVisionModel, nn.Linear]:
    """A trained vision tower and its head; says every 200 steps how many held-out it gets right."""
    from transformers import CLIPVisionModel

    torch.manual_seed(seed)
    tower = CLIPVisionModel(vision_config())
    head = nn.Linear(tower.config.hidden_size, len(image_kinds()))
    n_glyphs = int(images.glyphs.max()) + 1
    glyph_head = nn.Linear(tower.config.hidden_size, n_glyphs + 1)
    parameters = [*tower.parameters(), *head.parameters(), *glyph_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05, betas=(0.9, 0.98))
    progress = tqdm(range(steps), desc="vision", mininterval=5, disable=None)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(step, steps)
        rng = np.random.default_rng([seed, 1, step])
        chosen = rng.integers(len(images.kinds), size=IMAGES_PER_STEP)
        values, shifts = varied(images.pixels[chosen], rng)
        states = tower(values, output_hidden_states=True).hidden_states
        covered = patch_glyphs(images.glyphs[chosen], images.squares[chosen], shifts, n_glyphs)
        labels = torch.from_numpy(images.kinds[chosen])
        logits = head(states[-1][:, 1:])
        every = labels.repeat_interleave(logits.shape[1])
        loss = cross_entropy(logits.mean(1), labels, label_smoothing=LABEL_SMOOTHING)
        loss = loss + TOKEN_WEIGHT * cross_entropy(logits.flatten(0, 1), every)
        patches = glyph_head(states[GLYPH_LAYER][:, 1:]).flatten(0, 1)
        glyph_loss = cross_entropy(patches, covered.flatten(0, 1))
        optimizer.zero_grad()
        whole: torch.Tensor = loss + GLYPH_WEIGHT * glyph_loss
        whole.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            right = (kinds_seen(tower, head, held_out.pixels) == held_out.kinds).mean()
            tqdm.write(
                f"vision, step {step + 1}: loss {loss.item():.3f}, "
                f"patches {glyph_loss.item():.3f}, held out {right:.3f}"
            )
    return tower, head


def patch_glyphs(
    glyphs: NDArray[np.int16],
    squares: NDArray[np.float32],
    shifts: NDArray[np.int64],
    n_glyphs: int,
) -> torch.Tensor:
    """How much of each patch each glyph's square covers, and last how much is background.

    Args:
        glyphs, squares: see `Images`.
        shifts: (n, 2), pixels that each image was moved down and to the right.

    Returns:
        (n, n_patches, n_glyphs + 1), float32; every patch's row sums to 1.
    """
    n_sides = IMAGE_SIDE // PATCH_SIDE
    starts = np.arange(n_sides) * PATCH_SIDE
    half = squares[..., 2] * IMAGE_SIDE / 2
    overlaps = []
    for axis, shift in ((1, shifts[:, 0]), (0, shifts[:, 1])):
        centre = squares[..., axis] * IMAGE_SIDE + shift[:, None]
        low = np.maximum((centre - half)[..., None], starts)
        high = np.minimum((centre + half)[..., None], starts + PATCH_SIDE)
        overlaps.append(np.clip(high - low, 0, None) / PATCH_SIDE)
    down, right = overlaps
    area = torch.from_numpy((down[..., :, None] * right[..., None, :]).astype(np.float32))
    n, most = glyphs.shape
    area = area.reshape(n, most, n_sides * n_sides).transpose(1, 2)
    index = torch.from_numpy(np.where(glyphs < 0, n_glyphs, glyphs).astype(np.int64))
    covered = torch.zeros(n, n_sides * n_sides, n_glyphs + 1)
    covered.scatter_add_(2, index[:, None, :].expand_as(area), area)
    covered[..., n_glyphs] = (1 - covered[..., :n_glyphs].sum(-1)).clamp(min=0)
    return covered / covered.sum(-1, keepdim=True)


def image_states(tower: CLIPVisionModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """What the projector gets: (n_images, n_image_tokens, hidden_size), without the class token."""
    states: torch.Tensor = tower(pixel_values, output_hidden_states=True).hidden_states[-1]
    return states[:, 1:]


def pixel_values(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """As CLIP's processor normalises: (n, side, side, 3), uint8, to (n, 3, side, side), float32."""
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
    return (scaled - mean[:, None, None]) / std[:, None, None]


def varied(
    pixels: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """`pixel_values` of images moved by some pixels, and a little brighter or paler.

    Also by how much they were moved down and to the right: (n, 2).
    """
    shifts = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, size=(len(pixels), 2))
    moved = np.empty_like(pixels)
    for index, (image, (down, right)) in enumerate(zip(pixels, shifts, strict=True)):
        # What is moved out of the image is replaced by its own edge.
        rows = np.clip(np.arange(len(image)) - down, 0, len(image) - 1)
        columns = np.clip(np.arange(len(image)) - right, 0, len(image) - 1)
        moved[index] = image[rows][:, columns]
    gain = rng.uniform(0.93, 1.07, size=(len(pixels), 1, 1, 1)).astype("float32")
    tint = rng.normal(0, 0.04, size=(len(pixels), 3, 1, 1)).astype("float32")
    return pixel_values(moved) * torch.from_numpy(gain) + torch.from_numpy(tint), shifts


@torch.inference_mode()
def kinds_seen(
    tower: CLIPVisionModel, head: nn.Linear, pixels: NDArray[np.uint8], per_pass: int = 100
) -> NDArray[np.int64]:
    """The kind that the head reads from each image: (n,), indices into `image_kinds()`."""
    found = [
        head(image_states(tower, pixel_values(pixels[start : start + per_pass]))).mean(1).argmax(-1)
        for start in range(0, len(pixels), per_pass)
    ]
    seen: NDArray[np.int64] = torch.cat(found).numpy()
    return seen
