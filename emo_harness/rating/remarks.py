"""What stands in the way of reading ratings: no norms, no spread, answers without a rating."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_harness.effects.rank_correlation import FEWEST
from emo_harness.rating.ask import Rated

Floats = NDArray[np.float64]
# A model that gives the nine ratings less together would rather say something else.
LITTLE_MASS = 0.5
# Where more of the images get the same ratings, the model hardly looks at them.
MOST_ALIKE = 0.8
# Of fewer images the same ratings say nothing.
FEWEST_ALIKE = 10


def why_no_correlation(ratings: ArrayLike, norms: ArrayLike) -> str:
    """Why ratings and norms have no rank correlation; "" where they have one.

    Args:
        ratings, norms: (n,) of the same images; NaN is unknown.
    """
    rated, by_people = (np.asarray(side, dtype=np.float64) for side in (ratings, norms))
    n_norms = int((~np.isnan(by_people)).sum())
    both = ~(np.isnan(rated) | np.isnan(by_people))
    n = int(both.sum())
    if not n_norms:
        return "none in the set"
    if n < FEWEST:
        images = "1 rated image" if n == 1 else f"{n} rated images"
        return f"{images}, too few to correlate"
    for name, side in (("ratings", rated), ("norms", by_people)):
        if np.ptp(side[both]) == 0:
            return f"all {n:,} {name} are equal"
    return ""


def remarks(ratings: Mapping[str, Rated]) -> list[str]:
    """Why ratings mean little, one sentence each.

    Args:
        ratings: by dimension.
    """
    return [*_alike(ratings), *(told for name in ratings for told in _of_one(name, ratings[name]))]


def _of_one(name: str, rated: Rated) -> Iterator[str]:
    known = rated.mass[~np.isnan(rated.mass)]
    if len(known) and np.median(known) < LITTLE_MASS:
        yield (
            f"{name}: the nine ratings together have a probability of {np.median(known):.2f} "
            "(median), so the model would rather answer something else"
        )
    n_unread = int(np.isnan(rated.expected).sum())
    if n_unread:
        yield (
            f"{name}: {n_unread:,} of {len(rated.expected):,} answers name no single number from "
            "1 to 9"
        )


def _alike(ratings: Mapping[str, Rated]) -> Iterator[str]:
    """Whether nearly all images got the same ratings, to a tenth."""
    sides: Sequence[Floats] = [np.round(rated.expected, 1) for rated in ratings.values()]
    together = [row for row in zip(*sides, strict=True) if not np.isnan(row).any()]
    if len(together) < FEWEST_ALIKE:
        return
    ((usual, n),) = Counter(together).most_common(1)
    if n > MOST_ALIKE * len(together):
        told = ", ".join(f"{name} {value:.1f}" for name, value in zip(ratings, usual, strict=True))
        yield (
            f"{n:,} of {len(together):,} images got the same ratings ({told}): the model hardly "
            "tells these images apart"
        )
