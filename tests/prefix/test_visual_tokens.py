"""Ids of images: each its own, told back, and with the positions of the model's own rule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from emo_harness.prefix import Limits, Node, VisualPackedModel, build_trie
from emo_harness.prefix.prefill import ends_in, passes
from emo_harness.prefix.units import units_of
from emo_harness.prefix.visual_tokens import ImagePlaces, ImageTable
from tests.prefix.visual_prompts import IMAGES, asked, packed, register

ROPE_KINDS = ("qwen2_vl", "qwen2_5_vl")


def test_ids_are_beyond_the_vocabulary_and_no_image_shares_one() -> None:
    table = ImageTable(50)
    images = [table.add(key, n, None) for key, n in (("a", 3), ("b", 1), ("c", 4))]
    ids = np.concatenate([image.ids for image in images])
    assert ids.min() >= 50
    assert len(set(ids.tolist())) == 8


def test_ids_tell_their_image_and_their_place_in_it() -> None:
    table = ImageTable(50)
    a, b = table.add("a", 3, None), table.add("b", 2, None)
    tokens = np.concatenate([[4], b.ids, [7, 49], a.ids[1:], [9]]).astype(np.int32)
    found = {
        image.key: (rows.tolist(), places.tolist()) for image, rows, places in table.of(tokens)
    }
    assert found == {"b": ([1, 2], [0, 1]), "a": ([5, 6], [1, 2])}
    assert table.of(np.array([1, 2, 49], np.int32)) == []


def test_an_id_of_no_image_is_refused() -> None:
    table = ImageTable(50)
    table.add("a", 3, None)
    with pytest.raises(ValueError, match="53"):
        table.of(np.array([52, 53], np.int32))


def test_images_without_tokens_and_more_than_there_are_ids_are_refused() -> None:
    table = ImageTable(50)
    with pytest.raises(ValueError, match="no tokens"):
        table.add("a", 0, None)
    table.add("b", 2**31 - 60, None)
    with pytest.raises(ValueError, match="left"):
        table.add("c", 20, None)


def test_an_image_moves_what_follows_by_its_span_once_it_is_complete() -> None:
    table = ImageTable(50)
    offsets = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
    image = table.add("a", 4, ImagePlaces(offsets, 2))
    tokens = np.concatenate([[1], image.ids, [2, 3]]).astype(np.int32)
    left_out = table.left_out(tokens)
    starts = np.arange(7) - (np.cumsum(left_out) - left_out)
    found = starts + table.offsets(tokens)
    assert found.tolist() == [
        [0, 1, 1, 1, 1, 3, 4],
        [0, 1, 1, 2, 2, 3, 4],
        [0, 1, 2, 1, 2, 3, 4],
    ]


@pytest.mark.parametrize("kind", ROPE_KINDS)
@pytest.mark.parametrize("limits", [Limits(), Limits(pass_tokens=5, tree_tokens=4)])
def test_positions_are_those_of_the_models_own_rule(kind: str, limits: Limits) -> None:
    model = packed(kind)
    texts = ("Q: {b} {c} A: yes", "Q: {b} {c} A: no", "Q: {b} true", "{c} Q: {a}", "Q: no")
    prompts = [asked(model, kind, text) for text in texts]
    trie, places = build_trie([one.tokens for one in prompts])
    along = {}
    for one in passes(units_of(trie, limits), limits, ends_in):
        inputs = model._inputs(one.tokens, model.positions(one))
        found = inputs["position_ids"][:, 0].T
        before = 0
        for piece in one.pieces:
            for token in range(piece.first, piece.last):
                along[piece.node, token] = found[before + token - piece.first]
            before += len(piece)
    for asked_one, place in zip(prompts, places, strict=True):
        expected = _own_rule(model, asked_one.inputs)
        node: Node | None = trie.end_of[place]
        backwards: list[torch.Tensor] = []
        while node is not None:
            backwards += [along[node, i] for i in reversed(range(len(node.tokens)))]
            node = node.parent
        assert torch.equal(torch.stack(backwards[::-1]).T, expected)
        assert model.position_after(asked_one.tokens) == int(expected.max()) + 1


def _own_rule(model: VisualPackedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(3, n) positions of a prompt alone."""
    n = inputs["input_ids"].shape[1]
    if "image_grid_thw" not in inputs:
        return torch.arange(n).expand(3, n)
    found, _ = model.model.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], inputs["image_grid_thw"]
    )
    return found[:, 0]


def test_a_known_key_keeps_its_ids_and_another_number_of_tokens_is_refused() -> None:
    model = packed("llava")
    first = register(model, "llava", "a", IMAGES["a"])
    assert np.array_equal(register(model, "llava", "a", IMAGES["a"]), first)
    assert np.array_equal(model.token_ids("a"), first)
    with pytest.raises(ValueError, match="9"):
        model.register("a", 4, dict)


def test_rotations_in_three_dimensions_need_a_grid_that_fits() -> None:
    model = packed("qwen2_vl")
    for grid in (None, (1, 4, 4)):
        with pytest.raises(ValueError, match=r"grid|not those"):
            model.register("a", 9, dict, grid=grid)
    with pytest.raises(KeyError):
        model.token_ids("a")


def test_features_of_another_number_than_the_tokens_are_refused() -> None:
    from emo_harness.prefix import Prompt, generate

    model = packed("llava")
    one = asked(model, "llava", "{a}", prefix="right ")
    pixels = {"pixel_values": one.inputs["pixel_values"]}
    ids = model.register("wrong", 4, lambda: pixels)
    with pytest.raises(ValueError, match="9 features"):
        list(generate(model, [Prompt(ids, 1, lambda generated: False)], Limits()))


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics3"])
def test_images_of_equal_shape_are_encoded_together_and_alike(kind: str) -> None:
    together, alone = packed(kind), packed(kind)
    for model, names in itertools.product((together, alone), "abcd"):
        register(model, kind, names, IMAGES[names])
    found = together._features.of(list("abcd"))
    for name in "abcd":
        expected = alone._features.of([name])[name]
        assert float((found[name] - expected).abs().max()) < 1e-5
    assert set(together.encoded.values()) == set(alone.encoded.values()) == {1}


def test_images_of_one_pass_go_through_the_encoder_at_once() -> None:
    model = packed("llava")
    for name in "abd":
        register(model, "llava", name, IMAGES[name])
    batches = []
    hook = model.model.model.vision_tower.register_forward_hook(
        lambda module, given, made: batches.append(len(given[0]))
    )
    model._features.of(list("abda"))
    hook.remove()
    assert batches == [3]


def test_no_more_than_the_bound_is_kept() -> None:
    model = packed("llava", cache_bytes=2 * 9 * 32 * 4 + 5)
    for name in "abd":
        register(model, "llava", name, IMAGES[name])
    model._features.of(list("abd"))
    assert model._features.held_bytes == 2 * 9 * 32 * 4
    model._features.of(["d"])
    assert model.encoded["d"] == 1
    model._features.of(["a"])
    assert model.encoded["a"] == 2
