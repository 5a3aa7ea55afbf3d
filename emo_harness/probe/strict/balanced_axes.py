"""Balanced axes: the difference of class means, template by template.

    axis = sum_t c_t s_t (m+_t - m-_t) / sum_t c_t,

with m+_t, m-_t the mean activations of high and low words in template t, s_t = -1 where t negates,
and c_t = 1, or a bootstrap's weights. Template offsets fall out whatever the numbers of words and
templates are. Bootstraps draw words (all forms of a lemma together) and templates anew, with
weights of a multinomial.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.splits import word_groups
from emo_harness.probe.strict.vectors import Vectors
from emo_harness.probe.targets import Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
N_DRAWS = 200
N_HALVES = 10


def balanced_axes(vectors: Vectors, targets: Targets, weights: Floats) -> Floats:
    """(k, L * dim) float32 axes in raw units.

    Args:
        weights: (k, n) as from `axis_weights`.
    """
    total = np.zeros((len(weights), vectors.scaled.shape[1]), np.float32)
    for first in range(0, len(targets), 2048):
        rows = slice(first, min(first + 2048, len(targets)))
        total += weights[:, rows] @ vectors.scaled[rows]
    return total * vectors.scale.astype(np.float32)


def axis_weights(targets: Targets, of_words: Doubles, of_templates: Doubles) -> Floats:
    """(k, n) the share of each row in an axis.

    Args:
        of_words: (k, W) how often a word counts.
        of_templates: (k, T) how often a template counts; templates where a pole has no weight
            count nothing.
    """
    n_templates = len(targets.negates)
    high = targets.poles[targets.word] == 1
    key = targets.template * 2 + high
    found = np.empty((len(of_words), len(targets)), np.float32)
    for row, (words, templates) in enumerate(zip(of_words, of_templates, strict=True)):
        own = words[targets.word]
        sums = np.bincount(key, own, 2 * n_templates).reshape(n_templates, 2)
        counted = np.where((sums > 0).all(axis=1), templates, 0.0)
        share = np.divide(own, sums.ravel()[key], out=np.zeros(len(own)), where=own > 0)
        found[row] = (
            targets.targets * share * (counted / max(counted.sum(), 1e-9))[targets.template]
        )
    return found


def everything(targets: Targets) -> Floats:
    """(1, n) weights of the axis on all rows."""
    return axis_weights(
        targets, np.ones((1, len(targets.words))), np.ones((1, len(targets.negates)))
    )


def drawn_weights(
    dimensions: Sequence[Targets], rng: np.random.Generator, n_draws: int = N_DRAWS
) -> list[Floats]:
    """(n_draws, n) per dimension; lemmas and templates that dimensions share are drawn alike."""
    lemmas = sorted({lemma for one in dimensions for lemma in one.lemmas})
    texts = sorted({text for one in dimensions for text in one.template_texts})
    of_lemmas = rng.multinomial(len(lemmas), np.full(len(lemmas), 1 / len(lemmas)), n_draws)
    of_texts = rng.multinomial(len(texts), np.full(len(texts), 1 / len(texts)), n_draws)
    place = {lemma: k for k, lemma in enumerate(lemmas)}
    where = {text: k for k, text in enumerate(texts)}
    return [
        axis_weights(
            one,
            of_lemmas[:, [place[lemma] for lemma in one.lemmas]].astype(float),
            of_texts[:, [where[text] for text in one.template_texts]].astype(float),
        )
        for one in dimensions
    ]


def half_weights(
    targets: Targets, rng: np.random.Generator, n_halves: int = N_HALVES
) -> tuple[Floats, Floats]:
    """Two (n_halves, n): axes on either half of the words of each pole, lemmas kept together."""
    groups = word_groups(targets, "lemma")
    first = np.zeros((n_halves, len(targets.words)))
    for row in first:
        for pole in (-1, 1):
            own = np.unique(groups[targets.poles == pole])
            chosen = rng.permutation(own)[: (len(own) + 1) // 2]
            row[np.isin(groups, chosen) & (targets.poles == pole)] = 1
    ones = np.ones((n_halves, len(targets.negates)))
    return axis_weights(targets, first, ones), axis_weights(targets, 1 - first, ones)
