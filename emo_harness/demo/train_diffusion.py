"""Train the demo's text-to-image model, on the latents of a trained autoencoder:
`python -m emo_harness.demo.train_diffusion --autoencoder FOLDER --out FOLDER`.

Latent diffusion (Rombach et al., 2022) with v-prediction (Salimans and Ho, 2022) and a schedule
that ends in pure noise (Lin et al., 2024), without which backgrounds all become equally bright. The
text encoder learns along. What is saved is the moving average of the weights.
"""

import argparse
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS, caption_tokenizer
from emo_harness.demo.captions import random_caption
from emo_harness.demo.pictures import MOST_LARGE, Picture, pixels
from emo_harness.demo.train_autoencoder import (
    LATENT_CHANNELS,
    latents,
    learning_rate_share,
    training_pictures,
)
from emo_harness.demo.train_clip import as_tokens
from emo_harness.extras import import_extra

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

DEFAULT_SEED = 1
DEFAULT_STEPS = 2400
DEFAULT_PICTURES = 12_000
PICTURES_PER_STEP = 64
PEAK_LEARNING_RATE = 1.2e-3
EMPTY_SHARE = 0.1
"""Of captions that are left empty, for classifier-free guidance (Ho and Salimans, 2022)."""
NOISE_SHARE = 0.1
AVERAGE = 0.998
CHECK_EVERY = 200
TEXT_WIDTH = 64
LATENT_SIZE = 16
GUIDANCE = 3.0
SAMPLING_STEPS = 12
_PURPOSE = "training the demo's text-to-image model"


@dataclass(frozen=True)
class Parts:
    """What is trained together."""

    unet: Any
    text_encoder: "CLIPTextModel"

    def parameters(self) -> list[nn.Parameter]:
        """Of both."""
        return [*self.unet.parameters(), *self.text_encoder.parameters()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pipeline")
    parser.add_argument(
        "--autoencoder", type=Path, required=True, help="folder that train_autoencoder wrote"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--pictures", type=int, default=DEFAULT_PICTURES)
    arguments = parser.parse_args()
    train(
        arguments.out,
        arguments.autoencoder,
        seed=arguments.seed,
        steps=arguments.steps,
        pictures=arguments.pictures,
    )


def train(
    out: Path,
    autoencoder: Path,
    *,
    seed: int = DEFAULT_SEED,
    steps: int = DEFAULT_STEPS,
    pictures: int = DEFAULT_PICTURES,
) -> list[float]:
    """Train from scratch on an autoencoder's latents, and write diffusers' folder.

    Returns:
        (steps,) mean squared error of the velocity.
    """
    torch.set_num_threads(1)
    diffusers = import_extra("diffusers", _PURPOSE)
    vae = diffusers.AutoencoderKL.from_pretrained(autoencoder)
    tokenizer = caption_tokenizer(seed)
    shown = training_pictures(pictures, seed, most=MOST_LARGE)
    encoded = latents(vae, torch.from_numpy(pixels(shown, seed=seed)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = build_parts(tokenizer)
        average = copy.deepcopy(parts)
        losses = []
        progress = tqdm(
            training(parts, average, tokenizer, shown, encoded, seed=seed, steps=steps),
            total=steps,
            desc="diffusion",
            mininterval=5,
        )
        for loss in progress:
            losses.append(loss)
            if len(losses) % CHECK_EVERY == 0 or len(losses) == steps:
                progress.set_postfix(loss=f"{np.mean(losses[-CHECK_EVERY:]):.4f}")
                save(average, vae, tokenizer, out)
    return losses


def build_parts(tokenizer: "CLIPTokenizer") -> Parts:
    """An untrained UNet of 2.7 million parameters and a text encoder of 0.2 million."""
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = import_extra("diffusers", _PURPOSE).UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 96),
        # Attention costs most where the grid is finest, and is needed least there.
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Parts(unet, CLIPTextModel(text_config))


def build_scheduler() -> Any:
    """The noise schedule, in training and in sampling."""
    return import_extra("diffusers", _PURPOSE).DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def training(
    parts: Parts,
    average: Parts,
    tokenizer: "CLIPTokenizer",
    shown: list[Picture],
    encoded: torch.Tensor,
    *,
    seed: int,
    steps: int,
) -> Iterator[float]:
    """Train in place, `average` following; yields the loss of each step."""
    parameters = parts.parameters()
    followed: tuple[list[torch.Tensor], list[torch.Tensor]] = (
        [*average.parameters()],
        [*parameters],
    )
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=1e-2)
    scheduler = build_scheduler()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(step, steps)
        rng = np.random.default_rng([seed, 3, step])
        rows = rng.integers(len(shown), size=PICTURES_PER_STEP)
        texts = [
            ""
            if rng.random() < EMPTY_SHARE
            else random_caption(shown[row], rng, noise_share=NOISE_SHARE).text
            for row in rows.tolist()
        ]
        optimizer.zero_grad()
        loss = velocity_loss(parts, scheduler, as_tokens(tokenizer, texts), encoded[rows], rng)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        share = min(AVERAGE, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(*followed, 1 - share)
        yield loss.item()


def velocity_loss(
    parts: Parts,
    scheduler: Any,
    tokens: torch.Tensor,
    clean: torch.Tensor,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Mean squared error of v = alpha noise - sigma clean, at times drawn by lot."""
    noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
    times = torch.from_numpy(rng.integers(scheduler.config.num_train_timesteps, size=len(clean)))
    noisy = scheduler.add_noise(clean, noise, times)
    states = parts.text_encoder(tokens).last_hidden_state
    found = parts.unet(noisy, times, states).sample
    loss: torch.Tensor = (found - scheduler.get_velocity(clean, noise, times)).square().mean()
    return loss


def save(parts: Parts, vae: Any, tokenizer: "CLIPTokenizer", out: Path) -> None:
    """Write diffusers' folder in half precision, to be loaded as float32."""
    diffusers = import_extra("diffusers", _PURPOSE)
    halved = [copy.deepcopy(part).half() for part in (vae, parts.text_encoder, parts.unet)]
    diffusers.StableDiffusionPipeline(
        vae=halved[0],
        text_encoder=halved[1],
        tokenizer=tokenizer,
        unet=halved[2],
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out, safe_serialization=True)
    config_path = out / "text_encoder" / "config.json"
    config = json.loads(config_path.read_text("utf-8"))
    config_path.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", "utf-8")
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
