"""A stand-in for a text-to-image pipeline: noise that follows from text and seed alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emo_harness.images.generation import Work, generate
from emo_harness.images.pipeline import CallSettings, Made, Wanted
from emo_harness.images.pipeline_files import PipelineIdentity
from emo_harness.images.pipeline_loading import LoadedPipeline
from emo_harness.images.recipe import PlannedImage
from emo_harness.images.resume import Plan, plan_of

IDENTITY = PipelineIdentity("scripted", None, "0" * 64, "1" * 64)
CONCEPTS = ("fear", "anger", "joy")
Failing = Callable[[Wanted], str | None]


class ScriptedPipeline:
    """Answers as `TextToImage` does; `fails` says of what there is no image, and why."""

    takes_negative = True
    steps, guidance = 5, 2.0
    arguments: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, fails: Failing = lambda wanted: None, most: int = 100) -> None:
        self.loaded = LoadedPipeline(
            None, IDENTITY, "0" * 64, "Scripted", "None", "float32", "cpu", {"scripted": "1"}
        )
        self.remarks: list[str] = []
        self.calls: list[list[Wanted]] = []
        self._fails, self._most = fails, most

    def make(self, wanted: Sequence[Wanted]) -> list[Made]:
        import torch

        if len(wanted) > self._most:
            raise torch.OutOfMemoryError
        self.calls.append(list(wanted))
        return [self._made(one) for one in wanted]

    def negative_of(self, prompt: str | None) -> str | None:
        return prompt

    def _made(self, one: Wanted) -> Made:
        reason = self._fails(one)
        if reason:
            return Made(None, reason)
        rng = np.random.default_rng([one.seed, zlib.crc32(one.prompt.encode())])
        # Four plain parts: a sheet of noise takes seconds to find its palette.
        parts = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        return Made(Image.fromarray(parts.repeat(8, axis=0).repeat(8, axis=1)))


def planned(n_seeds: int = 2) -> list[PlannedImage]:
    """Three concepts, each with a twin per image."""
    found = []
    for concept in CONCEPTS:
        for seed in range(1, n_seeds + 1):
            one = PlannedImage(
                id=f"{concept}-{seed}",
                family="attack",
                concept=concept,
                theory="basic emotions",
                level=None,
                emotion=None,
                arousal=None,
                twin_of=None,
                caption=f"{concept} in a house",
                prompt=f"{concept} in a house",
                negative_prompt="text",
                seed=seed,
            )
            words = f"a house, not {concept}"
            twin = replace(one, id=f"{one.id}-twin", twin_of=one.id, prompt=words, caption=words)
            found += [one, twin]
    return found


def plan(images: Sequence[PlannedImage], **settings: Any) -> Plan:
    """What the scripted pipeline makes of these."""
    return plan_of("test", images, IDENTITY, CallSettings(**settings), dtype="float32")


def make(folder: Path, pipeline: Any, images: Sequence[PlannedImage], **options: Any) -> Work:
    """Generate with the scripted pipeline."""
    return generate(images, plan(images), lambda: pipeline, folder, **options)
