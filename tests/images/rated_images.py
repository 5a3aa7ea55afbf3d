"""Images of noise in a folder, and bringing them in with a table of ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emo_harness.images.image_source import open_source
from emo_harness.images.importing import ImportedSet, import_set
from emo_harness.images.norms import ratings, read_table, scale_of
from emo_harness.images.rating_columns import columns_of


def random_image(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        random_image(seed).save(path)
    return folder


def bring(place: Path, table: Path, out: Path, scale: Any = None, **options: Any) -> ImportedSet:
    source, read = open_source(place), read_table(table)
    named = {key: options.pop(key) for key in ("valence", "raters", "file") if key in options}
    columns = columns_of(read, source.find, **named)
    rated = ratings(read, columns)
    return import_set(source, read, columns, rated, scale_of(rated, scale, ""), out, **options)
