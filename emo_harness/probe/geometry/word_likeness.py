"""Word likeness: one model's arrangement of words beside other models' and people's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.activations.store import Activations
from emo_harness.errors import UserError
from emo_harness.probe.geometry.circumplex import LEAST_WORDS, Estimate, rank_correlation, spearman
from emo_harness.probe.geometry.plane import held_out_plane
from emo_harness.probe.geometry.rsa import (
    Likeness,
    compare,
    correlation_distances,
    euclidean_distances,
    layer_likeness,
    spearman_brown,
)
from emo_harness.probe.geometry.word_means import WordMeans, shown_name, word_means

Row = dict[str, Any]
Floats = NDArray[np.float64]
N_DRAWS = 1_000


def word_likeness(
    store: Activations,
    means: WordMeans,
    others: Sequence[Activations],
    norms: Floats | None,
    dimensions: Sequence[str],
    rng: np.random.Generator,
) -> Row:
    """Compare words' dissimilarities between spaces, as JSON values.

    `spaces`: this model, the others, the lists' poles and people's norms, each with the
    `reliability` of its dissimilarities (by Spearman and Brown, from halves of the templates);
    `pairs`: `one`, `other` and how alike they are; `layers`: by other model, the correlation of
    every layer with every layer; `coordinates`: by other model and dimension, the rank correlation
    of the words' held-out coordinates.

    Raises:
        UserError: another store has too few words in common with this one.
    """
    name = shown_name(store)
    own = {word: i for i, word in enumerate(means.words)}
    spaces: list[Row] = [{"name": name, **_reliability(means)}]
    pairs: list[Row] = []
    layers: list[Row] = []
    coordinates: list[Row] = []
    references = [("poles of the lists", _poles(means, dimensions))]
    if norms is not None:
        references.append(("human norms", norms[:, np.isfinite(norms).any(axis=0)]))
    for title, points in references:
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        if points.shape[1] and len(known) >= LEAST_WORDS:
            spaces.append({"name": title, "reliability": None, "n": len(known)})
            pairs.append(_against(name, title, means.only(known), points[known], rng))
    names = _named_apart([name, *(shown_name(other) for other in others)])[1:]
    for title, other in zip(names, others, strict=True):
        theirs = _same_place(other, means)
        shared = [word for word in theirs.words if word in own]
        if len(shared) < LEAST_WORDS:
            raise UserError(
                f"comparing {store.folder} with {other.folder}",
                found=f"{len(shared)} words in common",
                expected=f"at least {LEAST_WORDS}",
                fix="capture the same corpus with both models",
            )
        here = means.only(np.array([own[word] for word in shared]))
        place = {word: i for i, word in enumerate(theirs.words)}
        there = theirs.only(np.array([place[word] for word in shared]))
        spaces.append({"name": title, **_reliability(there)})
        found = compare(_distances(here), _distances(there), here.groups, rng, N_DRAWS)
        pairs.append(_pair(name, title, found))
        for reference, points in references:
            mine = points[[own[word] for word in shared]]
            known = np.flatnonzero(np.isfinite(mine).all(axis=1))
            if mine.shape[1] and len(known) >= LEAST_WORDS:
                pairs.append(_against(title, reference, there.only(known), mine[known], rng))
        grid = layer_likeness(here.vectors, there.vectors)
        layers.append(
            {
                "other": title,
                "rows": list(here.layers),
                "columns": list(there.layers),
                "likeness": [[_number(v) for v in row] for row in grid],
            }
        )
        coordinates += _coordinates(title, here, there, dimensions, rng)
    return {"spaces": spaces, "pairs": pairs, "layers": layers, "coordinates": coordinates}


def _coordinates(
    title: str,
    here: WordMeans,
    there: WordMeans,
    dimensions: Sequence[str],
    rng: np.random.Generator,
) -> list[Row]:
    if not dimensions:
        return []
    seed = int(rng.integers(1 << 31))
    # The same folds in both, so that a word is held out alike.
    planes = [held_out_plane(m, dimensions, np.random.default_rng(seed)) for m in (here, there)]
    return [
        {
            "other": title,
            "dimension": dimension,
            **_estimate(
                rank_correlation(
                    planes[0].points[:, i], planes[1].points[:, i], here.groups, rng, N_DRAWS
                )
            ),
        }
        for i, dimension in enumerate(dimensions)
    ]


def _same_place(store: Activations, means: WordMeans) -> WordMeans:
    """Words of another store at the same site, or at the first it has."""
    sites = store.manifest.sites
    found = word_means(store, means.site if means.site in sites else sites[0])
    known = np.isfinite(found.halves).all(axis=(0, 2, 3))
    return found.only(np.flatnonzero(known))


def _against(
    name: str, title: str, means: WordMeans, points: Floats, rng: np.random.Generator
) -> Row:
    distances = euclidean_distances(points)
    return _pair(name, title, compare(_distances(means), distances, means.groups, rng, N_DRAWS))


def _pair(one: str, other: str, found: Likeness) -> Row:
    return {"one": one, "other": other, "n_pairs": found.n_pairs, **_estimate(found.likeness)}


def _reliability(means: WordMeans) -> Row:
    halves = [correlation_distances(half)[np.triu_indices(len(half), 1)] for half in means.halves]
    return {"reliability": _number(spearman_brown(spearman(*halves))), "n": len(means.table)}


def _distances(means: WordMeans) -> Floats:
    return correlation_distances(means.vectors)


def _poles(means: WordMeans, dimensions: Sequence[str]) -> Floats:
    if not dimensions:
        return np.zeros((len(means.table), 0))
    return np.stack([means.poles(name) for name in dimensions], axis=1)


def _named_apart(names: Sequence[str]) -> list[str]:
    """Names, numbered where two are alike."""
    return [
        f"{name} ({names[:i].count(name) + 1})" if names[:i].count(name) else name
        for i, name in enumerate(names)
    ]


def _estimate(found: Estimate) -> Row:
    return {
        "value": _number(found.value),
        "low": _number(found.low),
        "high": _number(found.high),
        "p": _number(found.p),
        "n": found.n,
    }


def _number(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
