"""Small image sets made for tests: any concepts, any sizes, with neutral twins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emo_harness.images import Drawn, ImageEntry, pixels_sha256, write_manifest

ATTACK = ("fear", "sadness")
PROMPT = ("money", "fortress")
LEVELS = {"money": "physiological", "fortress": "safety"}


def random_image(seed: int, side: int = 24) -> Image.Image:
    """An image of random pixels, another for each seed."""
    rng = np.random.default_rng([7, seed])
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def write_image_set(
    folder: Path,
    *,
    families: dict[str, Sequence[str]] | None = None,
    per_concept: int = 3,
    twins: bool = True,
    side: int = 24,
    arousal: Sequence[str | None] = (None,),
    seed: int = 0,
) -> Path:
    """A set with `per_concept` images "fear-1" ... of each concept, and twins "fear-1-twin".

    Args:
        families: the concepts of each family; attack and prompt with two each by default.
        arousal: variants, dealt to each concept's images in turn.
        seed: of the pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[ImageEntry] = []

    def add(image_id: str, **facts: Any) -> None:
        image = random_image(1_000 * seed + len(entries), side)
        image.save(folder / f"{image_id}.png")
        made = Drawn(
            font="test",
            font_version="1",
            font_sha256="0" * 64,
            glyphs=("1F600",),
            arrangement="single",
            background="white",
            seed=len(entries),
        )
        entries.append(
            ImageEntry(
                id=image_id,
                file=f"{image_id}.png",
                sha256=pixels_sha256(image),
                width=side,
                height=side,
                made=made,
                **facts,
            )
        )

    for family, concepts in (families or {"attack": ATTACK, "prompt": PROMPT}).items():
        for concept in concepts:
            is_emotion = concept in ("happiness", *ATTACK)
            for number in range(1, per_concept + 1):
                facts: dict[str, Any] = {
                    "concept": concept,
                    "arousal": arousal[(number - 1) % len(arousal)],
                    "level": LEVELS.get(concept),
                }
                image_id = f"{concept}-{number}"
                add(image_id, family=family, emotion=concept if is_emotion else None, **facts)
                if twins:
                    add(f"{image_id}-twin", family="placebo", twin_of=image_id, **facts)
    write_manifest(folder, entries)
    return folder
