"""Features of images are within a given memory budget, beside what passes take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emo_harness.lm_models.packed_engine import PackedEngine
from emo_harness.lm_models.progress import Progress
from emo_harness.lm_models.sharing_record import SharingRecord
from emo_harness.prefix import Continuation, Limits, Prompt, limits_within
from tests.prefix.live_bytes import LiveBytes
from tests.prefix.test_memory import smallest_budget
from tests.prefix.test_visual_answers import PROMPTS, scores, texts
from tests.prefix.visual_prompts import asked, packed

IMAGE_BYTES = 9 * 32 * 4


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics3"])
def test_passes_over_images_that_are_encoded_keep_the_budget(kind: str) -> None:
    model = packed(kind)
    prompts = [asked(model, kind, text) for text in PROMPTS]
    longest = max(len(one.tokens) for one in prompts)
    budget = smallest_budget(model, longest, 0.5)
    limits = limits_within(budget, model.costs, longest, Limits(), share=0.5)
    model._features.of(list("abc"))
    with LiveBytes() as live:
        texts(model, prompts, limits)
    assert live.peak <= budget
    with LiveBytes() as live:
        scores(model, prompts, (40,), limits)
    assert live.peak <= budget


def test_features_take_a_share_of_a_given_budget_and_passes_the_rest() -> None:
    model = packed("llava")
    for name in "abd":
        asked(model, "llava", f"{{{name}}}")
    model._features.of(list("abd"))
    budget = 25 * IMAGE_BYTES
    kept = model.reserve(budget)
    assert IMAGE_BYTES < kept < budget / 4
    assert model._features.held_bytes <= kept
    model._features.of(list("abd"))
    assert model._features.held_bytes <= kept


def test_features_take_nothing_of_an_accelerators_budget() -> None:
    model = packed("llava")
    model.device = torch.device("cuda")
    assert model.reserve(1000) == 0


@pytest.mark.parametrize("budget", [None, 600_000])
def test_the_engine_answers_about_images_within_its_budget(budget: int | None) -> None:
    free = packed("llava")
    prompts = [asked(free, "llava", text) for text in PROMPTS]
    expected = scores(free, prompts, (40,), Limits()), texts(free, prompts, Limits())
    model = packed("llava")
    prompts = [asked(model, "llava", text) for text in PROMPTS]
    sharing = SharingRecord()
    engine = PackedEngine(model, budget, None, sharing)
    questions = [Continuation(one.tokens, np.array([40], np.int32)) for one in prompts]
    with Progress([], disable=True, name="asking") as progress:
        found = {s.index: s.log_probability for s in engine.scores(questions, progress)}
        wanted = [Prompt(one.tokens, 6, lambda generated: False) for one in prompts]
        said = {c.index: c.generated for c in engine.continued(wanted, progress)}
    assert [found[i] for i in range(len(prompts))] == pytest.approx(expected[0], abs=1e-4)
    assert [said[i] for i in range(len(prompts))] == expected[1]
    assert 0 < sharing.distinct_tokens <= sharing.computed_tokens
