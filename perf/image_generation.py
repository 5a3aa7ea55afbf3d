"""Images per second of `emo images generate` against a plain loop over diffusers.

    python perf/image_generation.py                 (about a minute)
    python perf/image_generation.py --rounds 7

A random Stable Diffusion pipeline, 128 x 128 pixels, 4 steps with guidance, on the CPU or, where
there is one, a GPU. `plain` calls the pipeline with batches of prompts and
generators and saves every image as a PNG. `ours` is `images.generation.generate` into an empty
folder at the same batch size: seeds, checks for failed images, facts and hashes, whole files;
contact sheet and manifest included. Loading is in neither. They take turns, so that a busy machine
is busy for both; the ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = 5
N_SCENES = 4
BATCH_SIZE = 4
STEPS = 4
SIDE = 128


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds of both, their ratio, and images per second."""
    from emo_harness.images.pipeline import CallSettings, TextToImage
    from emo_harness.images.pipeline_loading import load_pipeline

    images = _planned()
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        _save(place / "model")
        loaded = load_pipeline(str(place / "model"))
        pipeline = TextToImage(loaded, CallSettings(steps=STEPS, size=(SIDE, SIDE)))
        for number in range(rounds + 1):
            folder = place / f"{number}"
            turns = {
                "plain": lambda folder=folder: _plain(loaded.pipe, images, folder / "plain"),
                "ours": lambda folder=folder: _ours(pipeline, images, folder / "ours"),
            }
            order = list(turns) if number % 2 else list(turns)[::-1]
            for name in order:
                begun = time.perf_counter()
                turns[name]()
                # The first round warms up.
                if number:
                    seconds[name].append(time.perf_counter() - begun)
        _require_equal(place / "1")
        device = loaded.device
    ratios = [o / p for o, p in zip(seconds["ours"], seconds["plain"], strict=True)]
    return {
        "n_images": len(images),
        "batch_size": BATCH_SIZE,
        "device": device,
        "plain_images_per_s": len(images) / statistics.median(seconds["plain"]),
        "ours_images_per_s": len(images) / statistics.median(seconds["ours"]),
        "seconds_ratio": statistics.median(ratios),
        "seconds_ratios": [min(ratios), max(ratios)],
    }


def _planned() -> list[Any]:
    from emo_harness.images.recipe import Recipe

    prompts = [{"prompt": f"a dark house {i}", "twin": f"a house {i}"} for i in range(N_SCENES)]
    concepts = [{"concept": "fear", "emotion": "fear", "prompts": prompts}]
    fields = {"name": "perf", "family": "attack", "size": SIDE, "seeds": [1, 2]}
    return list(Recipe.model_validate({**fields, "concepts": concepts}).images())


def _plain(pipe: Any, images: list[Any], folder: Path) -> None:
    import torch

    folder.mkdir(parents=True)
    for first in range(0, len(images), BATCH_SIZE):
        batch = images[first : first + BATCH_SIZE]
        made = pipe(
            prompt=[one.prompt for one in batch],
            generator=[torch.Generator("cpu").manual_seed(one.seed) for one in batch],
            num_inference_steps=STEPS,
            width=SIDE,
            height=SIDE,
        ).images
        for one, image in zip(batch, made, strict=True):
            image.save(folder / f"{one.id}.png")


def _ours(pipeline: Any, images: list[Any], folder: Path) -> None:
    from emo_harness.images.generation import generate
    from emo_harness.images.pipeline import CallSettings
    from emo_harness.images.resume import plan_of

    settings = CallSettings(steps=STEPS, size=(SIDE, SIDE))
    plan = plan_of("perf", images, pipeline.loaded.identity, settings, dtype="float32")
    generate(images, plan, lambda: pipeline, folder, batch_size=BATCH_SIZE)


def _require_equal(folder: Path) -> None:
    """Both made the same images."""
    from emo_harness.image_file import open_image, pixels_sha256

    for path in (folder / "plain").glob("*.png"):
        if pixels_sha256(open_image(path)) != pixels_sha256(
            open_image(folder / "ours" / path.name)
        ):
            raise AssertionError(f"{path.name} differs")


def _save(folder: Path) -> None:
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.images.tiny_pipelines import save_clip_tokenizer

    torch.manual_seed(0)
    tokenizer = save_clip_tokenizer(folder.parent / "vocabulary")
    n_tokens = len(tokenizer)
    text = CLIPTextConfig(
        vocab_size=n_tokens,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=n_tokens - 2,
        eos_token_id=n_tokens - 1,
        pad_token_id=n_tokens - 1,
    )
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=SIDE // 4,
            block_out_channels=(64, 128, 192),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=64,
        ),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(json.dumps(measure(parser.parse_args().rounds)))
