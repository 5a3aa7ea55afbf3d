"""Axes in lm-eval's own format, read by lm-eval itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lm_eval.models.hf_steered import SteeredModel

from emo_harness.errors import UserError
from emo_harness.steer import Steering
from emo_harness.steer.export import hooks_for, write_steered
from tests.lm_models.local_models import saved
from tests.steer.steered_models import axis_for, loaded


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "bloom", "opt"])
@pytest.mark.parametrize("site", ["resid_post", "value", "attn_out", "mlp_out"])
def test_lm_eval_steers_as_we_do(kind: str, site: str, tmp_path: Path) -> None:
    own = loaded(tmp_path, kind)
    steering = Steering(axis_for(own.layout, site), -0.7)
    path = write_steered(tmp_path / "steer.pt", hooks_for(own, steering), steering.dose)
    theirs = SteeredModel(str(tmp_path), str(path), device="cpu", dtype="float32", batch_size=1)
    ids = torch.tensor([own.tokenizer.encode("Your friend is sick. The question is")])
    with torch.no_grad(), steering.everywhere(own.layout):
        expected = own.model(ids).logits
    with torch.no_grad():
        unsteered = own.model(ids).logits
    found = theirs._model_call(ids)
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, unsteered, atol=1e-2)


def test_the_file_holds_plain_tensors(tmp_path: Path) -> None:
    own = loaded(tmp_path)
    steering = Steering(axis_for(own.layout, "resid_post"), 2.0, layers=(1,))
    path = write_steered(tmp_path / "steer.pt", hooks_for(own, steering), 2.0)
    read = torch.load(path, weights_only=True)
    assert list(read) == ["layers.1"]
    entry = read["layers.1"]
    assert torch.equal(entry["steering_vector"], torch.from_numpy(steering.used.vectors[0]))
    assert (entry["steering_coefficient"], entry["action"]) == (2.0, "add")


def test_what_the_format_cannot_say_is_refused(tmp_path: Path) -> None:
    own = loaded(tmp_path)
    with pytest.raises(UserError, match="gives out key"):
        hooks_for(own, Steering(axis_for(own.layout, "key"), 1.0))
    with pytest.raises(UserError, match="'last'"):
        hooks_for(own, Steering(axis_for(own.layout, "resid_post"), 1.0, "last"))
    with pytest.raises(UserError, match=r"\.csv"):
        write_steered(tmp_path / "steer.csv", [], 1.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        write_steered(tmp_path / "file" / "steer.pt", [], 1.0)


def test_exporting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    own = loaded(saved(tmp_path, "gpt2"), "gpt2")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = own.model(ids).logits
        hooks_for(own, Steering(axis_for(own.layout, "value"), 1.0))
        assert torch.equal(own.model(ids).logits, before)
