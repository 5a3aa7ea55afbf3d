"""Packed passes: what is attended to can be heard and replaced, and the head left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.activations.sites import layout_of
from emo_harness.prefix import Limits, PackedModel, build_trie
from emo_harness.prefix.packed_model import hearing_keys_and_values
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.prefill import PathAttention, passes
from emo_harness.prefix.units import units_of
from tests.prefix.tiny_models import PACKED, build, ids, packed

# In trie order, so that one pass computes them with their first tokens shared.
SEQUENCES = [np.array(s, np.int32) for s in ([5, 6, 7, 8, 9], [5, 6, 7, 20], [5, 6, 40, 41, 42])]


def states(model: PackedModel) -> dict[tuple[int, ...], torch.Tensor]:
    """The last hidden state of each sequence, by its tokens, from one pass."""
    trie, _ = build_trie(SEQUENCES)
    cache = PathCache(Limits().capacity(5))
    found = {}
    for one in passes(units_of(trie, Limits()), Limits(), lambda unit: 0):
        hidden = model.states(one.tokens, one.positions, PathAttention(one.units, cache))
        for row, place in zip(*one.ends(), strict=True):
            found[tuple(trie.sequences[place].tolist())] = hidden[row]
    return found


@pytest.mark.parametrize("kind", PACKED)
def test_packed_states_are_those_of_each_sequence_alone(kind: str) -> None:
    model = packed(kind)
    found = states(model)
    for sequence in SEQUENCES:
        with torch.no_grad():
            alone = model.model.get_decoder()(ids(sequence.tolist())).last_hidden_state[0, -1]
        assert torch.allclose(found[tuple(sequence.tolist())], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", PACKED)
def test_an_edit_acts_in_packed_passes_as_in_plain_ones(kind: str) -> None:
    model = packed(kind)
    layout = layout_of(model.model)
    sites = {site: [0, 1] for site, layers in layout.shapes.items() if layers}

    def hear(site: str, layer: int, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 0.9 + 0.05 * (layer + 1)

    with layout.listening(sites, hear) as heard:
        found = states(model)
        plain = [layout.forward(ids(sequence.tolist())) for sequence in SEQUENCES]
    assert set(heard.calls.values()) == {heard.passes}
    for sequence, alone in zip(SEQUENCES, plain, strict=True):
        assert alone is not None
        packed_one = found[tuple(sequence.tolist())]
        assert torch.allclose(packed_one, alone[0, -1], atol=5e-5, rtol=1e-3)


def test_keys_and_values_are_heard_once_per_layer_and_pass() -> None:
    model = packed("qwen3")
    heard: list[tuple[int, tuple[int, ...]]] = []

    def hear(layer: int, key: torch.Tensor, value: torch.Tensor) -> Any:
        assert key.shape == value.shape
        heard.append((layer, tuple(key.shape)))
        return key, value

    plain = states(model)
    with hearing_keys_and_values(model.model, hear):
        found = states(model)
    # Of 14 tokens 5 are shared: each token is heard once.
    assert heard == [(0, (1, 2, 9, 16)), (1, (1, 2, 9, 16))]
    assert all(torch.equal(found[key], plain[key]) for key in plain)
    states(model)
    assert len(heard) == 2


def test_another_models_passes_are_not_heard() -> None:
    other = PackedModel(build("llama", seed=1), torch.device("cpu"))
    plain = states(packed("llama"))

    def hear(layer: int, key: torch.Tensor, value: torch.Tensor) -> Any:
        return key * 0, value * 0

    with hearing_keys_and_values(other.model, hear):
        found = states(packed("llama"))
    assert all(torch.equal(found[key], plain[key]) for key in plain)


def test_the_outer_listener_is_called_first() -> None:
    model = packed("llama")
    order: list[str] = []

    def listener(name: str) -> Any:
        def hear(layer: int, key: torch.Tensor, value: torch.Tensor) -> Any:
            order.append(name)
            return key, value

        return hear

    with (
        hearing_keys_and_values(model.model, listener("outer")),
        hearing_keys_and_values(model.model, listener("inner")),
    ):
        states(model)
    assert order == ["outer", "inner"] * model.n_layers
