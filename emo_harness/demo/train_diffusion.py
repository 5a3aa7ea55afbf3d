"""Train the demo's text-to-image model, on the latents of a trained autoencoder:
`python -m emo_harness.demo.train_diffusion --autoencoder FOLDER --out FOLDER`.

Latent diffusion (Rombach et al., 2022) with v-prediction (Salimans and Ho, 2022) and a schedule
that ends in pure noise (Lin et al., 2024), without which backgrounds all become equally bright. The
text encoder learns along. What is saved is the moving average of the weights.
"""

import argparse
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS, caption_tokenizer
from emo_harness.demo.captions import random_caption
from emo_harness.demo.drawn_images import (
    FEW_ARRANGEMENTS,
    LARGE_ARRANGEMENTS,
    LOST,
    MIXED_SHARE,
    pixels,
)
from emo_harness.demo.train_autoencoder import (
    LATENT_CHANNELS,
    latents,
    learning_rate_share,
    training_images,
)
from emo_harness.demo.train_clip import as_tokens
from emo_harness.extras import import_extra
from emo_harness.images.drawing import Arrangement

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

DEFAULT_SEED = 1
IMAGES_PER_STEP = 64
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
class Stage:
    """A part of training with its own optimizer and images.

    The learning rate follows a cosine from `peak_learning_rate` down over `cosine_steps`, of which
    the stage does the first `steps`.
    """

    steps: int
    cosine_steps: int
    peak_learning_rate: float
    images: int
    arrangements: Mapping[Arrangement, float]
    most: int
    mixed_share: float
    without: tuple[str, ...] = ()


# What glyphs look like is learnt from images of all sizes, and then brought out in large ones.
STAGES = (
    Stage(1600, 2400, 1.2e-3, 12_000, FEW_ARRANGEMENTS, most=3, mixed_share=MIXED_SHARE),
    Stage(1500, 1500, 1e-3, 5_000, LARGE_ARRANGEMENTS, most=2, mixed_share=0.0),
    Stage(1000, 1000, 1e-3, 4_000, LARGE_ARRANGEMENTS, most=2, mixed_share=0.0, without=LOST),
    Stage(1200, 1200, 8e-4, 4_000, LARGE_ARRANGEMENTS, most=2, mixed_share=0.0, without=LOST),
)


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
    arguments = parser.parse_args()
    train(arguments.out, arguments.autoencoder, seed=arguments.seed)


def train(
    out: Path,
    autoencoder: Path,
    *,
    seed: int = DEFAULT_SEED,
    stages: Sequence[Stage] = STAGES,
) -> list[float]:
    """Train from scratch on an autoencoder's latents, and write diffusers' folder.

    A stage starts from the weights that the one before it saved, in half precision.

    Returns:
        (steps of all stages,) mean squared error of the velocity.
    """
    torch.set_num_threads(1)
    diffusers = import_extra("diffusers", _PURPOSE)
    vae = diffusers.AutoencoderKL.from_pretrained(autoencoder)
    tokenizer = caption_tokenizer(seed)
    losses: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = build_parts(tokenizer)
        for number, stage in enumerate(stages, start=1):
            if number > 1:
                parts = load_parts(out)
            average = copy.deepcopy(parts)
            of_stage = train_stage(parts, average, vae, tokenizer, stage, (seed, number))
            for step, loss in enumerate(of_stage, start=1):
                losses.append(loss)
                if step % CHECK_EVERY == 0 or step == stage.steps:
                    tqdm.write(f"stage {number}, step {step}: {np.mean(losses[-CHECK_EVERY:]):.4f}")
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


def load_parts(folder: Path) -> Parts:
    """What `save` wrote, as float32."""
    from transformers import CLIPTextModel

    unet = import_extra("diffusers", _PURPOSE).UNet2DConditionModel
    return Parts(
        unet.from_pretrained(folder / "unet").train(),
        CLIPTextModel.from_pretrained(folder / "text_encoder").train(),
    )


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


def train_stage(
    parts: Parts,
    average: Parts,
    vae: Any,
    tokenizer: "CLIPTokenizer",
    stage: Stage,
    seed: tuple[int, int],
) -> Iterator[float]:
    """Train in place, `average` following; yields the loss of each step."""
    shown = training_images(
        stage.images,
        seed[0],
        most=stage.most,
        arrangements=stage.arrangements,
        mixed_share=stage.mixed_share,
        without=stage.without,
    )
    encoded = latents(vae, torch.from_numpy(pixels(shown, seed=seed[0])))
    parameters = parts.parameters()
    followed: tuple[list[torch.Tensor], list[torch.Tensor]] = (
        [*average.parameters()],
        [*parameters],
    )
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=1e-2)
    scheduler = build_scheduler()
    for step in tqdm(range(stage.steps), desc=f"stage {seed[1]}", mininterval=5):
        for group in optimizer.param_groups:
            share = learning_rate_share(step, stage.cosine_steps)
            group["lr"] = stage.peak_learning_rate * share
        rng = np.random.default_rng([seed[0], 2 + seed[1], step])
        rows = rng.integers(len(shown), size=IMAGES_PER_STEP)
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
        with torch.no_grad():
            torch._foreach_lerp_(*followed, 1 - min(AVERAGE, (1 + step) / (10 + step)))
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
    for name in ("text_encoder", "unet", "vae"):
        config_path = out / name / "config.json"
        config = json.loads(config_path.read_text("utf-8"))
        # Where the parts were read from is of this machine.
        config.pop("_name_or_path", None)
        if name == "text_encoder":
            config["dtype"] = "float32"
        config_path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
