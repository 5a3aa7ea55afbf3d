"""Characterisation: what system prompts have in common, from a model's answers under each.

How well the first principal components of the prompts' losses, and a leave-one-out classifier, tell
the prompts' tags apart; and the questionnaire's own score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.components import exact_components

Floats = NDArray[np.float64]
N_PERMUTATIONS = 2_000


def auc(values: Floats, is_high: NDArray[np.bool_]) -> float:
    """P(a high one's value > a low one's) + P(equal) / 2 (Mann & Whitney 1947).

    >>> auc(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]))
    1.0
    """
    high, low = values[is_high], values[~is_high]
    if not len(high) or not len(low):
        return math.nan
    above = (high[:, None] > low).mean() + (high[:, None] == low).mean() / 2
    return float(above)


@dataclass(frozen=True)
class Separation:
    """How well tags are told apart.

    Attributes:
        accuracy: share of prompts whose tag the other prompts tell, balanced over tags.
        chance: of a guess.
        p: share of random taggings that do as well.
        component_auc: (n_components,) by component, turned so that it is at least 0.5; two tags
            only, else empty.
    """

    accuracy: float
    chance: float
    p: float
    component_auc: tuple[float, ...]


def leave_one_out(features: Floats, tags: Sequence[str], rng: np.random.Generator) -> Separation:
    """Nearest class mean, each prompt left out of its own class's mean.

    Args:
        features: (n_prompts, n_features) float64.
        tags: of the prompts; tags with one prompt alone cannot be told and are left out.
    """
    names = sorted({tag for tag in tags if list(tags).count(tag) > 1})
    chosen = np.array([number for number, tag in enumerate(tags) if tag in names], np.int64)
    if len(names) < 2:
        return Separation(math.nan, math.nan, math.nan, ())
    features = features[chosen]
    labels = np.array([names.index(tags[number]) for number in chosen])
    centred = features - features.mean(axis=0)
    gram = centred @ centred.T
    found = _accuracy(gram, labels, len(names))
    at_random = [
        _accuracy(gram, rng.permutation(labels), len(names)) for _ in range(N_PERMUTATIONS)
    ]
    as_good = sum(value >= found - 1e-12 for value in at_random)
    aucs: tuple[float, ...] = ()
    if len(names) == 2:
        scores = exact_components(features, 10).scores(features)
        either = [auc(column, labels == 1) for column in scores.T]
        aucs = tuple(max(value, 1 - value) for value in either)
    return Separation(found, 1 / len(names), (as_good + 1) / (N_PERMUTATIONS + 1), aucs)


def expected_values(losses: Sequence[Sequence[Floats]]) -> Floats:
    """A questionnaire's own score: the mean over questions of sum_i p_i (k - 1 - i).

    p = softmax(-loss) over a question's k answers, of which the first has the highest value.

    Args:
        losses: by prompt and question, (k,) nats.

    Returns:
        (n_prompts,).
    """
    return np.array(
        [
            np.mean([_value(np.asarray(one, np.float64)) for one in of_prompt])
            for of_prompt in losses
        ]
    )


def _value(loss: Floats) -> float:
    loss = np.asarray(loss, np.float64)
    weights = np.exp(loss.min() - loss)
    return float(weights @ np.arange(len(loss))[::-1] / weights.sum())


def _accuracy(gram: Floats, labels: NDArray[np.int64], n_tags: int) -> float:
    """Balanced accuracy; |x - m|^2 = x.x - 2 x.m + m.m from inner products alone."""
    n = len(labels)
    member = np.zeros((n, n_tags))
    member[np.arange(n), labels] = 1
    sizes = member.sum(axis=0)
    with_class = gram @ member
    of_class = member.T @ with_class
    own = np.arange(n), labels
    diagonal = np.diag(gram)
    # Leaving x out of its own class of size s: sum' = sum - x.
    to_mean = with_class / sizes
    squared_mean = np.broadcast_to(np.diag(of_class) / sizes**2, (n, n_tags)).copy()
    left = sizes[labels] - 1
    to_mean[own] = (with_class[own] - diagonal) / left
    squared_mean[own] = (np.diag(of_class)[labels] - 2 * with_class[own] + diagonal) / left**2
    nearest = (squared_mean - 2 * to_mean).argmin(axis=1)
    right = nearest == labels
    return float(np.mean([right[labels == tag].mean() for tag in range(n_tags)]))
