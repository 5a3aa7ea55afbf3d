"""Write the demo text-to-image model's card: `python -m emo_harness.demo.diffusion_card`.

It generates images for prompts that training did not show, has the demo's CLIP judge them, writes
`truth/diffusion.json`, and makes the card from that file.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from emo_harness.demo import clip_path, diffusion_path, diffusion_truth_path
from emo_harness.demo import train_autoencoder as autoencoder_recipe
from emo_harness.demo import train_diffusion as recipe
from emo_harness.demo.caption_tokenizer import CONTEXT_TOKENS
from emo_harness.demo.clip_truth import percent
from emo_harness.demo.diffusion_truth import WEIGHTS, load_pipeline, measure, read_diffusion_truth
from emo_harness.demo.drawn_images import HELD_OUT_SHARE, LOST, SIZE, concepts, glyphs_of
from emo_harness.images.drawing import BACKGROUNDS
from emo_harness.whole_file import text_writer, write_whole

TEMPLATE = """\
---
library_name: diffusers
pipeline_tag: text-to-image
license: mit
language: en
---
# emo-demo-diffusion

A very small text-to-image model that draws emoji: one or two of them, on a background, from a caption. It
exists to show and to test `emo images generate` offline, within seconds on a processor. It knows no
other images, and is of no use for anything else.

| | |
|---|---|
| loads with | `diffusers.AutoPipelineForText2Image.from_pretrained(FOLDER)`, a `StableDiffusionPipeline` without safety checker |
| architecture | latent diffusion: autoencoder {size} x {size} pixels to {latent} x {latent} x {channels}, UNet (32, 64, 96), CLIP text encoder of 2 layers, width {width}, {context} tokens; v-prediction, DDIM, schedule with zero terminal signal |
| size | {n_parameters:,} parameters, stored in half precision ({megabytes:.1f} MB), loaded as float32 |
| tokenizer | CLIP's byte-pair encoding with {vocabulary} entries of its own |
| weights SHA-256 | {weights_sha256} |
| training | `python -m emo_harness.demo.train_autoencoder --out VAE`: seed {vae_seed}, {vae_steps:,} steps of {vae_rows} images; `python -m emo_harness.demo.train_diffusion --autoencoder VAE --out FOLDER`: seed {seed}, {steps} steps of {rows} latents; together about an hour and a half on one shared core |
| use | guidance {guidance:g}, 8 to 20 steps, {size} x {size} pixels |
| licence | MIT; the images it learnt from are drawn with Noto Color Emoji (SIL Open Font License 1.1) |

## Data
Everything is drawn and said by `emo_harness/demo/drawn_images.py` and `captions.py`: {n_glyphs} emoji of
{n_concepts} concepts (those of `templates/images/emoji.yaml`, and "neutral"), single or in
pairs of one kind, on {n_backgrounds} backgrounds. Captions are exact ("two crying faces side by side in fog") or name the concept
("a picture of sorrow in fog"). No other image or text was used. One in {one_in} combinations
of glyph kinds, arrangement and background were held out, and every one of the shipped set.

## Measured
The share of generated images that [emo-demo-clip](../emo-demo-clip/README.md) assigns to the prompt's concept,
among {n_concepts}; guidance {guidance:g}, {sampling_steps} steps, every image from a seed of its own, and no
generated image left out; prompts are of the {n_glyphs} emoji that were kept (see below). In brackets the 95 % interval (Wilson). The judge has not seen the held-out compositions either; it learnt from images by
the same code, many of them through this model's own autoencoder, so it is no independent opinion.

| prompts | right | of |
|---|---|---|
| exact captions of held-out compositions | {scenes} | {scenes_n} |
| the concept's name, "a picture of sadness" | {words} | {words_n} |

| concept | exact captions | of | its name | of |
|---|---|---|---|---|
{by_concept}

## What it cannot do
- Anything but these emoji, at {size} x {size} pixels. Words that no caption had are passed over.
- {n_lost} emoji of the set were left out of the last parts of training and of the measurement, since the
  autoencoder does not give them back, mostly for their colours: {lost}.
- "A neutral face" is not understood, because captions called many things neutral; "an expressionless face" is.
- Glyphs are soft; rows, larger numbers and two kinds in one image were shown in the first part of training
  only, and are mostly not recognisable.
- The share above is about concepts, not about beauty, nor about the right number of glyphs.
- Training is seeded, but another processor or library version may give slightly different weights;
  the shipped weights are the ones measured.
"""  # noqa: E501


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=diffusion_path(), help="the pipeline")
    parser.add_argument("--judge", type=Path, default=clip_path(), help="the encoder that judges")
    parser.add_argument(
        "--truth", type=Path, default=diffusion_truth_path(), help="the file to write"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_card(arguments.folder, arguments.judge, arguments.truth)


def write_card(folder: Path, judge: Path, truth: Path) -> None:
    """Generate, judge, write the figures, and write `README.md` into the pipeline's folder."""
    figures = measure(folder, judge)
    write_whole(truth, text_writer(json.dumps(figures, indent=1) + "\n"))
    write_whole(folder / "README.md", text_writer(card(folder, read_diffusion_truth(truth))))


def card(folder: Path, figures: Mapping[str, Any]) -> str:
    """The card's text."""
    pipeline = load_pipeline(folder)
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    scenes, words = figures["scenes"], figures["words"]
    return TEMPLATE.format(
        size=SIZE,
        latent=recipe.LATENT_SIZE,
        channels=autoencoder_recipe.LATENT_CHANNELS,
        width=recipe.TEXT_WIDTH,
        context=CONTEXT_TOKENS,
        n_parameters=sum(p.numel() for part in parts for p in part.parameters()),
        megabytes=sum((folder / name).stat().st_size for name in WEIGHTS) / 1e6,
        vocabulary=len(pipeline.tokenizer),
        weights_sha256=", ".join(
            f"{name.split('/')[0]} `{value}`" for name, value in figures["weights_sha256"].items()
        ),
        vae_seed=autoencoder_recipe.DEFAULT_SEED,
        vae_steps=autoencoder_recipe.DEFAULT_STEPS,
        vae_rows=autoencoder_recipe.IMAGES_PER_STEP,
        seed=recipe.DEFAULT_SEED,
        steps=" + ".join(f"{stage.steps:,}" for stage in recipe.STAGES),
        rows=recipe.IMAGES_PER_STEP,
        guidance=figures["guidance"],
        sampling_steps=figures["sampling_steps"],
        n_glyphs=sum(map(len, glyphs_of().values())) - len(LOST),
        n_lost=len(LOST),
        lost=", ".join(LOST),
        n_concepts=len(concepts()),
        n_backgrounds=len(BACKGROUNDS),
        one_in=round(1 / HELD_OUT_SHARE),
        scenes=percent(scenes["all"]),
        scenes_n=scenes["all"]["n"],
        words=percent(words["all"]),
        words_n=words["all"]["n"],
        by_concept="\n".join(
            f"| {name} | {percent(of)} | {of['n']} | {percent(words['concepts'][name])} | "
            f"{words['concepts'][name]['n']} |"
            for name, of in scenes["concepts"].items()
        ),
    )


if __name__ == "__main__":
    main()
