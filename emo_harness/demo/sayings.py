"""What the demo vision-language model says of images, against what it was taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emo_harness.demo.planted_images import (
    DESCRIBE,
    NAME_EMOTION,
    NEUTRAL,
    QUESTION_LAYOUTS,
    RATE_AROUSAL,
    RATE_VALENCE,
    taught_answers,
)
from emo_harness.demo.small_llava import IMAGE_TOKEN
from emo_harness.demo.training_images import UNSEEN_GLYPHS, random_composition
from emo_harness.images.drawing import draw
from emo_harness.images.emoji import EmojiFont, find_font
from emo_harness.images.selection import VisualStimuli

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

QUESTIONS = {
    "emotion": NAME_EMOTION,
    "description": DESCRIBE,
    "valence": RATE_VALENCE,
    "arousal": RATE_AROUSAL,
}
UNSEEN_IMAGES = 40
UNSEEN_SEED = 3
UNSEEN_SIDE = 336
_MAX_NEW_TOKENS = 12
_IMAGES_PER_PASS = 24


def measure_sayings(model: Any, processor: Any, images: VisualStimuli) -> dict[str, Any]:
    """Shares of right answers per question on the shipped set: images, and twins apart.

    For valence and arousal also the mean distance from the taught rating; and the share of images
    composed of glyphs that were never shown in training whose emotion is named.
    """
    found: dict[str, Any] = {}
    for part, is_twin in (("images", False), ("twins", True)):
        entries = [e for e in images.image_set.entries if (e.twin_of is not None) == is_twin]
        shown = [images.image_set.open(entry) for entry in entries]
        taught = [
            taught_answers(NEUTRAL, None, None)
            if is_twin
            else taught_answers(entry.concept, entry.arousal, entry.emotion)
            for entry in entries
        ]
        found[part] = {"n": len(entries)}
        for name, question in QUESTIONS.items():
            said = say(model, processor, shown, question)
            wanted = [answers[question] for answers in taught]
            found[part][name] = _share(said, wanted)
            if name in ("valence", "arousal"):
                found[part][f"{name} distance"] = _distance(said, wanted)
    font = EmojiFont(find_font())
    found["unseen glyphs"] = {}
    for number, (emotion, glyphs) in enumerate(UNSEEN_GLYPHS.items()):
        rng = np.random.default_rng([UNSEEN_SEED, number])
        shown = [
            draw(random_composition(glyphs, rng), font, UNSEEN_SIDE, rng)
            for _ in range(UNSEEN_IMAGES)
        ]
        said = say(model, processor, shown, NAME_EMOTION)
        found["unseen glyphs"][emotion] = _share(said, [emotion] * len(said))
    return found


@torch.inference_mode()
def say(
    model: Any,
    processor: Any,
    shown: Sequence[PILImage],
    question: str,
    layout: str = QUESTION_LAYOUTS[0],
) -> list[str]:
    """The model's greedy answers to one question about each image."""
    text = f"{IMAGE_TOKEN}\n{layout.format(question=question)}"
    said: list[str] = []
    for start in range(0, len(shown), _IMAGES_PER_PASS):
        part = list(shown[start : start + _IMAGES_PER_PASS])
        given = processor(images=part, text=[text] * len(part), return_tensors="pt")
        whole = model.generate(**given, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
        new = whole[:, given["input_ids"].shape[1] :]
        said += [s.strip() for s in processor.batch_decode(new, skip_special_tokens=True)]
    return said


def _share(said: Sequence[str], wanted: Sequence[str]) -> float:
    return round(float(np.mean([s == w for s, w in zip(said, wanted, strict=True)])), 3)


def _distance(said: Sequence[str], wanted: Sequence[str]) -> float | None:
    """Mean absolute difference of the ratings that are numbers; None if there is none."""
    pairs = [(int(s), int(w)) for s, w in zip(said, wanted, strict=True) if s.isdigit()]
    return round(float(np.mean([abs(s - w) for s, w in pairs])), 2) if pairs else None
