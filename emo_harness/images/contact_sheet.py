"""Contact sheets: all images of a set on one page, row by row, with captions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

    from emo_harness.images.image_set import ImageEntry

TILE = 96
TWIN = "its neutral twin"
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


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[tuple[Image, str]]]],
    title: str,
    *,
    subtitle: str = "",
    columns: int = 8,
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
) -> list[tuple[str, list[tuple[Image, str]]]]:
    """The rows of a set's sheet: one per concept and variant, each twin beside its image.

    Args:
        opened: gives an entry's image; `ImageSet.open` of a set that lies in a folder.
        captions: by image id; where there is none, the id, and of a twin that it is one.
    """
    told = captions or {}
    twins = {entry.twin_of: entry for entry in entries if entry.twin_of}
    rows: dict[str, list[tuple[Image, str]]] = {}
    for entry in entries:
        if entry.twin_of is not None:
            continue
        row = rows.setdefault(_heading(entry), [])
        for one in (entry, twins.get(entry.id)):
            if one is not None:
                own = one.id if one.twin_of is None else TWIN
                row.append((opened(one), told.get(one.id, own)))
    return list(rows.items())


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
