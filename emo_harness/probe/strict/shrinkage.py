"""Shrinkage: how far a correlation matrix of clustered rows is to be pulled towards the identity.

Ledoit & Wolf (2004, J. Multivar. Anal. 88, 365-411) shrink by a = E|S - R|^2 / E|S - I|^2. With
independent rows the numerator is (E|z|^4 - |R|^2) / n. Ours are not: rows share a word or a
template. Summing over all ordered pairs (i, j) that do,

    E|S - R|^2 = sum_ij (E (z_i . z_j)^2 - |R|^2) / n^2,

where |R|^2 is E (z_i . z_j)^2 over pairs that share neither. The four expectations are means over
drawn pairs, so that the cost is a few thousand dot products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.targets import Bools, Ints, Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
N_PAIRS = 3000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Drawn pairs of training rows.

    Attributes:
        first: (m,) rows.
        second: (3, m) rows: of the same word, of the same template, of neither.
        n: number of training rows.
        n_same_word, n_same_template: ordered pairs of training rows that share it.
    """

    first: Ints
    second: Ints
    n: int
    n_same_word: float
    n_same_template: float


def draw_pairs(targets: Targets, train: Bools, rng: np.random.Generator) -> Pairs:
    """Pairs of training rows, `N_PAIRS` of each kind."""
    rows = np.flatnonzero(train)
    first = rng.choice(rows, N_PAIRS)
    neither = rng.choice(rows, N_PAIRS)
    for _ in range(50):
        shares = (targets.word[neither] == targets.word[first]) | (
            targets.template[neither] == targets.template[first]
        )
        neither[shares] = rng.choice(rows, int(shares.sum()))
    second = np.stack(
        [
            _partner(targets.word, rows, first, rng),
            _partner(targets.template, rows, first, rng),
            neither,
        ]
    )
    return Pairs(
        first,
        second,
        len(rows),
        _n_sharing(targets.word[rows]),
        _n_sharing(targets.template[rows]),
    )


def dots(
    values: Floats,
    pairs: Pairs,
    mean: Doubles,
    variances: Doubles,
    n_heads: int,
    template: Ints,
    centres: Floats | None = None,
) -> Doubles:
    """z_i . z_j of standardised rows: with themselves, same word, same template, neither.

    Args:
        values: (n, d) float32 rows; `centres` (T, d) are taken out by `template` (n,).
        mean, variances: (d,) of the training rows.

    Returns:
        (4, m, n_heads); their sum over heads (and layers) belongs to the heads (and layers)
        together.
    """
    scale = (1 / np.sqrt(variances)).astype(np.float32)

    def standardised(rows: Ints) -> Floats:
        taken = values[rows] - mean.astype(np.float32)
        if centres is not None:
            taken -= centres[template[rows]]
        return (taken * scale).reshape(len(rows), n_heads, -1)

    first = standardised(pairs.first)
    others = [first, *(standardised(rows) for rows in pairs.second)]
    return np.stack([np.einsum("mhd,mhd->mh", first, other) for other in others]).astype(float)


def shrinkage(found: Doubles, pairs: Pairs, dim: int) -> float:
    """The share a of the identity in (1 - a) R + a I.

    Args:
        found: (4, m) dot products, see `dots`.
        dim: of the features.

    Returns:
        A number in [0, 1].
    """
    itself, word, template, neither = np.square(found).mean(axis=1)
    noise = (
        pairs.n * (itself - neither)
        + pairs.n_same_word * (word - neither)
        + pairs.n_same_template * (template - neither)
    ) / pairs.n**2
    noise = max(float(noise), 0.0)
    signal = max(float(neither) - dim, 0.0)
    return noise / (noise + signal) if noise + signal > 0 else 1.0


def _partner(kind: Ints, rows: Ints, first: Ints, rng: np.random.Generator) -> Ints:
    """For each row of `first` another of `rows` of its kind, itself where it is alone."""
    order = rows[np.argsort(kind[rows], kind="stable")]
    begins = np.searchsorted(kind[order], kind[first], side="left")
    ends = np.searchsorted(kind[order], kind[first], side="right")
    place = begins + (rng.random(len(first)) * (ends - begins)).astype(np.int64)
    again = order[place] == first
    place[again] = begins[again] + (place[again] - begins[again] + 1) % (ends - begins)[again]
    return np.asarray(order[place])


def _n_sharing(kind: Ints) -> float:
    counts = np.bincount(kind).astype(float)
    return float((counts * (counts - 1)).sum())
