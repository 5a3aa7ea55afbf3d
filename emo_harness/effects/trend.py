"""Trends over layers: do the meta prompts of later layers score better?

Three questions, three nulls, which must not be mixed:

* The *interval* of a slope is over questions and takes the texts as they are: would more questions
  like these show that these very texts rise or fall? Any texts differ a little, so with many
  questions it leaves zero out although depth has nothing to do with it.
* The *permutation p* takes the layers for the units: if depth did not matter, any order of the
  layers' mean scores would be as likely as the one observed. What is common to all arms of a
  question enters every layer alike, so that hard questions cannot make a trend. It assumes that
  layers are exchangeable; neighbours that decode to nearly the same words are not, and p is then
  too small. Layers with the very same text are one unit, see `united`.
* A *contrast* with random vectors asks layer by layer whether this text does something else than
  texts that mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_harness.effects.gain import LEVEL, NAN, UNKNOWN, Gain, paired_gain
from emo_harness.effects.multiplicity import benjamini_hochberg
from emo_harness.effects.verdict import ALPHA, EQUIVALENCE_LEVEL

Floats = NDArray[np.float64]
Word = Literal["rises", "falls", "no difference larger than the margin", "undecided", "unknown"]
# All orders of so many layers are tried, 8! = 40,320; of more, a sample is drawn.
MOST_FOR_ALL_ORDERS = 8
N_ORDERS = 9_999
# The last layers are this share of those asked.
LAST_SHARE = 0.25


@dataclass(frozen=True)
class Trend:
    """How scores go with depth; NaN is unknown.

    Attributes:
        n: questions with a score under every layer's arm.
        n_layers: exchangeable units, that is layers with a text of their own.
        slope: fitted difference from the first to the last layer, percentage points, with its 95%
            interval over questions; its `p` is of these very texts.
        narrow: the same with its interval at `EQUIVALENCE_LEVEL`.
        p: of the slope, by permuted layers, two-sided.
        rank_correlation, p_rank: Spearman's over the layers' means, and its p by permuted layers.
        n_last: how many layers count as the last ones.
        last: mean of the last layers minus mean of the rest, percentage points.
        narrow_last: the same with its interval at `EQUIVALENCE_LEVEL`.
        p_last: of that difference, by permuted layers, two-sided.
        least_p: what `p` would be if scores rose evenly with depth; `least_p_last` what `p_last`
            could be at the least. Few layers have few orders, and no effect can beat them.
    """

    n: int
    n_layers: int
    slope: Gain
    narrow: Gain
    p: float
    rank_correlation: float
    p_rank: float
    n_last: int
    last: Gain
    narrow_last: Gain
    p_last: float
    least_p: float
    least_p_last: float


def layer_trend(
    scores: Floats,
    base: Floats,
    layers: ArrayLike,
    rng: np.random.Generator,
    strata: NDArray[np.int64] | None = None,
) -> Trend:
    """Slope of gains over layers, last layers against the rest, each with interval and p.

    With depth x_l = (layer_l - first) / (last - first) and weights w_l = (x_l - mean x) / S_xx, a
    question's slope is sum_l w_l (score_l - base_l), and the slope is their mean. A control that
    all layers share drops out, as the weights add up to zero. The positive and the negative
    weights make two weighted means of scores, so that the slope's interval is `paired_gain`'s:
    Student's t over questions within strata, or a score interval where few questions differ.

    p is the share of orders of the layers' mean gains whose slope is at least as far from zero:
    all L! orders for up to `MOST_FOR_ALL_ORDERS` layers, else `N_ORDERS` drawn ones and the
    observed one (Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9, 39).

    Args:
        scores: (n, L) float64 in [0, 1], one arm per layer; NaN where there is none. Questions
            without a score under one of the layers, or under the base, are left out; so are layers
            without any score.
        base: (n,) float64, the control; or (n, L), what each layer is held against, e.g. the mean
            of its random vectors: then the trend is that of the contrast.
        layers: (L,) their numbers, or of united layers the mean of these.
        rng: where orders are drawn from.
        strata: (n,) int, the subtask of each question.

    Raises:
        ValueError: shapes that do not fit.
    """
    scores, against, depth, strata = _complete(scores, base, layers, strata)
    n, n_layers = scores.shape
    if n < 1 or n_layers < 2 or not np.ptp(depth):
        return Trend(
            n, n_layers, UNKNOWN, UNKNOWN, NAN, NAN, NAN, 0, UNKNOWN, UNKNOWN, NAN, NAN, NAN
        )
    weights = (depth - depth.mean()) / ((depth - depth.mean()) ** 2).sum()
    n_last = max(1, round(LAST_SHARE * n_layers))
    is_last = np.arange(n_layers) >= n_layers - n_last
    last_weights = np.where(is_last, 1 / n_last, -1 / (n_layers - n_last))
    means = scores.mean(axis=0) - (0.0 if against is None else against.mean(axis=0))
    orders = _orders(n_layers, rng)
    ranks = _ranks(means)
    rank_weights = _ranks(depth) - _ranks(depth).mean()
    spread = math.sqrt(float((rank_weights**2).sum()) * float(((ranks - ranks.mean()) ** 2).sum()))
    return Trend(
        n=n,
        n_layers=n_layers,
        slope=_contrast(scores, against, weights, strata, LEVEL),
        narrow=_contrast(scores, against, weights, strata, EQUIVALENCE_LEVEL),
        p=_permutation_p(means, weights, orders),
        rank_correlation=float(rank_weights @ ranks) / spread if spread else NAN,
        p_rank=_permutation_p(ranks, rank_weights, orders),
        n_last=n_last,
        last=_contrast(scores, against, last_weights, strata, LEVEL),
        narrow_last=_contrast(scores, against, last_weights, strata, EQUIVALENCE_LEVEL),
        p_last=_permutation_p(means, last_weights, orders),
        least_p=_permutation_p(depth, weights, orders),
        least_p_last=_permutation_p(is_last.astype(np.float64), last_weights, orders),
    )


def trend_word(found: Trend, p_adjusted: float, margin_pp: float) -> Word:
    """What may be said of a trend.

    `no difference larger than the margin`: both the fitted difference from first to last layer and
    that of the last layers from the rest lie within the margin, each by two one-sided tests (the
    second because a jump at the end bends no line by much); this goes first. `rises`, `falls`: the
    corrected permutation p is at most 0.05 and the 95% interval over questions leaves zero out.
    Else `undecided`; `unknown` with fewer than two layers or questions.

    Args:
        found: the trend.
        p_adjusted: its `p` after correction for the other trends.
        margin_pp: the largest difference that is still called none, above 0.
    """
    if margin_pp <= 0:
        raise ValueError(f"margin {margin_pp} must be above 0")
    if math.isnan(found.slope.low_pp):
        return "unknown"
    within = [
        -margin_pp < gain.low_pp and gain.high_pp < margin_pp
        for gain in (found.narrow, found.narrow_last)
    ]
    if all(within):
        return "no difference larger than the margin"
    if p_adjusted <= ALPHA and found.slope.low_pp > 0:
        return "rises"
    if p_adjusted <= ALPHA and found.slope.high_pp < 0:
        return "falls"
    return "undecided"


def layer_contrasts(
    scores: Floats,
    bases: Sequence[Floats],
    strata: NDArray[np.int64] | None = None,
) -> tuple[list[Gain], Floats]:
    """Each layer's arm minus the mean of its own random-vector arms, paired by question.

    Args:
        scores: (n, L) float64, one arm per layer.
        bases: of each layer (n, k_l) float64, the arms that it is held against; k_l = 0 is unknown.
        strata: (n,) int, the subtask of each question.

    Returns:
        The gains, and (L,) q-values (Benjamini and Hochberg over the layers).
    """
    gains = [
        paired_gain(scores[:, place], base, strata) if base.shape[1] else UNKNOWN
        for place, base in enumerate(bases)
    ]
    return gains, benjamini_hochberg([gain.p for gain in gains])


def united(values: Floats, units: ArrayLike) -> Floats:
    """Means over the columns of each unit, in the order of the units' numbers.

    Layers that decode to the same text are one unit: they were asked the same, so that counting
    them apart would count one answer several times.

    Args:
        values: (..., L) float64.
        units: (L,) int, the unit of each layer.

    >>> united(np.array([1.0, 3.0, 5.0]), [0, 0, 1])
    array([2., 5.])
    """
    units = np.asarray(units)
    columns = [values[..., units == unit].mean(axis=-1) for unit in np.unique(units)]
    return np.stack(columns, axis=-1)


def _complete(
    scores: Floats, base: Floats, layers: ArrayLike, strata: NDArray[np.int64] | None
) -> tuple[Floats, Floats | None, Floats, NDArray[np.int64]]:
    """Layers in order and questions that have all scores; a base that differs by layer, or None."""
    scores, base = np.asarray(scores, np.float64), np.asarray(base, np.float64)
    layer = np.asarray(layers, np.float64)
    n = len(scores)
    if scores.ndim != 2 or layer.shape != scores.shape[1:] or len(base) != n:
        raise ValueError(f"scores {scores.shape}, base {base.shape} and layers {layer.shape}")
    if base.ndim == 2 and base.shape != scores.shape:
        raise ValueError(f"base {base.shape} must be ({n},) or that of the scores {scores.shape}")
    strata = np.zeros(n, np.int64) if strata is None else strata
    order = np.argsort(layer, kind="stable")
    asked = order[~np.isnan(scores[:, order]).all(axis=0)] if n else order
    scores, layer = scores[:, asked], layer[asked]
    against = base[:, asked] if base.ndim == 2 else None
    shared = base[:, None] if against is None else against
    known = ~(np.isnan(scores).any(axis=1) | np.isnan(shared).any(axis=1))
    span = float(np.ptp(layer)) if layer.size else 0.0
    depth = (layer - layer[0]) / span if span else np.zeros(layer.shape)
    return scores[known], None if against is None else against[known], depth, strata[known]


def _contrast(
    scores: Floats,
    against: Floats | None,
    weights: Floats,
    strata: NDArray[np.int64],
    level: float,
) -> Gain:
    """sum_l w_l (score_l - base_l) for weights that add up to zero, as a gain of weighted means."""
    above, below = np.maximum(weights, 0), np.maximum(-weights, 0)
    higher, lower, total = scores @ above, scores @ below, float(above.sum())
    if against is not None:
        higher, lower = higher + against @ below, lower + against @ above
        total *= 2
    # Sums of weights that are one but for rounding must not lead out of [0, 1].
    gain = paired_gain(np.clip(higher / total, 0, 1), np.clip(lower / total, 0, 1), strata, level)
    return replace(
        gain,
        mean_pp=total * gain.mean_pp,
        low_pp=total * gain.low_pp,
        high_pp=total * gain.high_pp,
    )


def _orders(n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
    """Orders of n layers, (k, n), and whether they are all there are."""
    if n <= MOST_FOR_ALL_ORDERS:
        orders = np.zeros((1, 1), dtype=np.int64)
        for number in range(1, n):
            put_in = (np.insert(orders, place, number, axis=1) for place in range(number + 1))
            orders = np.concatenate(list(put_in))
        return orders, True
    return rng.permuted(np.tile(np.arange(n), (N_ORDERS, 1)), axis=1), False


def _permutation_p(
    values: Floats, weights: Floats, orders: tuple[NDArray[np.int64], bool]
) -> float:
    """Share of orders whose |sum_l w_l value_l| is at least the observed one."""
    drawn, is_all = orders
    # Sums of the same terms in another order may differ in their last digits.
    tolerance = 1e-9 * float(np.abs(weights).sum()) * max(float(np.ptp(values)), 1e-300)
    centred = values - values.mean()
    n_far = int(
        np.count_nonzero(np.abs(centred[drawn] @ weights) >= abs(centred @ weights) - tolerance)
    )
    return n_far / len(drawn) if is_all else (n_far + 1) / (len(drawn) + 1)


def _ranks(values: Floats) -> Floats:
    """Mean ranks, ties sharing theirs."""
    rounded = values.round(12)
    smaller = (rounded[None, :] < rounded[:, None]).sum(axis=1)
    equal = (rounded[None, :] == rounded[:, None]).sum(axis=1)
    return np.asarray(1 + smaller + (equal - 1) / 2, dtype=np.float64)
