"""Zero-shot reading of images: which words an encoder finds nearest to them.

Vectors are unit vectors of one space; a class's vector is the mean of those of its texts, scaled to
unit length again (Radford et al. 2021, arXiv:2103.00020, section 3.1.4: an ensemble of prompts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emo_harness.images.check_words import GAP, CheckWords, Poles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAN = float("nan")


class TextEncoder(Protocol):
    """What makes vectors of texts; see `ClipEncoder`."""

    def text_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) unit vectors."""


def class_vectors(
    encoder: TextEncoder, phrases: Mapping[str, Sequence[str]], templates: Sequence[str]
) -> Floats:
    """(k, d) unit vectors of k classes, each the mean over its phrases in every template."""
    texts = class_texts(phrases, templates)
    vectors = np.asarray(encoder.text_vectors([one for own in texts for one in own]), np.float64)
    ends = np.cumsum([len(own) for own in texts])
    means = [part.mean(axis=0) for part in np.split(vectors, ends[:-1])]
    return np.stack([_unit(mean) for mean in means])


def class_texts(phrases: Mapping[str, Sequence[str]], templates: Sequence[str]) -> list[list[str]]:
    """By class, every phrase in every template."""
    return [
        [template.replace(GAP, phrase) for phrase in own for template in templates]
        for own in phrases.values()
    ]


def pole_vectors(encoder: TextEncoder, poles: Poles, words: CheckWords) -> Floats:
    """(2, d): the high and the low end of a scale."""
    ends = {"high": poles.high, "low": poles.low}
    return class_vectors(encoder, ends, words.concept_templates)


def log_probabilities(images: Floats, classes: Floats, scale: float) -> Floats:
    """(n, k) log p(class | image) = log softmax over classes of scale * cosine.

    Args:
        images: (n, d); classes: (k, d).
        scale: the encoder's.
    """
    logits = scale * (images @ classes.T)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def own_log_odds(log_p: Floats, own: Ints) -> Floats:
    """(n,) log p / (1 - p) of each image's own class; finite also where p rounds to 1.

    Args:
        log_p: (n, k) from `log_probabilities`.
        own: (n,) the class of each image, -1 where it has none.

    Returns:
        NaN where an image has no class, or where there is but one.
    """
    n, k = log_p.shape
    found = np.full(n, NAN)
    if k < 2:
        return found
    others = log_p.copy()
    rows = np.flatnonzero(own >= 0)
    others[rows, own[rows]] = -np.inf
    top = others[rows].max(axis=1)
    rest = top + np.log(np.exp(others[rows] - top[:, None]).sum(axis=1))
    found[rows] = log_p[rows, own[rows]] - rest
    return found


def own_probability(log_p: Floats, own: Ints) -> Floats:
    """(n,) p of each image's own class; NaN where it has none."""
    found = np.full(len(log_p), NAN)
    rows = np.flatnonzero(own >= 0)
    found[rows] = np.exp(log_p[rows, own[rows]])
    return found


def nearer_to_high(images: Floats, poles: Floats, scale: float) -> Floats:
    """(n,) p(high) - p(low) = tanh(scale (cos high - cos low) / 2), in [-1, 1].

    Args:
        poles: (2, d) from `pole_vectors`.
    """
    return np.asarray(np.tanh(scale * (images @ (poles[0] - poles[1])) / 2))


def mean_distance(vectors: Floats) -> float:
    """Mean cosine distance over all pairs of n unit vectors, in O(n d).

    The cosines of all ordered pairs add up to |sum of vectors|^2 - n.

    Returns:
        0 for copies of one image, about 1 for unrelated directions; NaN for fewer than two.
    """
    n = len(vectors)
    if n < 2:
        return NAN
    total = vectors.sum(axis=0)
    squares = float((vectors**2).sum())
    return 1 - (float(total @ total) - squares) / (n * (n - 1))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))
