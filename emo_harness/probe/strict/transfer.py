"""Transfer: does one dimension's axis read another, and what is the angle between the two?

Transfer asks a probe of one dimension for the other's targets, on words that it was not fitted on.
Angles are between balanced axes, with a bootstrap over words and templates. Noise turns two axes
away from each other: beside a cosine stands what it would be without (Spearman 1904), from each
axis's agreement with itself on the two halves of its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.clustered import Clusters
from emo_harness.probe.strict.balanced_axes import balanced_axes, everything, half_weights
from emo_harness.probe.strict.linear_fits import METHODS, LinearFit
from emo_harness.probe.strict.one_dimension import Strict
from emo_harness.probe.strict.tally import Key, result
from emo_harness.probe.strict.vectors import Vectors
from emo_harness.probe.targets import Bools, Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AxisDraws:
    """One dimension's balanced axis, again and again.

    Attributes:
        whole: (1, L * dim) on all words and templates.
        drawn: (n_draws, L * dim) on bootstrap draws, drawn alike for all dimensions.
        halves: (2, n_halves, L * dim) on either half of the words.
    """

    whole: Floats
    drawn: Floats
    halves: Floats


def draw_axes(
    vectors: Vectors, targets: Targets, drawn: Floats, rng: np.random.Generator
) -> AxisDraws:
    """The axes of one dimension.

    Args:
        drawn: (n_draws, n) weights, see `balanced_axes.drawn_weights`.
    """
    first, second = half_weights(targets, rng)
    weights = np.concatenate([everything(targets), drawn, first, second])
    axes = balanced_axes(vectors, targets, weights)
    n_draws = 1 + len(drawn)
    return AxisDraws(
        axes[:1], axes[1:n_draws], axes[n_draws:].reshape(2, len(first), axes.shape[1])
    )


def angles(first: AxisDraws, second: AxisDraws, layers: Sequence[int]) -> list[dict[str, Any]]:
    """The angle between two dimensions' axes, over all layers (layer None) and per layer.

    Returns:
        Dictionaries of layer, cosine, low, high (95%, percentiles of the bootstrap), angle_degrees,
        reliability of either (of the whole axis, by Spearman and Brown), and the cosine without
        noise (None where a reliability is not positive).
    """
    dim = first.whole.shape[1] // len(layers)
    places: list[tuple[int | None, slice]] = [(None, slice(None))]
    places += [(layer, slice(k * dim, (k + 1) * dim)) for k, layer in enumerate(layers)]
    found = []
    for layer, columns in places:
        whole = float(_cosines(first.whole[:, columns], second.whole[:, columns])[0])
        around = _cosines(first.drawn[:, columns], second.drawn[:, columns])
        low, high = np.percentile(around, [2.5, 97.5])
        reliable = [_reliability(one.halves[..., columns]) for one in (first, second)]
        noise = (reliable[0] * reliable[1]) ** 0.5 if min(reliable) > 0 else None
        found.append(
            {
                "layer": layer,
                "cosine": whole,
                "low": float(low),
                "high": float(high),
                "angle_degrees": float(np.degrees(np.arccos(np.clip(whole, -1, 1)))),
                "reliability": reliable,
                "cosine_without_noise": noise and float(np.clip(whole / noise, -1, 1)),
            }
        )
    return found


def transfer(read: Strict, targets: Targets, vectors: Vectors, site: str) -> list[dict[str, Any]]:
    """Rows of results: one dimension's pooled probes asked for another's targets.

    The split is called "from <dimension>"; every word that is in the probe's training is left out,
    in all its forms. Where words have a pole on both dimensions, they alone are asked: a word
    without a pole on the probe's dimension is never in its training, and would outweigh them.

    Args:
        read: whose probes are asked.
        targets, vectors: the rows they are asked about.
    """
    right = np.zeros((len(METHODS), len(targets)), np.float32)
    times = np.zeros(len(targets), np.float32)
    by_seed = np.full((len(read.rounds), len(METHODS)), np.nan)
    of_read = set(read.targets.words)
    crossed = np.array([word in of_read for word in targets.words])
    if not crossed.any():
        crossed = np.ones(len(crossed), bool)
    for number, one in enumerate(read.rounds):
        known = {
            lemma
            for lemma, seen in zip(read.targets.lemmas, one.split.seen_words, strict=True)
            if seen
        }
        fresh: Bools = np.array([lemma not in known for lemma in targets.lemmas])
        fresh = (fresh & crossed)[targets.word]
        if not fresh.any():
            continue
        fits = [_moved(read.pooled.fits[number, m], read.vectors, vectors) for m in METHODS]
        weights = np.concatenate([fit.weights[:, :1] for fit in fits], axis=1).astype(np.float32)
        intercepts = np.array([fit.intercepts[0] for fit in fits], np.float32)
        rows = np.flatnonzero(fresh)
        decisions = (vectors.scaled[rows] @ weights + intercepts).T
        points = (1 + np.sign(decisions) * targets.targets[rows]) / 2
        right[:, rows] += points
        times[rows] += 1
        by_seed[number] = points.mean(axis=1)
    clusters = Clusters(targets.word, targets.template, targets.cell)
    dimension = read.targets.dimension
    return [
        result(
            targets.dimension,
            site,
            Key(method, "probe", True, "raw", of=dimension),
            f"from {dimension}",
            estimate,
            by_seed[:, place],
        )
        for place, (method, estimate) in enumerate(
            zip(METHODS, clusters.accuracies(right, times), strict=True)
        )
    ]


def shared_poles(first: Targets, second: Targets) -> dict[str, int]:
    """How many words have a pole on both dimensions, and how many of them the same one."""
    poles = dict(zip(first.words, first.poles, strict=True))
    pairs = [
        (poles[word], pole)
        for word, pole in zip(second.words, second.poles, strict=True)
        if word in poles
    ]
    return {"words": len(pairs), "same": sum(int(a == b) for a, b in pairs)}


def _moved(fit: LinearFit, from_units: Vectors, to_units: Vectors) -> LinearFit:
    """A fit on one set of scaled vectors as a fit on another."""
    raw = fit.weights / from_units.scale[:, None]
    offset = from_units.shift - to_units.shift
    return LinearFit(raw * to_units.scale[:, None], fit.intercepts - offset @ raw)


def _reliability(halves: Floats) -> float:
    half = float(_cosines(halves[0], halves[1]).mean())
    return 2 * half / (1 + half)


def _cosines(a: Floats, b: Floats) -> Doubles:
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: Doubles = np.divide(
        (a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0
    )
    return found
