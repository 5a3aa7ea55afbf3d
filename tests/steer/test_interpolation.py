"""Mixing two prompts' caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.errors import UserError
from emo_harness.steer.figure import interpolation_curves
from emo_harness.steer.interpolation import (
    Mixed,
    interpolate,
    mixed_cache,
    summarise_interpolation,
)
from tests.lm_models.local_models import word_tokenizer
from tests.steer.steered_models import loaded

FROM, TO = "w1 w2 w3 w4", "w1 w9 w3 w4"


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3_text", "bloom"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp(request.param)
    return loaded(folder, request.param, words=word_tokenizer(60))


def expected_at(model: LoadedModel, prompt: str, text: str) -> float:
    """Mean log-probability of all but the first token, computed in one pass."""
    start, whole = model.tokenizer.encode(prompt), model.tokenizer.encode(f"{prompt} {text}")
    with torch.no_grad():
        logits = model.model(torch.tensor([whole])).logits[0].log_softmax(-1)
    found = [float(logits[i - 1, whole[i]]) for i in range(len(start) + 1, len(whole))]
    return float(np.mean(found))


def mix(model: LoadedModel, mixed: Mixed = "keys and values", steps: int = 3) -> object:
    return interpolate(
        model, (FROM, TO), n_steps=steps, n_continuations=4, max_tokens=5, mixed=mixed
    )


def test_the_ends_are_the_prompts_themselves(model: LoadedModel) -> None:
    found = mix(model)
    for texts, values in zip(found.texts, (found.first, found.second), strict=True):
        for text, row in zip(texts, values, strict=True):
            assert row[0] == pytest.approx(expected_at(model, FROM, text), abs=1e-4)
            assert row[-1] == pytest.approx(expected_at(model, TO, text), abs=1e-4)


def test_each_half_of_the_way_is_half_of_the_cache(model: LoadedModel) -> None:
    def cache(prompt: str) -> object:
        ids = torch.tensor([model.tokenizer.encode(prompt)])
        with torch.no_grad():
            return model.model(ids, use_cache=True).past_key_values

    first, second = cache(FROM), cache(TO)
    half = mixed_cache(first, second, 0.5, "keys and values")
    for a, b, c in zip(first.layers, second.layers, half.layers, strict=True):
        assert torch.allclose(c.keys, (a.keys + b.keys) / 2)
        assert torch.allclose(c.values, (a.values + b.values) / 2)
    values = mixed_cache(first, second, 1.0, "values")
    assert torch.equal(values.layers[1].keys, first.layers[1].keys)
    assert torch.equal(values.layers[1].values, second.layers[1].values)
    last = mixed_cache(first, second, 1.0, "last value")
    assert torch.equal(last.layers[1].values[..., :-1, :], first.layers[1].values[..., :-1, :])
    assert torch.equal(last.layers[1].values[..., -1, :], second.layers[1].values[..., -1, :])
    # None of this has touched the caches themselves.
    assert torch.equal(cache(FROM).layers[0].keys, first.layers[0].keys)


def test_less_of_the_cache_moves_less(model: LoadedModel) -> None:
    def way(mixed: Mixed) -> float:
        found = mix(model, mixed)
        return float(np.abs(found.first[:, -1] - found.first[:, 0]).mean())

    assert way("last value") < way("keys and values")


def test_a_summary_tells_slopes_and_crossing(model: LoadedModel) -> None:
    found = mix(model, steps=5)
    summary = summarise_interpolation(found)
    assert summary.shares == (0.0, 0.25, 0.5, 0.75, 1.0)
    gap = summary.slope_second.value - summary.slope_first.value
    assert summary.interaction.value == pytest.approx(gap)
    assert "<svg" in interpolation_curves(summary, "a title")


def test_prompts_of_other_lengths_are_refused(model: LoadedModel) -> None:
    with pytest.raises(UserError, match=r"4 tokens .* and 3"):
        interpolate(model, (FROM, "w1 w2 w3"), n_steps=2, n_continuations=2, max_tokens=3)


def test_equal_seeds_give_equal_numbers(tmp_path: Path) -> None:
    own = loaded(tmp_path, words=word_tokenizer(60))
    first, again = mix(own), mix(own)
    assert np.array_equal(first.first, again.first) and first.texts == again.texts
