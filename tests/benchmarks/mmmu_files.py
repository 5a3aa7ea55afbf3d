"""Tiny MMMU subjects in the hub's layout: parquet files with images embedded in them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

IMAGE_COLUMNS = tuple(f"image_{i}" for i in range(1, 8))


def png(seed: int, mode: str = "RGB", side: int = 12) -> bytes:
    """The bytes of a PNG of random pixels."""
    rng = np.random.default_rng([11, seed])
    pixels = rng.integers(0, 256, (side, side, len(mode)), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if len(mode) == 1 else pixels, mode).save(file, "PNG")
    return file.getvalue()


def blank_png(side: int) -> bytes:
    """The bytes of a small file of many pixels."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def question(number: int, **facts: Any) -> dict[str, Any]:
    """One question; images are given as bytes, `image_1=png(3)`."""
    images = {name: facts.pop(name, None) for name in IMAGE_COLUMNS}
    return {
        "id": f"validation_Art_{number}",
        "question": "What is shown in <image 1>?",
        "options": "['a cat', 'a dog', 'a house', 'a tree']",
        "explanation": "",
        "answer": "B",
        "question_type": "multiple-choice",
        **facts,
        **{name: _embedded(image) for name, image in images.items()},
    }


def questions() -> list[dict[str, Any]]:
    """Both types of question, several images, places repeated and out of order."""
    return [
        question(1, image_1=png(1)),
        question(
            2,
            question="Compare <image 2> with <image 1>; <image 2> again.",
            options="['<image 1>', 'it is 5, not {x}', 'none']",
            answer="A",
            image_1=png(2, "RGBA"),
            image_2=png(3, "L"),
        ),
        question(
            3,
            question="How many are in <image 1>?",
            options="[]",
            answer="['4', 'four']",
            question_type="open",
            image_1=png(4),
        ),
    ]


def write_subject(folder: Path, subject: str, rows: list[dict[str, Any]]) -> Path:
    """Write `<subject>/validation-00000-of-00001.parquet` below the folder, as the hub has it."""
    target = folder / subject / "validation-00000-of-00001.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    as_hub(rows).to_parquet(str(target))
    return folder


def as_hub(rows: list[dict[str, Any]]) -> datasets.Dataset:
    """The data set as `datasets` loads it, images decoded where they are looked at."""
    features = datasets.Features(
        {
            name: datasets.Image() if name in IMAGE_COLUMNS else datasets.Value("string")
            for name in rows[0]
        }
    )
    return datasets.Dataset.from_list(rows, features=features)


def _embedded(image: Any) -> Any:
    return {"bytes": image, "path": "image.png"} if isinstance(image, bytes) else image
