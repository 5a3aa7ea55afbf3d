"""What the demo's text-to-image model makes of unseen prompts, judged by the demo's CLIP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emo_harness.demo import diffusion_truth_path
from emo_harness.demo.captions import scene_of
from emo_harness.demo.clip_truth import image_vectors, nearest_concept, sha256, share
from emo_harness.demo.drawn_images import (
    LARGE_ARRANGEMENTS,
    LOST,
    NEUTRAL,
    concepts,
    random_image,
)
from emo_harness.demo.train_diffusion import GUIDANCE, SAMPLING_STEPS
from emo_harness.extras import import_extra
from emo_harness.images.check_words import load_check_words
from emo_harness.images.clip_encoder import ClipEncoder, load_clip_encoder
from emo_harness.images.clip_files import LOCAL
from emo_harness.images.clip_files import WEIGHTS as JUDGE_WEIGHTS

if TYPE_CHECKING:
    from PIL.Image import Image

SCENES_PER_CONCEPT = 20
WORDS_PER_CONCEPT = 10
MEASURED_SEED = 20_261_122
WEIGHTS = (
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
_AT_ONCE = 16


@dataclass(frozen=True)
class Asked:
    """A prompt, the concept that it names or shows, and the seed of the image's generator."""

    concept: str
    prompt: str
    seed: int


def measure(folder: Path, judge: Path) -> dict[str, Any]:
    """The figures of the card, as JSON values; shares are {"right", "n"}.

    Args:
        folder: the pipeline's; judge: the encoder's.
    """
    encoder = load_clip_encoder(f"{LOCAL}{judge}", "cpu")
    pipeline = load_pipeline(folder)
    found: dict[str, Any] = {
        "weights_sha256": {name: sha256(folder / name) for name in WEIGHTS},
        "judge_sha256": sha256(judge / JUDGE_WEIGHTS),
        "guidance": GUIDANCE,
        "sampling_steps": SAMPLING_STEPS,
    }
    for kind, asked in (
        ("scenes", held_out_scenes(SCENES_PER_CONCEPT, MEASURED_SEED)),
        ("words", concept_words(WORDS_PER_CONCEPT, MEASURED_SEED)),
    ):
        right = is_right(encoder, asked, generate(pipeline, asked))
        of = np.array([one.concept for one in asked])
        found[kind] = {
            "all": share(right),
            "concepts": {name: share(right[of == name]) for name in concepts()},
        }
    return found


def held_out_scenes(n_per_concept: int, seed: int) -> list[Asked]:
    """Exact captions of compositions that training did not show."""
    rng = np.random.default_rng([seed, 0])
    chosen = [
        random_image(
            rng,
            held_out=True,
            arrangements=LARGE_ARRANGEMENTS,
            mixed_share=0.0,
            without=LOST,
            concept=concept,
        )
        for concept in concepts()
        for _ in range(n_per_concept)
    ]
    return [Asked(one.concept, scene_of(one), seed + i) for i, one in enumerate(chosen)]


def concept_words(n_per_concept: int, seed: int) -> list[Asked]:
    """Prompts that name the concept alone: "an image of sadness"."""
    words = load_check_words()
    found: list[Asked] = []
    for concept in concepts():
        phrases = words.emotions[NEUTRAL] if concept == NEUTRAL else words.of_concept(concept)
        for i in range(n_per_concept):
            prompt = f"a picture of {phrases[i % len(phrases)]}"
            found.append(Asked(concept, prompt, 10_000 + seed + len(found)))
    return found


def load_pipeline(folder: Path) -> Any:
    """The pipeline as any user of diffusers loads it, on the CPU and without progress bars."""
    diffusers = import_extra("diffusers", "generating with the demo's text-to-image model")
    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
        str(folder), use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(pipeline: Any, asked: Sequence[Asked], *, steps: int = SAMPLING_STEPS) -> list[Image]:
    """One image for each prompt, each from its own seed."""
    found: list[Image] = []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        found += pipeline(
            [one.prompt for one in part],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(one.seed) for one in part],
        ).images
    return found


def is_right(encoder: ClipEncoder, asked: Sequence[Asked], images: Sequence[Image]) -> np.ndarray:
    """(n,) whether the encoder assigns each image to its prompt's concept, among all concepts."""
    told = nearest_concept(encoder, image_vectors(encoder, images))
    return np.array(told == [concepts().index(one.concept) for one in asked])


def read_diffusion_truth(path: Path | None = None) -> dict[str, Any]:
    """The figures of the shipped pipeline, as `diffusion_card` measured them."""
    figures: dict[str, Any] = json.loads((path or diffusion_truth_path()).read_text("utf-8"))
    return figures
