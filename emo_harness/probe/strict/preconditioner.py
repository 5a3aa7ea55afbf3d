"""Preconditioner: one factorised Gram matrix of all rows, near to every seed's training Gram.

A training Gram matrix is about a share of the full one, so that solving with the full one's
Cholesky factor brings conjugate gradients close in a few steps. It changes how fast a solution is
found, not which. Beyond `MOST_TOGETHER` features the blocks of single layers are factorised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.gram import CONSTANT

Floats = NDArray[np.float32]
MOST_TOGETHER = 12_000
_ROWS = 4096


class FullGram:
    """X'X of float32 rows, the lower triangles of its blocks.

    Args:
        values: (n, d) float32.
        blocks: columns that are taken together.
    """

    def __init__(self, values: Floats, blocks: Sequence[slice]) -> None:
        from scipy.linalg.blas import ssyrk

        self.n = len(values)
        self.blocks = list(blocks)
        self.lower: list[Floats] = []
        for block in self.blocks:
            width = block.stop - block.start
            total = np.zeros((width, width), np.float32, order="F")
            for first in range(0, len(values), _ROWS):
                rows = np.ascontiguousarray(values[first : first + _ROWS, block])
                total = ssyrk(1.0, rows.T, 1.0, total, lower=1, overwrite_c=1)
            self.lower.append(total)

    def __add__(self, other: FullGram) -> FullGram:
        both = FullGram.__new__(FullGram)
        both.n = self.n + other.n
        both.blocks = self.blocks
        both.lower = [mine + its for mine, its in zip(self.lower, other.lower, strict=True)]
        return both

    def factorised(
        self, penalty: float, means: Floats, centres: Floats | None, counts: Floats
    ) -> Preconditioner:
        """The factor of this matrix over n, with penalty, mean and template centres taken out.

        Args:
            means: (T, d) plain means of the templates' rows.
            centres: (T, d) that are taken out; None leaves the features raw.
            counts: (T,) rows of each template.
        """
        from scipy.linalg import cholesky
        from scipy.linalg.blas import ssyrk

        root = np.sqrt(counts / self.n).astype(np.float32)[:, None]
        factors = []
        for block, lower in zip(self.blocks, self.lower, strict=True):
            matrix = lower / np.float32(self.n)
            inside = means[:, block]
            if centres is not None:
                # sum (x - c)(x - c)' = sum x x' - n m m' + n (m - c)(m - c)' within a template.
                without = np.asfortranarray((root * inside).T)
                matrix = ssyrk(-1.0, without, 1.0, matrix, lower=1, overwrite_c=1)
                inside = inside - centres[:, block]
                left = np.asfortranarray((root * inside).T)
                matrix = ssyrk(1.0, left, 1.0, matrix, lower=1, overwrite_c=1)
            mean = (counts / self.n) @ inside
            matrix = ssyrk(
                -1.0, mean[:, None].astype(np.float32), 1.0, matrix, lower=1, overwrite_c=1
            )
            diagonal = np.maximum(np.diagonal(matrix), 0)
            variances = np.where(diagonal > CONSTANT, diagonal, 1)
            # A sliver above the penalty keeps rounding in float32 from making it indefinite.
            matrix[np.diag_indices_from(matrix)] = diagonal + (penalty + 1e-4) * variances
            factors.append(cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))
        return Preconditioner(self.blocks, factors)


class Preconditioner:
    """M^-1, block by block; made by `FullGram.factorised`."""

    def __init__(self, blocks: Sequence[slice], factors: Sequence[Floats]) -> None:
        self._blocks = list(zip(blocks, factors, strict=True))

    def __call__(self, right: Floats) -> Floats:
        """M^-1 b for (d, k)."""
        from scipy.linalg import cho_solve

        solved = np.empty_like(right)
        for block, factor in self._blocks:
            solved[block] = cho_solve((factor, True), right[block], check_finite=False)
        return solved
