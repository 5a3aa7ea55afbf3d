"""Rows of vectors in the making: one buffer per site, in the dtype that is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from emo_harness.activations.engines import PassRead

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class NotFiniteError(ArithmeticError):
    """An activation is NaN or infinite, or became so when it was stored.

    Attributes:
        site: where.
        layer: the place among the captured layers.
        row: of the buffer.
        largest: of the absolute values there as computed; NaN where the model gave NaN or infinity.
    """

    def __init__(self, site: str, layer: int, row: int, largest: float) -> None:
        super().__init__(f"{site}, layer {layer}, row {row}")
        self.site = site
        self.layer = layer
        self.row = row
        self.largest = largest


class RowBuffer:
    """Takes what passes read, and gives finished rows.

    Args:
        n_rows: how many.
        shapes: by site, of one vector at one layer.
        n_layers: captured.
        dtype: as stored.
        averaged: whether rows are means over tokens, which are summed up in float32.
    """

    def __init__(
        self,
        n_rows: int,
        shapes: Mapping[str, Sequence[int]],
        n_layers: int,
        dtype: torch.dtype,
        *,
        averaged: bool,
    ) -> None:
        self._dtype = dtype
        self._averaged = averaged
        kind = torch.float32 if averaged else dtype
        self._rows = {
            site: torch.zeros((n_rows, n_layers, *shape), dtype=kind)
            for site, shape in shapes.items()
        }

    def add(self, read: PassRead) -> None:
        """Take the vectors of one pass.

        Raises:
            NotFiniteError: some are not finite, or not in the dtype that is stored.
        """
        if not len(read.rows):
            return
        rows = torch.from_numpy(read.rows)
        for site, vectors in read.vectors.items():
            kept = vectors.float() if self._averaged else vectors.to(self._dtype)
            if not torch.isfinite(kept).all():
                raise _not_finite(site, vectors, kept, rows)
            if self._averaged:
                weights = torch.from_numpy(read.weights).view(-1, *[1] * (kept.dim() - 1))
                self._rows[site].index_add_(0, rows, kept.cpu() * weights)
            else:
                self._rows[site][rows] = kept.cpu()

    def finished(self) -> dict[str, torch.Tensor]:
        """By site, (n_rows, n_layers, *shape) in the dtype that is stored.

        Raises:
            NotFiniteError: a mean is too large for it.
        """
        if not self._averaged:
            return self._rows
        stored = {site: means.to(self._dtype) for site, means in self._rows.items()}
        for site, kept in stored.items():
            if not torch.isfinite(kept).all():
                raise _not_finite(site, self._rows[site], kept, torch.arange(len(kept)))
        return stored


def _not_finite(
    site: str, vectors: torch.Tensor, kept: torch.Tensor, rows: torch.Tensor
) -> NotFiniteError:
    """Tell the earliest layer, since what is behind it follows from it."""
    bad = ~torch.isfinite(kept).flatten(2).all(dim=2).cpu()
    layer = int(bad.any(dim=0).nonzero()[0])
    place = int(bad[:, layer].nonzero()[0])
    largest = float(vectors[place, layer].float().abs().max())
    return NotFiniteError(site, layer, int(rows[place]), largest)
