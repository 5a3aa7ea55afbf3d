"""Plans of emoji images: a YAML file that says, concept by concept, what is to be drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from emo_harness.errors import UserError, nearest
from emo_harness.images.drawing import BACKGROUNDS, Arrangement, Composition
from emo_harness.images.image_entry import Emotion, Level
from emo_harness.images.plan_file import GLYPHS, plan_path, read_plan
from emo_harness.stimuli import Arousal
from emo_harness.stimuli.stimulus import Family, Name
from emo_harness.validation import Strict, validated

_FIX = "mend the file; templates/images/emoji.yaml shows the format"
_IN_WORDS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ARRANGED = {
    "single": "",
    "pair": " side by side",
    "row": " in a row",
    "grid": " in a grid",
    "ring": " in a ring",
    "scatter": " scattered",
}
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class EmojiImage(Strict):
    """One image: its glyphs by name, repeated in turn until there are `n` (default: once)."""

    glyphs: Names
    arrangement: Arrangement
    background: str
    n: int | None = Field(default=None, ge=1)
    neutral: Names | None = None


class EmojiConcept(Strict):
    """The images of a concept in one variant of arousal; `neutral` are its twins' glyphs."""

    concept: Name
    family: Family
    theory: str | None = None
    level: Level | None = None
    emotion: Emotion | None = None
    arousal: Arousal | None = None
    neutral: Names
    images: Annotated[tuple[EmojiImage, ...], Field(strict=False, min_length=1)]


class EmojiPlan(Strict):
    """What a set of emoji images shows.

    Attributes:
        name: of the set.
        size: side of the images, in pixels.
        glyphs: code points by name, "fearful face" -> "U+1F628".
        plurals: of names to which no s can be added.
    """

    name: Name
    version: int = Field(ge=1)
    title: str
    description: str | None = None
    size: int = Field(ge=16, le=2048)
    glyphs: dict[str, str]
    plurals: dict[str, str] = Field(default_factory=dict)
    concepts: Annotated[tuple[EmojiConcept, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _known_names(self) -> EmojiPlan:
        for concept in self.concepts:
            if concept.family == "placebo":
                raise ValueError(f"{concept.concept}: another family than placebo, the twins' own")
            for image in concept.images:
                for name in (*image.glyphs, *(image.neutral or concept.neutral)):
                    if name not in self.glyphs:
                        near = nearest(name, self.glyphs)
                        raise ValueError(
                            f"{concept.concept}: a name of `glyphs`, not {name!r}{near}"
                        )
        return self

    def drawings(self) -> tuple[PlannedDrawing, ...]:
        """Every image, each followed by its twin, numbered within its concept.

        Raises:
            UserError: an unknown background, more or fewer glyphs than an arrangement holds.
        """
        found: list[PlannedDrawing] = []
        numbers: dict[str, int] = {}
        for concept in self.concepts:
            for image in concept.images:
                number = numbers[concept.concept] = numbers.get(concept.concept, 0) + 1
                image_id = f"{concept.concept}-{number}"
                neutral = image.neutral or concept.neutral
                twins = ((image_id, None, image.glyphs), (f"{image_id}-twin", image_id, neutral))
                # Of its id, so that a plan may grow and its images stay as they are.
                seed = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:4], "big")
                for own_id, twin_of, names in twins:
                    found.append(self._drawing(concept, image, own_id, twin_of, names, seed))
        return tuple(found)

    def _drawing(
        self,
        concept: EmojiConcept,
        image: EmojiImage,
        image_id: str,
        twin_of: str | None,
        names: tuple[str, ...],
        seed: int,
    ) -> PlannedDrawing:
        n = image.n or len(image.glyphs)
        shown = tuple(names[i % len(names)] for i in range(n))
        try:
            composition = Composition(
                tuple(self.glyphs[name] for name in shown), image.arrangement, image.background
            )
        except UserError as error:
            raise UserError(
                f"reading the plan {self.name}, image {image_id}",
                found=error.found,
                expected=error.expected,
                fix=error.fix,
            ) from error
        return PlannedDrawing(
            id=image_id,
            concept=concept,
            twin_of=twin_of,
            composition=composition,
            caption=caption(shown, image.arrangement, image.background, self.plurals),
            seed=seed,
        )


@dataclass(frozen=True)
class PlannedDrawing:
    """One image of a plan.

    Attributes:
        twin_of: of a twin, its image's id.
        seed: an image's and its twin's are equal.
    """

    id: str
    concept: EmojiConcept
    twin_of: str | None
    composition: Composition
    caption: str
    seed: int


def load_emoji_plan(name_or_path: str | Path = "emoji") -> EmojiPlan:
    """Read a plan: a shipped one by its name ("emoji"), or a file.

    Raises:
        UserError: it is missing, or not as it should be.
    """
    path = plan_path(name_or_path)
    doing = f"reading the plan of emoji images {path.name}"
    raw = read_plan(path, doing, _FIX)
    if "seeds" in raw and GLYPHS not in raw:
        raise UserError(
            doing,
            found="a recipe for a text-to-image model (it has `seeds`)",
            expected="a plan of emoji images, such as emoji",
            fix="emo images generate makes it; emo images draw takes plans",
        )
    return validated(EmojiPlan, raw, doing, _FIX)


def caption(
    names: tuple[str, ...], arrangement: str, background: str, plurals: dict[str, str]
) -> str:
    """What an image shows: "three crying faces in a row in fog"."""
    counted = []
    for name in dict.fromkeys(names):
        n = names.count(name)
        if n == 1:
            counted.append(f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}")
        else:
            counted.append(f"{_IN_WORDS[n]} {plurals.get(name) or _plural(name)}")
    listed = counted[0] if len(counted) == 1 else f"{', '.join(counted[:-1])} and {counted[-1]}"
    return f"{listed}{_ARRANGED[arrangement]} {BACKGROUNDS[background].phrase}"


def _plural(name: str) -> str:
    return f"{name}s"
