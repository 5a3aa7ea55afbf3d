"""Where the tokens of an image lie in it: rows and columns, in reading order.

A list of models by configuration, each of which was tried: in models with another order, or whose
image tokens have no place in the image at all, a map would be a picture of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted

# One image, or one tile of it, is a square of tokens, one row after another.
SQUARE = frozenset({"gemma3", "idefics3", "internvl", "llava", "smolvlm", "vipllava"})
# The processor tells the grid before tokens are merged.
TOLD = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"})
# Tokens of a row stand together, with a mark between rows.
ROWS = frozenset({"mistral3"})
ROWS_BY_TOWER = frozenset({"pixtral"})
KNOWN = SQUARE | TOLD | ROWS


def grid_of(config: Any, inputs: Mapping[str, Any], is_patch: NDArray[np.bool_]) -> tuple[int, int]:
    """Rows and columns of the tokens of one image.

    Args:
        config: of the model.
        inputs: what the model is given; `image_grid_thw` where its processor tells it.
        is_patch: (n,) which tokens are the image's.

    Raises:
        UserError: the model's order is not known, there are several images, or the image was cut
            into tiles.
    """
    kind = getattr(config, "model_type", None)
    vision = getattr(config, "vision_config", None)
    runs = _runs(is_patch)
    if kind in TOLD and len(inputs.get("image_grid_thw", ())) == 1:
        frames, rows, columns = (int(n) for n in inputs["image_grid_thw"][0])
        merged = int(getattr(vision, "spatial_merge_size", 1))
        grid = (rows // merged, columns // merged)
        if frames == 1 and math.prod(grid) == int(is_patch.sum()):
            return grid
    elif kind in ROWS or (kind in SQUARE and _tower(vision) in ROWS_BY_TOWER):
        lengths = {length for _, length in runs}
        apart = {after - first - n for (first, n), (after, _) in pairwise(runs)}
        if len(lengths) == 1 and apart <= {1}:
            return len(runs), lengths.pop()
    elif kind in SQUARE and len(runs) == 1 and _n_tiles(inputs) == 1:
        side = math.isqrt(runs[0][1])
        if side * side == runs[0][1]:
            return side, side
    n_each = quoted([f"{n}" for _, n in runs])
    raise UserError(
        "laying an image's tokens out over it",
        found=f"{int(is_patch.sum())} tokens in {len(runs)} runs ({n_each}), "
        f"of a model of the kind {kind!r}",
        expected="one whole image, and one of " + quoted(sorted(KNOWN), len(KNOWN)),
        fix="give one image, turn its cutting into tiles off in the processor "
        "(do_image_splitting=False), or name the grid if you know it",
    )


def _tower(vision: Any) -> str | None:
    return getattr(vision, "model_type", None)


def _n_tiles(inputs: Mapping[str, Any]) -> int:
    """Pictures that the model is given: their last axes are channels, rows and columns."""
    return math.prod(inputs["pixel_values"].shape[:-3]) if "pixel_values" in inputs else 0


def _runs(is_patch: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, length) of tokens of the image that stand together."""
    edges = np.flatnonzero(np.diff(np.r_[False, is_patch, False].astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in edges.reshape(-1, 2)]
