"""The algebra of axes, and their file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from emo_harness.axes import Axis, load_axes, named_axis, save_axes
from emo_harness.errors import UserError


def axis(name: str = "valence", seed: int = 0, site: str = "value", width: int = 6) -> Axis:
    rng = np.random.default_rng(seed)
    vectors, origin = rng.standard_normal((2, 3, width)).astype(np.float32)
    scale = rng.uniform(0.5, 2, (3, width)).astype(np.float32)
    return Axis(name, site, (0, 2, 5), vectors, origin, scale, {"position": "last"})


def same(first: Axis, second: Axis) -> bool:
    return np.allclose(first.vectors, second.vectors, atol=1e-6)


def test_axes_add_and_scale_as_vectors_do() -> None:
    a, b = axis(seed=1), axis("arousal", seed=2)
    assert same(a + b, b + a)
    assert same(2 * (a + b), 2 * a + 2 * b)
    assert same(a - b, a + -b) and same(a * 0.5, 0.5 * a)
    assert same(a - 0.5 * b + 0.5 * b, a)
    minus = -a
    assert same(-minus, a)
    assert not (a - a).vectors.any() and not (0 * a).vectors.any()
    assert (a + b).name == "valence + arousal" and (a - b).name == "valence - arousal"


def test_algebra_changes_no_operand() -> None:
    a, b = axis(seed=1), axis(seed=2)
    before = a.vectors.copy(), b.vectors.copy()
    _ = a + b, -a, 3 * a, a.orthogonal_to(b), a.only([2])
    assert np.array_equal(a.vectors, before[0]) and np.array_equal(b.vectors, before[1])


def test_length_is_the_distance_and_scales_with_the_axis() -> None:
    a = axis()
    assert a.distances == pytest.approx(np.linalg.norm(a.vectors, axis=1))
    assert (-2 * a).distances == pytest.approx(2 * a.distances)
    assert np.linalg.norm(a.units, axis=1) == pytest.approx([1, 1, 1])
    assert not (0 * a).units.any()


def test_coordinates_put_the_class_means_half_a_unit_from_the_origin() -> None:
    a = axis()
    classes = np.stack([a.origin - a.vectors / 2, a.origin, a.origin + a.vectors / 2])
    expected = [[-0.5] * 3, [0.0] * 3, [0.5] * 3]
    assert a.coordinates(classes) == pytest.approx(np.array(expected), abs=1e-6)
    by_head = classes.reshape(3, 3, 2, 3)
    assert a.coordinates(by_head) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_dose_moves_the_coordinate_by_the_dose() -> None:
    a = axis()
    activations = np.random.default_rng(7).standard_normal((5, 3, 6)).astype(np.float32)
    moved = a.coordinates(activations + 1.5 * a.vectors) - a.coordinates(activations)
    assert moved == pytest.approx(np.full((5, 3), 1.5), abs=1e-5)


def test_coordinates_are_unknown_where_classes_do_not_differ() -> None:
    a = axis()
    a.vectors[1] = 0
    found = a.coordinates(np.ones((2, 3, 6), np.float32))
    assert np.isnan(found[:, 1]).all() and np.isfinite(found[:, [0, 2]]).all()


def test_cosines_are_those_of_the_vectors() -> None:
    a, b = axis(seed=1), axis(seed=2)
    assert a.cosines(a) == pytest.approx([1, 1, 1])
    assert a.cosines(-a) == pytest.approx([-1, -1, -1])
    for other in (b.cosines(a), a.cosines(7 * b)):
        assert a.cosines(b) == pytest.approx(other, abs=1e-6)
    assert a.cosine(2 * a) == pytest.approx(1) and a.cosine(b) == pytest.approx(b.cosine(a))
    assert math.isnan(a.cosine(0 * b))


def test_what_is_orthogonal_is_so_at_every_layer_and_stays_so() -> None:
    a, b = axis(seed=1), axis(seed=2)
    rest = a.orthogonal_to(b)
    assert np.abs(rest.cosines(b)).max() < 1e-5
    assert same(rest.orthogonal_to(b), rest)
    assert (rest.distances <= a.distances + 1e-6).all()
    assert not np.abs(a.orthogonal_to(a).vectors).max() > 1e-6
    assert same(a.orthogonal_to(0 * b), a)


def test_random_directions_are_as_long_and_seeded() -> None:
    a = axis(width=400)
    first, again, other = (a.random_like(np.random.default_rng(s)) for s in (8, 8, 9))
    assert np.array_equal(first.vectors, again.vectors) and not same(first, other)
    assert first.distances == pytest.approx(a.distances, rel=1e-5)
    assert np.abs(first.cosines(a)).max() < 0.25


def test_some_layers_keep_their_own_numbers() -> None:
    a = axis()
    some = a.only([5, 0])
    assert some.layers == (5, 0)
    assert np.array_equal(some.vectors, a.vectors[[2, 0]])
    assert np.array_equal(some.scale, a.scale[[2, 0]])
    for layers in ([1], [0, 9], []):
        with pytest.raises(UserError, match="valence"):
            a.only(layers)


def test_axes_that_do_not_match_are_refused() -> None:
    a = axis()
    for other in (axis(site="key"), axis(width=4), replace(axis(), layers=(0, 2, 4))):
        for put_together in (a.__add__, a.__sub__, a.cosine, a.cosines, a.orthogonal_to):
            with pytest.raises(UserError, match="putting the axes"):
                put_together(other)


def test_parts_of_other_shapes_are_an_error() -> None:
    a = axis()
    with pytest.raises(ValueError, match="expected"):
        replace(a, origin=a.origin[:, :2])
    with pytest.raises(ValueError, match="expected"):
        replace(a, layers=(0, 1))


def test_files_come_back_as_they_were_and_equal_axes_give_equal_bytes(tmp_path: Path) -> None:
    axes = [axis(), axis("arousal", 1), axis(site="resid_post", width=9)]
    first, second = tmp_path / "a.safetensors", tmp_path / "sub" / "b.safetensors"
    save_axes(first, axes)
    read = load_axes(first)
    save_axes(second, read)
    assert first.read_bytes() == second.read_bytes()
    by_place = {(one.name, one.site): one for one in read}
    for one in axes:
        other = by_place[one.name, one.site]
        assert (one.layers, dict(one.facts)) == (other.layers, dict(other.facts))
        for part in ("vectors", "origin", "scale"):
            assert np.array_equal(getattr(one, part), getattr(other, part))


def test_two_axes_of_one_name_and_site_cannot_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one name"):
        save_axes(tmp_path / "a.safetensors", [axis(), axis(seed=1)])


def test_files_without_axes_are_refused(tmp_path: Path) -> None:
    broken, foreign = tmp_path / "broken.safetensors", tmp_path / "foreign.safetensors"
    broken.write_bytes(b"no tensors")
    save_file({"weight": np.ones(3, np.float32)}, foreign)
    whole = tmp_path / "whole.safetensors"
    save_axes(whole, [axis()])
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-8])
    for path in (tmp_path / "none.safetensors", broken, foreign, cut):
        with pytest.raises(UserError, match="reading axes"):
            load_axes(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": [0, 0]},
        {"layers": [0.0, 1.0]},
        {"layers": ["0", "1"]},
        {"layers": 2},
        {"layers": [0]},
        {"facts": []},
        {"facts": {"model": "gpt2"}},
    ],
)
def test_files_that_describe_no_axis_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    parts = ("vectors", "origin", "scale")
    described = {"name": "valence", "site": "value", "layers": [0, 1], "facts": {}}
    tensors = {f"valence@value/{part}": np.ones((2, 4), np.float32) for part in parts}
    path = tmp_path / "axes.safetensors"

    def write(axes: Any) -> None:
        save_file(tensors, path, {"emo_axes": json.dumps({"schema": 1, "axes": axes})})

    write({"valence@value": described})
    assert load_axes(path)[0].layers == (0, 1)
    for wrong in ({"valence@value": {**described, **changes}}, [described]):
        write(wrong)
        with pytest.raises(UserError, match="reading axes"):
            load_axes(path)
    with pytest.raises(UserError, match="reading axes"):
        load_axes(tmp_path / ("x" * 5000))


def test_an_axis_is_chosen_by_name_and_site() -> None:
    axes = [axis(), axis("arousal"), axis(site="key")]
    assert named_axis(axes, "arousal").name == "arousal"
    assert named_axis(axes, "valence", "key").site == "key"
    with pytest.raises(UserError, match="2 of that name"):
        named_axis(axes, "valence")
    with pytest.raises(UserError, match="nearest: 'arousal'"):
        named_axis(axes, "arousel")
