"""The valence-arousal plane: where words lie along two axes.

Coordinates are in units of the class-mean distance, 0 halfway between the words of the two poles.
Two kinds: along axes that were fitted before (and perhaps on these very words, which flatters), and
along axes that never saw the word: differences of class means of the *other* lemmas in one half of
the templates, tried on the other half, both ways round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.axes import Axis
from emo_harness.errors import UserError
from emo_harness.probe.geometry.circumplex import LEVEL, NAN, resamples
from emo_harness.probe.geometry.word_means import WordMeans

Floats = NDArray[np.float64]
N_FOLDS = 10


@dataclass(frozen=True, eq=False)
class Plane:
    """Words along axes.

    Attributes:
        how: "fitted axes" or "held-out words".
        in_sample: whether the axes may have been fitted on these words.
        names: of the axes.
        points: (n_words, n_axes), all layers together.
        by_layer: (n_layers, n_words, n_axes).
        layers: of the model.
    """

    how: str
    in_sample: bool
    names: tuple[str, ...]
    points: Floats
    by_layer: Floats
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Angle:
    """The angle between two differences of class means.

    Attributes:
        words: "all", or "crossed": quadrants weighted alike, so that the lists' own confounding of
            the two dimensions does not enter.
        cosine, low, high: with the 95% interval over lemmas.
        by_layer: cosines, one per layer.
        n: words.
    """

    words: str
    cosine: float
    low: float
    high: float
    by_layer: tuple[float, ...]
    n: int


def fitted_plane(means: WordMeans, axes: Sequence[Axis], in_sample: bool) -> Plane:
    """Words along given axes, whose layers must be those of the means.

    A word's coordinate over all layers is sum_l x_l . v_l / sum_l |v_l|^2.
    """
    vectors = means.vectors.astype(np.float64)
    found = []
    for axis in axes:
        along = np.einsum("nld,ld->ln", vectors, axis.vectors.astype(np.float64))
        squared = (axis.vectors.astype(np.float64) ** 2).sum(axis=1)
        found.append(_placed(along, squared, means.poles(axis.name)))
    pooled, by_layer = zip(*found, strict=True)
    return Plane(
        "fitted axes",
        in_sample,
        tuple(axis.name for axis in axes),
        np.stack(pooled, axis=1),
        np.stack(by_layer, axis=2),
        means.layers,
    )


def held_out_plane(
    means: WordMeans, names: Sequence[str], rng: np.random.Generator, n_folds: int = N_FOLDS
) -> Plane:
    """Words along axes that saw neither their lemma nor the half of the templates they are read in.

    Everything is a combination of the words' inner products, so the cost does not grow with folds.
    """
    n, n_layers = len(means.table), len(means.layers)
    gram = _grams(means)
    groups = means.groups
    fold_of_group = rng.permutation(groups.max(initial=0) + 1) % n_folds
    fold = fold_of_group[groups]
    along = np.full((len(names), 2, n_layers, n), NAN)
    squared = np.full((len(names), 2, n_layers, n), NAN)
    middle = np.full((len(names), 2, n_layers, n), NAN)
    for a, name in enumerate(names):
        poles = means.poles(name)
        for number in range(n_folds):
            test = np.flatnonzero(fold == number)
            weights = class_weights(np.where(fold == number, np.nan, poles))
            if weights is None or not test.size:
                continue
            for half in range(2):
                seen = gram[half, 1 - half] @ weights
                along[a, half][:, test] = seen[:, test]
                middle[a, half][:, test] = (seen @ np.abs(weights) / 2)[:, None]
                own = gram[1 - half, 1 - half] @ weights @ weights
                squared[a, half][:, test] = own[:, None]
    pooled = (along.sum(axis=2) - middle.sum(axis=2)) / _positive(squared.sum(axis=2))
    by_layer = (along - middle) / _positive(squared)
    return Plane(
        "held-out words",
        False,
        tuple(names),
        pooled.mean(axis=1).T,
        by_layer.mean(axis=1).transpose(1, 2, 0),
        means.layers,
    )


def must_belong(axis: Axis, model: Mapping[str, Any]) -> None:
    """Refuse an axis that was fitted on another model.

    Raises:
        UserError: identities differ, or sizes do where no identity is known.
    """
    own = axis.facts.get("model") or {}
    by_content = own.get("identity") and model.get("identity")
    keys = ("identity",) if by_content else ("model_type", "n_layers", "hidden_size", "vocabulary")
    for key in keys:
        if own.get(key) is not None and own[key] != model.get(key):
            raise UserError(
                f"reading the axis {axis.name!r} in {model.get('name')}",
                found=f"an axis of {own.get('name')} ({key} {own[key]})",
                expected=f"an axis of this model ({key} {model.get(key)})",
                fix="name the model that the axis was fitted on, or fit an axis on this one",
            )


def class_weights(poles: Floats) -> Floats | None:
    """(n_words,) weights that make of word vectors the difference of class means, None without."""
    high, low = poles == 1, poles == -1
    if not (high.any() and low.any()):
        return None
    return np.where(high, 1 / high.sum(), 0) - np.where(low, 1 / low.sum(), 0)


def angle_between(
    means: WordMeans, names: tuple[str, str], rng: np.random.Generator, n_draws: int = 1_000
) -> list[Angle]:
    """Cosine of two dimensions' differences of class means, over all words and crossed ones."""
    gram = _grams(means).sum(axis=(0, 1)) / 4
    poles = np.stack([means.poles(name) for name in names])
    crossed = (np.abs(poles) == 1).all(axis=0)
    quadrants = len({tuple(pole) for pole in poles[:, crossed].T})
    kinds = [("all", np.isfinite(poles).any(axis=0))] + [("crossed", crossed)] * (quadrants == 4)
    found = []
    for kind, chosen in kinds:
        rows = np.flatnonzero(chosen)
        weights = _weights_of(poles[:, rows], kind)
        if weights is None:
            continue
        own = gram[:, rows][:, :, rows]
        pooled = own.sum(axis=0)
        drawn = []
        for draw in resamples(means.groups[rows], rng, n_draws):
            again = _weights_of(poles[:, rows[draw]], kind)
            if again is not None:
                summed = [np.bincount(draw, row, minlength=len(rows)) for row in again]
                drawn.append(_cosine(pooled, np.stack(summed)))
        kept = np.array(drawn)[np.isfinite(drawn)]
        edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.quantile(kept, edges) if kept.size else (NAN, NAN)
        by_layer = tuple(_cosine(layer, weights) for layer in own)
        cosine = _cosine(pooled, weights)
        found.append(Angle(kind, cosine, float(low), float(high), by_layer, len(rows)))
    return found


def _weights_of(poles: Floats, kind: str) -> Floats | None:
    """(2, n) weights of the two differences; for crossed words each quadrant counts alike."""
    if kind == "all":
        made = [class_weights(row) for row in poles]
        return None if made[0] is None or made[1] is None else np.stack([made[0], made[1]])
    quadrant = (poles[0] > 0) * 2 + (poles[1] > 0)
    counts = np.bincount(quadrant.astype(np.int64), minlength=4)
    if not counts.all():
        return None
    return poles / counts[quadrant.astype(np.int64)] / 2


def _cosine(gram: Floats, weights: Floats) -> float:
    product = weights @ gram @ weights.T
    size = product[0, 0] * product[1, 1]
    return float(product[0, 1] / np.sqrt(size)) if size > 0 else NAN


def _placed(along: Floats, squared: Floats, poles: Floats) -> tuple[Floats, Floats]:
    """Coordinates (n_words,) and (n_layers, n_words), 0 halfway between the poles' words."""
    weights = class_weights(poles)
    halves = np.full(len(poles), 1 / len(poles)) if weights is None else np.abs(weights) / 2
    shifted = along - (along @ halves)[:, None]
    by_layer = shifted / _positive(squared)[:, None]
    return shifted.sum(axis=0) / _positive(squared.sum()), by_layer


def _positive(squared: Floats) -> Floats:
    return np.where(squared > 0, squared, np.nan)


def _grams(means: WordMeans) -> Floats:
    """(2, 2, n_layers, n, n) inner products of words between halves of the templates."""
    halves = means.halves.astype(np.float64)
    n, n_layers = halves.shape[1], halves.shape[2]
    found = np.empty((2, 2, n_layers, n, n))
    for layer in range(n_layers):
        own = halves[:, :, layer]
        for one in range(2):
            for other in range(2):
                found[one, other, layer] = own[one] @ own[other].T
    return found
