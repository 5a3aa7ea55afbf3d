"""Stimuli: emotional sentences and images, and the placebos beside them, alone and in sets."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from emo_harness.errors import quoted
from emo_harness.stimuli.decoding import Decoding
from emo_harness.stimuli.visual import StimulusImage
from emo_harness.validation import Strict

MAX_TEXT_CHARACTERS = 4_000
ID_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
FAMILY_PATTERN = r"^[a-z][a-z0-9_-]{0,31}\Z"
# These have a meaning of their own among arms, metrics and tasks.
RESERVED = ("control", "all", "by_arm")

DECODED = "decoded"

PlaceboKind = Literal[
    "neutral",
    "self-check",
    "shuffled",
    "decoded",
    "grey",
    "pixel-scrambled",
    "phase-scrambled",
    "no-image",
]


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"another name than {quoted(RESERVED)}, which are reserved")
    return name


def _matching(pattern: str, in_words: str) -> AfterValidator:
    def check(name: str) -> str:
        if not re.match(pattern, name):
            raise ValueError(in_words)
        return name

    return AfterValidator(check)


def _no_lineage(family: str) -> str:
    if family.startswith(f"{DECODED}-"):
        raise ValueError(f"another name than {DECODED}-..., which is made of what was decoded")
    return family


Name = Annotated[
    str,
    _matching(
        ID_PATTERN,
        "a name of at most 64 lower-case letters a to z, digits, dots, dashes and underscores, "
        "beginning with a letter or digit",
    ),
    AfterValidator(_not_reserved),
]
Family = Annotated[
    str,
    _matching(
        FAMILY_PATTERN,
        "a name of at most 32 lower-case letters a to z, digits, dashes and underscores, beginning "
        "with a letter",
    ),
    AfterValidator(_not_reserved),
    AfterValidator(_no_lineage),
]


class StimulusEntry(Strict):
    """One stimulus as it stands in a set's file. Unknown facts are None."""

    id: Name
    text: str
    theory: str | None = None
    emotion: str | None = None
    arousal_rank: int | None = Field(default=None, ge=1)
    demand: bool | None = None
    placebo: PlaceboKind | None = None
    source: str | None = None
    confidence: Literal["high", "medium", "low"] | None = None
    default: bool = True
    decoded: Decoding | None = None

    @field_validator("text")
    @classmethod
    def _one_line_of_text(cls, text: str) -> str:
        return one_line(text)


class Stimulus(StimulusEntry):
    """One emotional sentence, image, or placebo.

    Attributes:
        id: lower-case name, unique in its set; "a+b" for a combination, "shuffled:a" for a's
            own words in random order, "img:a" for the image a.
        text: the sentence, one line, no surrounding white space; "" where it is an image alone.
        family: `prompt`, `attack`, `negative`, `placebo`, `decoded`, `visual-attack`,
            `visual-prompt`, or a user's own.
        theory: the psychological theory or group the source gives.
        arousal_rank: rank by arousal where published, 1 the highest.
        demand: whether it orders the model to check, explain or score.
        placebo: which kind of placebo it is; None for an emotional stimulus.
        source: citation, or "emo-harness" for our own.
        confidence: how sure the source is of the wording.
        default: whether it is an arm when its set is asked for by name.
        decoded: how a decoded stimulus was made; None for sentences that someone wrote.
        image: the image; None for a sentence alone.
    """

    id: str
    family: str
    text: str = ""
    image: StimulusImage | None = None

    @field_validator("text")
    @classmethod
    def _one_line_of_text(cls, text: str) -> str:
        return one_line(text) if text else ""

    @model_validator(mode="after")
    def _says_or_shows_something(self) -> Stimulus:
        if not self.text and self.image is None and self.placebo != "no-image":
            raise ValueError("a text that is not empty, or an image")
        return self

    @property
    def lineage(self) -> str:
        """The family; of a decoded stimulus "decoded-" and the family that it was decoded from."""
        return lineage(self.family, self.decoded)


def one_line(text: str) -> str:
    """`text` without surrounding white space.

    Raises:
        ValueError: it is empty, too long, or no single line.
    """
    if not text.strip():
        raise ValueError("a text that is not empty")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"a text of at most {MAX_TEXT_CHARACTERS:,} characters")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise ValueError("one line of text, without control characters")
    return text.strip()


def lineage(family: str, decoded: Decoding | None) -> str:
    """What may be averaged over: a family, and of decoded stimuli those of one source."""
    return f"{family}-{decoded.source}" if decoded and family == DECODED else family


class StimulusSet(Strict):
    """An ordered, versioned collection of stimuli."""

    name: Name
    version: int = Field(default=1, ge=1)
    family: Family
    title: str | None = None
    description: str | None = None
    sources: dict[str, str] = Field(default_factory=dict)
    stimuli: tuple[Stimulus, ...]

    @property
    def default_stimuli(self) -> tuple[Stimulus, ...]:
        """The stimuli that are arms when the set is asked for by name."""
        return tuple(s for s in self.stimuli if s.default)

    @property
    def hash(self) -> str:
        return content_hash(self.stimuli)


def content_hash(stimuli: Iterable[Stimulus]) -> str:
    """SHA-256 (hex) of what makes an arm: id, text, pixels, family and kind of placebo, in order.

    Citations and tags may be corrected without making a run incomparable.
    """
    rows = [_content(stimulus) for stimulus in stimuli]
    canonical = json.dumps(rows, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _content(stimulus: Stimulus) -> dict[str, object]:
    content = stimulus.model_dump(include={"id", "text", "family", "placebo"})
    return content if stimulus.image is None else {**content, "image": stimulus.image.sha256}
