"""Train the autoencoder: `python -m emo_harness.demo.train_autoencoder --out FOLDER`.

Images of 64 x 64 pixels become 16 x 16 latents of four channels, on which a diffusion model of
this size learns in minutes what on pixels it would not learn in hours. The loss is the absolute
difference of pixels and of their differences between neighbours (edges), with a light pull of the
latents towards a normal distribution (Rombach et al., 2022, without their perceptual and
adversarial parts).
"""

import argparse
import copy
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from emo_harness.demo.drawn_images import (
    FEW_ARRANGEMENTS,
    MIXED_SHARE,
    SIZE,
    DemoImage,
    pixels,
    random_image,
)
from emo_harness.extras import import_extra
from emo_harness.images.drawing import Arrangement

DEFAULT_SEED = 1
DEFAULT_STEPS = 1100
DEFAULT_IMAGES = 12_000
IMAGES_PER_STEP = 16
PEAK_LEARNING_RATE = 1.5e-3
WARM_UP_STEPS = 60
EDGE_WEIGHT = 1.0
DIVERGENCE_WEIGHT = 1e-4
LATENT_CHANNELS = 4
MOST_GLYPHS = 4
CHECK_EVERY = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the autoencoder")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--images", type=int, default=DEFAULT_IMAGES)
    arguments = parser.parse_args()
    train(arguments.out, **{k: v for k, v in vars(arguments).items() if k != "out"})


def train(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    steps: int = DEFAULT_STEPS,
    images: int = DEFAULT_IMAGES,
) -> list[float]:
    """Train from scratch on images that our code draws, and write diffusers' folder.

    Returns:
        (steps,) loss.
    """
    torch.set_num_threads(1)
    shown = training_images(images, seed, most=MOST_GLYPHS)
    drawn = torch.from_numpy(pixels(shown, seed=seed))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_autoencoder().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=1e-3)
        losses = []
        for step in (progress := tqdm(range(steps), desc="autoencoder", mininterval=5)):
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(step, steps)
            rows = np.random.default_rng([seed, 1, step]).integers(images, size=IMAGES_PER_STEP)
            optimizer.zero_grad()
            loss = reconstruction_loss(model, as_model_input(drawn[rows]))
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                progress.set_postfix(loss=f"{np.mean(losses[-CHECK_EVERY:]):.4f}")
                save(model, out, drawn[:256])
    return losses


def training_images(
    n: int,
    seed: int,
    *,
    most: int,
    arrangements: Mapping[Arrangement, float] = FEW_ARRANGEMENTS,
    mixed_share: float = MIXED_SHARE,
    without: Collection[str] = (),
) -> list[DemoImage]:
    """Images of compositions that are not held out; see `random_image`."""
    rng = np.random.default_rng([seed, 0])
    return [
        random_image(
            rng,
            held_out=False,
            arrangements=arrangements,
            most=most,
            mixed_share=mixed_share,
            without=without,
        )
        for _ in range(n)
    ]


def as_model_input(drawn: torch.Tensor) -> torch.Tensor:
    """(n, SIZE, SIZE, 3) uint8 as (n, 3, SIZE, SIZE) float32 from -1 to 1."""
    return drawn.permute(0, 3, 1, 2).float() / 127.5 - 1


def build_autoencoder() -> Any:
    """An untrained autoencoder of 0.9 million parameters."""
    diffusers = import_extra("diffusers", "training the demo's autoencoder")
    return diffusers.AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=LATENT_CHANNELS,
        mid_block_add_attention=False,
    )


def reconstruction_loss(model: Any, shown: torch.Tensor) -> torch.Tensor:
    """Pixels, edges and divergence, in bfloat16 where that is as good and faster."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = model.encode(shown).latent_dist
        found = model.decode(posterior.sample()).sample
    difference = found.float() - shown
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    mean, log_variance = posterior.mean.float(), posterior.logvar.float()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return difference.abs().mean() + EDGE_WEIGHT * edges + DIVERGENCE_WEIGHT * divergence


@torch.no_grad()
def latents(model: Any, drawn: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Means of the images' latents, unscaled: (n, LATENT_CHANNELS, 16, 16), float32."""
    model.eval()
    parts = [
        model.encode(as_model_input(part)).latent_dist.mean for part in torch.split(drawn, batch)
    ]
    model.train()
    return torch.cat(parts)


@torch.no_grad()
def decoded(model: Any, encoded: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Images of unscaled latents: (n, SIZE, SIZE, 3), uint8."""
    model.eval()
    parts = [model.decode(part).sample for part in torch.split(encoded, batch)]
    found = ((torch.cat(parts).clamp(-1, 1) + 1) * 127.5).round()
    return found.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def learning_rate_share(step: int, steps: int) -> float:
    """Linear warm-up to 1, then a cosine down to 0.02."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def save(model: Any, out: Path, sample: torch.Tensor) -> None:
    """Write the folder of a model whose latents have mean 0 and variance 1 on the sample."""
    standard = copy.deepcopy(model)
    standardise(standard, latents(model, sample))
    standard.register_to_config(scaling_factor=1.0)
    standard.save_pretrained(out, safe_serialization=True)


@torch.no_grad()
def standardise(model: Any, of: torch.Tensor) -> None:
    """Change the last layer before the latents and the first one behind them, in place.

    What is decoded stays the same: z = (W h + b - mean) / deviation by channel, undone behind.

    Args:
        of: (n, LATENT_CHANNELS, 16, 16), latents of many images.
    """
    mean, deviation = of.mean((0, 2, 3)), of.std((0, 2, 3))
    before, behind = model.quant_conv, model.post_quant_conv
    if before is None or behind is None or before.bias is None or behind.bias is None:
        raise ValueError("an autoencoder without the layers around its latents")
    behind.bias += behind.weight[:, :, 0, 0] @ mean
    behind.weight *= deviation[None, :, None, None]
    before.weight[:LATENT_CHANNELS] /= deviation[:, None, None, None]
    before.bias[:LATENT_CHANNELS] = (before.bias[:LATENT_CHANNELS] - mean) / deviation
    # The other half are logarithms of variances.
    before.bias[LATENT_CHANNELS:] -= 2 * deviation.log()


if __name__ == "__main__":
    main()
