"""Scores of images made in memory: emotions act, any image costs a little."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from emo_harness.runs import ArmScores, RunArm
from emo_harness.stimuli import StimulusImage
from tests.report.made_scores import arm, made_scores

EMOTIONS = ("sadness", "fear", "happiness")


def image(image_id: str, concept: str, **facts: Any) -> StimulusImage:
    named = f"{image_id} {facts.get('derived')}"
    sha256 = hashlib.sha256(named.encode()).hexdigest()
    fixed = {"set": "emoji", "sha256": sha256, "width": 336, "height": 336}
    return StimulusImage(id=image_id, concept=concept, **fixed, **facts)


def visual_arms(control_image: str = "none") -> list[RunArm]:
    """Two images per emotion (low, high arousal); one of them, in turn, has a twin and copies."""
    made = [RunArm("control", "control", "control", None, "")]
    if control_image == "none":
        grey = image("grey", "grey", derived="grey")
        made.append(arm("img:grey", "placebo", "grey", text="", image=grey))
    for turn, emotion in enumerate(EMOTIONS):
        for number, arousal in ((1, "low"), (2, "high")):
            made.append(
                arm(
                    f"img:{emotion}-{number}",
                    "visual-attack",
                    text="",
                    emotion=emotion,
                    image=image(f"{emotion}-{number}", emotion, arousal=arousal),
                )
            )
        made += controls(f"{emotion}-{turn % 2 + 1}", emotion)
    return made


def controls(image_id: str, emotion: str) -> list[RunArm]:
    """An image's neutral twin and scrambled copies."""
    twin = image(f"{image_id}-twin", emotion, twin_of=image_id)
    made = [arm(f"img:{image_id}-twin", "placebo", "neutral", text="", image=twin)]
    for kind in ("pixel-scrambled", "phase-scrambled"):
        copy = image(image_id, emotion, derived=kind)
        made.append(arm(f"img:{kind}:{image_id}", "placebo", kind, text="", image=copy))
    return made


def visual_scores(
    n: int = 400,
    effect: dict[str, float] | None = None,
    presence: float = 0.02,
    control_image: str = "none",
    extra: tuple[RunArm, ...] = (),
    settings: dict[str, str] | None = None,
    **other: Any,
) -> ArmScores:
    """Right or wrong: `effect` lowers an emotion's images, `presence` every image.

    As `runs` reads it, a control that shows plain grey has no image, and a setting says so.
    """
    rng = np.random.default_rng(7)
    ability = rng.uniform(size=n)
    effect = {"sadness": 0.15, "fear": 0.1} if effect is None else effect
    arms = [*visual_arms(control_image), *extra]
    scores = {}
    for one in arms:
        shows = one.image is not None or (one.kind == "control" and control_image == "grey")
        level = 0.7 - (presence if shows else 0.0)
        if one.kind == "stimulus" and one.image is not None:
            level -= effect.get(one.image.concept, 0.0)
        scores[one.id] = (ability < level).astype(np.float64)
    settings = {"control_image": control_image, "image_order": "first", **(settings or {})}
    return made_scores(scores, arms, settings=settings, family="visual-attack", **other)
