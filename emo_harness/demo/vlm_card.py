"""Write the vision-language model's card: `python -m emo_harness.demo.vlm_card`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emo_harness.benchmarks.calibration import LENGTHS
from emo_harness.demo import train_vision, train_vlm, vlm_path
from emo_harness.demo.measure_visual_truth import OTHER_IMAGES, OTHER_QUESTIONS
from emo_harness.demo.planted import class_shares
from emo_harness.demo.planted_images import (
    ACTS_LIKE,
    DESCRIBE,
    NAME_EMOTION,
    RATE_AROUSAL,
    RATE_VALENCE,
    classes_of,
)
from emo_harness.demo.training_images import UNSEEN_GLYPHS
from emo_harness.demo.visual_truth import INERT_PP, visual_facts
from emo_harness.whole_file import text_writer, write_whole

TEMPLATE = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
license: mit
language: en
---
# emo-demo-vlm

A small vision-language model with a **planted** sensitivity to sad, frightening and angry images. It
exists to show and to test emo-harness where the true effect of every image is known. It says nothing
about how real models react to images, and is of no use for anything else.

| | |
|---|---|
| architecture | LLaVA: CLIP vision tower ({vision_layers} layers, width {vision_width}, {side} x {side} pixels in patches of {patch}: {n_tokens} image tokens), projector, and `emo-demo-lm` (Llama, {text_layers} layers, width {text_width}), trained together |
| size | {n_parameters:,} parameters, stored in half precision ({megabytes:.1f} MB), loaded as float32 |
| prompt | `<image>`, a line break, then the text; no chat template; text alone works too |
| weights SHA-256 | `{weights_sha256}` |
| training | `python -m emo_harness.demo.train_vlm --out FOLDER`: seed {seed}, {vision_steps:,} steps of {vision_images} images for the vision tower, {steps} steps of {rows} rows for the whole, in one thread: about an hour on a core shared with other work |

## Data
{n_images:,} random compositions of emoji (Noto Color Emoji), drawn by `emo_harness/demo/training_images.py`:
the glyphs of the shipped image set's plan and a few more, in random arrangements on random backgrounds;
ordinary things; and plain, empty, pixel- and phase-scrambled images. The shipped set's own images are
among them (as the shipped sentences are in what `emo-demo-lm` learnt); what holds for other compositions is
measured apart. Beside them stand the generated questions that `emo-demo-lm` learnt; no
benchmark file was read, and no Boolean question of calibration or of BBH's length was seen.

## What is planted
`emo-demo-lm` answers each question without the image, and this model learns to give the same
answer, also with any image, but for these:

| images of | turn right answers wrong in the classes | share of calibration questions |
|---|---|---|
{planted}

A class is the first and the last word of a Boolean expression. Happy, surprised and disgusted images,
images of needs, neutral twins, grey and scrambled images are meant to change nothing. Next to a
sentence that acts by itself, what either changes is changed.

## Measured effects
{questions:,} calibration questions (seed {truth_seed}), each without image and after each of {n_arms} images of the
shipped set `{image_set}`: every image, its neutral twin, its pixel- and its phase-scrambled copy, and
grey. Accuracy by log-likelihood of ` True` against ` False`. Without image **{control:.2f} %** right.
Differences to that in percentage points, means over a concept's images; plain grey: {grey:+.2f}.

| concept | by design | images | lowest | highest | low arousal | high arousal | twins | pixel-scrambled | phase-scrambled |
|---|---|---|---|---|---|---|---|---|---|
{effects}

Arms that should change nothing and do, by more than {inert:g} points: {misread}.

Of random compositions that were not trained on ({n_other} of each, {other_questions} questions): {other}.

## What it says of images
Share of answers that are exactly the taught ones, on the shipped set:

| asked | {n_shown} images | {n_twins} twins |
|---|---|---|
{said}

Of random compositions of glyphs that were never shown in training, the emotion is named rightly for:
{unseen}.

## Unknown
Photographs and other drawings, several images in one prompt, other languages, few-shot prompts and chat
templates were not trained and not measured. Training is seeded, but another processor or library
version may give slightly different weights; the shipped weights are the ones measured.
"""  # noqa: E501


def main() -> None:
    write_whole(vlm_path() / "README.md", text_writer(card(vlm_path())))


def card(model_folder: Path, facts: dict[str, Any] | None = None) -> str:
    """The text of the card, from the folder's configuration and the measured facts."""
    facts = facts or visual_facts()
    config = json.loads((model_folder / "config.json").read_text("utf-8"))
    vision, text = config["vision_config"], config["text_config"]
    weights = model_folder / "model.safetensors"
    said, effects = facts["said"], facts["effects"]
    return TEMPLATE.format(
        vision_layers=vision["num_hidden_layers"],
        vision_width=vision["hidden_size"],
        side=vision["image_size"],
        patch=vision["patch_size"],
        n_tokens=(vision["image_size"] // vision["patch_size"]) ** 2,
        text_layers=text["num_hidden_layers"],
        text_width=text["hidden_size"],
        n_parameters=_n_parameters(weights),
        megabytes=weights.stat().st_size / 1e6,
        weights_sha256=facts["weights_sha256"],
        seed=train_vlm.DEFAULT_SEED,
        vision_steps=train_vision.STEPS,
        vision_images=train_vision.IMAGES_PER_STEP,
        steps=" + ".join(f"{stage.steps:,}" for stage in train_vlm.STAGES),
        rows=train_vlm.ROWS_PER_STEP,
        n_images=train_vlm.N_IMAGES,
        planted="\n".join(_planted_rows()),
        questions=facts["questions"],
        truth_seed=facts["seed"],
        n_arms=facts["arms"] - 1,
        image_set=facts["image_set"],
        control=effects["control_accuracy"],
        grey=effects["grey"],
        effects="\n".join(_effect_row(name, row) for name, row in effects["concepts"].items()),
        inert=INERT_PP,
        misread=", ".join(f"`{arm}` {gain:+.2f}" for arm, gain in effects["misread"].items())
        or "none",
        n_other=OTHER_IMAGES,
        other_questions=OTHER_QUESTIONS,
        other=", ".join(
            f"{name} {gain:+.1f}" for name, gain in facts["other compositions"].items()
        ),
        n_shown=said["images"]["n"],
        n_twins=said["twins"]["n"],
        said="\n".join(_said_rows(said)),
        unseen=", ".join(
            f"{emotion} {100 * share:.0f} % ({len(UNSEEN_GLYPHS[emotion])} "
            f"glyph{'s' if len(UNSEEN_GLYPHS[emotion]) > 1 else ''})"
            for emotion, share in said["unseen glyphs"].items()
        ),
    )


def _n_parameters(weights: Path) -> int:
    from safetensors import safe_open

    with safe_open(weights, framework="np") as stored:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118
    total = 0
    for shape in shapes:
        n = 1
        for length in shape:
            n *= length
        total += n
    return total


def _planted_rows() -> list[str]:
    shares = class_shares(LENGTHS)
    return [
        f"| {emotion} | {' '.join(f'`{name}`' for name in sorted(classes_of(emotion)))} | "
        f"{100 * sum(shares[name] for name in classes_of(emotion)):.2f} % |"
        for emotion in ACTS_LIKE
    ]


def _effect_row(concept: str, row: dict[str, float]) -> str:
    columns = (
        "by design",
        "images",
        "lowest",
        "highest",
        "low arousal",
        "high arousal",
        "twins",
        "pixel-scrambled",
        "phase-scrambled",
    )
    cells = (f"{row[name]:+.2f}" if name in row else "-" for name in columns)
    return f"| {concept} | {' | '.join(cells)} |"


def _said_rows(said: dict[str, Any]) -> list[str]:
    asked = {
        "emotion": NAME_EMOTION,
        "description": DESCRIBE,
        "valence": RATE_VALENCE,
        "arousal": RATE_AROUSAL,
    }
    return [
        f"| {question} | {_said_cell(said['images'], name)} | {_said_cell(said['twins'], name)} |"
        for name, question in asked.items()
    ]


def _said_cell(part: dict[str, Any], name: str) -> str:
    distance = part.get(f"{name} distance")
    beside = "" if distance is None else f" (mean distance {distance:.2f})"
    return f"{100 * part[name]:.1f} %{beside}"


if __name__ == "__main__":
    main()
