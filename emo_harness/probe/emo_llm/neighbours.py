"""Nearest neighbours: what most of the nearest training prompts are, by Euclidean distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
# Distances computed at once, and training rows whose distances are then computed exactly.
_BLOCK_BYTES = 64_000_000
_NEAR = 8


def vote_of_nearest(train: Floats, labels: Bools, asked: Floats, k: int = 5) -> Bools:
    """Whether most of the k nearest training rows are true; of equally near rows, the first.

    Squared distances |a|^2 - 2 a.b + |b|^2 come from matrix products in float32, which cannot tell
    very near rows apart: the k + 8 nearest are computed again from differences.

    Args:
        train: (n, d) float32, k rows or more.
        labels: (n,) bool.
        asked: (m, d) float32.
        k: odd, so that no vote is a draw.

    Returns:
        (m,) bool.
    """
    if k > len(train) or not k % 2:
        raise ValueError(f"{k} neighbours among {len(train)} rows")
    squared = np.einsum("nd,nd->n", train, train)
    n_near = min(k + _NEAR, len(train))
    n_rows = max(1, _BLOCK_BYTES // (4 * len(train)))
    votes = np.empty(len(asked), bool)
    for first in range(0, len(asked), n_rows):
        rows = asked[first : first + n_rows]
        apart = rows @ train.T
        apart *= -2
        apart += squared
        near = np.argpartition(apart, n_near - 1, axis=1)[:, :n_near]
        votes[first : first + n_rows] = _votes(train, labels, rows, np.sort(near, axis=1), k)
    return votes


def _votes(train: Floats, labels: Bools, rows: Floats, near: NDArray[np.int64], k: int) -> Bools:
    """Votes of the k nearest among a few: near (m, c) are numbers of training rows."""
    votes = np.empty(len(rows), bool)
    for number, (row, few) in enumerate(zip(rows, near, strict=True)):
        apart = (train[few] - row).astype(np.float64)
        nearest = np.argsort(np.einsum("cd,cd->c", apart, apart), kind="stable")[:k]
        votes[number] = 2 * int(labels[few[nearest]].sum()) > k
    return votes
