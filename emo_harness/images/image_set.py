"""Image sets: a folder of images, and a manifest that says of each what it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from emo_harness.errors import UserError, nearest
from emo_harness.image_file import open_image, pixels_sha256
from emo_harness.resources import resource
from emo_harness.stimuli import Arousal, Stimulus, StimulusImage, visual_family
from emo_harness.stimuli.stimulus import Family, Name
from emo_harness.stimuli.visual import Scale
from emo_harness.text_file import read_text
from emo_harness.validation import Strict, validated
from emo_harness.whole_file import text_writer, write_whole

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MANIFEST = "manifest.jsonl"
MAX_MANIFEST_BYTES = 64 * 1024**2
ARM_PREFIX = "img:"
PLACEBO = "placebo"
_FIX = "correct the line, or make the set anew with `emo images`"

Level = Literal["physiological", "safety", "belonging", "esteem", "self-actualisation"]
Emotion = Literal["happiness", "sadness", "fear", "disgust", "anger", "surprise"]
Fact = float | int | str | bool | None


class Drawn(Strict):
    """An image composed of glyphs by our own script."""

    how: Literal["drawn"] = "drawn"
    font: str
    font_version: str
    font_sha256: str
    glyphs: tuple[str, ...] = Field(strict=False)
    arrangement: str
    background: str
    seed: int


class Generated(Strict):
    """An image made by a text-to-image model.

    Attributes:
        model: hub id, or the folder's name.
        revision: of the hub; None for a folder.
        weights_sha256: of the model's files.
        seed: of the image's own generator; `attempt` counts those that failed before.
        steps, guidance: None where the pipeline's own default was used and is not known.
        arguments: further ones of the pipeline's call.
        versions: of the libraries that made it.
    """

    how: Literal["generated"] = "generated"
    model: str
    revision: str | None = None
    weights_sha256: str | None = None
    pipeline: str
    prompt: str
    negative_prompt: str | None = None
    seed: int
    attempt: int = Field(default=0, ge=0)
    scheduler: str
    steps: int | None = None
    guidance: float | None = None
    arguments: dict[str, Fact] = Field(default_factory=dict)
    width: int
    height: int
    dtype: str
    device: str
    versions: dict[str, str] = Field(default_factory=dict)


class Imported(Strict):
    """An image that someone else made."""

    how: Literal["imported"] = "imported"
    original: str
    source: str
    licence: str | None = None


class Norms(Strict):
    """Human ratings of an image.

    Attributes:
        valence, arousal: means, in units of `scale`.
        scale: the lowest and the highest rating that could be given.
        valence_sd, arousal_sd, n_raters: None where not published.
    """

    valence: float | None = None
    arousal: float | None = None
    scale: Scale
    valence_sd: float | None = None
    arousal_sd: float | None = None
    n_raters: int | None = None
    source: str


class ImageEntry(Strict):
    """One line of a manifest.

    Attributes:
        id: lower-case name, unique in its set.
        file: path below the set's folder; None where the image is `referenced`.
        referenced: path of an image that must not be copied, from the set's folder or absolute.
        family: `prompt`, `attack`, or a user's own; `placebo` for neutral twins.
        concept: what it shows, e.g. "fear" or "fortress"; of a twin, its image's.
        theory: e.g. "Maslow's needs" or "basic emotions".
        level: of Maslow's needs.
        emotion: of the six basic ones.
        arousal: variant.
        twin_of: of a neutral twin, the id of its image.
        caption: what can be seen, in words.
        sha256: of the pixels; see `image_file.pixels_sha256`.
        made: how.
        norms: human ratings, None where there are none.
        default: whether it is an arm when its family is asked for.
        checks: what `emo images check` found.
    """

    id: Name
    file: str | None = None
    referenced: str | None = None
    family: Family
    concept: str = Field(min_length=1, max_length=64)
    theory: str | None = None
    level: Level | None = None
    emotion: Emotion | None = None
    arousal: Arousal | None = None
    twin_of: str | None = None
    caption: str | None = None
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    made: Annotated[Drawn | Generated | Imported, Field(discriminator="how")]
    norms: Norms | None = None
    default: bool = True
    checks: dict[str, Fact] | None = None

    @model_validator(mode="after")
    def _lies_somewhere(self) -> ImageEntry:
        if (self.file is None) == (self.referenced is None):
            raise ValueError("either `file` or `referenced`")
        if (self.family == PLACEBO) != (self.twin_of is not None):
            raise ValueError(f"family {PLACEBO!r} for neutral twins, and for them alone")
        return self


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

    @cached_property
    def _by_id(self) -> dict[str, ImageEntry]:
        return {entry.id: entry for entry in self.entries}

    @cached_property
    def _twins(self) -> dict[str, ImageEntry]:
        return {entry.twin_of: entry for entry in reversed(self.entries) if entry.twin_of}

    def path(self, entry: ImageEntry) -> Path:
        """Where an image lies."""
        if entry.referenced is not None:
            return self.folder / Path(entry.referenced).expanduser()
        return self.folder / str(entry.file)

    def open(self, entry: ImageEntry) -> PILImage:
        """The image, RGB.

        Raises:
            UserError: it cannot be opened, lies outside the folder, or is another one than the
                manifest says.
        """
        doing = f"opening {entry.id} of the image set {self.name}"
        path = self.path(entry)
        if entry.file is not None and not _is_below(path, self.folder):
            raise _outside(doing, str(entry.file))
        image = open_image(path, doing=doing)
        found = pixels_sha256(image)
        if found != entry.sha256:
            raise UserError(
                doing,
                found=f"{path.name} with pixels {found[:12]}...",
                expected=f"pixels {entry.sha256[:12]}..., as the manifest says",
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
        if not _is_below(path, folder):
            raise _outside(doing, entry.file)
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
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            doing, found=str(error)[:120], expected="one JSON object a line", fix=_FIX
        ) from error
    if not isinstance(raw, dict):
        raise UserError(doing, found=line[:60], expected="one JSON object a line", fix=_FIX)
    return validated(ImageEntry, raw, doing, _FIX)


def _require_consistent(entries: Sequence[ImageEntry], doing: str) -> None:
    counts = Counter(entry.id for entry in entries)
    repeated = sorted(one for one, n in counts.items() if n > 1)
    lonely = [entry.twin_of for entry in entries if entry.twin_of and entry.twin_of not in counts]
    if not entries or repeated or lonely:
        found = (
            f"the id {repeated[0]!r} twice"
            if repeated
            else f"a twin of {lonely[0]!r}, which is not there"
            if lonely
            else "no image"
        )
        raise UserError(
            doing,
            found=found,
            expected="images with ids of their own, and twins of images in the set",
            fix=_FIX,
        )


def _is_below(path: Path, folder: Path) -> bool:
    name = (
        PurePosixPath(path.relative_to(folder).as_posix()) if path.is_relative_to(folder) else None
    )
    if name is None or name.is_absolute() or ".." in name.parts:
        return False
    return path.resolve().is_relative_to(folder.resolve())


def _outside(doing: str, file: str) -> UserError:
    return UserError(
        doing,
        found=f"file {file!r}, which lies outside the set's folder",
        expected="paths below the folder",
        fix="an image that must not be copied goes under `referenced`",
    )
