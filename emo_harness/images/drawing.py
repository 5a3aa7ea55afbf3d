"""Images composed of emoji: where glyphs stand, what is behind them, and drawing both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from emo_harness.errors import UserError, nearest, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from emo_harness.images.emoji import EmojiFont

Arrangement = Literal["single", "pair", "row", "grid", "ring", "scatter"]
ARRANGEMENTS: tuple[Arrangement, ...] = get_args(Arrangement)
# How many glyphs an arrangement can hold, so that none overlaps and none is too small.
N_GLYPHS: dict[Arrangement, tuple[int, int]] = {
    "single": (1, 1),
    "pair": (2, 2),
    "row": (3, 4),
    "grid": (4, 9),
    "ring": (5, 8),
    "scatter": (3, 9),
}
MARGIN = 0.08
_GAP = 0.04
_SCATTERED_SHARE = 0.74
_MOST_TURN = 15
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Background:
    """What is behind the glyphs: a vertical gradient, and a ground below a horizon.

    Attributes:
        phrase: for captions, "on a white background".
        top, bottom: RGB of the gradient's ends; equal for a plain colour.
        ground: RGB of the ground, None for none.
        horizon: where the ground begins, a share of the height.
    """

    phrase: str
    top: Colour
    bottom: Colour
    ground: Colour | None = None
    horizon: float = 0.66


BACKGROUNDS: dict[str, Background] = {
    "white": Background("on a white background", (255, 255, 255), (255, 255, 255)),
    "cream": Background("on a cream background", (250, 243, 224), (250, 243, 224)),
    "grey": Background("on a grey background", (200, 200, 200), (200, 200, 200)),
    "blue": Background("on a blue background", (150, 195, 232), (150, 195, 232)),
    "green": Background("on a green background", (160, 208, 160), (160, 208, 160)),
    "pink": Background("on a pink background", (246, 196, 208), (246, 196, 208)),
    "violet": Background("on a violet background", (196, 180, 226), (196, 180, 226)),
    "black": Background("on a black background", (22, 22, 26), (22, 22, 26)),
    "dawn": Background("at dawn", (150, 180, 226), (252, 214, 180)),
    "dusk": Background("at dusk", (58, 48, 104), (226, 130, 110)),
    "fog": Background("in fog", (168, 178, 186), (222, 226, 228)),
    "storm": Background("under a stormy sky", (52, 60, 74), (122, 134, 150)),
    "meadow": Background("on a meadow", (128, 190, 240), (206, 232, 250), (112, 176, 92)),
    "beach": Background("on a beach", (112, 190, 236), (200, 234, 248), (236, 212, 158)),
    "snow": Background("in the snow", (160, 188, 216), (214, 228, 240), (246, 249, 252)),
    "night": Background("at night", (12, 16, 44), (44, 54, 104), (26, 40, 44)),
    "room": Background("in a room", (238, 226, 206), (238, 226, 206), (164, 124, 88)),
    "street": Background("in a street", (188, 204, 216), (220, 226, 230), (126, 126, 130)),
}


@dataclass(frozen=True)
class Place:
    """Where one glyph stands, in shares of the image's side.

    Attributes:
        x, y: its centre, from the left and from the top.
        side: of the square it fills.
        turn: anticlockwise, in degrees.
    """

    x: float
    y: float
    side: float
    turn: float = 0.0


@dataclass(frozen=True)
class Composition:
    """An image, as far as it can be said in words.

    Attributes:
        glyphs: code points, "U+1F600", one for each place; a glyph may stand there repeatedly.
        arrangement: one of `ARRANGEMENTS`.
        background: one of `BACKGROUNDS`.

    Raises:
        UserError: an unknown arrangement or background, or a number of glyphs that it cannot hold.
    """

    glyphs: tuple[str, ...]
    arrangement: Arrangement
    background: str

    def __post_init__(self) -> None:
        doing = "composing an image of emoji"
        for word, known in ((self.arrangement, ARRANGEMENTS), (self.background, BACKGROUNDS)):
            if word not in known:
                raise UserError(
                    doing,
                    found=f"{word!r}{nearest(word, known)}",
                    expected=quoted(known, 30),
                    fix="choose one of these",
                )
        least, most = N_GLYPHS[self.arrangement]
        if not least <= len(self.glyphs) <= most:
            raise UserError(
                doing,
                found=f"{len(self.glyphs)} glyphs in the arrangement {self.arrangement}",
                expected=f"{least}" if least == most else f"{least} to {most}",
                fix="give another number of glyphs, or another arrangement",
            )


def draw(composition: Composition, font: EmojiFont, size: int, rng: np.random.Generator) -> Image:
    """Draw a composition.

    What is drawn at random (places and turns of scattered glyphs) depends on the arrangement and on
    the number of glyphs, never on which they are: an image and its neutral twin, drawn with equal
    generators, differ in glyphs alone.

    Args:
        size: side of the image in pixels.

    Returns:
        (size, size) RGB.

    Raises:
        UserError: the font lacks a glyph.
    """
    from PIL import Image

    image = Image.fromarray(backdrop(composition.background, size), "RGB")
    standing = places(composition.arrangement, len(composition.glyphs), rng)
    for code_points, place in zip(composition.glyphs, standing, strict=True):
        side = max(1, round(place.side * size))
        glyph = font.glyph(code_points, side)
        if place.turn:
            glyph = glyph.rotate(place.turn, Image.Resampling.BICUBIC, expand=True)
        corner = (round(place.x * size - glyph.width / 2), round(place.y * size - glyph.height / 2))
        image.paste(glyph, corner, glyph)
    return image


def places(arrangement: Arrangement, n: int, rng: np.random.Generator) -> tuple[Place, ...]:
    """Where `n` glyphs stand; none overlaps another, none comes nearer the edge than `MARGIN`."""
    inner = 1 - 2 * MARGIN
    if arrangement == "single":
        return (Place(0.5, 0.5, 0.7),)
    if arrangement in ("pair", "row"):
        side = (inner - (n - 1) * _GAP) / n
        return tuple(Place(MARGIN + side / 2 + i * (side + _GAP), 0.5, side) for i in range(n))
    if arrangement == "ring":
        return _ring(n)
    if arrangement == "grid":
        return _grid(n)
    return _scattered(n, rng)


def backdrop(name: str, size: int) -> NDArray[np.uint8]:
    """The background alone: (size, size, 3), RGB."""
    background = BACKGROUNDS[name]
    horizon = size if background.ground is None else round(background.horizon * size)
    share = np.linspace(0, 1, max(horizon, 2))[:horizon, None]
    top, bottom = np.array(background.top), np.array(background.bottom)
    rows = np.empty((size, 3))
    rows[:horizon] = (1 - share) * top + share * bottom
    if background.ground is not None:
        rows[horizon:] = background.ground
    return np.repeat(np.rint(rows).astype(np.uint8)[:, None, :], size, axis=1)


def _ring(n: int) -> tuple[Place, ...]:
    """Evenly around a circle, the first at the top, as large as squares can be there."""
    angles = [2 * math.pi * i / n for i in range(n)]
    at = [(math.sin(angle), -math.cos(angle)) for angle in angles]
    # Upright squares are apart as soon as they are so in one of both directions.
    apart = min(max(abs(x - a), abs(y - b)) for i, (x, y) in enumerate(at) for a, b in at[i + 1 :])
    share = 0.9 * apart
    radius = (0.5 - MARGIN) / (1 + share / 2)
    return tuple(Place(0.5 + radius * x, 0.5 + radius * y, radius * share) for x, y in at)


def _grid(n: int) -> tuple[Place, ...]:
    """Rows of equal length as far as it goes; a shorter last row stands in the middle."""
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    side = (1 - 2 * MARGIN - (columns - 1) * _GAP) / columns
    step = side + _GAP
    found = []
    for i in range(n):
        row, column = divmod(i, columns)
        in_row = min(columns, n - row * columns)
        x = 0.5 + (column - (in_row - 1) / 2) * step
        y = 0.5 + (row - (rows - 1) / 2) * step
        found.append(Place(x, y, side))
    return tuple(found)


def _scattered(n: int, rng: np.random.Generator) -> tuple[Place, ...]:
    """Rows of unequal length, with unequal gaps; each glyph a little up or down, and turned."""
    rows = 2 if n <= 4 else 3
    room = 1 - 2 * MARGIN
    side = _SCATTERED_SHARE * room / rows
    # A square that is turned needs so much more room.
    box = side * math.sqrt(2) * math.cos(math.radians(45 - _MOST_TURN))
    lengths = rng.permutation([n // rows + (row < n % rows) for row in range(rows)])
    found = []
    for row, length in enumerate(lengths):
        gaps = np.sort(rng.uniform(0, room - length * box, length))
        lifts = rng.uniform(-1, 1, length) * (room / rows - box) / 2
        turns = rng.uniform(-_MOST_TURN, _MOST_TURN, length)
        for column in range(length):
            x = MARGIN + float(gaps[column]) + (column + 0.5) * box
            y = MARGIN + (row + 0.5) * room / rows + float(lifts[column])
            found.append(Place(x, y, side, float(turns[column])))
    return tuple(found)
