"""Steering adds what it says, where it says, and proves that it did."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.activations.hooks import HookCountError
from emo_harness.activations.sites import layout_of
from emo_harness.errors import UserError
from emo_harness.steer import POSITIONS, Steering, require_same_model
from emo_harness.steer.sampling import sample
from tests.prefix.tiny_models import packed
from tests.steer.steered_models import (
    KINDS,
    SITES,
    axis_for,
    logits,
    model_and_layout,
    plain,
    prompts,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", SITES)
def test_zero_dose_is_bit_equal_to_no_steering(kind: str, site: str) -> None:
    own = plain(kind)
    axis = axis_for(own.layout, site)
    expected = own.next_log_probabilities(prompts())
    for positions in POSITIONS:
        found = own.next_log_probabilities(prompts(), Steering(axis, 0.0, positions))
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", ["value", "resid_post"])
def test_zero_dose_generates_the_same_tokens(kind: str, site: str) -> None:
    own = plain(kind)
    axis = axis_for(own.layout, site)
    expected = sample(own, prompts(), 2, 5, end_token=None, seed=3)
    for positions in POSITIONS:
        steering = Steering(axis, 0.0, positions)
        found = sample(own, prompts(), 2, 5, end_token=None, seed=3, steering=steering)
        assert [[one.tolist() for one in own] for own in found] == [
            [one.tolist() for one in own] for own in expected
        ]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen3"])
@pytest.mark.parametrize("site", SITES)
def test_packed_passes_are_steered_as_plain_ones(kind: str, site: str) -> None:
    from emo_harness.prefix import Continuation, Limits, score

    model = packed(kind)
    layout = layout_of(model.model)
    axis = axis_for(layout, site)
    sequence = prompts((9,))[0]
    asked = [Continuation(sequence[:-1], sequence[-3:])]

    def packed_score() -> float:
        return next(iter(score(model, asked, Limits()))).log_probability

    before = packed_score()
    with Steering(axis, 0.0).everywhere(layout):
        assert packed_score() == before
    steering = Steering(axis, 1.0)
    with steering.everywhere(layout):
        found = packed_score()
        plain_logits = logits(model.model, sequence[:-1])
    expected = (
        plain_logits[-3:]
        .log_softmax(-1)
        .gather(1, torch.from_numpy(sequence[-3:].astype(np.int64))[:, None])
    )
    assert found == pytest.approx(float(expected.sum()), abs=1e-4)
    assert packed_score() == before


@pytest.mark.parametrize("site", ["resid_pre", "resid_post"])
def test_what_is_added_is_the_dose_times_the_vector(site: str) -> None:
    model, layout = model_and_layout("llama")
    axis = axis_for(layout, site).only([1])
    heard: dict[str, torch.Tensor] = {}

    def hear(where: str, layer: int, activation: torch.Tensor) -> None:
        heard["now"] = activation.clone()

    sequence = prompts((6,))[0]
    with layout.listening({site: [1]}, hear):
        logits(model, sequence)
        before = heard["now"]
    # The inner listening hears what the outer one has put in place.
    with Steering(axis, -0.5).everywhere(layout), layout.listening({site: [1]}, hear):
        logits(model, sequence)
    moved = heard["now"] - before
    expected = torch.from_numpy(-0.5 * axis.vectors[0]).expand_as(moved)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_opposite_doses_move_to_opposite_sides() -> None:
    model, layout = model_and_layout("gpt2")
    axis = axis_for(layout, "resid_post", size=1e-3)
    sequence = prompts((6,))[0]
    found = {}
    for dose in (-1.0, 0.0, 1.0):
        with Steering(axis, dose).everywhere(layout):
            found[dose] = logits(model, sequence)[-1]
    up, down = found[1.0] - found[0.0], found[-1.0] - found[0.0]
    assert torch.allclose(up, -down, atol=0.05 * float(up.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_padded_batch_is_steered_as_each_sequence_alone(kind: str, positions: str) -> None:
    own = plain(kind)
    axis = axis_for(own.layout, "value")
    steering = Steering(axis, 1.5, positions)  # type: ignore[arg-type]
    starts, rest = prompts((3, 8, 5)), prompts((4, 2, 6), seed=1)
    together = own.scores(starts, rest, steering)
    alone = [own.scores([a], [b], steering)[0] for a, b in zip(starts, rest, strict=True)]
    assert together == pytest.approx(alone, abs=1e-4)


def test_positions_steer_the_tokens_they_name() -> None:
    model, layout = model_and_layout("llama")
    axis = axis_for(layout, "resid_post").only([0])
    heard: dict[str, torch.Tensor] = {}

    def hear(site: str, layer: int, activation: torch.Tensor) -> None:
        heard["now"] = activation[0].clone()

    sequence = prompts((6,))[0]
    with layout.listening({"resid_post": [0]}, hear):
        logits(model, sequence)
    before = heard["now"]
    touched = {}
    for positions in POSITIONS:
        steering = Steering(axis, 1.0, positions)
        with steering.scoring(layout, [4]), layout.listening({"resid_post": [0]}, hear):
            logits(model, sequence)
        touched[positions] = [i for i in range(6) if not torch.equal(heard["now"][i], before[i])]
    assert touched == {"all": list(range(6)), "last": [3], "generated": [4, 5]}


@pytest.mark.parametrize("positions", POSITIONS)
def test_generation_steers_what_scoring_steers(positions: str) -> None:
    """The tokens that a steered model writes have the probabilities that steered scoring gives."""
    own = plain("llama")
    axis = axis_for(own.layout, "value", size=2.0)
    steering = Steering(axis, 1.0, positions)  # type: ignore[arg-type]
    starts = prompts((3, 6))
    drawn = sample(own, starts, 40, 3, end_token=None, seed=0, steering=steering)
    for start, continuations in zip(starts, drawn, strict=True):
        steered = own.scores([start] * 40, continuations, steering)
        unsteered = own.scores([start] * 40, continuations)
        # Gibbs: what a distribution draws, it gives more probability than another does.
        assert steered.mean() > unsteered.mean()


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("site", ["resid_pre", "mlp_out"])
def test_generation_is_steered_alike_without_a_cache(positions: str, site: str) -> None:
    """Where every pass computes all tokens again, the prompt's own stay what they were."""
    model, layout = model_and_layout("llama")
    steering = Steering(axis_for(layout, site, size=2.0), 1.0, positions)  # type: ignore[arg-type]
    sequence = torch.from_numpy(prompts((6,))[0].astype(np.int64))[None]
    found = []
    for use_cache in (True, False):
        with torch.no_grad(), steering.generating(layout):
            found.append(
                model.generate(sequence, max_new_tokens=6, do_sample=False, use_cache=use_cache)
            )
    assert torch.equal(*found)


def test_passes_of_which_no_token_is_known_are_refused() -> None:
    model, layout = model_and_layout("llama")
    sequence = torch.from_numpy(prompts((6,))[0].astype(np.int64))[None]
    for positions, refused in (("all", False), ("last", True), ("generated", True)):
        steering = Steering(axis_for(layout, "value"), 1.0, positions)  # type: ignore[arg-type]
        told = pytest.raises(UserError, match="a pass of 3 tokens") if refused else nullcontext()
        with told, steering.generating(layout), torch.no_grad():
            model(sequence, use_cache=False)
            model(sequence[:, :3], use_cache=False)


def test_a_steering_in_which_nothing_ran_is_an_error() -> None:
    _, layout = model_and_layout("llama")
    steering = Steering(axis_for(layout, "value"), 1.0)
    with pytest.raises(HookCountError, match="no forward pass"), steering.everywhere(layout):
        pass


@pytest.mark.parametrize("site", SITES)
def test_a_dose_of_zero_puts_nothing_in_the_place_of_what_is_there(site: str) -> None:
    """A copy that lies otherwise in memory may be computed with otherwise by an accelerator."""
    model, layout = model_and_layout("gpt2")
    steering = Steering(axis_for(layout, site), 0.0)
    before: dict[int, int] = {}
    after: dict[int, int] = {}

    def addresses(into: dict[int, int]) -> Any:
        return lambda where, layer, activation: into.update({layer: activation.data_ptr()})

    outer = layout.listening({site: [0, 1]}, addresses(before))
    inner = layout.listening({site: [0, 1]}, addresses(after))
    with outer, steering.everywhere(layout), inner:
        logits(model, prompts((4,))[0])
    assert before == after and len(before) == 2


def test_doses_that_the_model_cannot_compute_with_are_refused() -> None:
    from tests.prefix.tiny_models import build

    model, layout = model_and_layout("llama")
    steering = Steering(axis_for(layout, "value"), 1e39)
    with pytest.raises(UserError, match="too large for float32"), steering.everywhere(layout):
        logits(model, prompts((4,))[0])
    half = build("llama").to(torch.bfloat16)
    axis = axis_for(layout, "value")
    with Steering(axis, 1e5).everywhere(layout_of(half)):
        logits(half, prompts((4,))[0])
    half = build("llama").to(torch.float16)
    told = pytest.raises(UserError, match="too large for float16")
    with told, Steering(axis, 1e6).everywhere(layout_of(half)):
        logits(half, prompts((4,))[0])


def test_a_site_that_the_model_passes_by_is_an_error() -> None:
    model, layout = model_and_layout("llama")
    steering = Steering(axis_for(layout, "resid_post"), 1.0)
    whole = model.model.layers
    model.model.layers = whole[:1]
    try:
        with pytest.raises(HookCountError), steering.everywhere(layout):
            logits(model, prompts((4,))[0])
    finally:
        model.model.layers = whole


def test_axes_of_another_model_are_refused() -> None:
    _, layout = model_and_layout("llama")
    axis = axis_for(layout, "value")
    own = {"name": "here", "identity": "content aa", "n_layers": 2, "hidden_size": 32}
    require_same_model(replace(axis, facts={"model": own}), layout, identity="content aa")
    for change, told in (
        ({"identity": "content bb"}, "another model"),
        ({"n_layers": 5}, "5 layers"),
        ({"hidden_size": 64}, "64 numbers"),
    ):
        other = replace(axis, facts={"model": {**own, **change}})
        with pytest.raises(UserError, match=told):
            require_same_model(other, layout, identity="content aa")
    wide = replace(axis, site="resid_post")
    with pytest.raises(UserError, match="16 numbers"):
        require_same_model(wide, layout)
    deep = replace(axis, layers=(0, 7))
    with pytest.raises(UserError, match="layer 7"):
        require_same_model(deep, layout)
    with pytest.raises(UserError, match="no such site"):
        require_same_model(replace(axis, site="values"), layout)


def test_axes_that_are_not_numbers_are_refused() -> None:
    _, layout = model_and_layout("llama")
    nowhere = replace(axis_for(layout, "value"), vectors=np.zeros((2, 16), np.float32))
    with pytest.raises(UserError, match="length 0"):
        Steering(nowhere, 1.0)
    axis = axis_for(layout, "value")
    axis.vectors[1, 3] = np.nan
    with pytest.raises(UserError, match="NaN or infinity in the axis at layer 1"):
        Steering(axis, 1.0)
    assert Steering(axis, 1.0, layers=(0,)).used.layers == (0,)


@pytest.mark.parametrize(
    ("dose", "positions", "layers"),
    [(float("nan"), "all", None), (1.0, "first", None), (1.0, "all", (9,)), (1.0, "all", ())],
)
def test_a_steering_that_means_nothing_is_refused(
    dose: float, positions: str, layers: tuple[int, ...] | None
) -> None:
    _, layout = model_and_layout("llama")
    with pytest.raises(UserError):
        Steering(axis_for(layout, "value"), dose, positions, layers)  # type: ignore[arg-type]


def test_ids_tell_steerings_apart_and_nothing_else() -> None:
    _, layout = model_and_layout("llama")
    axis = axis_for(layout, "value")
    base = Steering(axis, 1.0)
    same = Steering(replace(axis, name="other", facts={"file": "elsewhere"}), 1.0, layers=(0, 1))
    assert base.id == same.id
    others = [
        Steering(axis, 1.5),
        Steering(axis, 1.0, "last"),
        Steering(axis, 1.0, layers=(0,)),
        Steering(axis_for(layout, "value", seed=1), 1.0),
        Steering(replace(axis, site="key"), 1.0),
    ]
    assert len({base.id, *(one.id for one in others)}) == 1 + len(others)


def test_one_vector_added_to_all_keys_changes_nothing_and_is_said_so() -> None:
    """softmax(q.k + q.d) = softmax(q.k): what is the same for all keys falls out."""
    own = plain("llama")
    steering = Steering(axis_for(own.layout, "key"), 1.0)
    found = own.next_log_probabilities(prompts(), steering)
    assert torch.allclose(found, own.next_log_probabilities(prompts()), atol=1e-5)
    assert any("softmax" in remark for remark in steering.remarks)
    assert not Steering(steering.axis, 1.0, "last").remarks
