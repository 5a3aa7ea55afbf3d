"""Image sets: a folder of images, and a manifest that says of each what it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from emo_harness.errors import UserError, first_line, nearest
from emo_harness.image_file import open_image, pixels_sha256
from emo_harness.images.image_entry import PLACEBO, ImageEntry
from emo_harness.resources import resource
from emo_harness.stimuli import Stimulus, StimulusImage, visual_family
from emo_harness.text_file import read_text
from emo_harness.validation import validated
from emo_harness.whole_file import text_writer, write_whole

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MANIFEST = "manifest.jsonl"
MAX_MANIFEST_BYTES = 64 * 1024**2
ARM_PREFIX = "img:"
_FIX = "correct the line, or make the set anew with `emo images`"


@dataclass(frozen=True)
class ImageSet:
    """An ordered collection of images.

    Attributes:
        name: of the folder.
        folder: where the images lie.
        entries: in the manifest's order.
    """

    name: str
    folder: Path
    entries: tuple[ImageEntry, ...]

    def entry(self, image_id: str) -> ImageEntry:
        """The entry of an id.

        Raises:
            UserError: no such image.
        """
        known = self._by_id
        if image_id not in known:
            raise UserError(
                f"looking up an image in the image set {self.name}",
                found=f"no {image_id!r}{nearest(image_id, known)}",
                expected=f"one of {len(known)} ids",
                fix=f"see `emo images show {self.name}`",
            )
        return known[image_id]

    def twin(self, image_id: str) -> ImageEntry | None:
        """The neutral twin of an image."""
        return self._twins.get(image_id)

    def equal(self) -> list[list[str]]:
        """Ids of images that are one and the same to the pixel, in groups."""
        groups: dict[str, list[str]] = {}
        for entry in self.entries:
            groups.setdefault(entry.sha256, []).append(entry.id)
        return [group for group in groups.values() if len(group) > 1]

    @cached_property
    def _by_id(self) -> dict[str, ImageEntry]:
        return {entry.id: entry for entry in self.entries}

    @cached_property
    def _twins(self) -> dict[str, ImageEntry]:
        return {entry.twin_of: entry for entry in reversed(self.entries) if entry.twin_of}

    def path(self, entry: ImageEntry) -> Path:
        """Where an image lies."""
        if entry.referenced is not None:
            return self.folder / entry.referenced
        return self.folder / str(entry.file)

    def open(self, entry: ImageEntry) -> PILImage:
        """The image, RGB.

        Raises:
            UserError: it cannot be opened, lies outside the folder, or is another one than the
                manifest says.
        """
        doing = f"opening {entry.id} of the image set {self.name}"
        path = self.path(entry)
        if entry.file is not None:
            _require_below(path, self.folder, doing, entry.file)
        image = open_image(path, doing=doing)
        size, pixels = f"{image.width} x {image.height}", pixels_sha256(image)
        said = f"{entry.width} x {entry.height}"
        if (size, pixels) != (said, entry.sha256):
            raise UserError(
                doing,
                found=f"{path.name} of {size} with pixels {pixels[:12]}...",
                expected=f"{said} with pixels {entry.sha256[:12]}..., as the manifest says",
                fix="put the original file back, or make the set anew",
            )
        return image

    def stimulus(self, entry: ImageEntry) -> Stimulus:
        """The image as a stimulus; a neutral twin is a placebo."""
        is_twin = entry.twin_of is not None
        norms = entry.norms
        return Stimulus(
            id=f"{ARM_PREFIX}{entry.id}",
            family=PLACEBO if is_twin else visual_family(entry.family),
            theory=entry.theory,
            emotion=None if is_twin else entry.emotion,
            placebo="neutral" if is_twin else None,
            source=f"image set {self.name}",
            default=entry.default,
            image=StimulusImage(
                set=self.name,
                id=entry.id,
                sha256=entry.sha256,
                concept=entry.concept,
                level=entry.level,
                arousal=entry.arousal,
                twin_of=entry.twin_of,
                width=entry.width,
                height=entry.height,
                norm_valence=norms.valence if norms else None,
                norm_arousal=norms.arousal if norms else None,
                norm_scale=norms.scale if norms else None,
            ),
        )


def shipped_sets() -> dict[str, Path]:
    """Folders of the sets that come with the package, by name."""
    return {
        path.parent.name: path.parent for path in resource("stimuli_images").glob(f"*/{MANIFEST}")
    }


def load_image_set(place: str | Path) -> ImageSet:
    """Read a set's manifest; images are opened when they are asked for.

    Args:
        place: a folder, or the name of a set that comes with the package ("emoji").

    Raises:
        UserError: no such set, a line that is not as it should be, an id twice, a twin without
            its image, a file that is missing or lies outside the folder.
    """
    folder = Path(place).expanduser()
    shipped = shipped_sets()
    if not folder.exists() and str(place) in shipped:
        folder = shipped[str(place)]
    doing = f"reading the image set {place}"
    if not (folder / MANIFEST).is_file():
        raise UserError(
            doing,
            found=f"no {MANIFEST} there" if folder.is_dir() else "no such folder",
            expected=f"a folder with images and {MANIFEST}, or one of {', '.join(shipped)}",
            fix="make a set with `emo images draw`, `generate` or `import`",
        )
    text = read_text(folder / MANIFEST, doing, MAX_MANIFEST_BYTES)
    entries = [
        _read_line(line, f"{doing}, {MANIFEST} line {number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    _require_consistent(entries, doing)
    found = ImageSet(folder.resolve().name, folder, tuple(entries))
    for entry in entries:
        if entry.file is None:
            continue
        path = found.path(entry)
        _require_below(path, folder, doing, entry.file)
        if not path.is_file():
            raise UserError(
                doing,
                found=f"{entry.id}: no file {entry.file!r}",
                expected="every image of the manifest in the folder",
                fix="put the file back, or make the set anew",
            )
    return found


def write_manifest(folder: Path, entries: Sequence[ImageEntry]) -> Path:
    """Write a set's manifest, one line per entry, whole or not at all."""
    text = "".join(manifest_line(entry) + "\n" for entry in entries)
    return write_whole(folder / MANIFEST, text_writer(text))


def manifest_line(entry: ImageEntry) -> str:
    """One JSON object on one line; unknown facts are left out."""
    return json.dumps(
        entry.model_dump(mode="json", exclude_none=True), ensure_ascii=False, allow_nan=False
    )


def _read_line(line: str, doing: str) -> ImageEntry:
    try:
        raw = json.loads(line)
        # JSON can say what no manifest can be written with: half characters, NaN, infinity.
        json.dumps(raw, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(
            doing,
            found=str(error)[:120],
            expected="one JSON object a line, of whole characters and finite numbers",
            fix=_FIX,
        ) from error
    if not isinstance(raw, dict):
        raise UserError(doing, found=line[:60], expected="one JSON object a line", fix=_FIX)
    return validated(ImageEntry, raw, doing, _FIX)


def _require_consistent(entries: Sequence[ImageEntry], doing: str) -> None:
    counts = Counter(entry.id for entry in entries)
    repeated = sorted(one for one, n in counts.items() if n > 1)
    images = {entry.id for entry in entries if entry.twin_of is None}
    lonely = [entry.twin_of for entry in entries if entry.twin_of and entry.twin_of not in images]
    if not entries or repeated or lonely:
        found = (
            f"the id {repeated[0]!r} twice"
            if repeated
            else f"a twin of {lonely[0]!r}, which is no image of the set, or a twin itself"
            if lonely
            else "no image"
        )
        raise UserError(
            doing,
            found=found,
            expected="images with ids of their own, and twins of images in the set",
            fix=_FIX,
        )


def _require_below(path: Path, folder: Path, doing: str, file: str) -> None:
    """Refuse what does not lie below the folder, by its name or by where a link leads."""
    name = PurePosixPath(file)
    try:
        is_below = (
            path.is_relative_to(folder)
            and not name.is_absolute()
            and ".." not in name.parts
            and path.resolve().is_relative_to(folder.resolve())
        )
        path.is_file()
    except (OSError, RuntimeError) as error:
        # Names that are too long, links in a circle.
        raise UserError(
            doing,
            found=f"file {file[:60]!r}, which leads nowhere ({first_line(error)[:60]})",
            expected="paths of files below the folder",
            fix=_FIX,
        ) from error
    if not is_below:
        raise UserError(
            doing,
            found=f"file {file!r}, which lies outside the set's folder",
            expected="paths below the folder",
            fix="an image that must not be copied goes under `referenced`",
        )
