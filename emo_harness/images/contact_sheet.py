"""Contact sheets: all images of a set on one page, row by row, with captions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

    from emo_harness.images.image_entry import ImageEntry

TILE = 96
TWIN = "its neutral twin"
# Columns of images; with twins beside them, half as many images.
COLUMNS = 8
# Lines of images under one heading, and on the whole sheet: an image viewer should open it.
MOST_LINES_IN_A_ROW = 6
MOST_LINES = 100
_GAP = 8
_EDGE = 20
_TITLE = 22
_HEADING = 15
_CAPTION = 11
_LAST_KEPT = 3
_INK = (24, 26, 30)
_FAINT = (96, 100, 108)
_PAPER = (255, 255, 255)
_LINE = (216, 218, 222)
_PALETTE = 256
# Mean levels of 255 by which a palette may be off before the sheet is kept in full colour.
_MOST_OFF = 2.0

Row = tuple[str, Sequence[tuple["Image", str]]]


@dataclass(frozen=True)
class SheetRows:
    """What a sheet shows of a set.

    Attributes:
        rows: heading, and images with their captions.
        shown: how many of the images there was room for, "" is all.
        with_twins: whether any has its twin beside it.
    """

    rows: list[Row]
    shown: str
    with_twins: bool

    @property
    def subtitle(self) -> str:
        """What a sheet without readings says below its title."""
        if not self.with_twins:
            return self.shown or "every image"
        shown = f"{self.shown}, each" if self.shown else "every image"
        return f"{shown} beside its neutral twin"


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
        rows: heading of each row, and its images with their captions; a row of more than
            `columns` images is broken. An image and its twin, one after the other, stay side by
            side where `columns` is even.
        title: of the page.
        subtitle: a line below it.
        columns: images in a line.
        tile: side of an image on the page, in pixels; others are fitted into it.

    Returns:
        RGB, as high as it needs.
    """
    from PIL import Image, ImageDraw

    title_font, heading_font, caption_font = (_font(s) for s in (_TITLE, _HEADING, _CAPTION))
    columns = max(1, min(columns, max((len(images) for _, images in rows), default=1)))
    line_height = tile + _CAPTION + 2 * _GAP
    width = 2 * _EDGE + columns * (tile + _GAP) - _GAP
    top = _EDGE + _TITLE + _GAP + (_HEADING + _GAP if subtitle else 0)
    height = top + _EDGE
    for _, images in rows:
        height += _HEADING + 3 * _GAP + max(1, math.ceil(len(images) / columns)) * line_height
    page = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(page)
    room = width - 2 * _EDGE
    pen.text((_EDGE, _EDGE), fitted(title, title_font, room), _INK, title_font)
    if subtitle:
        below = (_EDGE, _EDGE + _TITLE + _GAP)
        pen.text(below, fitted(subtitle, heading_font, room), _FAINT, heading_font)
    y = top
    for heading, images in rows:
        pen.line([(_EDGE, y + _GAP), (width - _EDGE, y + _GAP)], _LINE)
        y += 2 * _GAP
        pen.text((_EDGE, y), fitted(heading, heading_font, room), _INK, heading_font)
        y += _HEADING + _GAP
        for number, (image, caption) in enumerate(images):
            line, column = divmod(number, columns)
            x, at = _EDGE + column * (tile + _GAP), y + line * line_height
            small = _fitted_image(image, tile)
            page.paste(small, (x + (tile - small.width) // 2, at + (tile - small.height) // 2))
            pen.rectangle([x - 1, at - 1, x + tile, at + tile], outline=_LINE)
            words = fitted(caption, caption_font, tile, kept=_LAST_KEPT)
            pen.text((x, at + tile + 3), words, _FAINT, caption_font)
        y += max(1, math.ceil(len(images) / columns)) * line_height
    return page


def set_rows(
    entries: Sequence[ImageEntry],
    opened: Callable[[ImageEntry], Image],
    captions: Mapping[str, str] | None = None,
) -> SheetRows:
    """The rows of a set's sheet: one per concept and variant, each twin beside its image.

    A large set is shown in part: as many whole lines of each row as the sheet has room for. Only
    what is shown is opened.

    Args:
        opened: gives an entry's image; `ImageSet.open` of a set that lies in a folder.
        captions: by image id; where there is none, the id, and of a twin that it is one.
    """
    told = captions or {}
    twins = {entry.twin_of: entry for entry in entries if entry.twin_of}
    groups: dict[str, list[list[ImageEntry]]] = {}
    for entry in entries:
        if entry.twin_of is None:
            twin = twins.get(entry.id)
            groups.setdefault(_heading(entry), []).append([entry, twin] if twin else [entry])
    lines = _lines_in_a_row([sum(map(len, group)) for group in groups.values()])
    rows: list[Row] = []
    n_shown = 0
    for heading, group in list(groups.items())[:MOST_LINES]:
        shown = _beginning(group, lines * COLUMNS)
        more = f", the first {len(shown)} of {len(group)}" if len(shown) < len(group) else ""
        tiles = [
            (opened(one), told.get(one.id, TWIN if one.twin_of else one.id))
            for together in shown
            for one in together
        ]
        rows.append((heading + more, tiles))
        n_shown += len(shown)
    n = sum(map(len, groups.values()))
    return SheetRows(rows, f"{n_shown:,} of {n:,} images" if n_shown < n else "", bool(twins))


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


def fitted(text: str, font: FreeTypeFont, room: float, kept: int = 0) -> str:
    """`text`, with an ellipsis where it is wider than `room` pixels.

    Args:
        kept: so many of its last characters stay behind the ellipsis, which tell numbered names
            apart.
    """
    if font.getlength(text) <= room:
        return text
    end = text[len(text) - kept :]
    beginning = text[: len(text) - kept]
    while beginning and font.getlength(f"{beginning}…{end}") > room:
        beginning = beginning[:-1]
    return f"{beginning.rstrip()}…{end}"


def _heading(entry: ImageEntry) -> str:
    """What the images of a row have in common: "fear, high arousal (attack)"."""
    arousal = f", {entry.arousal} arousal" if entry.arousal else ""
    level = f", {entry.level}" if entry.level else ""
    return f"{entry.concept.replace('-', ' ')}{arousal} ({entry.family}{level})"


def _lines_in_a_row(sizes: Sequence[int]) -> int:
    """The most lines that each row may have so that the sheet has room for all rows."""
    for lines in range(MOST_LINES_IN_A_ROW, 1, -1):
        if sum(min(lines, math.ceil(size / COLUMNS)) for size in sizes) <= MOST_LINES:
            return lines
    return 1


def _beginning(group: Sequence[list[ImageEntry]], room: int) -> list[list[ImageEntry]]:
    """As many of the first images, twins with them, as there is room for."""
    taken = np.cumsum([len(together) for together in group])
    return list(group[: max(1, int((taken <= room).sum()))])


def _fitted_image(image: Image, tile: int) -> Image:
    from PIL import Image

    scale = tile / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _font(size: int) -> FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: the same letters on every machine."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    file = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
