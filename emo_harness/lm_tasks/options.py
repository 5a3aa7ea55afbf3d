"""What a user may select under the metadata key `emo`, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from emo_harness.errors import UserError, quoted
from emo_harness.placement import Placement
from emo_harness.validation import Strict, validated

METADATA_KEY = "emo"
ImageOrder = Literal["first", "last"]
ControlImage = Literal["none", "grey"]
EXAMPLE = """--metadata '{"emo": {"stimuli": ["ea01", "ea03"], "placement": "suffix"}}'"""


class EmoOptions(Strict):
    """The keys under `emo`.

    Attributes:
        stimuli: a set, a file, an id, a sentence, or a list of these; None for the family's own
            set; an empty list asks control and placebos alone.
        placement: where the stimulus goes.
        placebos: how many neutral placebos (the self-check comes with them; 0 for none at all),
            or which placebos, as `stimuli` names stimuli; "shuffled" for every stimulus's own
            words in random order.
        data_dir: folder of the benchmark's published files.
        questions: how many questions a generated benchmark makes.
        questions_seed: the seed it makes them from.
        repeats: how often each prompt is asked; has a meaning where answers are sampled.

    Of visual tasks alone:
        stimuli: may be images too, "img:fear-2", and images with a sentence, "img:fear-2+ea01".
        placebos: how many images of each concept have their neutral twin and scrambled copies
            beside them (1 by default; 0 for no placebo at all), or which placebos; in a list also
            kinds of them, see `visual_arms`.
        images: an image set, its folder or the name of a shipped one; "emoji" by default.
        images_per_concept: how many images of each concept are arms where a family or a concept
            is asked for; 2 by default.
        image_order: the image before the text, or after the question.
        control_image: what the control prompt shows: nothing, or a plain grey image, as models
            need that must be shown one with every prompt. By default grey, and nothing where
            questions have images of their own.
    """

    stimuli: str | list[str] | None = None
    placement: Placement = "suffix"
    placebos: int | str | list[str] | None = None
    data_dir: str | None = Field(default=None, min_length=1)
    questions: int | None = Field(default=None, ge=1, le=1_000_000)
    questions_seed: int | None = Field(default=None, ge=0)
    repeats: int | None = Field(default=None, ge=1, le=100)
    images: str | None = Field(default=None, min_length=1)
    images_per_concept: int | None = Field(default=None, ge=1, le=1_000)
    image_order: ImageOrder = "first"
    control_image: ControlImage | None = None


def read_options(metadata: Mapping[str, Any] | None) -> EmoOptions:
    """Read the `emo` mapping of a task's metadata.

    lm-eval mixes the model's arguments into metadata, so only `emo` is ours; the other keys are
    looked at only to catch one of ours in the wrong place.

    Raises:
        UserError: an unknown key, a wrong value, or one of our keys outside `emo`.
    """
    metadata = metadata or {}
    misspelt = [key for key in metadata if key.lower() == METADATA_KEY and key != METADATA_KEY]
    astray = [key for key in EmoOptions.model_fields if key in metadata] + misspelt
    if astray:
        raise UserError(
            "reading --metadata",
            found=f"{quoted(astray)} at the top level",
            expected=f"it under the key {METADATA_KEY!r}",
            fix=EXAMPLE,
        )
    raw = metadata.get(METADATA_KEY, {})
    if not isinstance(raw, Mapping):
        raise UserError(
            "reading --metadata",
            found=f"{METADATA_KEY} = {str(raw)[:60]!r}",
            expected=f"a JSON object under {METADATA_KEY!r}",
            fix=EXAMPLE,
        )
    return validated(EmoOptions, dict(raw), "reading --metadata, key 'emo'", fix=f"e.g. {EXAMPLE}")
