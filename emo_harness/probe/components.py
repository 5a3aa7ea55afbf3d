"""Principal components of activations, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Blocks = Callable[[], Iterable[NDArray[np.float32]]]
OVERSAMPLED, PASSES = 8, 6


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components.

    Attributes:
        directions: (n_components, dim), of length 1.
        mean: (dim,).
        explained: (n_components,) share of the variance.
        n: rows.
    """

    directions: Floats
    mean: Floats
    explained: Floats
    n: int

    def scores(self, rows: NDArray[np.floating]) -> Floats:
        """(n, n_components) of rows (n, dim)."""
        return (rows - self.mean) @ self.directions.T


def exact_components(rows: NDArray[np.floating], n_components: int) -> Components:
    """Components of rows (n, dim) that fit into memory, from the smaller Gram matrix."""
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows - mean
    total = float((centred**2).sum())
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    n_components = min(n_components, len(values))
    explained = values[:n_components] ** 2 / total if total > 0 else np.zeros(n_components)
    return _signed(Components(directions[:n_components], mean, explained, len(rows)))


def block_components(blocks: Blocks, n_components: int, rng: np.random.Generator) -> Components:
    """Components of rows that are read a block at a time, several times over.

    Randomised subspace iteration (Halko, Martinsson and Tropp 2011, SIAM Rev. 53, 217, alg. 4.4) on
    the covariance, which is never made: each pass costs 4 n dim k operations, and memory is that of
    one block. Exact up to rounding where the first k components hold all variance.

    Args:
        blocks: gives all rows, (n, dim) at a time, in the same order each time.
    """
    total, mean, n = 0.0, np.zeros(0), 0
    for block in blocks():
        wide = block.sum(axis=0, dtype=np.float64)
        mean = wide if not n else mean + wide
        total += float(np.einsum("nd,nd->", block, block, dtype=np.float64))
        n += len(block)
    mean = mean / n
    total -= n * float(mean @ mean)
    width = min(n_components + OVERSAMPLED, len(mean), n)
    basis = np.linalg.qr(rng.standard_normal((len(mean), width)))[0]
    image = basis
    for _ in range(PASSES):
        basis = np.linalg.qr(image)[0]
        image = np.zeros_like(basis)
        narrow, offset = basis.astype(np.float32), mean @ basis
        for block in blocks():
            seen = block @ narrow - offset
            # Rows are centred by their scores: sum (x - m) s = sum x s - m sum s.
            image += block.T @ seen.astype(np.float32) - np.outer(mean, seen.sum(axis=0))
    values, turned = np.linalg.eigh((basis.T @ image + image.T @ basis) / 2)
    order = np.argsort(values)[::-1][: min(n_components, width)]
    explained = np.maximum(values[order], 0) / total if total > 0 else np.zeros(len(order))
    return _signed(Components((basis @ turned[:, order]).T, mean, explained, n))


def shares(scores: Floats, factors: Mapping[str, NDArray[np.generic]]) -> dict[str, list[float]]:
    """By factor, the share of each component's variance that lies between the factor's levels.

    eta^2 = between / total; for a factor without any bearing it is about (levels - 1) / (n - 1).

    Args:
        scores: (n, n_components).
        factors: (n,) levels by name; NaN belongs to no level and is left out.
    """
    return {name: _share(scores, levels) for name, levels in factors.items()}


def _share(scores: Floats, levels: NDArray[np.generic]) -> list[float]:
    kept = levels == levels
    scores, (known, level) = scores[kept], np.unique(levels[kept], return_inverse=True)
    if len(known) < 2:
        return [float("nan")] * scores.shape[1]
    centred = scores - scores.mean(axis=0)
    sums = np.zeros((len(known), scores.shape[1]))
    np.add.at(sums, level, centred)
    between = (sums**2 / np.bincount(level)[:, None]).sum(axis=0)
    total = (centred**2).sum(axis=0)
    found = np.divide(between, total, out=np.full_like(total, np.nan), where=total > 0)
    return [float(share) for share in found]


def _signed(found: Components) -> Components:
    """The components with the largest entry of each positive: signs do not hang on the solver."""
    largest = np.abs(found.directions).argmax(axis=1)
    signs = np.sign(found.directions[np.arange(len(largest)), largest])
    signs = np.where(signs == 0, 1, signs)
    return Components(found.directions * signs[:, None], found.mean, found.explained, found.n)
