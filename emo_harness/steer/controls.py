"""Controls: directions as long as the axis that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from emo_harness.axes import Axis

Kind = Literal["axis", "random", "orthogonal"]


@dataclass(frozen=True)
class Direction:
    """An axis, or a control beside it.

    Attributes:
        name: "valence", "random 1", "orthogonal 3".
        kind: what it is.
        axis: the direction, in every layer as long as the axis under test.
    """

    name: str
    kind: Kind
    axis: Axis


def with_controls(axis: Axis, n_of_each: int, seed: int) -> list[Direction]:
    """The axis, random directions, and random directions at a right angle to it.

    A random direction has by chance a little of the axis in it; an orthogonal one has none, layer
    by layer. All are as long as the axis in every layer, so they disturb the model as much.

    Args:
        n_of_each: how many random and how many orthogonal ones.
        seed: together with a control's number it alone decides the direction.
    """
    found = [Direction(axis.name, "axis", axis)]
    for number in range(1, n_of_each + 1):
        drawn = axis.random_like(np.random.default_rng([seed, 0, number]))
        found.append(Direction(f"random {number}", "random", drawn))
    for number in range(1, n_of_each + 1):
        drawn = axis.random_like(np.random.default_rng([seed, 1, number])).orthogonal_to(axis)
        scale = axis.distances / np.maximum(drawn.distances, np.finfo(np.float32).tiny)
        vectors = (drawn.vectors * scale[:, None]).astype(np.float32)
        found.append(
            Direction(f"orthogonal {number}", "orthogonal", replace(drawn, vectors=vectors))
        )
    return found
