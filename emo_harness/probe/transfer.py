"""Transfer: does one dimension's axis read another, and what is the angle between the two?

Transfer asks a probe of one dimension for the other's targets, on words that it was not fitted on.
Angles are between balanced axes, with a bootstrap over words and templates. Noise turns two axes
away from each other: beside a cosine stands what it would be without (Spearman 1904), from each
axis's agreement with itself on the two halves of its words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.balanced_axes import (
    balanced_axes,
    drawn_weights,
    everything,
    half_weights,
)
from emo_harness.probe.linear_fits import METHODS, LinearFit
from emo_harness.probe.strict import Strict
from emo_harness.probe.tally import Key, result
from emo_harness.probe.targets import Bools
from emo_harness.probe.vectors import Vectors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def transfer(read: Strict, asked: Strict, site: str) -> list[dict[str, Any]]:
    """Rows of results: `read`'s pooled probes asked for `asked`'s targets.

    The split is called "from <dimension>"; every word that is in the probe's training is left out,
    in all its forms.
    """
    targets = asked.targets
    right = np.zeros((len(METHODS), len(targets)), np.float32)
    times = np.zeros(len(targets), np.float32)
    by_seed = np.full((len(read.rounds), len(METHODS)), np.nan)
    for number, one in enumerate(read.rounds):
        known = {
            lemma
            for lemma, seen in zip(read.targets.lemmas, one.split.seen_words, strict=True)
            if seen
        }
        fresh: Bools = np.array([lemma not in known for lemma in targets.lemmas])[targets.word]
        if not fresh.any():
            continue
        fits = [
            _moved(read.pooled.fits[number, method], read.vectors, asked.vectors)
            for method in METHODS
        ]
        weights = np.concatenate([fit.weights[:, :1] for fit in fits], axis=1).astype(np.float32)
        intercepts = np.array([fit.intercepts[0] for fit in fits], np.float32)
        rows = np.flatnonzero(fresh)
        decisions = (asked.vectors.scaled[rows] @ weights + intercepts).T
        points = (1 + np.sign(decisions) * targets.targets[rows]) / 2
        right[:, rows] += points
        times[rows] += 1
        by_seed[number] = points.mean(axis=1)
    tally = asked.pooled.tallies[0]
    name = f"from {read.targets.dimension}"
    return [
        result(
            targets.dimension,
            site,
            Key(method, "probe", True, "raw", of=read.targets.dimension),
            name,
            estimate,
            by_seed[:, place],
        )
        for place, (method, estimate) in enumerate(
            zip(METHODS, tally.clusters.accuracies(right, times), strict=True)
        )
    ]


def shared_poles(first: Strict, second: Strict) -> dict[str, int]:
    """How many words have a pole on both dimensions, and how many of them the same one."""
    poles = dict(zip(first.targets.words, first.targets.poles, strict=True))
    pairs = [
        (poles[word], pole)
        for word, pole in zip(second.targets.words, second.targets.poles, strict=True)
        if word in poles
    ]
    return {"words": len(pairs), "same": sum(int(a == b) for a, b in pairs)}


def angles(first: Strict, second: Strict, seed: int = 0) -> list[dict[str, Any]]:
    """The angle between two dimensions' axes, per layer and over all layers (layer None).

    Returns:
        Dictionaries of layer, cosine, low, high (95%, percentiles of the bootstrap), angle_degrees,
        reliability of either (of the whole axis, by Spearman and Brown), and the cosine without
        noise (None where a reliability is not positive).
    """
    rng = np.random.default_rng([seed, 3])
    both = [(first.vectors, first.targets), (second.vectors, second.targets)]
    drawn = drawn_weights([first.targets, second.targets], rng)
    halves = [half_weights(targets, rng) for _, targets in both]
    axes = [
        balanced_axes(vectors, targets, np.concatenate([everything(targets), draws, *half]))
        for (vectors, targets), draws, half in zip(both, drawn, halves, strict=True)
    ]
    n_draws, n_halves = len(drawn[0]), len(halves[0][0])
    places: list[tuple[int | None, slice]] = [(None, slice(None))]
    places += [
        (layer, first.vectors.layer(place)) for place, layer in enumerate(first.vectors.layers)
    ]
    found = []
    for layer, columns in places:
        a, b = (one[:, columns].astype(np.float64) for one in axes)
        whole = float(_cosines(a[:1], b[:1])[0])
        around = _cosines(a[1 : 1 + n_draws], b[1 : 1 + n_draws])
        low, high = np.percentile(around, [2.5, 97.5])
        reliable = [_reliability(one[1 + n_draws :], n_halves) for one in (a, b)]
        product = reliable[0] * reliable[1]
        found.append(
            {
                "layer": layer,
                "cosine": whole,
                "low": float(low),
                "high": float(high),
                "angle_degrees": float(np.degrees(np.arccos(np.clip(whole, -1, 1)))),
                "reliability": reliable,
                "cosine_without_noise": (
                    float(np.clip(whole / product**0.5, -1, 1)) if min(reliable) > 0 else None
                ),
            }
        )
    return found


def _moved(fit: LinearFit, from_units: Vectors, to_units: Vectors) -> LinearFit:
    """A fit on one set of scaled vectors as a fit on another."""
    raw = fit.weights / from_units.scale[:, None]
    offset = from_units.shift - to_units.shift
    return LinearFit(raw * to_units.scale[:, None], fit.intercepts - offset @ raw)


def _reliability(axes: Doubles, n_halves: int) -> float:
    half = float(_cosines(axes[:n_halves], axes[n_halves:]).mean())
    return 2 * half / (1 + half)


def _cosines(a: Doubles, b: Doubles) -> Doubles:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: Doubles = np.divide(
        (a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0
    )
    return found
