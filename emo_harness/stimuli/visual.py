"""What is known of a stimulus's image: which one it is, what it shows, and how it was rated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emo_harness.validation import Strict

VISUAL = "visual"
GREY: Literal["grey"] = "grey"

Arousal = Literal["low", "high"]
Derived = Literal["pixel-scrambled", "phase-scrambled", "grey"]
Scale = Annotated[tuple[float, float], Field(strict=False)]


class StimulusImage(Strict):
    """The image of a stimulus, as a run records it.

    Attributes:
        set: name of the image set.
        id: the image's id in its set; of a derived control that of the image it was made from.
        sha256: of the pixels that a model is shown; see `image_file.pixels_sha256`.
        concept: what it shows, e.g. "fear" or "fortress".
        level: of Maslow's five needs, None for images of emotions.
        arousal: variant, None where it is neither.
        twin_of: of a neutral twin, the image whose scene it shows.
        derived: how a control was made of the image; None for an image as it is in its set.
        width, height: in pixels.
        norm_valence, norm_arousal: human ratings, on `norm_scale` (lowest, highest).
        contrast_kept, spectrum_error: of a phase-scrambled copy, the factor between its amplitude
            spectrum and its image's, and what differs beyond that factor, as a share; None for
            what is no such copy, or has no contrast.
    """

    set: str
    id: str
    sha256: str
    concept: str
    level: str | None = None
    arousal: Arousal | None = None
    twin_of: str | None = None
    derived: Derived | None = None
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    norm_valence: float | None = None
    norm_arousal: float | None = None
    norm_scale: Scale | None = None
    contrast_kept: float | None = None
    spectrum_error: float | None = None

    @property
    def control_of(self) -> str | None:
        """The image whose control this is: its neutral twin, or a copy made of it."""
        if self.derived is not None:
            return None if self.derived == "grey" else self.id
        return self.twin_of


def visual_family(family: str) -> str:
    """The family of a stimulus that is an image of `family`.

    Example:
        >>> visual_family("attack")
        'visual-attack'
    """
    return f"{VISUAL}-{family}"
