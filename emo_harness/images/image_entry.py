"""What a manifest says of one image: which one it is, what it shows, and how it was made."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from emo_harness.image_file import MAX_PIXELS
from emo_harness.stimuli import Arousal
from emo_harness.stimuli.stimulus import Family, Name
from emo_harness.stimuli.visual import GREY, Scale
from emo_harness.validation import Strict

PLACEBO = "placebo"


def _not_grey(image_id: str) -> str:
    if image_id == GREY:
        raise ValueError(f"another id than {GREY!r}, which is the plain grey control")
    return image_id


def _plain_path(path: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in path):
        raise ValueError("a path without control characters")
    return path


ImageId = Annotated[Name, AfterValidator(_not_grey)]
FilePath = Annotated[str, AfterValidator(_plain_path)]
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

    @model_validator(mode="after")
    def _lie_on_their_scale(self) -> Norms:
        low, high = self.scale
        if not low < high:
            raise ValueError("a scale as [lowest, highest]")
        for value in (self.valence, self.arousal):
            if value is not None and not low <= value <= high:
                raise ValueError(f"means from {low:g} to {high:g}, as the scale says")
        return self


class ImageEntry(Strict):
    """One line of a manifest.

    Attributes:
        id: lower-case name, unique in its set.
        file: path below the set's folder; None where the image is `referenced`.
        referenced: path of an imported image that must not be copied, from the set's folder or
            absolute.
        family: `prompt`, `attack`, or a user's own; `placebo` for neutral twins.
        concept: what it shows, e.g. "fear" or "fortress"; of a twin, its image's.
        theory: e.g. "Maslow's needs" or "basic emotions".
        level: of Maslow's needs.
        emotion: of the six basic ones.
        arousal: variant.
        twin_of: of a neutral twin, the id of its image.
        caption: what can be seen, in words.
        sha256: of the pixels; see `image_file.pixels_sha256`.
        width, height: in pixels, together at most `image_file.MAX_PIXELS`.
        made: how.
        norms: human ratings, None where there are none.
        default: whether it is an arm when its family is asked for.
        checks: what `emo images check` found.
    """

    id: ImageId
    file: FilePath | None = None
    referenced: FilePath | None = None
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
    def _is_an_image_of_a_set(self) -> ImageEntry:
        if (self.file is None) == (self.referenced is None):
            raise ValueError("either `file` or `referenced`")
        if self.referenced is not None and self.made.how != "imported":
            raise ValueError("`referenced` for imported images alone, others lie in the folder")
        if self.width * self.height > MAX_PIXELS:
            raise ValueError(f"at most {MAX_PIXELS:,} pixels")
        if (self.family == PLACEBO) != (self.twin_of is not None):
            raise ValueError(f"family {PLACEBO!r} for neutral twins, and for them alone")
        return self
