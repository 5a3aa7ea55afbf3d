"""Rated photographs as an image set: copied as PNG, or referenced where they must not be copied."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from emo_harness.errors import UserError, quoted
from emo_harness.image_file import pixels_sha256
from emo_harness.images.image_entry import ImageEntry, Imported, Norms
from emo_harness.images.image_set import MANIFEST, load_image_set, write_manifest
from emo_harness.images.image_source import Source
from emo_harness.images.norms import Rated, Scale, Table
from emo_harness.images.png_facts import png_bytes
from emo_harness.images.rating_columns import Columns
from emo_harness.stimuli.stimulus import RESERVED
from emo_harness.stimuli.visual import GREY
from emo_harness.validation import validated
from emo_harness.whole_file import require_folder, write_whole

FAMILY = "rated"
# Of an id, with room for a number behind it.
MAX_STEM = 56
_KEYWORDS = re.compile(r"[,;|/]")
# Accents and the like, once letters are taken apart.
_MARKS = re.compile("[\u0300-\u036f]")
_LATIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


@dataclass
class ImportedSet:
    """What was brought in, and what was not.

    Attributes:
        entries: of the manifest.
        without_image: names in the table that no image has.
        without_rating: images that no row names.
        unreadable: images that could not be opened, with the reason.
        n_replaced: images of the set that was there before; 0 where there was none.
        removed: files of that set that are no longer part of it.
    """

    entries: list[ImageEntry] = field(default_factory=list)
    without_image: list[str] = field(default_factory=list)
    without_rating: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    n_replaced: int = 0
    removed: list[str] = field(default_factory=list)


def import_set(
    source: Source,
    table: Table,
    columns: Columns,
    rated: Sequence[Rated],
    scale: Scale,
    folder: Path,
    *,
    family: str = FAMILY,
    reference: bool = False,
    origin: str | None = None,
    licence: str | None = None,
) -> ImportedSet:
    """Bring rated images in: a PNG with its facts for each, and a manifest with their norms.

    An imported set that is there already is replaced, and its other images are removed.

    Args:
        scale: lowest and highest rating that could be given.
        folder: of the set.
        family: the images become stimuli of it.
        reference: write down where an image lies and the hash of its pixels, and copy nothing.
        origin: where the images come from; the name of the folder or archive by default.
        licence: of the images.

    Raises:
        UserError: an image named by several rows, a name that several images have, no rated
            image at all, a folder that holds another set or that is the images' own.
    """
    doing = f"importing {source.place.name} into {folder}"
    earlier = _earlier(source, folder, reference, doing)
    pairs, result = _paired(source, rated, doing)
    names = _ids([name for name, _ in pairs])
    told = [column for column in (columns.valence, columns.arousal) if column]
    norms_source = f"{table.path.name}: {', '.join(told)}"
    for name, row in tqdm(pairs, desc="importing", unit="image", disable=None):
        try:
            image = source.open(name)
        except UserError as error:
            result.unreadable[name] = error.found
            continue
        facts = {
            "id": names[name],
            "file": None if reference else f"{names[name]}.png",
            "referenced": _relative(source.place / name, folder) if reference else None,
            "family": family,
            "concept": concept_of(name, row.concept),
            "caption": row.concept,
            "sha256": pixels_sha256(image),
            "width": image.width,
            "height": image.height,
            "made": Imported(
                original=name, source=origin or source.place.name, licence=licence
            ).model_dump(),
            "norms": Norms(
                valence=row.valence,
                arousal=row.arousal,
                scale=scale,
                valence_sd=row.valence_sd,
                arousal_sd=row.arousal_sd,
                n_raters=row.n_raters,
                source=norms_source,
            ).model_dump(),
        }
        entry = validated(ImageEntry, facts, f"{doing}: {name}", "see --family")
        if not reference:
            _write(folder, png_bytes(image, entry), str(entry.file), doing)
        result.entries.append(entry)
    if not result.entries:
        raise UserError(
            doing,
            found=f"no image that can be opened ({quoted(result.unreadable.values(), 1)})",
            expected="images",
            fix="look at the files",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, result.entries)
    result.n_replaced = len(earlier)
    kept = {entry.file for entry in result.entries}
    for file in (entry.file for entry in earlier):
        if file is not None and file not in kept:
            (folder / file).unlink(missing_ok=True)
            result.removed.append(file)
    return result


def concept_of(name: str, told: str | None) -> str:
    """The first keyword that a table gives; else the file's name without its number."""
    words = [word.strip() for word in _KEYWORDS.split(told or "")]
    first = next((word for word in words if word), "")
    stem = PurePosixPath(name).stem
    return (first or re.sub(r"[\s_-]*\d+$", "", stem) or stem)[:64]


def _paired(
    source: Source, rated: Sequence[Rated], doing: str
) -> tuple[list[tuple[str, Rated]], ImportedSet]:
    """Images and their rows, in the table's order, and what has no partner."""
    result = ImportedSet(unreadable=dict(source.links))
    rows: dict[str, Rated] = {}
    for row in rated:
        found = source.find(row.name)
        if not found:
            result.without_image.append(row.name)
            continue
        if found[0] in source.links:
            continue
        if found[0] in source.not_taken:
            suffix = PurePosixPath(found[0]).suffix
            result.unreadable[found[0]] = f"format not taken: {suffix}"
            continue
        if len(found) > 1:
            raise UserError(
                f"{doing}: line {row.line} of the ratings",
                found=f"{row.name!r}, which is the name of {quoted(found, 3)}",
                expected="names that one image has",
                fix="import the folders one by one, or write the paths into the table",
            )
        if found[0] in rows:
            raise UserError(
                f"{doing}: line {row.line} of the ratings",
                found=f"{row.name!r} again, after line {rows[found[0]].line}",
                expected="one row for each image",
                fix="take one of the rows out",
            )
        rows[found[0]] = row
    result.without_rating = [name for name in source.names if name not in rows]
    return list(rows.items()), result


def _earlier(source: Source, folder: Path, reference: bool, doing: str) -> tuple[ImageEntry, ...]:
    """Entries of the imported set that lies there already.

    Raises:
        UserError: another set lies there, or the set cannot.
    """
    own = folder.resolve()
    inside = source.place.resolve()
    if reference and source.is_archive:
        raise UserError(
            doing,
            found="--reference, and a ZIP archive",
            expected="a folder, whose files can be referred to",
            fix="unpack the archive first",
        )
    if not source.is_archive and (own == inside or inside in own.parents):
        raise UserError(
            doing,
            found="a set inside the folder that is imported",
            expected="a folder of its own",
            fix="choose another --out",
        )
    require_folder(folder, doing)
    if not (folder / MANIFEST).exists():
        return ()
    entries = load_image_set(folder).entries
    hows = {entry.made.how for entry in entries}
    if hows != {"imported"}:
        raise UserError(
            doing,
            found=f"a set whose images were {quoted(sorted(hows - {'imported'}))}",
            expected="a new folder, or an imported set",
            fix="choose another --out",
        )
    return entries


def _ids(names: Sequence[str]) -> dict[str, str]:
    """Ids of images: their names in lower case, with dashes; a number where two are equal."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = _latin(PurePosixPath(name).stem)
        first = f"image-{stem}".strip("-") if stem in ("", GREY, *RESERVED) else stem[:MAX_STEM]
        number, own = 1, first
        while own in taken:
            number += 1
            own = f"{first}-{number}"
        taken.add(own)
        found[name] = own
    return found


def _latin(name: str) -> str:
    """A name in a to z, digits and dashes: "Ünï 1" as "uni-1".

    Letters that have no such form are left out, and six digits of the name's SHA-256 stand behind
    the others in their place.
    """
    composed = unicodedata.normalize("NFC", name).casefold()
    plain = unicodedata.normalize("NFKD", composed)
    stem = re.sub(r"[^a-z0-9]+", "-", _MARKS.sub("", plain)).strip("-")[:MAX_STEM]
    if all(letter in _LATIN or not letter.isalnum() for letter in plain):
        return stem
    digest = hashlib.sha256(composed.encode()).hexdigest()[:6]
    return f"{stem[: MAX_STEM - 7] or 'image'}-{digest}"


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _write(folder: Path, content: bytes, name: str, doing: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, lambda path: path.write_bytes(content))
    except OSError as error:
        raise UserError(
            doing,
            found=f"{error.strerror or error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error
