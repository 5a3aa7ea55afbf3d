"""Recipes: YAML files that say which images a text-to-image model is asked for."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from emo_harness.errors import UserError
from emo_harness.images.image_entry import PLACEBO, Emotion, Level
from emo_harness.images.plan_file import GLYPHS, plan_path, read_plan
from emo_harness.stimuli import Arousal
from emo_harness.stimuli.stimulus import Family, Name
from emo_harness.validation import RefusedError, Strict, validated

MAX_PROMPT_CHARACTERS = 2_000
MAX_IMAGES = 100_000
# Of a prompt's number in its id, so that ids of any recipe stay names.
_MAX_CONCEPT_CHARACTERS = 48
_FIX = "mend the file; templates/images/attack.yaml shows the format"


def _one_line(text: str) -> str:
    if not text.strip():
        raise ValueError("words, not an empty prompt")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text.strip()):
        raise ValueError("one line of text, without control characters")
    return text.strip()


def _side(pixels: int) -> int:
    if pixels % 8:
        raise ValueError("a multiple of 8, which every text-to-image model needs")
    return pixels


def _short_name(concept: str) -> str:
    if len(concept) > _MAX_CONCEPT_CHARACTERS:
        raise ValueError(f"a concept of at most {_MAX_CONCEPT_CHARACTERS} characters")
    return concept


Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_one_line)]
Side = Annotated[int, Field(ge=16, le=4096), AfterValidator(_side)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class RecipePrompt(Strict):
    """A prompt and its neutral twin's: the same scene without emotion.

    Attributes:
        caption: what can be seen, where the prompt is more than that; the prompt by default.
    """

    prompt: Prompt
    twin: Prompt
    caption: Prompt | None = None

    @model_validator(mode="after")
    def _differ(self) -> RecipePrompt:
        if self.prompt == self.twin:
            raise RefusedError(f"the prompt {self.prompt!r} as its own twin", "a twin that differs")
        return self


class RecipeConcept(Strict):
    """Prompts of a concept, in one variant of arousal where it has several.

    Attributes:
        negative_prompt: instead of the recipe's.
    """

    concept: Annotated[Name, AfterValidator(_short_name)]
    level: Level | None = None
    emotion: Emotion | None = None
    arousal: Arousal | None = None
    negative_prompt: Prompt | None = None
    prompts: Annotated[tuple[RecipePrompt, ...], Field(strict=False, min_length=1)]


class Recipe(Strict):
    """Which images are to be made.

    Attributes:
        family: of the images, "attack", "prompt" or an own; twins are placebos.
        theory: where the concepts come from.
        size: side of square images in pixels; None for the model's own size.
        negative_prompt: what neither images nor twins shall show; idle without guidance.
        seeds: every prompt is made with each of them, its twin with the same.
        concepts: a concept comes once, or once in each variant of arousal.
    """

    name: Name
    version: int = Field(default=1, ge=1)
    title: str | None = None
    description: str | None = None
    family: Family
    theory: str | None = None
    size: Side | None = None
    negative_prompt: Prompt | None = None
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    concepts: Annotated[tuple[RecipeConcept, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _nothing_twice(self) -> Recipe:
        if self.family == PLACEBO:
            raise RefusedError(f"the family {PLACEBO}, which the twins have", "another family")
        repeated = [s for s, n in Counter(self.seeds).items() if n > 1]
        if repeated:
            raise RefusedError(f"the seed {repeated[0]} twice", "every seed once")
        variants = Counter((one.concept, one.arousal) for one in self.concepts)
        for (concept, arousal), n in variants.items():
            if n > 1:
                variant = f" with arousal {arousal}" if arousal else ""
                raise RefusedError(
                    f"the concept {concept!r}{variant} twice", "it once, its prompts in one list"
                )
        for one in self.concepts:
            prompt, n = Counter(p.prompt for p in one.prompts).most_common(1)[0]
            if n > 1:
                raise RefusedError(
                    f"concept {one.concept}: the prompt {prompt[:60]!r} twice",
                    "every prompt once; further seeds vary an image",
                )
        ids = Counter(_ids(self))
        if max(ids.values()) > 1:
            raise RefusedError(
                f"the id {ids.most_common(1)[0][0]!r} for two images", "concepts whose ids differ"
            )
        if len(ids) > MAX_IMAGES:
            raise RefusedError(f"{len(ids):,} images", f"at most {MAX_IMAGES:,} images")
        return self

    def images(self) -> tuple[PlannedImage, ...]:
        """Every image, each followed by its twin, numbered within its concept.

        All prompts of a concept come with the first seed before any comes with the second, so that
        its first images show different things.
        """
        found: list[PlannedImage] = []
        number: Counter[str] = Counter()
        for concept in self.concepts:
            for seed in self.seeds:
                for prompt in concept.prompts:
                    number[concept.concept] += 1
                    own = f"{concept.concept}-{number[concept.concept]}"
                    found.append(self._planned(concept, own, None, prompt.prompt, prompt, seed))
                    found.append(
                        self._planned(concept, f"{own}-twin", own, prompt.twin, prompt, seed)
                    )
        return tuple(found)

    def _planned(
        self,
        concept: RecipeConcept,
        image_id: str,
        twin_of: str | None,
        text: str,
        prompt: RecipePrompt,
        seed: int,
    ) -> PlannedImage:
        return PlannedImage(
            id=image_id,
            family=self.family,
            concept=concept.concept,
            theory=self.theory,
            level=concept.level,
            emotion=concept.emotion,
            arousal=concept.arousal,
            twin_of=twin_of,
            caption=(prompt.caption if twin_of is None else None) or text,
            prompt=text,
            negative_prompt=concept.negative_prompt or self.negative_prompt,
            seed=seed,
        )


@dataclass(frozen=True)
class PlannedImage:
    """One image of a recipe.

    Attributes:
        family: of a twin, its image's.
        twin_of: of a twin, its image's id.
        seed: an image's and its twin's are equal.
    """

    id: str
    family: str
    concept: str
    theory: str | None
    level: Level | None
    emotion: Emotion | None
    arousal: Arousal | None
    twin_of: str | None
    caption: str
    prompt: str
    negative_prompt: str | None
    seed: int


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe: a shipped one by its name ("attack"), or a file.

    Raises:
        UserError: it is missing, or not as it should be.
    """
    path = plan_path(name_or_path)
    doing = f"reading the recipe {path.name}"
    raw = read_plan(path, doing, _FIX)
    if GLYPHS in raw:
        raise UserError(
            doing,
            found="a plan of emoji images (it has `glyphs`)",
            expected="a recipe with prompts, such as attack or prompt",
            fix="emo images draw draws it; emo images generate takes recipes",
        )
    return validated(Recipe, raw, doing, _FIX)


def _ids(recipe: Recipe) -> list[str]:
    """Ids of all images, without their twins'."""
    images: Counter[str] = Counter()
    for one in recipe.concepts:
        images[one.concept] += len(one.prompts) * len(recipe.seeds)
    return [f"{concept}-{i}" for concept, n in images.items() for i in range(1, n + 1)]
