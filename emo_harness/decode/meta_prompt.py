"""Meta prompts: what a vector was decoded to, and how it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.decode.family_vectors import VectorKind
from emo_harness.decode.meta_text import MetaText, Unprintable
from emo_harness.stimuli.decoding import DecodedKind, Pooling

LENGTH = 8


@dataclass(frozen=True)
class DecodeSettings:
    """How vectors become texts.

    Attributes:
        pooling: as the stimuli were read.
        vector: family minus placebos, family mean, or every stimulus by itself.
        length: tokens of a text; None for 8 of one vector, and for all positions where each gives
            one token.
        k: top tokens that are kept, and compared with those of the placebos.
        n_random, n_permuted: random vectors, and deals of labels, per source and layer.
        seed: of these.
        unprintable: whether half characters may stand in a text.
    """

    pooling: Pooling = "content"
    vector: VectorKind = "contrast"
    length: int | None = None
    k: int = 10
    n_random: int = 1
    n_permuted: int = 1
    seed: int = 0
    unprintable: Unprintable = "skip"


@dataclass(frozen=True, eq=False)
class RankedTokens:
    """The tokens of one vector, best first.

    Attributes:
        ids: (n,) int64, n >= k.
        logits, probabilities: (n,) float32.
        n_averaged: how many stimuli its vector is the mean of.
        overlap: share of the first k that are among the placebos' own first k at this layer and
            position; None where there are no placebos.
    """

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    n_averaged: int
    overlap: float | None = None


@dataclass(frozen=True, eq=False)
class MetaPrompt:
    """One vector (or one per position) as a text; the fields are those of `stimuli.Decoding`.

    Attributes:
        ranked: by position; one, unless read by position.
        text: what can be a stimulus, empty where nothing can.
        by_position: whether each vector is that of a position, and gives one token of the text.
    """

    source: str
    kind: DecodedKind
    control_of: str | None
    vector: str
    layer: int
    draw: int
    ranked: tuple[RankedTokens, ...]
    text: MetaText
    by_position: bool = False

    @property
    def overlap(self) -> float | None:
        """Mean over positions."""
        known = [one.overlap for one in self.ranked if one.overlap is not None]
        return sum(known) / len(known) if known else None
