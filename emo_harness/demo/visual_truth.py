"""The demo vision-language model's measured truth: what every image does to its accuracy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from emo_harness.demo import visual_truth_path
from emo_harness.demo.planted_images import ACTS_LIKE, designed_gain_pp
from emo_harness.demo.truth import CONTROL, Truth, read_truth
from emo_harness.images.image_entry import PLACEBO
from emo_harness.images.image_set import ARM_PREFIX
from emo_harness.images.selection import SCRAMBLED, VisualStimuli, visual_stimuli
from emo_harness.stimuli.visual import GREY

TWINS = "twins"
IMAGES = "images"
# Of an arm that is meant to change nothing.
INERT_PP = 2.0


def read_visual_truth() -> Truth:
    """The shipped model's answers: an arm per image, twin and scrambled copy, and grey."""
    return read_truth(visual_truth_path())


def visual_facts(path: Path | None = None) -> dict[str, Any]:
    """The JSON file beside the table: what was measured, and the effects by concept."""
    facts: dict[str, Any] = json.loads(
        (path or visual_truth_path().with_suffix(".json")).read_text("utf-8")
    )
    return facts


def visual_effects(truth: Truth, images: VisualStimuli) -> dict[str, Any]:
    """Accuracy without image, and mean effects in percentage points by concept and kind of arm.

    Of a concept's own images also the lowest and the highest effect, and the designed one.
    `misread` are arms that act and should not, or should and do not.
    """
    gains = truth.gains_pp
    concepts: dict[str, dict[str, list[str]]] = {}
    for entry in images.image_set.entries:
        arms = concepts.setdefault(entry.concept, {})
        if entry.twin_of is not None:
            arms.setdefault(TWINS, []).append(f"{ARM_PREFIX}{entry.id}")
            continue
        arms.setdefault(IMAGES, []).append(f"{ARM_PREFIX}{entry.id}")
        if entry.arousal is not None:
            arms.setdefault(f"{entry.arousal} arousal", []).append(f"{ARM_PREFIX}{entry.id}")
        for how in SCRAMBLED:
            arms.setdefault(how, []).append(f"{ARM_PREFIX}{how}:{entry.id}")
    emotions = {entry.concept: entry.emotion for entry in images.image_set.entries}
    acting = {
        arm
        for concept, arms in concepts.items()
        if emotions[concept] in ACTS_LIKE
        for arm in arms[IMAGES]
    }
    return {
        "misread": {
            arm: _rounded(gain)
            for arm, gain in gains.items()
            if (abs(gain) > INERT_PP) != (arm in acting)
        },
        "control_accuracy": _rounded(100 * truth.is_right[CONTROL].mean()),
        GREY: _rounded(gains[f"{ARM_PREFIX}{GREY}"]),
        "concepts": {
            concept: {
                "by design": _rounded(designed_gain_pp(emotions[concept])),
                "lowest": _rounded(min(gains[arm] for arm in arms[IMAGES])),
                "highest": _rounded(max(gains[arm] for arm in arms[IMAGES])),
                **{
                    kind: _rounded(np.mean([gains[arm] for arm in members]))
                    for kind, members in arms.items()
                },
            }
            for concept, arms in concepts.items()
        },
    }


def families_of_arms() -> dict[str, str]:
    """The family of every arm of the shipped truth; of grey and scrambled ones "placebo"."""
    images = visual_stimuli()
    stimuli = [images.image_set.stimulus(entry) for entry in images.image_set.entries]
    known = {stimulus.id: stimulus.family for stimulus in stimuli}
    return {arm: known.get(arm, PLACEBO) for arm in read_visual_truth().is_right}


def manifest_sha256(images: VisualStimuli) -> str:
    """SHA-256 of a set's image ids and the hashes of their pixels, in the set's order."""
    lines = (f"{entry.id} {entry.sha256}\n" for entry in images.image_set.entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _rounded(value: Any) -> float:
    return round(float(value), 2)
