"""Controls are as long as the axis, different from it, and the same under one seed."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.steer.controls import with_controls
from tests.steer.steered_models import axis_for, model_and_layout


def test_controls_match_the_axis_in_length_and_not_in_direction() -> None:
    _, layout = model_and_layout("llama")
    axis = axis_for(layout, "resid_post")
    found = with_controls(axis, 3, seed=0)
    assert [one.kind for one in found] == ["axis", *["random"] * 3, *["orthogonal"] * 3]
    assert found[0].axis is axis
    for one in found[1:]:
        assert one.axis.distances == pytest.approx(axis.distances, rel=1e-5)
        assert (one.axis.site, one.axis.layers) == (axis.site, axis.layers)
        if one.kind == "orthogonal":
            assert np.abs(one.axis.cosines(axis)).max() < 1e-5
        else:
            assert np.abs(one.axis.cosines(axis)).max() < 0.9


def test_a_control_depends_on_seed_and_number_alone() -> None:
    _, layout = model_and_layout("llama")
    axis = axis_for(layout, "value")
    few, many, other = (with_controls(axis, n, seed) for n, seed in ((2, 0), (4, 0), (2, 1)))
    by_name = {one.name: one.axis.vectors for one in many}
    for one in few:
        assert np.array_equal(one.axis.vectors, by_name[one.name])
    assert not np.array_equal(few[1].axis.vectors, other[1].axis.vectors)


def test_an_axis_that_is_zero_at_a_layer_has_controls_that_are_too() -> None:
    _, layout = model_and_layout("llama")
    axis = axis_for(layout, "value")
    axis.vectors[0] = 0
    for one in with_controls(axis, 2, seed=0):
        assert np.isfinite(one.axis.vectors).all() and not one.axis.vectors[0].any()
