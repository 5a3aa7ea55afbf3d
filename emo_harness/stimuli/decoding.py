"""Where a decoded stimulus comes from: what was averaged, and how it was turned into words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from emo_harness.validation import Strict

# A family, or several joined by "+": it becomes a part of ids and of lm-eval's names of metrics.
SOURCE_PATTERN = r"^[a-z][a-z0-9_+-]{0,63}$"

DecodedKind = Literal["meta", "random", "neutral", "permuted", "shuffled"]
Pooling = Literal["content", "mean", "positions"]
Decoder = Literal["logit-lens", "nearest", "tuned-lens"]
Source = Annotated[str, Field(pattern=SOURCE_PATTERN)]


class Decoding(Strict):
    """How one stimulus of a `decoded` set was made.

    Attributes:
        source: the family that was decoded, e.g. "prompt"; of the control `neutral` "placebo".
        kind: `meta` (the meta prompt), or its control: `random` (a random vector as long),
            `neutral` (mean of the neutral placebos), `permuted` (stimuli and placebos with their
            labels dealt anew), `shuffled` (the meta prompt's words in random order).
        control_of: of a control, the source whose meta prompt it stands beside; None otherwise.
        vector: `contrast` (family mean minus placebo mean), `mean`, or the id of one stimulus.
        site, layer: where it was read, 0 <= layer < n_layers.
        n_layers: of the model that it was read in.
        pooling: over tokens: the last `content` token, their `mean`, or position by position.
        decoder: from a vector to tokens.
        model: name of the model it was read in; `model_id` is what stood behind that name.
        draw: which one of several random ones.
        tokens: of the text, as they were decoded.
        lost: ordinals of those that the model's tokenizer does not give back from the text.
        overlap: share of the top tokens that the neutral placebos' mean has too; None where there
            is none to compare with.
    """

    source: Source
    kind: DecodedKind
    control_of: Source | None = None
    vector: str = Field(min_length=1)
    site: str
    layer: int = Field(ge=0)
    n_layers: int = Field(ge=1)
    pooling: Pooling
    decoder: Decoder
    model: str
    model_id: str | None = None
    draw: int = Field(default=0, ge=0)
    tokens: tuple[str, ...] = Field(default=(), strict=False)
    lost: tuple[int, ...] = Field(default=(), strict=False)
    overlap: float | None = Field(default=None, ge=0, le=1)

    @field_validator("n_layers")
    @classmethod
    def _beyond_the_layer(cls, n_layers: int, known: ValidationInfo) -> int:
        if n_layers <= known.data.get("layer", 0):
            raise ValueError(f"more layers than the layer's number, {known.data['layer']}")
        return n_layers

    @field_validator("lost")
    @classmethod
    def _of_the_tokens(cls, lost: tuple[int, ...], known: ValidationInfo) -> tuple[int, ...]:
        n_tokens = len(known.data.get("tokens", ()))
        if any(not 0 <= ordinal < n_tokens for ordinal in lost):
            raise ValueError(f"ordinals of the {n_tokens} tokens, from 0")
        return lost
