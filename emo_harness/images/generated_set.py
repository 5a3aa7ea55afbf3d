"""A folder of generated images as an image set: their entries, manifest and contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emo_harness.errors import UserError
from emo_harness.image_file import pixels_sha256
from emo_harness.images.contact_sheet import TILE, contact_sheet, save_sheet
from emo_harness.images.image_entry import PLACEBO, Generated, ImageEntry
from emo_harness.images.image_set import MANIFEST, ImageSet, load_image_set, manifest_line
from emo_harness.images.resume import file_name
from emo_harness.images.sheet_rows import set_rows
from emo_harness.whole_file import text_writer, write_folder

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from emo_harness.images.pipeline import TextToImage
    from emo_harness.images.recipe import PlannedImage

SHEET = "contact_sheet.png"
DOING = "writing the image set"


def entry_of(
    planned: PlannedImage, image: PILImage, pipeline: TextToImage, *, seed: int, attempt: int
) -> ImageEntry:
    """What the manifest says of an image that was just made."""
    loaded = pipeline.loaded
    is_twin = planned.twin_of is not None
    return ImageEntry(
        id=planned.id,
        file=file_name(planned),
        family=PLACEBO if is_twin else planned.family,
        concept=planned.concept,
        theory=planned.theory,
        level=planned.level,
        emotion=planned.emotion,
        arousal=planned.arousal,
        twin_of=planned.twin_of,
        caption=planned.caption,
        sha256=pixels_sha256(image),
        width=image.width,
        height=image.height,
        made=Generated(
            model=loaded.identity.model,
            revision=loaded.identity.commit,
            weights_sha256=loaded.weights_sha256,
            pipeline=loaded.kind,
            prompt=planned.prompt,
            negative_prompt=pipeline.negative_of(planned.negative_prompt),
            seed=seed,
            attempt=attempt,
            scheduler=loaded.scheduler,
            steps=pipeline.steps,
            guidance=pipeline.guidance,
            arguments=dict(pipeline.arguments),
            width=image.width,
            height=image.height,
            dtype=loaded.dtype,
            device=loaded.device,
            versions=dict(loaded.versions),
        ),
    )


def write_set(folder: Path, entries: Sequence[ImageEntry], title: str) -> None:
    """Write manifest and contact sheet, where they are not there with just these entries.

    What was found out about an image since it was made stays with it.
    """
    entries = _with_checks(folder, entries)
    text = "".join(manifest_line(entry) + "\n" for entry in entries)
    manifest, sheet = folder / MANIFEST, folder / SHEET
    if not entries:
        manifest.unlink(missing_ok=True)
        sheet.unlink(missing_ok=True)
        return
    if sheet.is_file() and manifest.is_file() and manifest.read_text("utf-8") == text:
        return
    page = _page(ImageSet(folder.resolve().name, folder, tuple(entries)), title)
    write_folder(
        folder,
        {SHEET: lambda path: save_sheet(page, path), MANIFEST: text_writer(text)},
        DOING,
    )


def _with_checks(folder: Path, entries: Sequence[ImageEntry]) -> list[ImageEntry]:
    try:
        there = {entry.id: entry for entry in load_image_set(folder).entries}
    except UserError:
        # None yet, or one whose images are being made anew.
        return list(entries)
    same = [(entry, there.get(entry.id)) for entry in entries]
    return [
        entry.model_copy(update={"checks": old.checks})
        if old is not None and old.sha256 == entry.sha256
        else entry
        for entry, old in same
    ]


def _page(image_set: ImageSet, title: str) -> PILImage:
    def small(entry: ImageEntry) -> PILImage:
        # Shrunk at once: a thousand images at full size would not fit into memory.
        image = image_set.open(entry)
        image.thumbnail((TILE, TILE))
        return image

    rows = set_rows(image_set.entries, small)
    return contact_sheet(rows.rows, title, subtitle=rows.subtitle)
