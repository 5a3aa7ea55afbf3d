"""Prompts with images made and computed our way, tried against the processor and the model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from emo_harness.lm_models.refusals import TRIAL_ERRORS, untried
from emo_harness.lm_models.single_images import UnknownExpansionError
from emo_harness.lm_models.visual_prompt_encoder import Images, VisualPromptEncoder
from emo_harness.prefix import VisualPackedModel, why_images_different

log = logging.getLogger(__name__)

# Tokens that the trial generates beside its prompt.
_GENERATED = 4
_SIZES = ((56, 56), (84, 56))


class VisualCheck:
    """Looks at the first prompt of every kind.

    Args:
        encoder: of prompts.
        packed: what computes them; None where nothing is packed.
        max_length: of a prompt that is computed.
    """

    def __init__(
        self, encoder: VisualPromptEncoder, packed: VisualPackedModel | None, max_length: int
    ) -> None:
        self._encoder = encoder
        self._packed = packed
        self._max_length = max_length
        self._seen: set[tuple[Any, ...]] = set()
        self._is_computed_right = False

    def why_not_made_up(self, max_images: int) -> str | None:
        """Why prompts cannot be packed, tried on a made-up one of two images."""
        images = list(_made_up())[:max_images]
        text = "One" + " <image> and another" * len(images)
        reason = self.why_not(text, images) if images else None
        # The first real ones are looked at all the same.
        self._seen.clear()
        self._is_computed_right = False
        return reason

    def why_not(self, text: str, images: Images) -> str | None:
        """Why prompts cannot be packed, tried where this one is the first of its kind.

        Where its tokens are others than the processor's, the encoder is told to ask the processor.

        Raises:
            UserError: a prompt that cannot be made at all.
        """
        # Whether text stands before and behind the images is where tokenizers differ.
        parts = self._encoder.with_keys(text, images).strip().split("\0")
        # What stands before, between and behind the images, whose keys are the other parts.
        words = [bool(part) for part in parts[::2]]
        kind = (len(images), words[0], words[-1], all(words[1:-1]))
        if kind in self._seen:
            return None
        self._seen.add(kind)
        try:
            if not self._encoder.asks_processor and not self._encoder.agrees_on(text, images):
                self._encoder.asks_processor = True
                log.warning(
                    "the processor makes other tokens of text and images together than apart: it "
                    "is asked for every prompt, which takes longer"
                )
            [prompt] = self._encoder.prompts([(text, images)])
        except UnknownExpansionError as error:
            return str(error)
        # What transformers makes of images side by side or at the very end is no measure for
        # Qwen-VL.
        if self._packed is None or self._is_computed_right or not all(words[1:]):
            return None
        if len(prompt) + _GENERATED > self._max_length:
            return None
        try:
            inputs = self._encoder.processed(text, images)
            reason = why_images_different(self._packed, prompt.tokens, inputs)
        except TRIAL_ERRORS as error:
            reason = untried(error)
        self._is_computed_right = reason is None
        return reason


def _made_up() -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    for width, height in _SIZES:
        cells = rng.integers(0, 256, (height // 7, width // 7, 3), dtype=np.uint8)
        yield Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST)
