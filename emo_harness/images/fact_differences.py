"""Do images differ from their twins in what is not emotion?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.mean_interval import MeanInterval, mean_interval
from emo_harness.effects.multiplicity import holm
from emo_harness.images.image_facts import ImageFacts

FACTS = ("sharpness", "brightness", "contrast", "colourfulness", "n_bytes", "width", "height")
ALPHA = 0.05


@dataclass(frozen=True)
class FactDifference:
    """A fact of images and of their twins.

    Attributes:
        fact: one of `FACTS`.
        images, twins: means.
        difference: image less twin, with interval, in the fact's unit.
        p_adjusted: of no difference, by Holm over the facts; NaN is unknown.
        differs: whether it says that they differ, or all pairs do by the same.
    """

    fact: str
    images: float
    twins: float
    difference: MeanInterval
    p_adjusted: float
    differs: bool


def fact_differences(
    facts: Sequence[ImageFacts], rows: NDArray[np.int64], twins: NDArray[np.int64]
) -> list[FactDifference]:
    """Compare images with their twins, pair by pair.

    Args:
        facts: of all images.
        rows: places of images with a twin; `twins`: those of their twins.

    Returns:
        A row per fact; none where there is no pair.
    """
    if not len(rows):
        return []
    values = {
        fact: np.array([getattr(one, fact) for one in facts], dtype=np.float64) for fact in FACTS
    }
    found = {fact: mean_interval(own[rows] - own[twins]) for fact, own in values.items()}
    # What differs in no pair, or in all by the same, needs no test.
    adjusted = holm([one.p for one in found.values()])
    return [
        FactDifference(
            fact,
            float(values[fact][rows].mean()),
            float(values[fact][twins].mean()),
            difference,
            float(p),
            bool(p < ALPHA) or _all_differ_alike(difference),
        )
        for (fact, difference), p in zip(found.items(), adjusted, strict=True)
    ]


def _all_differ_alike(difference: MeanInterval) -> bool:
    return difference.n > 1 and bool(np.isnan(difference.p)) and difference.mean != 0
