"""Trajectory steps: mean scores by class and step, with what words and templates allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAN = float("nan")
LEVEL = 0.95
CLASSES = {"high": (1,), "low": (-1,), "neutral": (0,), "high - low": (1, -1)}


@dataclass(frozen=True)
class Step:
    """Scores at one step.

    Attributes:
        target: "high", "low" or "neutral"; "high - low" for the difference.
        step: generated tokens before and with the one that was read.
        mean, low, high: in class-mean distances, with the 95% interval.
        n, n_words, n_templates: what still goes on at this step.
    """

    target: str
    step: int
    mean: float
    low: float
    high: float
    n: int
    n_words: int
    n_templates: int


def class_trajectories(
    scores: Floats,
    target: Floats,
    word: NDArray[np.generic],
    template: NDArray[np.generic],
) -> list[Step]:
    """Mean score by class and step, and the difference of high and low.

    Templates differ far more than classes do, so scores are taken within templates: minus the
    middle of the template's high and low mean at that step. High and low are then mirror images,
    and neutral prompts show on which side they are.

    The interval takes words and templates as two random factors: V = V_word + V_template - V_both
    (Cameron, Gelbach and Miller 2011, J. Bus. Econ. Stat. 29, eq. 2.10), never less than the
    larger of the first two, with Student's t of the fewer clusters minus 1 degrees of freedom.

    Args:
        scores: (n_prompts, n_steps), NaN after a prompt's end.
        target: (n_prompts,) 1, -1, 0 or NaN: pole times -1 where the template negates.
        word, template: (n_prompts,).
    """
    words, templates = (np.unique(v, return_inverse=True)[1] for v in (word, template))
    found = []
    for step in range(scores.shape[1]):
        middle = _middles(scores[:, step], target, templates)
        within = scores[:, step] - middle[templates]
        for name, signs in CLASSES.items():
            kept = np.flatnonzero(np.isin(target, signs) & np.isfinite(within))
            if not np.isin(target, signs).any():
                continue
            weights = np.zeros(len(kept))
            for sign in signs:
                own = target[kept] == sign
                share = 1 / max(int(own.sum()), 1)
                weights[own] = -share if len(signs) == 2 and sign < 0 else share
            both = all((target[kept] == sign).any() for sign in signs)
            rows = kept if both else kept[:0]
            weights = weights if both else weights[:0]
            found.append(_step(name, step, within[rows], weights, words[rows], templates[rows]))
    order = {name: i for i, name in enumerate(CLASSES)}
    return sorted(found, key=lambda s: (order[s.target], s.step))


def _middles(scores: Floats, target: Floats, template: NDArray[np.int64]) -> Floats:
    """(n_templates,) halfway between the high and the low mean, NaN without one of them."""
    n = int(template.max(initial=-1)) + 1
    means = []
    for sign in (1, -1):
        own = (target == sign) & np.isfinite(scores)
        count = np.bincount(template[own], minlength=n)
        total = np.bincount(template[own], scores[own], minlength=n)
        means.append(np.divide(total, count, out=np.full(n, NAN), where=count > 0))
    return (means[0] + means[1]) / 2


def _step(
    name: str,
    step: int,
    values: Floats,
    weights: Floats,
    word: NDArray[np.int64],
    template: NDArray[np.int64],
) -> Step:
    """A weighted sum of scores with its two-way clustered interval."""
    n_words, n_templates = len(np.unique(word)), len(np.unique(template))
    if not len(values):
        return Step(name, step, NAN, NAN, NAN, 0, 0, 0)
    mean = float(weights @ values)
    # Residuals from the own class's mean, weighted as the estimate weights them.
    residual = np.zeros_like(values)
    for sign in (1, -1):
        own = np.sign(weights) == sign
        if own.any():
            residual[own] = weights[own] * (values[own] - values[own].mean())
    both = word * (int(template.max()) + 1) + template
    variances = [_clustered(residual, by) for by in (word, template, both)]
    variance = max(variances[0] + variances[1] - variances[2], variances[0], variances[1])
    fewest = min(n_words, n_templates)
    if fewest < 2:
        return Step(name, step, mean, NAN, NAN, len(values), n_words, n_templates)
    from scipy.special import stdtrit

    half = float(stdtrit(fewest - 1, (1 + LEVEL) / 2)) * variance**0.5
    return Step(name, step, mean, mean - half, mean + half, len(values), n_words, n_templates)


def _clustered(residual: Floats, cluster: NDArray[np.int64]) -> float:
    """G / (G - 1) times the sum of squared sums of weighted residuals by cluster."""
    sums = np.bincount(cluster, residual)
    n = len(np.unique(cluster))
    return float((sums**2).sum()) * n / max(n - 1, 1)
