"""Image sets drawn from a plan of emoji images: all of a folder's files, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from emo_harness.errors import UserError
from emo_harness.image_file import pixels_sha256
from emo_harness.images.contact_sheet import contact_sheet, save_sheet
from emo_harness.images.drawing import draw
from emo_harness.images.image_entry import PLACEBO, Drawn, ImageEntry
from emo_harness.images.image_set import MANIFEST, ImageSet, load_image_set, manifest_line
from emo_harness.images.png_facts import png_bytes
from emo_harness.images.sheet_rows import set_rows
from emo_harness.whole_file import Writer, require_folder, text_writer, write_folder

if TYPE_CHECKING:
    from PIL.Image import Image

    from emo_harness.images.emoji import EmojiFont
    from emo_harness.images.emoji_plan import EmojiPlan, PlannedDrawing

SHEET = "contact_sheet.png"


def draw_set(
    plan: EmojiPlan, font: EmojiFont, folder: Path, *, size: int | None = None
) -> ImageSet:
    """Draw every image of a plan into a folder, with its manifest and contact sheet.

    All files appear at the end, the manifest last. Drawn again it gives the same bytes where font
    and Pillow are the same; images of an earlier plan that are no longer in it go.

    Args:
        size: side of the images in pixels; the plan's if not given.

    Raises:
        UserError: the font lacks a glyph, the folder holds files that were not drawn, or cannot be
            written.
    """
    doing = f"drawing the image set {plan.name}"
    require_folder(folder, f"{doing} to {folder}")
    planned = plan.drawings()
    earlier = _earlier(folder, [f"{one.id}.png" for one in planned], doing)
    writers: dict[str, Writer] = {}
    entries: list[ImageEntry] = []
    images: dict[str, Image] = {}
    for one in tqdm(planned, desc="drawing", unit="image", disable=None):
        image = draw(one.composition, font, size or plan.size, np.random.default_rng([one.seed]))
        entry = _entry(one, image, font)
        writers[str(entry.file)] = _bytes_writer(png_bytes(image, entry))
        entries.append(entry)
        images[one.id] = image
    writers[SHEET] = _sheet_writer(plan.title, entries, images)
    text = "".join(manifest_line(entry) + "\n" for entry in entries)
    writers[MANIFEST] = text_writer(text)
    write_folder(folder, writers, doing)
    for name in earlier - set(writers):
        if name.endswith(".png"):
            (folder / name).unlink(missing_ok=True)
    return load_image_set(folder)


def _entry(one: PlannedDrawing, image: Image, font: EmojiFont) -> ImageEntry:
    is_twin = one.twin_of is not None
    return ImageEntry(
        id=one.id,
        file=f"{one.id}.png",
        family=PLACEBO if is_twin else one.concept.family,
        concept=one.concept.concept,
        theory=one.concept.theory,
        level=one.concept.level,
        emotion=one.concept.emotion,
        arousal=one.concept.arousal,
        twin_of=one.twin_of,
        caption=one.caption,
        sha256=pixels_sha256(image),
        width=image.width,
        height=image.height,
        made=Drawn(
            font=font.name,
            font_version=font.version,
            font_sha256=font.sha256,
            glyphs=one.composition.glyphs,
            arrangement=one.composition.arrangement,
            background=one.composition.background,
            seed=one.seed,
        ),
    )


def _earlier(folder: Path, names: Sequence[str], doing: str) -> set[str]:
    """Files of the drawn set that lies there already.

    Raises:
        UserError: another set lies there, or a file that would be replaced is not of that set.
    """
    known: set[str] = set()
    if (folder / MANIFEST).exists():
        entries = load_image_set(folder).entries
        known = {str(entry.file) for entry in entries if entry.made.how == "drawn"}
        if len(known) < len(entries):
            raise UserError(
                f"{doing} to {folder}",
                found="an image set that was not drawn",
                expected="a new folder, or a set that `emo images draw` made",
                fix="choose another --out",
            )
    stray = [name for name in names if name not in known and (folder / name).exists()]
    if stray:
        raise UserError(
            f"{doing} to {folder}",
            found=f"a file {stray[0]}, which is not of a drawn set",
            expected="a new folder, or a set that `emo images draw` made",
            fix="choose another --out",
        )
    return known


def _sheet_writer(title: str, entries: Sequence[ImageEntry], images: Mapping[str, Image]) -> Writer:
    rows = set_rows(entries, lambda entry: images[entry.id])
    sheet = contact_sheet(rows.rows, title, subtitle=rows.subtitle)
    return lambda path: save_sheet(sheet, path)


def _bytes_writer(content: bytes) -> Writer:
    return lambda path: path.write_bytes(content)
