"""Trajectories: classes by step, and the same scores as capture reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emo_harness.activations.capture import vectors
from emo_harness.activations.loading import LoadedModel, load_language_model
from emo_harness.axes import Axis
from emo_harness.errors import UserError
from emo_harness.probe.geometry.trajectory import prompts_to_follow, trajectories
from emo_harness.probe.geometry.trajectory_steps import class_trajectories
from tests.lm_models.local_models import saved
from tests.probe.made_words import made_store, made_table

TEXTS = ["Your friend is sick", "The key is behind the door.", "You failed", "This is a box, a key"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_language_model(str(saved(tmp_path_factory.mktemp("model"), "llama")))


def axis_of(loaded: LoadedModel, site: str = "value") -> Axis:
    layers = loaded.layout.layers_of(site)
    width = int(np.prod(loaded.layout.shape(site, layers)))
    drawn = np.random.default_rng(0).standard_normal((2, len(layers), width)).astype(np.float32)
    facts = {"model": loaded.facts.model_dump()}
    return Axis("valence", site, layers, drawn[0], drawn[1], np.ones_like(drawn[0]), facts)


def crossed(n_words: int = 12, n_templates: int = 10) -> pd.DataFrame:
    table = made_table(n_words, n_templates)
    return table[table["valence"] != 0].reset_index(drop=True)


def target_of(table: pd.DataFrame) -> np.ndarray:
    return table["valence"].astype(float).to_numpy() * np.where(table["negation"], -1, 1)


def test_templates_do_not_count_whatever_they_add() -> None:
    table = crossed()
    target = target_of(table)
    scores = np.random.default_rng(1).normal(0, 1, (len(table), 3)) + target[:, None]
    offsets = np.random.default_rng(2).normal(0, 50, (10, 3))[table["template"]]
    word, template = table["word"].to_numpy(), table["template"].to_numpy()
    plain = class_trajectories(scores, target, word, template)
    moved = class_trajectories(scores + offsets, target, word, template)
    for one, other in zip(plain, moved, strict=True):
        assert other.mean == pytest.approx(one.mean, abs=1e-6)
        assert other.high - other.low == pytest.approx(one.high - one.low, abs=1e-6)
    gaps = [step for step in plain if step.target == "high - low"]
    assert all(step.low < 2 < step.high for step in gaps)


def test_intervals_of_the_difference_cover() -> None:
    table = crossed()
    target = target_of(table)
    word, template = (np.unique(table[c], return_inverse=True)[1] for c in ("word", "template"))
    covered = 0
    for seed in range(120):
        rng = np.random.default_rng([seed, 3])
        scores = target * 0.5 + rng.normal(0, 1, len(table))
        scores += rng.normal(0, 0.7, word.max() + 1)[word] + rng.normal(0, 3, 10)[template]
        (gap,) = (
            step
            for step in class_trajectories(scores[:, None], target, word, template)
            if step.target == "high - low"
        )
        covered += gap.low <= 1 <= gap.high
    assert covered >= 108


def test_ended_prompts_leave_and_empty_steps_are_unknown() -> None:
    table = crossed()
    target = target_of(table)
    scores = np.tile(target[:, None], (1, 3))
    scores[::2, 1] = np.nan
    scores[:, 2] = np.nan
    found = class_trajectories(
        scores, target, table["word"].to_numpy(), table["template"].to_numpy()
    )
    by_step = {(s.target, s.step): s for s in found}
    assert by_step["high", 1].n < by_step["high", 0].n
    assert np.isnan(by_step["high - low", 2].mean) and by_step["high - low", 2].n == 0


def test_step_zero_is_what_capture_reads(loaded: LoadedModel) -> None:
    for site in ("value", "resid_post"):
        axis = axis_of(loaded, site)
        prompts = pd.DataFrame({"text": TEXTS})
        scores, _ = trajectories(loaded, axis, prompts, 3)
        read = vectors(loaded, prompts, sites=(site,)).values[site]
        assert np.allclose(scores[:, 0], axis.coordinate(read), atol=1e-4)


def test_later_steps_are_the_written_text_read_again(loaded: LoadedModel) -> None:
    axis = axis_of(loaded)
    scores, written = trajectories(loaded, axis, pd.DataFrame({"text": TEXTS}), 5)
    for text, own, told in zip(TEXTS, scores, written, strict=True):
        tokens = loaded.tokenizer(text, return_tensors="pt")["input_ids"]
        made = loaded.model.generate(
            tokens, do_sample=False, max_new_tokens=5, pad_token_id=loaded.tokenizer.pad_token_id
        )
        lived = np.isfinite(own[1:])
        assert loaded.tokenizer.decode(made[0, tokens.shape[1] :][: lived.sum()]) == told
        heard: list[torch.Tensor] = []

        def hear(site: str, layer: int, x: torch.Tensor, into: list[torch.Tensor] = heard) -> None:
            into.append(x[0].clone())

        with torch.no_grad(), loaded.layout.listening({"value": list(axis.layers)}, hear):
            loaded.layout.base(input_ids=made, use_cache=False)
        values = torch.stack(heard).movedim(2, 0).flatten(2).numpy()
        again = axis.coordinate(values)[tokens.shape[1] - 1 :]
        n = min(len(again), len(own))
        assert np.allclose(
            again[:n][np.isfinite(own[:n])], own[:n][np.isfinite(own[:n])], atol=1e-4
        )


def test_sampling_hangs_on_the_seed_alone(loaded: LoadedModel) -> None:
    axis, prompts = axis_of(loaded), pd.DataFrame({"text": TEXTS})
    runs = [trajectories(loaded, axis, prompts, 6, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert runs[0][1] == runs[1][1] != runs[2][1]
    assert np.array_equal(runs[0][0], runs[1][0], equal_nan=True)


def test_refuses_axes_of_another_model_and_prompts_too_long(loaded: LoadedModel) -> None:
    axis, prompts = axis_of(loaded), pd.DataFrame({"text": TEXTS})
    facts = {"model": {**loaded.facts.model_dump(), "identity": "content of another"}}
    other = Axis("valence", "value", axis.layers, axis.vectors, axis.origin, axis.scale, facts)
    with pytest.raises(UserError, match="another model"):
        trajectories(loaded, other, prompts, 2)
    with pytest.raises(UserError, match="steps"):
        trajectories(loaded, axis, prompts, 4000)


def test_prompts_are_drawn_in_whole_templates(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    table, target = prompts_to_follow(store, "valence", 60, np.random.default_rng(0))
    again, _ = prompts_to_follow(store, "valence", 60, np.random.default_rng(0))
    assert len(table) <= 60 and table["text"].equals(again["text"])
    counts = pd.crosstab(table["template"], target)
    assert (counts[1.0] == counts[-1.0]).all()
    with pytest.raises(UserError, match="dominance"):
        prompts_to_follow(store, "dominance", 60, np.random.default_rng(0))
