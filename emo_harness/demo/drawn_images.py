"""The images that the demo's image models learn from: emoji of a concept, arranged on a ground.

A composition is what stands where on which background, without the number of glyphs. One in five,
and every one of the shipped set, is held out: neither the CLIP nor the diffusion model has seen it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.images.drawing import BACKGROUNDS, N_GLYPHS, Arrangement, Composition, draw
from emo_harness.images.emoji import EmojiFont, find_font
from emo_harness.images.emoji_plan import EmojiPlan, load_emoji_plan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image

SIZE = 64
NEUTRAL = "neutral"
HELD_OUT_SHARE = 0.2
MIXED_SHARE = 0.3
"""Share of images of several glyphs that mix two or three kinds of one concept."""
ALL_ARRANGEMENTS: Mapping[Arrangement, float] = {
    "single": 0.3,
    "pair": 0.15,
    "row": 0.15,
    "grid": 0.15,
    "ring": 0.1,
    "scatter": 0.15,
}
FEW_ARRANGEMENTS: Mapping[Arrangement, float] = {"single": 0.6, "pair": 0.25, "row": 0.15}
"""What the autoencoder and, at first, the diffusion model learn from."""
LARGE_ARRANGEMENTS: Mapping[Arrangement, float] = {"single": 0.7, "pair": 0.3}
"""With glyphs that are large enough for the diffusion model to draw their details."""
LOST = (
    "nauseated face",
    "rat",
    "angry devil",
    "bunch of grapes",
    "bundle of banknotes",
    "pair of hearts",
    "office building",
)
"""Glyphs that the autoencoder does not give back: the CLIP does not tell their concepts then."""


@dataclass(frozen=True)
class DemoImage:
    """What is drawn, in words.

    Attributes:
        concept: "sadness", or `NEUTRAL`.
        kinds: names of the glyphs, each once; they are repeated in turn until there are `n`.
        n: number of glyphs.
        arrangement, background: as in `images.drawing`.
    """

    concept: str
    kinds: tuple[str, ...]
    n: int
    arrangement: Arrangement
    background: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the glyphs in their places."""
        return tuple(self.kinds[i % len(self.kinds)] for i in range(self.n))

    @property
    def composition(self) -> Composition:
        """How it is drawn."""
        glyphs = plan().glyphs
        return Composition(
            tuple(glyphs[name] for name in self.names), self.arrangement, self.background
        )

    @property
    def is_held_out(self) -> bool:
        """Whether its composition is kept from every training."""
        key = _key(self.kinds, self.arrangement, self.background)
        if key in _shipped():
            return True
        digest = hashlib.sha256(key.encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT_SHARE


@lru_cache
def glyphs_of() -> Mapping[str, tuple[str, ...]]:
    """Names of glyphs by concept, `NEUTRAL` last; a glyph of two concepts is left out."""
    found: dict[str, list[str]] = {}
    neutral: list[str] = []
    for concept in plan().concepts:
        own = found.setdefault(concept.concept, [])
        neutral += concept.neutral
        for image in concept.images:
            own += image.glyphs
            neutral += image.neutral or ()
    by_concept = {**found, NEUTRAL: neutral}
    return {
        concept: tuple(
            name
            for name in dict.fromkeys(names)
            if not any(name in of for other, of in by_concept.items() if other != concept)
        )
        for concept, names in by_concept.items()
    }


def concepts() -> tuple[str, ...]:
    """All concepts, `NEUTRAL` last."""
    return tuple(glyphs_of())


def random_image(
    rng: np.random.Generator,
    *,
    held_out: bool,
    arrangements: Mapping[Arrangement, float] = ALL_ARRANGEMENTS,
    most: int = 9,
    mixed_share: float = MIXED_SHARE,
    without: Collection[str] = (),
    concept: str | None = None,
) -> DemoImage:
    """Draw lots for an image, every concept as likely as any other.

    Args:
        held_out: from the compositions that training does not see, else from the others.
        arrangements: shares by arrangement.
        most: the greatest number of glyphs.
        mixed_share: of images of several glyphs, those with two or three kinds.
        without: names of glyphs that do not occur.
        concept: of the image; by lot if not given.
    """
    names, shares = list(arrangements), list(arrangements.values())
    while True:
        shown = concept or str(rng.choice(concepts()))
        arrangement = names[int(rng.choice(len(names), p=shares))]
        low, high = N_GLYPHS[arrangement]
        n = int(rng.integers(low, min(high, most) + 1))
        n_kinds = 1
        if n > 1 and rng.random() < mixed_share:
            n_kinds = int(rng.integers(2, min(n, 3) + 1))
        own = [name for name in glyphs_of()[shown] if name not in without]
        kinds = tuple(own[i] for i in rng.permutation(len(own))[:n_kinds].tolist())
        background = str(rng.choice(list(BACKGROUNDS)))
        image = DemoImage(shown, kinds, n, arrangement, background)
        if image.is_held_out == held_out:
            return image


def drawn(
    image: DemoImage, font: EmojiFont, rng: np.random.Generator, *, size: int = SIZE
) -> Image:
    """The image itself: (size, size) RGB."""
    return draw(image.composition, font, size, rng)


def pixels(images: Sequence[DemoImage], *, seed: int, drawn_size: int = SIZE) -> NDArray[np.uint8]:
    """The images in a row, each depending on its number and the seed alone.

    Args:
        drawn_size: side at which they are drawn; larger ones are made smaller afterwards, as an
            encoder does with the images that it is shown.

    Returns:
        (n, SIZE, SIZE, 3), RGB.
    """
    from PIL.Image import Resampling

    font = emoji_font()
    found = np.empty((len(images), SIZE, SIZE, 3), np.uint8)
    for i, image in enumerate(images):
        own = drawn(image, font, np.random.default_rng([seed, i]), size=drawn_size)
        if drawn_size != SIZE:
            own = own.resize((SIZE, SIZE), Resampling.BICUBIC)
        found[i] = np.asarray(own)
    return found


def emoji_font() -> EmojiFont:
    """The emoji font of this machine.

    Raises:
        UserError: there is none.
    """
    return EmojiFont(find_font())


@lru_cache
def plan() -> EmojiPlan:
    """The shipped plan of emoji images: names of glyphs, and what the shipped set shows."""
    return load_emoji_plan()


@lru_cache
def _shipped() -> frozenset[str]:
    """Keys of the compositions of the shipped set."""
    names = {code_points: name for name, code_points in plan().glyphs.items()}
    return frozenset(
        _key(
            tuple(names[glyph] for glyph in drawing.composition.glyphs),
            drawing.composition.arrangement,
            drawing.composition.background,
        )
        for drawing in plan().drawings()
    )


def _key(kinds: Sequence[str], arrangement: str, background: str) -> str:
    return "|".join([*sorted(set(kinds)), arrangement, background])
