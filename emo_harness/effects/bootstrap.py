"""Bootstrap intervals, vectorised and seeded: a second opinion on the analytic ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CHUNK_CELLS = 8_000_000


def paired_bootstrap(
    difference: Floats,
    rng: np.random.Generator,
    n_resamples: int = 10_000,
    strata: NDArray[np.int64] | None = None,
) -> Floats:
    """Means of resampled questions, each resample as many questions per stratum as there are.

    Questions with equal differences are interchangeable, so it is their counts that are drawn
    (multinomial); the distribution is that of resampling questions one by one.

    Args:
        difference: (n,) float64, arm minus base by question.
        rng: where the resamples come from.
        n_resamples: how many.
        strata: (n,) int; None for one stratum.

    Returns:
        (n_resamples,) float64 means.
    """
    n = len(difference)
    strata = np.zeros(n, dtype=np.int64) if strata is None else strata
    sums = np.zeros(n_resamples)
    for stratum in np.unique(strata):
        values, counts = np.unique(difference[strata == stratum], return_counts=True)
        size = int(counts.sum())
        if len(values) <= size // 4:
            drawn = rng.multinomial(size, counts / size, size=n_resamples)
            sums += drawn @ values
        else:
            sums += _resampled_sums(difference[strata == stratum], rng, n_resamples)
    return sums / n


def crossed_bootstrap(
    difference: Floats, rng: np.random.Generator, n_resamples: int = 2_000
) -> Floats:
    """Means of resampled questions times resampled stimuli (Owen 2007, Ann. Appl. Stat. 1, 386).

    Slightly conservative: it counts the interaction of questions and stimuli more than once.

    Args:
        difference: (n, m) float64, arm minus base by question and stimulus.
        rng: where the resamples come from.
        n_resamples: how many.

    Returns:
        (n_resamples,) float64 means.
    """
    n, m = difference.shape
    rows, counts = np.unique(difference, axis=0, return_counts=True)
    stimuli = rng.multinomial(m, np.full(m, 1 / m), size=n_resamples) / m
    means = np.empty(n_resamples)
    step = max(1, _CHUNK_CELLS // len(rows))
    for start in range(0, n_resamples, step):
        chunk = slice(start, min(start + step, n_resamples))
        size = chunk.stop - start
        questions = rng.multinomial(n, counts / n, size=size)
        means[chunk] = ((questions @ rows) * stimuli[chunk]).sum(axis=1) / n
    return means


def percentile_interval(means: Floats, level: float = 0.95) -> tuple[float, float]:
    """The central share `level` of resampled means."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled_sums(values: Floats, rng: np.random.Generator, n_resamples: int) -> Floats:
    n = len(values)
    sums = np.empty(n_resamples)
    step = max(1, _CHUNK_CELLS // n)
    for start in range(0, n_resamples, step):
        stop = min(start + step, n_resamples)
        drawn = rng.integers(0, n, size=(stop - start, n), dtype=np.int32)
        sums[start:stop] = values[drawn].sum(axis=1)
    return sums
