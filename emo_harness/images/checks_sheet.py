"""The contact sheet of a checked set: images and twins by concept, wrong readings named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_harness.image_file import decode_image
from emo_harness.images.check import ImageChecks
from emo_harness.images.contact_sheet import contact_sheet
from emo_harness.images.measured import THUMBNAIL_PX

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

# Images of one concept on the sheet.
MOST_IMAGES = 24
# Rows of the sheet; an image viewer should open it.
MOST_ROWS = 80


def checks_sheet(checks: ImageChecks) -> PILImage:
    """Draw the sheet, a row per concept; a set with very many is drawn in part, and says so."""
    entries = checks.images.entries
    rows: dict[tuple[str, str], list[int]] = {}
    for place, entry in enumerate(entries):
        if entry.twin_of is None:
            rows.setdefault((entry.family, entry.concept), []).append(place)
    drawn = [
        (
            _heading(key, places),
            [one for place in places[:MOST_IMAGES] for one in _pair(checks, place)],
        )
        for key, places in list(rows.items())[:MOST_ROWS]
    ]
    left_out = len(rows) - len(drawn)
    encoders = ", ".join(scores.encoder for scores in checks.scores)
    parts = [
        f"read by {encoders}" if encoders else "",
        f"{left_out} more concepts" if left_out else "",
    ]
    return contact_sheet(
        drawn,
        checks.images.name,
        subtitle=" · ".join(part for part in parts if part),
        tile=THUMBNAIL_PX,
    )


def _heading(key: tuple[str, str], places: list[int]) -> str:
    family, concept = key
    more = f", the first {MOST_IMAGES} of {len(places)}" if len(places) > MOST_IMAGES else ""
    return f"{concept} ({family}{more})"


def _pair(checks: ImageChecks, place: int) -> list[tuple[PILImage, str]]:
    entry, twin = checks.images.entries[place], int(checks.twins[place])
    told = entry.id
    if checks.scores:
        scores = checks.scores[0]
        right = scores.predicted[place] == scores.own_concept[place]
        # Its concept stands above; an id rarely leaves room for more.
        short = entry.id.removeprefix(f"{entry.concept}-")
        told = entry.id if right else f"{short}: {scores.concepts[scores.predicted[place]]}?"
    found = [(_thumbnail(checks, place), told)]
    return [*found, (_thumbnail(checks, twin), "twin")] if twin >= 0 else found


def _thumbnail(checks: ImageChecks, place: int) -> PILImage:
    return decode_image(checks.measured.thumbnails[place], doing="drawing the contact sheet")
