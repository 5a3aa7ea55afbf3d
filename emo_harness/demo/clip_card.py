"""Write the demo CLIP's card from measurements: `python -m emo_harness.demo.clip_card`.

It measures the encoder on images that training did not show, writes `truth/clip.json`, and makes
the card from that file. Needs the emoji font.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from emo_harness.demo import clip_path, clip_truth_path
from emo_harness.demo import train_clip as recipe
from emo_harness.demo.clip_truth import CAPTIONS, MEASURED_SIZE, measure, percent, read_clip_truth
from emo_harness.demo.drawn_images import HELD_OUT_SHARE, concepts, glyphs_of
from emo_harness.images.clip_encoder import load_clip_encoder
from emo_harness.images.clip_files import LOCAL, WEIGHTS
from emo_harness.images.drawing import BACKGROUNDS
from emo_harness.whole_file import text_writer, write_whole

TEMPLATE = """\
---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
license: mit
language: en
---
# emo-demo-clip

A very small image-text encoder that knows emoji: which concept an image of them stands for, how
they are arranged and what is behind them. It exists to show and to test `emo images check` offline. It
says nothing about photographs, and is of no use for anything else.

| | |
|---|---|
| loads with | `open_clip.create_model_from_pretrained("local-dir:FOLDER")`, `open_clip.get_tokenizer("local-dir:FOLDER")` |
| architecture | ResNet of {blocks} bottleneck blocks with attention pooling, {size} pixels; transformer of {n_layers} layers, width {width}, {context} tokens; {dimensions} shared dimensions |
| size | {n_parameters:,} parameters, stored in half precision ({megabytes:.1f} MB), loaded as float32 |
| tokenizer | CLIP's byte-pair encoding with {vocabulary} entries of its own; end-of-text has the highest id, as open_clip's pooling needs |
| weights SHA-256 | `{weights_sha256}` |
| training | `python -m emo_harness.demo.train_clip --autoencoder VAE --out FOLDER`: seed {seed}, {steps} steps of {rows} images out of {n_images:,}; about 25 minutes on one core |
| licence | MIT; the images are drawn with Noto Color Emoji (SIL Open Font License 1.1) |

## Data
Everything is drawn and said by `emo_harness/demo/drawn_images.py` and `captions.py`: {n_glyphs} emoji of
{n_concepts} concepts (those of `templates/images/emoji.yaml`, and "neutral"), one to nine of them in six
arrangements on {n_backgrounds} backgrounds. Captions say the whole scene, or the concept in one of several
words, or both. In the last two parts of training about half of the images had gone through the autoencoder of
[emo-demo-diffusion](../emo-demo-diffusion/README.md), because generated images are as soft; no generated
image was trained on, and no other image or text was used.

A composition is the kinds of glyphs, their arrangement and the background. One in {one_in} compositions, and
every one of the shipped set `stimuli_images/emoji`, was held out. Single glyphs, arrangements and backgrounds
were all seen, in other company: "held out" says nothing about other emoji.

## Measured
Zero-shot, in the words of `templates/image_checks/words.yaml`, with 95 % intervals (Wilson).

| what | right | of |
|---|---|---|
| concept among {n_concepts}, held-out compositions drawn at {measured_size} pixels | {accuracy} | {accuracy_n} |
| emotion among {n_emotions}, those of them that show one or none | {emotions} | {emotions_n} |
| own caption among {n_captions} different ones, held-out compositions | {retrieval} | {retrieval_n} |
| concept of the shipped set's images, among {n_concepts} | {shipped} | {shipped_n} |
| the shipped set's neutral twins as neutral, among {n_concepts} | {twins} | {twins_n} |

By concept, held-out compositions:

| concept | right | of |
|---|---|---|
{by_concept}

## What it cannot do
- Other images than emoji of these kinds, photographs among them, get an answer that means nothing; so do
  words that no caption had, though training mixed meaningless words in.
- It was trained on what it is asked here, so its probabilities are far surer than those of a large encoder.
- Valence and arousal were not trained.
- It does not judge the emotion of a *mixture*: all glyphs of a training image belong to one concept.
- Training is seeded, but another processor or library version may give slightly different weights;
  the shipped weights are the ones measured.
"""  # noqa: E501


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=clip_path(), help="the encoder")
    parser.add_argument("--truth", type=Path, default=clip_truth_path(), help="the file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_card(arguments.folder, arguments.truth)


def write_card(folder: Path, truth: Path) -> None:
    """Measure, write the figures, and write `README.md` into the encoder's folder."""
    figures = measure(folder, load_clip_encoder(f"{LOCAL}{folder}", "cpu"))
    write_whole(truth, text_writer(json.dumps(figures, indent=1) + "\n"))
    write_whole(folder / "README.md", text_writer(card(folder, read_clip_truth(truth))))


def card(folder: Path, figures: Mapping[str, Any]) -> str:
    """The card's text."""
    encoder = load_clip_encoder(f"{LOCAL}{folder}", "cpu")
    vision, text = recipe.ARCHITECTURE["vision_cfg"], recipe.ARCHITECTURE["text_cfg"]
    shares = {
        "accuracy": figures["accuracy"],
        "emotions": figures["emotions"],
        "retrieval": figures["retrieval"],
        "shipped": figures["shipped"]["images"],
        "twins": figures["shipped"]["twins"],
    }
    return TEMPLATE.format(
        blocks=sum(vision["layers"]),
        size=vision["image_size"],
        n_layers=text["layers"],
        width=text["width"],
        context=text["context_length"],
        dimensions=recipe.ARCHITECTURE["embed_dim"],
        n_parameters=sum(p.numel() for p in encoder.model.parameters()),
        megabytes=(folder / WEIGHTS).stat().st_size / 1e6,
        vocabulary=len(encoder.tokenizer.tokenizer),
        weights_sha256=figures["weights_sha256"],
        seed=recipe.DEFAULT_SEED,
        steps=" + ".join(f"{stage.steps:,}" for stage in recipe.STAGES),
        rows=recipe.IMAGES_PER_STEP,
        n_images=sum(stage.images for stage in recipe.STAGES),
        n_glyphs=sum(map(len, glyphs_of().values())),
        n_concepts=len(concepts()),
        n_backgrounds=len(BACKGROUNDS),
        one_in=round(1 / HELD_OUT_SHARE),
        measured_size=MEASURED_SIZE,
        n_emotions=figures["n_emotions"],
        n_captions=CAPTIONS,
        by_concept="\n".join(
            f"| {name} | {percent(of)} | {of['n']} |" for name, of in figures["concepts"].items()
        ),
        **{name: percent(of) for name, of in shares.items()},
        **{f"{name}_n": of["n"] for name, of in shares.items()},
    )


if __name__ == "__main__":
    main()
