"""Clustered intervals: accuracies whose units are words and templates, not prompts.

With residuals r_i = right_i - accuracy * asked_i summed over all seeds, the variance of an accuracy
is that of two-way clustering (Cameron, Gelbach & Miller 2011, J. Bus. Econ. Stat. 29, eq. 2.10),

    V = (c_w sum_w r_w^2 + c_t sum_t r_t^2 - c_wt sum_wt r_wt^2) / N^2,   c_g = G / (G - 1),

never taken smaller than either one-way variance. The interval is Wilson's score interval at the
effective number a (1 - a) / V of prompts (Korn & Graubard 1998, Surv. Methodol. 24, 193-201) with
the quantile of Student's t at min(clusters) - 1 degrees of freedom: it stays inside [0, 1], and
keeps a width where every answer was right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.intervals import t_quantile, wilson
from emo_harness.probe.targets import Ints

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; NaN where it is unknown."""

    mean: float
    low: float
    high: float
    n_prompts: int
    n_words: int
    n_templates: int


@dataclass(frozen=True, eq=False)
class Clusters:
    """What rows share.

    Attributes:
        word, template, cell: (n,) numbers; cells are combinations of word and template.
    """

    word: Ints
    template: Ints
    cell: Ints

    def accuracies(self, right: Floats, asked: Floats, level: float = LEVEL) -> list[Estimate]:
        """Shares of right answers.

        Args:
            right: (k, n) how often each row was answered rightly by each of k probes.
            asked: (n,) how often it was asked.
        """
        mean, variance, n_words, n_templates = self._spread(right, asked)
        if min(n_words, n_templates) < 2:
            return [self._unknown(m, asked, n_words, n_templates) for m in mean]
        clusters = min(n_words, n_templates)
        quantile = float(t_quantile(level, clusters - 1))
        binomial = mean * (1 - mean)
        effective = np.divide(binomial, variance, out=np.full(len(mean), 0.0), where=variance > 0)
        # Where no residual is left, or less than clusters would leave, clusters are what is known.
        effective = np.where(effective > 0, effective, clusters)
        # Asking a prompt again in another seed adds nothing.
        effective = np.minimum(effective, np.count_nonzero(asked))
        low, high = wilson(mean * effective, effective, quantile)
        n = int(asked.sum())
        return [
            Estimate(float(m), float(lo), float(hi), n, n_words, n_templates)
            for m, lo, hi in zip(mean, low, high, strict=True)
        ]

    def difference(
        self, right: Floats, other: Floats, asked: Floats, level: float = LEVEL
    ) -> Estimate:
        """Accuracy minus that of another probe on the same rows, paired; Student's t.

        Args:
            right, other: (n,) how often each row was answered rightly.
            asked: (n,) how often it was asked.
        """
        mean, variance, n_words, n_templates = self._spread((right - other)[None], asked)
        if min(n_words, n_templates) < 2:
            return self._unknown(mean[0], asked, n_words, n_templates)
        half = float(t_quantile(level, min(n_words, n_templates) - 1)) * float(variance[0]) ** 0.5
        low, high = max(float(mean[0]) - half, -1.0), min(float(mean[0]) + half, 1.0)
        return Estimate(float(mean[0]), low, high, int(asked.sum()), n_words, n_templates)

    def _spread(self, right: Floats, asked: Floats) -> tuple[Doubles, Doubles, int, int]:
        """(k,) means and their variances, and the numbers of words and templates."""
        n = float(asked.sum())
        used = asked > 0
        mean = right.sum(axis=1, dtype=np.float64) / max(n, 1.0)
        residual = right.astype(np.float64)[:, used] - mean[:, None] * asked[used]
        by_word, n_words = _squares(residual, self.word[used])
        by_template, n_templates = _squares(residual, self.template[used])
        by_cell, _ = _squares(residual, self.cell[used])
        both = np.maximum(by_word + by_template - by_cell, np.maximum(by_word, by_template))
        if n == 0:
            mean = np.full(len(mean), np.nan)
        return mean, both / max(n, 1.0) ** 2, n_words, n_templates

    @staticmethod
    def _unknown(mean: float, asked: Floats, n_words: int, n_templates: int) -> Estimate:
        nan = float("nan")
        return Estimate(float(mean), nan, nan, int(asked.sum()), n_words, n_templates)


def _squares(residual: Doubles, cluster: Ints) -> tuple[Doubles, int]:
    """(k,) sum over clusters of squared sums, times G / (G - 1); and the number G of clusters."""
    from scipy import sparse

    _, number = np.unique(cluster, return_inverse=True)
    n = len(number)
    n_clusters = int(number.max()) + 1 if n else 0
    if n_clusters < 2:
        return np.square(residual.sum(axis=1)), n_clusters
    belongs = sparse.csr_matrix((np.ones(n), (number, np.arange(n))), shape=(n_clusters, n))
    sums = belongs @ residual.T
    return np.square(sums).sum(axis=0) * n_clusters / (n_clusters - 1), n_clusters
