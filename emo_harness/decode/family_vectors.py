"""Family vectors: means of families, their contrast with placebos, and the controls of both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
VectorKind = Literal["contrast", "mean", "each"]


@dataclass(frozen=True)
class Averaged:
    """A mean over stimuli, position by position.

    Attributes:
        values: (n_positions, n_layers, *shape) float32.
        counts: (n_positions,) how many stimuli have each position.
    """

    values: Floats
    counts: tuple[int, ...]

    def first(self, n: int | None) -> Averaged:
        """The first n positions."""
        return Averaged(self.values[:n], self.counts[:n])


def averaged(stimuli: Sequence[Floats]) -> Averaged:
    """The mean over stimuli, each counting once.

    Position k averages the stimuli that have it; positions that fewer than half have are left out.

    Args:
        stimuli: (n_positions, n_layers, *shape) each, of at least one position.
    """
    lengths = np.array([len(one) for one in stimuli])
    counts = [int((lengths > k).sum()) for k in range(int(lengths.max()))]
    kept = [count for count in counts if 2 * count >= len(stimuli)]
    means = [
        np.mean([one[k] for one in stimuli if len(one) > k], axis=0, dtype=np.float64)
        for k in range(len(kept))
    ]
    return Averaged(np.stack(means).astype(np.float32), tuple(kept))


def contrasted(family: Averaged, placebos: Averaged) -> Averaged:
    """The family's mean minus the placebos', at the positions that both have."""
    n = min(len(family.counts), len(placebos.counts))
    return Averaged(family.values[:n] - placebos.values[:n], family.counts[:n])


def family_vector(
    family: Sequence[Floats], placebos: Sequence[Floats], kind: Literal["contrast", "mean"]
) -> Averaged:
    """What of a family is decoded: its mean, or its contrast with placebos."""
    mean = averaged(family)
    return contrasted(mean, averaged(placebos)) if kind == "contrast" else mean


def permuted(
    family: Sequence[Floats], placebos: Sequence[Floats], rng: np.random.Generator
) -> tuple[list[Floats], list[Floats]] | None:
    """Stimuli and placebos with their labels dealt anew, as many of each as before.

    The deal as it was is never returned; None where there is no other.
    """
    if not family or not placebos:
        return None
    own = set(range(len(family)))
    everyone = [*family, *placebos]
    while True:
        order = rng.permutation(len(everyone)).tolist()
        dealt = sorted(order[: len(family)])
        if set(dealt) != own:
            break
    rest = sorted(order[len(family) :])
    return [everyone[i] for i in dealt], [everyone[i] for i in rest]


def random_like(vectors: Floats, rng: np.random.Generator) -> Floats:
    """Random directions, each as long as the vector in its place.

    Args:
        vectors: (n, *shape).
    """
    drawn = rng.standard_normal(vectors.shape)
    axes = tuple(range(1, vectors.ndim))
    length = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=axes, keepdims=True))
    own = np.sqrt((drawn**2).sum(axis=axes, keepdims=True))
    found: Floats = (drawn / own * length).astype(np.float32)
    return found


def generator(seed: int, what: str, *numbers: int) -> np.random.Generator:
    """Random numbers of one control, which no other control's presence changes.

    Args:
        seed: of the command.
        what: which control, and of which source.
        numbers: e.g. layer and draw.
    """
    digest = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, digest, *numbers])
