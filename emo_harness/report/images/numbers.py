"""What `images.json` holds, as `emo images check --run` writes it; None is unknown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emo_harness.validation import Strict

Number = float | None
# Value, low, high.
Bounds = Annotated[list[Number], Field(min_length=3, max_length=3)]


def _unknown() -> list[Number]:
    return [None, None, None]


# Nothing but a small image of ours: no address of another place, no markup.
Thumbnail = Annotated[
    str, Field(max_length=40_000, pattern=r"^data:image/webp;base64,[A-Za-z0-9+/]+={0,2}$")
]


class EncoderName(Strict):
    """An encoder, and what was loaded under its name."""

    name: str
    identity: str | None


class Read(Strict):
    """See `images.concept_numbers.ConceptNumbers`; all unknown where no encoder was asked."""

    n_pairs: int = 0
    accuracy: Bounds = Field(default_factory=_unknown)
    chance: Number = None
    emotion_accuracy: Bounds = Field(default_factory=_unknown)
    emotion_chance: Number = None
    probability: Number = None
    contrast: Bounds = Field(default_factory=_unknown)
    alignment: Number = None
    diversity: Number = None


class CheckedConcept(Read):
    """A concept of a family; a family as a whole where `concept` is None."""

    concept: str | None
    family: str
    level: str | None
    emotion: str | None
    n: int
    n_twins: int
    n_duplicates: int
    second: Read | None


class PairedMean(Strict):
    """Mean of paired differences, and in standard deviations of them."""

    n: int
    mean: Bounds
    standardised: Number


class FactDifference(Strict):
    """See `images.fact_differences.FactDifference`."""

    family: str
    fact: str
    images: Number
    twins: Number
    difference: PairedMean
    p_adjusted: Number
    differs: bool


class NormCorrelation(Strict):
    """Rank correlation of an encoder's reading with human ratings."""

    encoder: str
    dimension: Literal["valence", "arousal"]
    n: int
    rank: Bounds
    p: Number


class ContrastCorrelation(Strict):
    """Rank correlation of two encoders' contrasts with twins."""

    n: int
    rank: Bounds
    p: Number


class Agreement(Strict):
    """See `images.concept_numbers.EncoderAgreement`."""

    n: int
    same: Bounds
    kappa: Number
    contrast: ContrastCorrelation


class Duplicates(Strict):
    """Groups of ids that look alike: perceptual hashes differ in at most so many bits."""

    most_bits: int
    n_bits: int
    groups: list[list[str]]


class CheckedImage(Strict):
    """An image or a twin.

    Attributes:
        referenced: of one that a page shows and whose licence forbids copying, whether its
            thumbnail is here.
    """

    id: str
    family: str
    concept: str
    arousal: Literal["low", "high"] | None
    twin_of: str | None
    duplicate_of: str | None
    thumbnail: Thumbnail | None
    referenced: Literal["shown", "withheld"] | None = None
    sharpness: Number
    brightness: Number
    contrast: Number
    colourfulness: Number
    width: int
    height: int
    n_bytes: int
    probability_concept: Number = None
    predicted: str | None = None
    probability_emotion: Number = None
    emotion_predicted: str | None = None
    twin_contrast: Number = None
    alignment: Number = None
    second_probability_concept: Number = None
    second_predicted: str | None = None
    second_probability_emotion: Number = None
    second_emotion_predicted: str | None = None
    second_twin_contrast: Number = None
    second_alignment: Number = None


class ImageCheckNumbers(Strict):
    """The file."""

    schema_version: Literal[1]
    set: str
    n_images: int
    n_twins: int
    made: list[str]
    encoders: list[EncoderName]
    emotions: list[str]
    concepts: list[CheckedConcept]
    families: list[CheckedConcept]
    matching: list[FactDifference]
    norms: list[NormCorrelation]
    agreement: Agreement | None
    duplicates: Duplicates
    remarks: list[str]
    images: list[CheckedImage]
