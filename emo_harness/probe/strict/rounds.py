"""Rounds: what is drawn anew with every seed, before any activation is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.centring import centring_weights
from emo_harness.probe.strict.gram import TemplateSums
from emo_harness.probe.strict.shrinkage import Pairs, draw_pairs
from emo_harness.probe.strict.splits import Split, split_rows
from emo_harness.probe.targets import Bools, Ints, Targets

Floats = NDArray[np.float32]
# The rows of `Round.labels`.
TRUE, SHUFFLED_POLES = 0, 1


@dataclass(frozen=True, eq=False)
class Round:
    """One seed.

    Attributes:
        split: what is held out.
        labels: (2, n) +-1: the targets, and those that the words would have with shuffled poles,
            which every word keeps in all templates (the random-label control task of Hewitt &
            Liang 2019).
        pairs: of training rows, for `shrinkage`.
        weights: (4, n) float32: of the template centres; 1 in training; 1 in training times each
            of the labels.
    """

    split: Split
    labels: Ints
    pairs: Pairs
    weights: Floats

    @property
    def held_out(self) -> Ints:
        """Rows that are not trained on, ascending."""
        return np.flatnonzero(~self.split.train)


def draw_round(targets: Targets, seed: int, group: tuple[str, str]) -> Round:
    """Draw one seed's split, shuffled labels and pairs."""
    split = split_rows(targets, seed, group)
    shuffled = shuffled_poles(targets.poles, split.seen_words, np.random.default_rng([seed, 1]))
    labels = np.stack([targets.targets, targets.targets_of(shuffled)])
    train = split.train.astype(np.float32)
    weights = np.concatenate(
        [centring_weights(targets, split)[None], train[None], train * labels]
    ).astype(np.float32)
    pairs = draw_pairs(targets, split.train, np.random.default_rng([seed, 2]))
    return Round(split, labels, pairs, weights)


def shuffled_poles(poles: Ints, seen: Bools, rng: np.random.Generator) -> Ints:
    """(W,) poles of which half are right, among the seen words of either pole and the unseen ones.

    A plain permutation agrees with the poles a little more, or less, than half the time; a probe
    of strong activations makes of that little an accuracy near 1, or 0.
    """
    shuffled = np.empty_like(poles)
    for pole in (-1, 1):
        for seen_or_not in (True, False):
            own = rng.permutation(np.flatnonzero((poles == pole) & (seen == seen_or_not)))
            shuffled[own] = np.where(np.arange(len(own)) % 2 == rng.integers(2), 1, -1)
    return shuffled


def template_counts(rounds: Sequence[Round], targets: Targets) -> NDArray[np.float64]:
    """(n_rounds, 3, T) sums over each template of the last three rows of `Round.weights`."""
    n_templates = len(targets.negates)
    return np.stack(
        [
            [np.bincount(targets.template, row, n_templates) for row in one.weights[1:]]
            for one in rounds
        ]
    )


def sums_of(summed: Floats, counts: NDArray[np.float64]) -> TemplateSums:
    """One round's sums over templates.

    Args:
        summed: (3, T, d) of rows weighted with the last three rows of `Round.weights`.
        counts: (3, T) of these weights.
    """
    x = summed.astype(np.float64)
    return TemplateSums(counts[0], x[0], counts[1:], x[1:])
