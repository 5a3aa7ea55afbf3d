"""A steering in one line of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_harness.axes import save_axes
from emo_harness.errors import UserError
from emo_harness.steer import read_layers, read_spec
from tests.steer.steered_models import axis_for, model_and_layout


def test_every_part_is_read() -> None:
    found = read_spec("some/axes.safetensors:valence:+1.0:layers=6-8+11:positions=last:site=value")
    assert (found.path, found.axis, found.dose) == (Path("some/axes.safetensors"), "valence", 1.0)
    assert (found.layers, found.positions, found.site) == ((6, 7, 8, 11), "last", "value")


def test_what_is_left_out_has_its_default() -> None:
    found = read_spec("axes.safetensors:valence:-.5")
    assert (found.dose, found.layers, found.positions, found.site) == (-0.5, None, "all", None)


def test_a_path_may_have_colons() -> None:
    assert read_spec("C:/axes.safetensors:valence:1").path == Path("C:/axes.safetensors")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "axes.safetensors",
        "axes.safetensors:valence",
        ":valence:1",
        "axes.safetensors:valence:much",
        "axes.safetensors:valence:1:layer=3",
        "axes.safetensors:valence:1:layers=",
        "axes.safetensors:valence:1:layers=1:layers=2",
        "axes.safetensors:valence:1:layers=8-6",
        "axes.safetensors:valence:1:layers=all",
    ],
)
def test_what_does_not_have_the_form_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        read_spec(text)


def test_the_text_of_a_steering_is_read_back(tmp_path: Path) -> None:
    axes = tmp_path / "axes.safetensors"
    _, layout = model_and_layout("llama")
    save_axes(axes, [axis_for(layout, site) for site in ("value", "resid_post")])
    steering = read_spec(f"{axes}:valence:-0.5:layers=1:positions=last:site=value").load()
    assert read_spec(f"{axes}:{steering.text}").load().id == steering.id


def test_an_axis_at_several_sites_needs_its_site(tmp_path: Path) -> None:
    axes = tmp_path / "axes.safetensors"
    _, layout = model_and_layout("llama")
    save_axes(axes, [axis_for(layout, site) for site in ("value", "resid_post")])
    with pytest.raises(UserError, match="2 of that name"):
        read_spec(f"{axes}:valence:1").load()
    with pytest.raises(UserError, match="valence"):
        read_spec(f"{axes}:valense:1").load()
    with pytest.raises(UserError, match="no such file"):
        read_spec(f"{tmp_path}/none.safetensors:valence:1").load()
    with pytest.raises(UserError, match="layer 7"):
        read_spec(f"{axes}:valence:1:site=value:layers=7").load()
    with pytest.raises(UserError, match="positions 'first'"):
        read_spec(f"{axes}:valence:1:site=value:positions=first").load()


def test_layers_are_single_ones_and_ranges() -> None:
    assert read_layers("3") == (3,)
    assert read_layers("6-8, 0") == (0, 6, 7, 8)
