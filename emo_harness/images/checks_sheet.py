"""The contact sheet of a checked set: images and twins by concept, wrong readings named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_harness.image_file import decode_image
from emo_harness.images.check import ImageChecks
from emo_harness.images.contact_sheet import contact_sheet
from emo_harness.images.measured import THUMBNAIL_PX
from emo_harness.images.sheet_rows import set_rows

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from emo_harness.images.image_entry import ImageEntry

DOING = "drawing the contact sheet"
_PLAIN = (236, 237, 240)


def checks_sheet(checks: ImageChecks, *, show_referenced: bool = False) -> PILImage:
    """Draw the sheet, a row per concept; a set with very many is drawn in part, and says so.

    Args:
        show_referenced: images that must not be copied too; plain tiles stand for them else.
    """
    from PIL import Image

    places = {entry.id: place for place, entry in enumerate(checks.images.entries)}

    plain = Image.new("RGB", (THUMBNAIL_PX, THUMBNAIL_PX), _PLAIN)
    any_referenced = any(entry.referenced for entry in checks.images.entries)

    def thumbnail(entry: ImageEntry) -> PILImage:
        if entry.referenced and not show_referenced:
            return plain
        return decode_image(checks.measured.thumbnails[places[entry.id]], doing=DOING)

    made = set_rows(checks.images.entries, thumbnail, _wrong_readings(checks))
    encoders = ", ".join(scores.encoder for scores in checks.scores)
    kept_back = "not to be passed on" if show_referenced else "plain tiles: referenced, not copied"
    parts = [
        f"read by {encoders}" if encoders else "",
        made.shown,
        kept_back if any_referenced else "",
    ]
    return contact_sheet(
        made.rows,
        checks.images.name,
        subtitle=" · ".join(part for part in parts if part),
        tile=THUMBNAIL_PX,
    )


def _wrong_readings(checks: ImageChecks) -> dict[str, str]:
    """Captions of the images that the first encoder takes for another concept."""
    if not checks.scores:
        return {}
    scores = checks.scores[0]
    # Its concept stands above; an id rarely leaves room for more.
    return {
        entry.id: f"{entry.id.removeprefix(f'{entry.concept}-')}: "
        f"{scores.concepts[scores.predicted[place]]}?"
        for place, entry in enumerate(checks.images.entries)
        if entry.twin_of is None and scores.predicted[place] != scores.own_concept[place]
    }
