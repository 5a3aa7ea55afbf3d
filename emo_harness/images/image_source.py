"""Where images are imported from: a folder, or a ZIP archive, which is not unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from emo_harness.errors import UserError, first_line, quoted
from emo_harness.image_file import MAX_BYTES, decode_image, open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_IMAGES = 100_000
# What reading a damaged, encrypted or unusual archive raises.
_BROKEN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError, ValueError,
    LookupError,
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Images that are to be brought in.

    Attributes:
        place: a folder or a ZIP archive.
        names: paths of images, below the place.
        open: gives an image by its path.
        is_archive: whether it is a ZIP archive, of which nothing is unpacked to disk.
    """

    place: Path
    names: tuple[str, ...]
    open: Callable[[str], PILImage]
    is_archive: bool

    def by_name(self) -> dict[str, list[str]]:
        """Paths by what a table may call them, in lower case: path, file name or its stem."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            path = PurePosixPath(name)
            for known in {name.lower(), path.name.lower(), path.stem.lower()}:
                found.setdefault(known, []).append(name)
        return found


def open_source(place: Path) -> Source:
    """The images of a folder (and folders in it) or of a ZIP archive.

    Raises:
        UserError: neither, a damaged archive, or no image in it.
    """
    doing = f"looking for images in {place}"
    if place.is_dir():
        names = sorted(
            path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()
        )
        source = Source(place, _images(names), lambda name: open_image(place / name), False)
    elif zipfile.is_zipfile(place):
        archive = _archive(place, doing)
        names = sorted(archive.namelist())
        source = Source(place, _images(names), lambda name: _of_archive(archive, name), True)
    else:
        raise UserError(
            doing,
            found="no such folder" if not place.exists() else "a file that is no ZIP archive",
            expected="a folder of images, or a ZIP archive of one",
            fix="check the path",
        )
    if not 0 < len(source.names) <= MAX_IMAGES:
        raise UserError(
            doing,
            found=f"{len(source.names)} images",
            expected=f"between one and {MAX_IMAGES:,} of {quoted(SUFFIXES)}",
            fix="give the folder that holds the images",
        )
    return source


def _images(names: Sequence[str]) -> tuple[str, ...]:
    """Names of image files.

    Hidden ones, those that macOS adds to archives, and what is no text and so in no table are left
    out.
    """
    return tuple(
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in SUFFIXES
        and name == name.encode(errors="ignore").decode()
        and not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    )


def _archive(place: Path, doing: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(place)
    except _BROKEN_ARCHIVE as error:
        raise UserError(
            doing,
            found=f"a damaged ZIP archive ({first_line(error)})",
            expected="a folder of images, or a ZIP archive of one",
            fix="download it again, or unpack it as far as that goes and give the folder",
        ) from error


def _of_archive(archive: zipfile.ZipFile, name: str) -> PILImage:
    """An image of an archive, decompressed no further than an image may be large."""
    doing = f"opening the image {name} of {archive.filename}"
    try:
        with archive.open(name) as file:
            content = file.read(MAX_BYTES + 1)
    except _BROKEN_ARCHIVE as error:
        raise UserError(
            doing, found=first_line(error), expected="a whole file", fix="unpack it and see"
        ) from error
    return decode_image(content, doing=doing)
