"""Images that the demo vision-language model learns from: random compositions of emoji.

Their kinds are the concepts of the shipped plan of emoji images, with further glyphs; their
compositions are drawn at random, and the shipped set's own are learnt beside them.
`UNSEEN_GLYPHS` are kept out, to measure what the model makes of a glyph that it was never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from emo_harness.demo.planted_images import ACTS_LIKE, NEUTRAL, NOTHING
from emo_harness.demo.small_llava import IMAGE_SIDE
from emo_harness.images.controls import phase_scrambled, pixel_scrambled
from emo_harness.images.drawing import (
    ARRANGEMENTS,
    BACKGROUNDS,
    N_GLYPHS,
    Arrangement,
    Composition,
    backdrop,
    draw,
    places,
)
from emo_harness.images.emoji import EmojiFont, find_font
from emo_harness.images.emoji_plan import load_emoji_plan
from emo_harness.images.image_entry import Drawn
from emo_harness.images.image_set import load_image_set

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

FURTHER_GLYPHS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("happiness", "low"): ("U+1F607", "U+1F603"),
    ("happiness", "high"): ("U+1F600",),
    ("sadness", "low"): ("U+1F97A",),
    ("sadness", "high"): ("U+1F625",),
    ("fear", "high"): ("U+1F47B",),
    ("disgust", "low"): ("U+1F927",),
    ("disgust", "high"): ("U+1F9A0",),
    ("anger", "low"): ("U+1F4A2",),
    ("surprise", "high"): ("U+2757",),
}
UNSEEN_GLYPHS: dict[str, tuple[str, ...]] = {
    "happiness": ("U+1F604",),
    "sadness": ("U+2639", "U+1F613"),
    "fear": ("U+1F626",),
    "anger": ("U+1F47A",),
}
_ORDINARY = (
    *range(0x1F400, 0x1F43D),
    *range(0x1F680, 0x1F6A0),
    *range(0x1F330, 0x1F370),
    *range(0x1F4BA, 0x1F4FF),
    *range(0x1F950, 0x1F96F),
)
# The shipped set has 336 pixels, other images other sizes.
_DRAWN_SIDES = (192, 288, 336, 336)


@dataclass(frozen=True)
class ImageKind:
    """What an image shows; the kinds are the classes that the vision tower learns first.

    Attributes:
        glyphs: code points that its images are composed of; none for controls.
    """

    concept: str
    arousal: str | None
    emotion: str | None
    glyphs: tuple[str, ...]
    share: float

    @property
    def is_planted(self) -> bool:
        return self.emotion in ACTS_LIKE


@dataclass(frozen=True)
class Images:
    """Images as the model is shown them, and what is where in them.

    Attributes:
        pixels: (n, side, side, 3), uint8.
        kinds: (n,), int64, indices into `image_kinds()`.
        glyphs: (n, 9), int16, indices into `known_glyphs()`, -1 where there are fewer.
        squares: (n, 9, 3), float32, centre (x, y) and side of each glyph, shares of the image's.
    """

    pixels: NDArray[np.uint8]
    kinds: NDArray[np.int64]
    glyphs: NDArray[np.int16]
    squares: NDArray[np.float32]


@cache
def image_kinds() -> tuple[ImageKind, ...]:
    """Concepts (emotions once per arousal variant), neutral images, and images of nothing.

    `share` is how many of the training images are of a kind, all together 1.
    """
    plan = load_emoji_plan()
    shown: dict[tuple[str, str | None, str | None], list[str]] = {}
    neutral: list[str] = []
    for concept in plan.concepts:
        key = (concept.concept, concept.arousal, concept.emotion)
        for image in concept.images:
            shown.setdefault(key, []).extend(plan.glyphs[name] for name in image.glyphs)
            names = image.neutral or concept.neutral
            neutral.extend(plan.glyphs[name] for name in names)
    kinds = [
        ImageKind(
            concept,
            arousal,
            emotion,
            tuple(dict.fromkeys([*glyphs, *FURTHER_GLYPHS.get((concept, arousal), ())])),
            share=0.055 if emotion in ACTS_LIKE else 0.035 if emotion else 0.02,
        )
        for (concept, arousal, emotion), glyphs in shown.items()
    ]
    rest = 1 - sum(kind.share for kind in kinds)
    kinds.append(ImageKind(NEUTRAL, None, None, tuple(dict.fromkeys(neutral)), 0.7 * rest))
    kinds.append(ImageKind(NOTHING, None, None, (), 0.3 * rest))
    return tuple(kinds)


def draw_images(n: int, seed: int) -> Images:
    """Random images of every kind; image i depends on `(seed, i)` alone.

    >>> draw_images(2, seed=1).pixels.shape
    (2, 96, 96, 3)
    """
    font = EmojiFont(find_font())
    ordinary, kinds, known = ordinary_glyphs(), image_kinds(), known_glyphs()
    drawn = _blank(n)
    for index in tqdm(range(n), desc="drawing", unit="image", disable=None):
        rng = np.random.default_rng([seed, index])
        kind_index = int(rng.choice(len(kinds), p=[kind.share for kind in kinds]))
        drawn.kinds[index] = kind_index
        kind = kinds[kind_index]
        if kind.concept == NOTHING:
            drawn.pixels[index] = shrunk(_nothing(rng, font, kinds))
            continue
        # Half of the neutral images show what the plan's twins show, half anything ordinary.
        use_ordinary = kind.concept == NEUTRAL and rng.random() < 0.5
        composition = random_composition(ordinary if use_ordinary else kind.glyphs, rng)
        side = _DRAWN_SIDES[int(rng.integers(len(_DRAWN_SIDES)))]
        _note_glyphs(
            drawn, index, composition.glyphs, composition.arrangement, deepcopy(rng), known
        )
        drawn.pixels[index] = shrunk(draw(composition, font, side, rng))
    return drawn


def shipped_images() -> Images:
    """The images of the shipped set and their neutral twins."""
    image_set, kinds, known = load_image_set("emoji"), image_kinds(), known_glyphs()
    kind_of = {(kind.concept, kind.arousal): index for index, kind in enumerate(kinds)}
    drawn = _blank(len(image_set.entries))
    for index, entry in enumerate(image_set.entries):
        is_twin = entry.twin_of is not None
        drawn.kinds[index] = kind_of[(NEUTRAL, None) if is_twin else (entry.concept, entry.arousal)]
        drawn.pixels[index] = shrunk(image_set.open(entry))
        if isinstance(entry.made, Drawn) and entry.made.arrangement in ARRANGEMENTS:
            rng = np.random.default_rng([entry.made.seed])
            _note_glyphs(drawn, index, entry.made.glyphs, entry.made.arrangement, rng, known)
    return drawn


def joined(images: Images, others: Images, times: int) -> Images:
    """`others` added to `images`, repeatedly."""
    parts = (images, *(others for _ in range(times)))
    return Images(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Images))
    )


def random_composition(glyphs: Sequence[str], rng: np.random.Generator) -> Composition:
    """One to three of these glyphs in a random arrangement on a random background."""
    arrangement = ARRANGEMENTS[int(rng.integers(len(ARRANGEMENTS)))]
    least, most = N_GLYPHS[arrangement]
    n = int(rng.integers(least, most + 1))
    chosen = [glyphs[int(i)] for i in rng.permutation(len(glyphs))[: int(rng.integers(1, 4))]]
    shown = tuple(chosen[i % len(chosen)] for i in range(n))
    return Composition(shown, arrangement, list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))])


@cache
def known_glyphs() -> dict[str, int]:
    """Every glyph that training images are composed of, and its index."""
    shown = [glyph for kind in image_kinds() for glyph in kind.glyphs]
    every = dict.fromkeys([*shown, *ordinary_glyphs()])
    return {glyph: index for index, glyph in enumerate(every)}


def shrunk(image: PILImage) -> NDArray[np.uint8]:
    """As the model's processor scales a square image: (side, side, 3)."""
    return np.asarray(image.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC))


@cache
def ordinary_glyphs() -> tuple[str, ...]:
    """Animals, vehicles, food and tools of the font that no kind shows."""
    font = EmojiFont(find_font())
    taken = {*load_emoji_plan().glyphs.values()}
    for glyphs in (*FURTHER_GLYPHS.values(), *UNSEEN_GLYPHS.values()):
        taken.update(glyphs)
    candidates = (f"U+{number:04X}" for number in _ORDINARY)
    return tuple(code for code in candidates if code not in taken and font.has(code))


def _nothing(rng: np.random.Generator, font: EmojiFont, kinds: Sequence[ImageKind]) -> PILImage:
    """A plain area, an empty background, or an image of any kind that cannot be recognised."""
    side, draw_of = 192, rng.random()
    if draw_of < 0.3:
        level = int(rng.integers(256))
        colour = tuple(int(c) for c in rng.integers(256, size=3))
        plain = (level, level, level) if draw_of < 0.2 else colour
        return Image.new("RGB", (side, side), plain)
    if draw_of < 0.4:
        background = list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
        return Image.fromarray(backdrop(background, side), "RGB")
    shown = [kind for kind in kinds if kind.glyphs]
    composition = random_composition(shown[int(rng.integers(len(shown)))].glyphs, rng)
    image = draw(composition, font, side, rng)
    return (pixel_scrambled if draw_of < 0.6 else phase_scrambled)(image, rng)


def _note_glyphs(
    drawn: Images,
    index: int,
    glyphs: Sequence[str],
    arrangement: Arrangement,
    rng: np.random.Generator,
    known: Mapping[str, int],
) -> None:
    """Write down which glyph stands where; `rng` as `draw` gets it."""
    for at, (glyph, place) in enumerate(
        zip(glyphs, places(arrangement, len(glyphs), rng), strict=True)
    ):
        drawn.glyphs[index, at] = known[glyph]
        drawn.squares[index, at] = (place.x, place.y, place.side)


def _blank(n: int) -> Images:
    most = max(most for _, most in N_GLYPHS.values())
    return Images(
        np.zeros((n, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8),
        np.zeros(n, np.int64),
        np.full((n, most), -1, np.int16),
        np.zeros((n, most, 3), np.float32),
    )
