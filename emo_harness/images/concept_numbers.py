"""Numbers of a concept, or of a family: how well images are told apart, and from their twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.gain import LEVEL
from emo_harness.effects.intervals import wilson
from emo_harness.effects.mean_interval import mean_interval
from emo_harness.effects.rank_correlation import RankCorrelation, rank_correlation
from emo_harness.images.encoder_scores import EncoderScores
from emo_harness.images.zero_shot import NAN, mean_distance

Ints = NDArray[np.int64]
Bounds = tuple[float, float, float]
UNKNOWN: Bounds = (NAN, NAN, NAN)


@dataclass(frozen=True)
class ConceptNumbers:
    """What one encoder says of some images of a set; NaN is unknown.

    Attributes:
        n: images, twins not counted; n_pairs: of them with a twin.
        accuracy: share whose own concept is the most probable, with Wilson's interval.
        chance: what guessing would reach: one over the number of concepts.
        emotion_accuracy, emotion_chance: the same for the own emotion among the emotions' words.
        probability: mean probability of the own concept.
        contrast: mean contrast with twins, with Student's interval.
        alignment: mean cosine with own prompts.
        diversity: mean pairwise cosine distance.
    """

    n: int
    n_pairs: int
    accuracy: Bounds
    chance: float
    emotion_accuracy: Bounds
    emotion_chance: float
    probability: float
    contrast: Bounds
    alignment: float
    diversity: float


@dataclass(frozen=True)
class EncoderAgreement:
    """How far two encoders say the same of n images.

    Attributes:
        same: share with the same most probable concept, with Wilson's interval.
        kappa: the same beyond chance (Cohen 1960); NaN where chance alone would give all of it.
        contrast: rank correlation of contrasts with twins.
    """

    n: int
    same: Bounds
    kappa: float
    contrast: RankCorrelation


def concept_numbers(
    scores: EncoderScores, vectors: NDArray[np.float32], rows: Ints, *, one_concept: bool
) -> ConceptNumbers:
    """Sum up images.

    Args:
        rows: places of the images, no twins.
        one_concept: whether they are of one concept, so that diversity is within it.
    """
    contrast = mean_interval(scores.twin_contrast[rows])
    k = len(scores.concepts)
    feeling = rows[scores.own_emotion[rows] >= 0]
    return ConceptNumbers(
        n=len(rows),
        n_pairs=contrast.n,
        accuracy=share(scores.predicted[rows] == scores.own_concept[rows]) if k > 1 else UNKNOWN,
        chance=1 / k,
        emotion_accuracy=share(scores.emotion_predicted[feeling] == scores.own_emotion[feeling]),
        emotion_chance=1 / len(scores.emotions),
        probability=float(scores.probability_concept[rows].mean()) if k > 1 else NAN,
        contrast=(contrast.mean, contrast.low, contrast.high),
        alignment=_known_mean(scores.alignment[rows]),
        diversity=mean_distance(vectors[rows].astype(np.float64)) if one_concept else NAN,
    )


def encoder_agreement(first: EncoderScores, second: EncoderScores, rows: Ints) -> EncoderAgreement:
    """Compare two encoders on the same images (`rows`: no twins)."""
    one, other = first.predicted[rows], second.predicted[rows]
    k = len(first.concepts)
    same = share(one == other) if k > 1 else UNKNOWN
    by_chance = float(
        (
            np.bincount(one, minlength=k) / len(one) * (np.bincount(other, minlength=k) / len(one))
        ).sum()
    )
    kappa = (same[0] - by_chance) / (1 - by_chance) if by_chance < 1 else NAN
    contrast = rank_correlation(first.twin_contrast[rows], second.twin_contrast[rows])
    return EncoderAgreement(len(rows), same, kappa, contrast)


def share(right: NDArray[np.bool_] | Sequence[bool]) -> Bounds:
    """The share of true values with Wilson's interval; unknown for none."""
    n = len(right)
    if n == 0:
        return UNKNOWN
    n_right = int(np.count_nonzero(right))
    low, high = wilson(n_right, n, NormalDist().inv_cdf((1 + LEVEL) / 2))
    return n_right / n, float(low), float(high)


def _known_mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else NAN
