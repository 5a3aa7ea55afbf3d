"""Train the demo's CLIP: `python -m emo_harness.demo.train_clip --out FOLDER`.

Images and captions are drawn by lot, and of every caption and every image of a step it is known
whether the one is true of the other; so all true pairs are targets, not only those on the diagonal
(contrastive loss of Radford et al., 2021, with several positives). Beside that, every image is
told by its concept, said in changing words: zero-shot classification is what this encoder is for.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    cross_entropy,
    grid_sample,
    log_softmax,
    normalize,
    pad,
)
from tqdm import tqdm

from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS, caption_tokenizer
from emo_harness.demo.captions import concept_phrase, facts, is_true, random_caption
from emo_harness.demo.drawn_images import NEUTRAL, SIZE, DemoImage, concepts, pixels, random_image
from emo_harness.demo.train_autoencoder import decoded, latents, learning_rate_share
from emo_harness.extras import import_extra
from emo_harness.whole_file import text_writer, write_whole

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

DEFAULT_SEED = 1
IMAGES_PER_STEP = 128
MOST_LOGIT_SCALE = 4.6
CHECK_EVERY = 100
LARGE_SIZE = 192
"""Half of the images are drawn at this size and made smaller, as images to be checked are."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": [1, 2, 1, 1],
        "width": 16,
        "head_width": 32,
        "patch_size": None,
    },
    "text_cfg": {
        "context_length": CONTEXT_TOKENS,
        "width": 128,
        "heads": 4,
        "layers": 2,
        # With an empty name open_clip takes its own vocabulary; the folder's own one is read.
        "hf_tokenizer_name": "emo-demo-clip",
    },
}


@dataclass(frozen=True)
class Stage:
    """A part of training with its own optimizer and images.

    Attributes:
        neutral_share: of images that are neutral whatever the lot says.
        concept_weight: of the loss of telling the concept, beside the contrastive one.
        decoded_share: of images that have gone through the diffusion model's autoencoder, whose
            softness generated images share. No generated image is ever trained on.
    """

    steps: int
    peak_learning_rate: float
    images: int
    neutral_share: float
    concept_weight: float
    decoded_share: float = 0.0


# Neutral is many things and learnt last; the second part shows more of them.
STAGES = (
    Stage(900, 2e-3, 16_000, neutral_share=0.0, concept_weight=1.0),
    Stage(560, 1.2e-3, 9_000, neutral_share=0.15, concept_weight=2.0),
    Stage(350, 8e-4, 5_000, neutral_share=0.15, concept_weight=2.0, decoded_share=0.5),
    Stage(600, 8e-4, 6_000, neutral_share=0.1, concept_weight=2.0, decoded_share=0.4),
)


@dataclass(frozen=True)
class Pool:
    """Images to learn from, and what they show.

    pixels: (n, SIZE, SIZE, 3), uint8.
    facts: (n, 4), see `captions.facts`.
    """

    images: tuple[DemoImage, ...]
    pixels: torch.Tensor
    facts: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for model and tokenizer")
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
    """Train from scratch on images that our code draws, and write open_clip's folder.

    A stage starts from the weights that the one before it saved, in half precision.

    Returns:
        (steps of all stages,) loss.
    """
    torch.set_num_threads(1)
    diffusers = import_extra("diffusers", "training the demo's CLIP")
    vae = diffusers.AutoencoderKL.from_pretrained(autoencoder)
    tokenizer = caption_tokenizer(seed)
    losses: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_clip(len(tokenizer))
        for number, stage in enumerate(stages, start=1):
            if number > 1:
                load_weights(model, out)
            # Seeds of stages differ, and so do their images.
            pool = draw_pool(stage, vae, seed=seed + number - 1)
            of_stage = training(model, tokenizer, stage, pool, seed=seed + number - 1)
            for step, loss in enumerate(of_stage, start=1):
                losses.append(loss)
                if step % CHECK_EVERY == 0 or step == stage.steps:
                    tqdm.write(f"stage {number}, step {step}: {np.mean(losses[-CHECK_EVERY:]):.4f}")
                    save(model, tokenizer, out)
    return losses


def draw_pool(stage: Stage, vae: Any, *, seed: int) -> Pool:
    """Images of compositions that are not held out; every second one drawn large.

    Args:
        vae: the autoencoder that the first of them go through, `decoded_share` of all.
    """
    n = stage.images
    rng = np.random.default_rng([seed, 0])
    chosen = [
        random_image(
            rng,
            held_out=False,
            concept=NEUTRAL if stage.neutral_share and rng.random() < stage.neutral_share else None,
        )
        for _ in range(n)
    ]
    found = np.empty((n, SIZE, SIZE, 3), np.uint8)
    for start, size in ((0, SIZE), (1, LARGE_SIZE)):
        found[start::2] = pixels(chosen[start::2], seed=seed + start, drawn_size=size)
    shown = torch.from_numpy(found)
    if n_decoded := round(n * stage.decoded_share):
        shown[:n_decoded] = decoded(vae, latents(vae, shown[:n_decoded]))
    return Pool(tuple(chosen), shown, np.array([facts(p) for p in chosen]))


def build_clip(vocabulary_size: int) -> Any:
    """An untrained CLIP of 2 million parameters: a small ResNet and a two-layer transformer."""
    open_clip = import_extra("open_clip", "training the demo's CLIP")
    text = {**ARCHITECTURE["text_cfg"], "vocab_size": vocabulary_size}
    model = open_clip.CLIP(
        ARCHITECTURE["embed_dim"],
        open_clip.CLIPVisionCfg(**ARCHITECTURE["vision_cfg"]),
        open_clip.CLIPTextCfg(**text),
    )
    model.visual.to(memory_format=torch.channels_last)
    return model


def training(
    model: Any, tokenizer: "CLIPTokenizer", stage: Stage, pool: Pool, *, seed: int
) -> Iterator[float]:
    """Train in place; yields the loss of each step."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    model.train()
    for step in tqdm(range(stage.steps), desc="clip", mininterval=5):
        for group in optimizer.param_groups:
            group["lr"] = stage.peak_learning_rate * learning_rate_share(step, stage.steps)
        rng = np.random.default_rng([seed, 1, step])
        rows = rng.integers(len(pool.images), size=IMAGES_PER_STEP)
        optimizer.zero_grad()
        loss = step_loss(model, tokenizer, pool, rows, rng, stage.concept_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MOST_LOGIT_SCALE)
        yield loss.item()


def step_loss(
    model: Any,
    tokenizer: "CLIPTokenizer",
    pool: Pool,
    rows: np.ndarray,
    rng: np.random.Generator,
    concept_weight: float,
) -> torch.Tensor:
    """Mean of both directions of the contrastive loss, and the loss of telling the concept."""
    captions = [random_caption(pool.images[row], rng) for row in rows.tolist()]
    named = [concept_phrase(concept, rng) for concept in concepts()]
    texts = [caption.text for caption in captions] + named
    of = pool.facts[rows]
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.encode_image(model_input(distorted(pool.pixels[rows], rng)))
    read = model.encode_text(as_tokens(tokenizer, texts))
    logits = model.logit_scale.exp() * normalize(seen.float()) @ normalize(read).T
    pairs, by_concept = logits.split([len(captions), len(named)], dim=1)
    true = torch.from_numpy(is_true(np.array([c.claims for c in captions]), of)).float()
    images = -(log_softmax(pairs, 1) * (true / true.sum(1, keepdim=True))).sum(1).mean()
    texts_loss = -(log_softmax(pairs, 0) * (true / true.sum(0, keepdim=True))).sum(0).mean()
    telling = cross_entropy(by_concept, torch.from_numpy(of[:, 0]))
    return (images + texts_loss) / 2 + concept_weight * telling


def as_tokens(tokenizer: "CLIPTokenizer", texts: list[str]) -> torch.Tensor:
    """(n_texts, CONTEXT_TOKENS) ids, as open_clip's own wrapper makes them."""
    tokens: torch.Tensor = tokenizer(
        texts,
        return_tensors="pt",
        max_length=CONTEXT_TOKENS,
        padding="max_length",
        truncation=True,
    ).input_ids
    return tokens


def distorted(shown: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shift, scale, blur, noise and changed light, so that images need not be as drawn.

    Args:
        shown: (n, SIZE, SIZE, 3) uint8.

    Returns:
        (n, 3, SIZE, SIZE) float32 from 0 to 1.
    """
    n = len(shown)
    found = shown.permute(0, 3, 1, 2).float() / 255

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))

    moved = torch.zeros(n, 2, 3)
    moved[:, 0, 0] = moved[:, 1, 1] = uniform(0.9, 1.1, n)
    moved[:, :, 2] = uniform(-0.08, 0.08, n, 2)
    grid = affine_grid(moved, [n, 3, SIZE, SIZE], align_corners=False)
    found = grid_sample(found, grid, padding_mode="border", align_corners=False)
    blurred = avg_pool2d(pad(found, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = uniform(0, 1, n, 1, 1, 1).square()
    found = (1 - share) * found + share * blurred
    light = uniform(0.85, 1.15, n, 1, 1, 1) * found + uniform(-0.08, 0.08, n, 3, 1, 1)
    noise = torch.from_numpy(rng.standard_normal(light.shape, np.float32))
    return (light + uniform(0, 0.05, n, 1, 1, 1) * noise).clamp(0, 1)


def model_input(images: torch.Tensor) -> torch.Tensor:
    """Normalised as the folder's configuration says; channels last, which is faster."""
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
    return ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)


def load_weights(model: Any, folder: Path) -> None:
    """What `save` wrote, as float32, into a model of the same build."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))


def save(model: Any, tokenizer: "CLIPTokenizer", out: Path) -> None:
    """Write open_clip's folder; weights in half precision, which it loads as float32."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    config = {
        "model_cfg": {
            **ARCHITECTURE,
            "text_cfg": {**ARCHITECTURE["text_cfg"], "vocab_size": len(tokenizer)},
        },
        "preprocess_cfg": {
            "mean": MEAN,
            "std": DEVIATION,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
    write_whole(out / "open_clip_config.json", text_writer(json.dumps(config, indent=2) + "\n"))
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    write_whole(out / "open_clip_model.safetensors", lambda path: save_file(state, path))


if __name__ == "__main__":
    main()
