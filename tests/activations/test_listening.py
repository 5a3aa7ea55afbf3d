"""Listening: each place once per pass, nothing left behind, nothing computed that is not needed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers

from emo_harness.activations.hooks import EnoughHeard, HookCountError
from emo_harness.activations.sites import Layout, layout_of
from emo_harness.errors import UserError
from tests.activations.models import everything, known, model_of, prompts

Place = tuple[str, int]


def test_listenings_nest_and_the_inner_one_hears_what_the_outer_put_in() -> None:
    layout, ids = known("llama"), prompts()
    inner: dict[Place, torch.Tensor] = {}
    places = {"value": [1], "key": [0], "attn_out": [0], "resid_post": [1]}

    def keep(site: str, layer: int, tensor: torch.Tensor) -> None:
        inner[site, layer] = tensor.clone()

    with (
        layout.listening(places, lambda site, layer, tensor: torch.full_like(tensor, 7)) as outer,
        layout.listening(places, keep) as heard,
    ):
        layout.forward(ids)
    assert outer.calls == heard.calls
    assert len(inner) == 4
    assert all(bool((tensor == 7).all()) for tensor in inner.values())


def test_two_layouts_of_one_model_nest_as_one_does() -> None:
    model = model_of("qwen3")
    one, other = layout_of(model), layout_of(model)
    heard: list[torch.Tensor] = []
    with (
        one.listening({"value": [1]}, lambda site, layer, tensor: torch.zeros_like(tensor)),
        other.listening({"value": [1]}, lambda site, layer, tensor: heard.append(tensor.clone())),
    ):
        other.forward(prompts())
    assert not heard[0].any()


def _computed(layout: Layout, ids: torch.Tensor) -> Iterator[str]:
    """The names of modules that a pass ran to their end."""
    names: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in layout.base.named_modules()
    ]
    layout.forward(ids)
    for handle in handles:
        handle.remove()
    yield from names


def test_a_pass_ends_behind_the_last_place_that_is_needed() -> None:
    layout = known("mistral_window")
    heard: list[Place] = []
    places = {"value": [0, 2], "resid_pre": [1]}

    def hear(site: str, layer: int, tensor: torch.Tensor) -> None:
        heard.append((site, layer))

    with layout.listening(places, hear, stops_early=True) as counts:
        names = list(_computed(layout, prompts()))
        assert layout.forward(prompts()) is None
    assert sorted(heard[:3]) == [("resid_pre", 1), ("value", 0), ("value", 2)]
    assert counts.passes == 2
    assert set(counts.calls.values()) == {2}
    assert "layers.1.mlp" in names
    assert "layers.2.self_attn.v_proj" in names
    assert not {"layers.2.self_attn.o_proj", "layers.2.mlp", "layers.2", "norm"} & set(names)
    assert isinstance(layout.forward(prompts()), torch.Tensor)


def test_who_runs_the_model_alone_is_told_of_an_early_end() -> None:
    layout = known("llama")
    ears = layout.listening({"key": [0]}, lambda *heard: None, stops_early=True)
    with ears, pytest.raises(EnoughHeard):
        layout.model(prompts())


def test_a_place_that_is_not_reached_is_an_error() -> None:
    model = model_of("llama")
    layout = layout_of(model)
    model.config.num_hidden_layers = 1
    with (
        pytest.raises(HookCountError, match="resid_post of layer 1 was not reached"),
        layout.listening({"resid_post": [0, 1]}, lambda *heard: None),
    ):
        layout.forward(prompts())


def test_a_place_that_is_reached_twice_is_an_error() -> None:
    model = model_of("llama")
    layout = layout_of(model)
    attention = model.model.layers[0].self_attn
    plain = attention.forward

    def twice(*args: Any, **kwargs: Any) -> Any:
        plain(*args, **kwargs)
        return plain(*args, **kwargs)

    attention.forward = twice
    for site in ("key", "value"):
        with (
            pytest.raises(HookCountError, match=f"{site} of layer 0 was reached twice"),
            layout.listening({site: [0]}, lambda *heard: None),
        ):
            layout.forward(prompts())


def test_a_place_that_is_reached_outside_a_pass_is_an_error() -> None:
    layout = known("llama")
    with (
        pytest.raises(HookCountError, match="outside a forward pass"),
        layout.listening({"mlp_out": [0]}, lambda *heard: None),
    ):
        layout.layers[0].get_submodule("mlp")(torch.zeros(1, 3, layout.hidden_size))


def test_a_replacement_of_another_shape_is_an_error() -> None:
    layout = known("llama")
    with (
        pytest.raises(ValueError, match="its replacement"),
        layout.listening({"value": [0]}, lambda site, layer, tensor: tensor[..., :1]),
    ):
        layout.forward(prompts())


def test_nothing_is_left_behind_even_by_a_failure() -> None:
    model = model_of("llama")
    layout = layout_of(model)

    def hooks() -> int:
        gc.collect()
        return sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in model.modules()
        )

    # transformers leaves one of its own in every layer once it was asked for hidden states.
    before = hooks()

    def fail(*heard: Any) -> None:
        raise KeyError("of the listener's own")

    with pytest.raises(KeyError), layout.listening(everything(layout), fail):
        layout.forward(prompts())
    assert hooks() == before
    # A pass that failed does not spoil the count of the next.
    answers = iter([KeyError(), None, None])

    def fail_once(*heard: Any) -> None:
        if error := next(answers):
            raise error

    with layout.listening({"value": [0]}, fail_once) as heard:
        with pytest.raises(KeyError):
            layout.forward(prompts())
        layout.forward(prompts())
    assert heard.passes == 2


@pytest.mark.parametrize("kind", ["llama", "mistral_window"])
def test_a_cache_that_was_begun_is_continued(kind: str) -> None:
    layout, ids = known(kind), prompts()
    lengths: list[int] = []
    with torch.no_grad():
        one, other = (layout.model(ids[:, :8], use_cache=True).past_key_values for _ in range(2))
        plain = layout.model(ids[:, 8:], past_key_values=one)
        with layout.listening({"value": [1]}, lambda s, n, new: lengths.append(new.shape[2])):
            found = layout.model(ids[:, 8:], past_key_values=other)
    assert torch.equal(found.logits, plain.logits)
    assert found.past_key_values is other
    assert other.get_seq_length() == 11
    assert lengths == [3]


def test_a_cache_of_another_kind_is_refused() -> None:
    layout = known("llama")
    given = transformers.StaticCache(config=layout.model.config, max_cache_len=20)
    with (
        pytest.raises(UserError, match="StaticCache"),
        layout.listening({"value": [1]}, lambda *heard: None),
    ):
        layout.model(prompts(), past_key_values=given, use_cache=True)
