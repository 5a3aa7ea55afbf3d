"""Vectors: the activations that probes are fitted on, shifted and scaled to about unit size.

Every fit here is equivariant to a shift and a scaling per feature, so that taking out the grand
mean and the standard deviation changes no prediction, and lets sums in float32 keep their digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations
    from emo_harness.probe.targets import Ints

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
_BLOCK_BYTES = 64_000_000


@dataclass(frozen=True, eq=False)
class Vectors:
    """Activations of n rows at some layers: raw = scaled * scale + shift.

    Attributes:
        layers: of the model, L of them.
        n_heads: keys and values are `n_heads` vectors side by side; 1 for other sites.
        scaled: (n, L * dim) float32.
        shift, scale: (L * dim,) float64, raw units; scale is 1 where a feature never varies.
    """

    layers: tuple[int, ...]
    n_heads: int
    scaled: Floats
    shift: Doubles
    scale: Doubles

    @property
    def dim(self) -> int:
        """Of one layer."""
        return self.scaled.shape[1] // len(self.layers)

    def layer(self, place: int) -> slice:
        """The columns of the layer at a place in `layers`."""
        return slice(place * self.dim, (place + 1) * self.dim)


def read_vectors(
    store: Activations, site: str, rows: Ints, layers: Sequence[int] | None = None
) -> Vectors:
    """Read rows of a store, in the order of `rows`.

    Raises:
        UserError: the site or a layer was not captured, or a value is not finite.
    """
    shape = store.shape(site)
    chosen = tuple(store.manifest.layers if layers is None else layers)
    width = len(chosen) * int(np.prod(shape))
    scaled = np.empty((len(rows), width), np.float32)
    n_at_once = max(1, _BLOCK_BYTES // (4 * width))
    total, squares = np.zeros(width), np.zeros(width)
    origin: Floats | None = None
    for first in range(0, len(rows), n_at_once):
        block = slice(first, first + n_at_once)
        scaled[block] = store.read(site, rows=rows[block], layers=chosen).reshape(-1, width)
        if origin is None:
            # Squares are summed around a first row: variances of far-off features would drown.
            origin = scaled[0].copy()
        moved = scaled[block] - origin
        if not np.isfinite(moved).all():
            raise not_finite(store, site, rows[block], chosen, scaled[block])
        total += moved.sum(axis=0, dtype=np.float64)
        squares += np.square(moved).sum(axis=0, dtype=np.float64)
    if origin is None:
        raise ValueError("no rows")
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    scale = np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
    shift = origin + mean
    for first in range(0, len(rows), n_at_once):
        block = slice(first, first + n_at_once)
        scaled[block] -= shift.astype(np.float32)
        scaled[block] *= (1 / scale).astype(np.float32)
    return Vectors(chosen, shape[0] if len(shape) == 2 else 1, scaled, shift, scale)


def not_finite(
    store: Activations, site: str, rows: Ints, layers: Sequence[int], block: Floats
) -> UserError:
    """What to say of a block (n, L * dim) of which some value is not finite: where it is."""
    row, column = np.argwhere(~np.isfinite(block))[0]
    layer = layers[column * len(layers) // block.shape[1]]
    prompt = store.index["prompt"].iloc[rows[row]]
    return UserError(
        f"reading {site} activations in {store.folder}",
        found=f"{block[row, column]} in layer {layer} of prompt {prompt}",
        expected="finite numbers",
        fix="capture again in float32 (--dtype float32): values beyond 65,504 do not fit in float16"
        "; if that does not help, the model itself computes such values",
    )
