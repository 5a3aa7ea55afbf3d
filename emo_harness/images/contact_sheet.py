"""Contact sheets: images on one page, row by row, with captions; narrow rows side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

TILE = 96
# Columns of images; with twins beside them, half as many images.
COLUMNS = 8
_GAP = 8
_EDGE = 20
_TITLE = 22
_HEADING = 15
_CAPTION = 11
# Of what is written: narrow sheets are as wide as a title needs, and long names are wrapped.
_LEAST_ROOM = 440
_MOST_TITLE_LINES = 3
_MOST_HEADING_LINES = 2
_MOST_CAPTION_LINES = 3
# Between lines of a caption.
_LEADING = 3
_BREAK = re.compile(r"[\s\-_]+")
_INK = (24, 26, 30)
_FAINT = (96, 100, 108)
_PAPER = (255, 255, 255)
_LINE = (216, 218, 222)
_PALETTE = 256
# Mean levels of 255 by which a palette may be off before the sheet is kept in full colour.
_MOST_OFF = 2.0

Colour = tuple[int, int, int]
Row = tuple[str, Sequence[tuple["Image", str]]]


@dataclass(frozen=True)
class _Block:
    """A row on the page, its words broken into lines."""

    x: int
    room: int
    heading: list[str]
    images: Sequence[tuple[Image, list[str]]]


def contact_sheet(
    rows: Sequence[Row],
    title: str,
    *,
    subtitle: str = "",
    columns: int = COLUMNS,
    tile: int = TILE,
) -> Image:
    """Lay images out on a page.

    Args:
        rows: heading, and its images with their captions; more than `columns` images are broken
            into lines, rows of few images stand side by side. An image and its twin, one after
            the other, stay side by side where `columns` is even.
        title: of the page.
        subtitle: below it.
        columns: images in a line.
        tile: side of an image on the page, in pixels; others are fitted into it.

    Returns:
        RGB, as high as it needs, and wide enough for a title.
    """
    from PIL import Image, ImageDraw

    step = tile + _GAP
    spans = [max(1, min(columns, len(images))) for _, images in rows]
    together = shelves([len(images) for _, images in rows], columns)
    widest = max((sum(spans[row] for row in shelf) for shelf in together), default=1)
    room = max(widest * step - _GAP, _LEAST_ROOM)
    top = [
        (line, font_of(size), ink)
        for text, size, ink in ((title, _TITLE, _INK), (subtitle, _HEADING, _FAINT))
        for line in wrapped(text, font_of(size), room, _MOST_TITLE_LINES)
    ]
    laid = [_blocks([rows[row] for row in shelf], columns, tile, room) for shelf in together]
    y = _EDGE + sum(int(font.size) + _GAP for _, font, _ in top)
    height = y + sum(_shelf_height(blocks, columns, tile) for blocks in laid) + _EDGE
    page = Image.new("RGB", (room + 2 * _EDGE, height), _PAPER)
    pen = ImageDraw.Draw(page)
    at = _EDGE
    for line, font, ink in top:
        pen.text((_EDGE, at), line, ink, font)
        at += int(font.size) + _GAP
    for blocks in laid:
        for block in blocks:
            pen.line([(block.x, y + _GAP), (block.x + block.room, y + _GAP)], _LINE)
            _write(pen, block.heading, (block.x, y + 2 * _GAP), _HEADING, _INK)
            for number, (image, caption) in enumerate(block.images):
                line_number, column = divmod(number, columns)
                x = block.x + column * step
                below = y + _above(blocks) + line_number * _line_height(blocks, tile)
                small = _fitted_image(image, tile)
                corner = (x + (tile - small.width) // 2, below + (tile - small.height) // 2)
                page.paste(small, corner)
                pen.rectangle([x - 1, below - 1, x + tile, below + tile], outline=_LINE)
                _write(pen, caption, (x, below + tile + 3), _CAPTION, _FAINT)
        y += _shelf_height(blocks, columns, tile)
    return page


def shelves(sizes: Sequence[int], columns: int = COLUMNS) -> list[list[int]]:
    """Places of the rows that stand side by side, in order, each as wide as its images.

    >>> shelves([2, 2, 4, 1, 20, 3], columns=8)
    [[0, 1, 2], [3], [4], [5]]
    """
    found: list[list[int]] = []
    left = 0
    for place, size in enumerate(sizes):
        span = max(1, min(columns, size))
        if span > left:
            found.append([])
            left = columns
        found[-1].append(place)
        left -= span
    return found


def save_sheet(page: Image, path: Path) -> None:
    """Write a sheet as PNG: with a palette where that looks the same, at a quarter of the size.

    Nothing is dithered, which would speckle skies.
    """
    from PIL.Image import Dither, Quantize

    few = page.quantize(_PALETTE, method=Quantize.MEDIANCUT, kmeans=3, dither=Dither.NONE)
    # The paper's colour became the mean of all that is nearly white.
    colours = np.array(few.getpalette()).reshape(-1, 3)
    colours[np.asarray(few)[0, 0]] = 255
    few.putpalette(colours.ravel().tolist())
    off = np.asarray(few.convert("RGB"), dtype=np.int16) - np.asarray(page, dtype=np.int16)
    kept = few if np.abs(off).mean() <= _MOST_OFF else page
    kept.save(path, "PNG", optimize=True)


def wrapped(text: str, font: FreeTypeFont, room: float, most_lines: int) -> list[str]:
    """`text` in lines of at most `room` pixels, with an ellipsis at its end if it needs more.

    It breaks behind spaces and dashes, and elsewhere only in words that are wider than a line.
    """
    lines: list[str] = []
    left = text.strip()
    while left:
        n = _n_that_fit(left, font, room)
        if n < len(left) and len(lines) == most_lines - 1:
            while n > 1 and font.getlength(f"{left[:n].rstrip()}…") > room:
                n -= 1
            return [*lines, f"{left[:n].rstrip()}…"]
        if n < len(left):
            # What is not seen at a line's end needs no room.
            ends = (found.end() for found in _BREAK.finditer(left))
            n = max((end for end in ends if len(left[:end].rstrip()) <= n), default=n)
        lines.append(left[:n].rstrip())
        left = left[n:].lstrip()
    return lines


def _n_that_fit(text: str, font: FreeTypeFont, room: float) -> int:
    """How many characters, one at least, are as wide as a line."""
    n = 1
    while n < len(text) and font.getlength(text[: n + 1]) <= room:
        n += 1
    return n


def _blocks(rows: Sequence[Row], columns: int, tile: int, room: int) -> list[_Block]:
    """Rows that stand side by side; the last has all the room to the page's edge."""
    found = []
    x = _EDGE
    for number, (heading, images) in enumerate(rows):
        is_last = number == len(rows) - 1
        own = max(1, min(columns, len(images))) * (tile + _GAP) - _GAP
        own = _EDGE + room - x if is_last else own
        told = wrapped(heading, font_of(_HEADING), own, _MOST_HEADING_LINES)
        captions = [
            wrapped(caption, font_of(_CAPTION), tile, _MOST_CAPTION_LINES) for _, caption in images
        ]
        tiles = [(image, lines) for (image, _), lines in zip(images, captions, strict=True)]
        found.append(_Block(x, own, told, tiles))
        x += own + _GAP
    return found


def _above(blocks: Sequence[_Block]) -> int:
    """Height above the images of a shelf: a line, and headings."""
    return 2 * _GAP + max(1, *(len(block.heading) for block in blocks)) * (_HEADING + _GAP)


def _line_height(blocks: Sequence[_Block], tile: int) -> int:
    captions = [len(caption) for block in blocks for _, caption in block.images]
    return tile + max([1, *captions]) * (_CAPTION + _LEADING) + 2 * _GAP - _LEADING


def _shelf_height(blocks: Sequence[_Block], columns: int, tile: int) -> int:
    n_lines = max(math.ceil(len(block.images) / columns) for block in blocks)
    return _above(blocks) + max(1, n_lines) * _line_height(blocks, tile)


def _write(
    pen: ImageDraw, lines: Sequence[str], place: tuple[int, int], size: int, ink: Colour
) -> None:
    x, y = place
    leading = _GAP if size == _HEADING else _LEADING
    for number, line in enumerate(lines):
        pen.text((x, y + number * (size + leading)), line, ink, font_of(size))


def _fitted_image(image: Image, tile: int) -> Image:
    from PIL import Image

    scale = tile / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


@cache
def font_of(size: int) -> FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: the same letters on every machine."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    file = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
