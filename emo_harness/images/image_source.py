"""Where images are imported from: a folder, or a ZIP archive, which is not unpacked."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from emo_harness.errors import UserError, first_line, quoted
from emo_harness.image_file import MAX_BYTES, decode_image, open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NOT_TAKEN = (
    ".tif", ".tiff", ".gif", ".bmp", ".svg", ".heic", ".heif", ".avif", ".jp2", ".psd", ".pcx",
    ".ppm", ".pgm", ".tga", ".eps",
)  # fmt: skip
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
        links: paths that are not followed, with the reason.
        not_taken: paths of images in formats that are not taken.
    """

    place: Path
    names: tuple[str, ...]
    open: Callable[[str], PILImage]
    is_archive: bool
    links: Mapping[str, str] = field(default_factory=dict)
    not_taken: tuple[str, ...] = ()

    def find(self, told: str) -> list[str]:
        """Paths that a table may mean: that very path, else those of this name, or its stem.

        Of a path that begins at a drive or root, on Windows too, as much from its end as is known.
        What can be taken goes before what cannot.
        """
        if told in self._taken:
            return [told]
        parts = _key(told.replace("\\", "/")).split("/")
        is_absolute = parts[0] == "" or parts[0].endswith(":")
        for start in range(len(parts) if is_absolute else 1):
            found = self._by_key.get("/".join(parts[start:]), [])
            if found:
                return [path for path in found if path in self._taken] or found
        return []

    @cached_property
    def _taken(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _by_key(self) -> dict[str, list[str]]:
        """Paths by path, with and without suffix; by name, where none has it as its path."""
        paths: dict[str, list[str]] = {}
        names: dict[str, list[str]] = {}
        for told in (*self.names, *self.links, *self.not_taken):
            path = PurePosixPath(told)
            for key in {_key(told), _key(told.removesuffix(path.suffix))}:
                paths.setdefault(key, []).append(told)
            for key in {_key(path.name), _key(path.stem)}:
                names.setdefault(key, []).append(told)
        return names | paths


def open_source(place: Path) -> Source:
    """The images of a folder (and folders in it) or of a ZIP archive.

    Raises:
        UserError: neither, a damaged archive, or no image in it.
    """
    doing = f"looking for images in {place}"
    if place.is_dir():
        paths = sorted(place.rglob("*"))
        links = {
            path.relative_to(place).as_posix(): why
            for path in paths
            if (why := _why_not_followed(path, place)) is not None
        }
        files = [path.relative_to(place).as_posix() for path in paths if path.is_file()]
        names = [name for name in files if name not in links]
        source = Source(
            place,
            _images(names),
            lambda name: open_image(place / name),
            False,
            links,
            _images(names, NOT_TAKEN),
        )
    elif zipfile.is_zipfile(place):
        archive = _archive(place, doing)
        names = sorted(archive.namelist())
        source = Source(
            place,
            _images(names),
            lambda name: _of_archive(archive, name),
            True,
            not_taken=_images(names, NOT_TAKEN),
        )
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
            found=f"{len(source.names)} images{_besides(source)}",
            expected=f"between one and {MAX_IMAGES:,} of {quoted(SUFFIXES)}",
            fix="give the folder that holds the images",
        )
    return source


def _key(told: str) -> str:
    """A path as it is compared: systems differ in case, and in how they compose letters."""
    return unicodedata.normalize("NFC", told).casefold()


def _why_not_followed(path: Path, place: Path) -> str | None:
    """Of an image that is a link out of a folder, or of a link to a folder; None of all else."""
    if not path.is_symlink():
        return None
    if path.is_dir():
        return "a link to a folder, which is not followed"
    if path.suffix.lower() not in SUFFIXES:
        return None
    if not path.is_file():
        return "a link that leads nowhere"
    if not path.resolve().is_relative_to(place.resolve()):
        return "a link out of the folder, which is not followed"
    return None


def _besides(source: Source) -> str:
    told = []
    if source.not_taken:
        told.append(f"{len(source.not_taken)} of a format not taken ({source.not_taken[0]})")
    if source.links:
        told.append(f"{len(source.links)} links, which are not followed")
    return "".join(f", {one}" for one in told)


def _images(names: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> tuple[str, ...]:
    """Names of image files.

    Hidden ones, those that macOS adds to archives, and what is no text and so in no table are left
    out.
    """
    return tuple(
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in suffixes
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
