"""Value space: principal components of a store's activations, pooled, by word and by template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from emo_harness.activations.store import Activations
from emo_harness.probe.components import (
    PASSES,
    Components,
    block_components,
    exact_components,
    shares,
)
from emo_harness.probe.geometry.word_means import (
    WordMeans,
    dimensions_of,
    probing_index,
    word_table,
)

N_COMPONENTS = 10
N_DRAWN = 3
MOST_POINTS = 1_500
# Of all rows: for the mean, for every pass, for the scores.
N_READINGS = PASSES + 2
FACTORS = ("template", "word", "shape", "negation", "n_tokens")


def value_space(
    store: Activations,
    means: WordMeans,
    n_templates: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Every view of the space, as JSON values.

    Each has `view` and `title`; `explained`, shares of variance; `factors`, by name the share of
    each component's variance between its levels (`components.shares`); `n`; and `points`: `word`,
    `template`, `negation`, a target per dimension, and `place` on the first three components.

    Args:
        means: words at the same site and layers.
        n_templates: how many templates get components of their own, half of them negated.
    """
    index = probing_index(store)
    dimensions = dimensions_of(store)
    targets = _targets(index, dimensions)
    # A word that several lists have is drawn once per template.
    first = ~index.duplicated(["word", "template"]).to_numpy()
    template = np.unique(index["template"].to_numpy(), return_inverse=True)[1]
    averages = _template_means(store, means, template)
    chosen = np.sort(rng.permutation(np.flatnonzero(first))[:MOST_POINTS])
    views = [_word_view(means)]
    bar = tqdm(total=2 * N_READINGS * store.n_rows, desc="components", unit="row", disable=None)
    for name, title, offsets in (
        ("prompts", "all prompts", None),
        ("prompts-centred", "all prompts, each minus the mean of its template", averages),
    ):

        def blocks(offsets: NDArray[np.float32] | None = offsets) -> Iterator[NDArray[np.float32]]:
            for rows, vectors in store.blocks(means.site, layers=means.layers):
                flat = vectors.reshape(len(vectors), -1)
                bar.update(len(vectors))
                yield flat if offsets is None else flat - offsets[template[rows]]

        found = block_components(blocks, N_COMPONENTS, rng)
        scores = np.concatenate([found.scores(block) for block in blocks()])
        views.append(_view(name, title, found, scores, index, targets, chosen))
    bar.close()
    for number in _spread(index, n_templates):
        rows = np.flatnonzero(first & (index["template"].to_numpy() == number))
        vectors = store.read(means.site, rows=rows, layers=means.layers).reshape(len(rows), -1)
        found = exact_components(vectors, N_COMPONENTS)
        own = index.iloc[rows].reset_index(drop=True)
        text = str(own["template_text"].iloc[0]) if "template_text" in own else f"{number}"
        every = np.arange(len(rows))
        aimed = {name: values[rows] for name, values in targets.items()}
        scores = found.scores(vectors)
        views.append(_view(f"template-{number}", text, found, scores, own, aimed, every))
    return views


def _view(
    name: str,
    title: str,
    found: Components,
    scores: NDArray[np.float64],
    index: pd.DataFrame,
    targets: dict[str, NDArray[np.float64]],
    chosen: NDArray[np.int64],
) -> dict[str, Any]:
    factors = {f: index[f].to_numpy() for f in FACTORS if f in index and index[f].nunique() > 1}
    by_target = {f"target {name}": values for name, values in targets.items()}
    return {
        "view": name,
        "title": title,
        "n": found.n,
        "explained": _rounded(found.explained),
        "factors": {k: _rounded(v) for k, v in shares(scores, {**factors, **by_target}).items()},
        "points": {
            "word": [str(w) for w in index["word"].iloc[chosen]],
            "template": [int(t) for t in index["template"].iloc[chosen]],
            "negation": [bool(n) for n in index["negation"].iloc[chosen]],
            "target": {k: _whole(v[chosen]) for k, v in targets.items()},
            "place": [_rounded(row) for row in scores[chosen, :N_DRAWN]],
        },
    }


def _word_view(means: WordMeans) -> dict[str, Any]:
    vectors = means.vectors.reshape(len(means.table), -1)
    found = exact_components(vectors, N_COMPONENTS)
    scores = found.scores(vectors)
    targets = {name: means.poles(name) for name in means.dimensions}
    by_target = shares(scores, {f"target {name}": values for name, values in targets.items()})
    n = len(means.table)
    return {
        "view": "words",
        "title": "words: the mean of their non-negated prompts, each minus the mean of its "
        "template",
        "n": n,
        "explained": _rounded(found.explained),
        "factors": {k: _rounded(v) for k, v in by_target.items()},
        "points": {
            "word": means.words,
            "template": [None] * n,
            "negation": [False] * n,
            "target": {k: _whole(v) for k, v in targets.items()},
            "place": [_rounded(row) for row in scores[:, :N_DRAWN]],
        },
    }


def _template_means(
    store: Activations, means: WordMeans, template: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(n_templates, dim) mean of each template's rows."""
    from scipy.sparse import csr_matrix

    n_levels = int(template.max()) + 1
    total = np.zeros(0)
    for rows, vectors in store.blocks(means.site, layers=means.layers):
        level, n = template[rows], len(vectors)
        chosen = csr_matrix((np.ones(n, np.float32), (level, np.arange(n))), (n_levels, n))
        summed = np.asarray(chosen @ vectors.reshape(n, -1), np.float64)
        total = total + summed if total.size else summed
    return (total / np.bincount(template)[:, None]).astype(np.float32)


def _targets(index: pd.DataFrame, dimensions: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """(n_rows,) by dimension: the word's pole in any list, turned round by a negation."""
    turned = np.where(index["negation"].to_numpy(bool), -1.0, 1.0)
    table = word_table(index, dimensions).set_index("word")
    return {
        name: index["word"].map(table[name]).to_numpy(np.float64) * turned for name in dimensions
    }


def _spread(index: pd.DataFrame, n_templates: int) -> list[int]:
    """Templates spread over the corpus, with and without negation by turns."""
    by_kind = [
        np.unique(index.loc[index["negation"].to_numpy(bool) == negated, "template"])
        for negated in (False, True)
    ]
    found = []
    for kind, n in zip(by_kind, (n_templates - n_templates // 2, n_templates // 2), strict=True):
        places = np.linspace(0, len(kind) - 1, min(n, len(kind))).round().astype(int)
        found += [int(kind[place]) for place in places]
    return sorted(found)


def _rounded(values: Sequence[float] | NDArray[np.floating]) -> list[float | None]:
    """Five digits: a picture needs no more."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values]


def _whole(values: NDArray[np.float64]) -> list[int | None]:
    return [int(v) if np.isfinite(v) else None for v in values]
