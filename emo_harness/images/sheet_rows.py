"""What a contact sheet shows of a set: its images by concept, twins beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emo_harness.images.contact_sheet import COLUMNS, Row, shelves

if TYPE_CHECKING:
    from PIL.Image import Image

    from emo_harness.images.image_entry import ImageEntry

TWIN = "its neutral twin"
# Lines of images on the whole sheet: an image viewer should open it.
MOST_LINES = 100
# Tiles under one heading: whole lines, or where there are very many headings a part of one.
_MOST_TILES = (*(lines * COLUMNS for lines in range(6, 0, -1)), COLUMNS // 2, COLUMNS // 4, 1)

Together = list["ImageEntry"]


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


def set_rows(
    entries: Sequence[ImageEntry],
    opened: Callable[[ImageEntry], Image],
    captions: Mapping[str, str] | None = None,
) -> SheetRows:
    """The rows of a set's sheet: one per concept and variant, each twin beside its image.

    A large set is shown in part: as many images of each row as the sheet has room for, and the
    first rows alone where there are too many. Only what is shown is opened.

    Args:
        opened: gives an entry's image; `ImageSet.open` of a set that lies in a folder.
        captions: by image id; where there is none, the id, and of a twin that it is one.
    """
    told = captions or {}
    twins = {entry.twin_of: entry for entry in entries if entry.twin_of}
    originals = [entry for entry in entries if entry.twin_of is None]
    several = len({entry.family for entry in originals}) > 1
    groups: dict[str, list[Together]] = {}
    for entry in originals:
        twin = twins.get(entry.id)
        heading = _heading(entry, with_family=several)
        groups.setdefault(heading, []).append([entry, twin] if twin else [entry])
    beginnings = _beginnings(list(groups.values()))
    rows: list[Row] = []
    for (heading, group), shown in zip(groups.items(), beginnings, strict=False):
        more = f", {len(shown)} of {len(group)}" if len(shown) < len(group) else ""
        tiles = [
            (opened(one), told.get(one.id, TWIN if one.twin_of else one.id))
            for together in shown
            for one in together
        ]
        rows.append((heading + more, tiles))
    n_shown, n = sum(map(len, beginnings)), len(originals)
    return SheetRows(rows, f"{n_shown:,} of {n:,} images" if n_shown < n else "", bool(twins))


def _heading(entry: ImageEntry, *, with_family: bool) -> str:
    """What the images of a row have in common: "fear, high arousal (attack)"."""
    arousal = f", {entry.arousal} arousal" if entry.arousal else ""
    about = [entry.family] if with_family else []
    about += [entry.level] if entry.level else []
    concept = entry.concept.replace("-", " ")
    return f"{concept}{arousal}" + (f" ({', '.join(about)})" if about else "")


def _beginnings(groups: Sequence[list[Together]]) -> list[list[Together]]:
    """Of each group as many of the first images as leave room for all groups."""
    found: list[list[Together]] = []
    for most_tiles in _MOST_TILES:
        found = [_beginning(group, most_tiles) for group in groups]
        sizes = [sum(map(len, shown)) for shown in found]
        together = shelves(sizes)
        n_lines = sum(max(math.ceil(sizes[row] / COLUMNS) for row in shelf) for shelf in together)
        if n_lines <= MOST_LINES:
            return found
    return found[: together[MOST_LINES - 1][-1] + 1]


def _beginning(group: list[Together], room: int) -> list[Together]:
    """As many of the first images, twins with them, as there is room for; one at least."""
    n_tiles = 0
    for n, together in enumerate(group):
        n_tiles += len(together)
        if n and n_tiles > room:
            return group[:n]
    return group
