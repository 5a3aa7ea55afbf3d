"""`emo-hf` steered: the same answers packed and plain, and never mixed with unsteered ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_harness.activations.sites import layout_of
from emo_harness.axes import save_axes
from emo_harness.errors import UserError
from emo_harness.lm_models.answer_cache import answer_key
from emo_harness.lm_models.steered import SteeredHFLM
from emo_harness.runs.settings import settings_of
from tests.lm_models.local_models import assert_same_scores, ours, saved, scores, texts
from tests.prefix.tiny_models import build
from tests.steer.steered_models import axis_for

PAIRS = [
    ("Q: Is this true or false?\nA:", " True"),
    ("Q: Is this true or false?\nA:", " False"),
    ("Q: Is this true or false?\nYour friend is sick.\nA:", " True"),
    ("The key is in the box.", " You failed again. This is very important"),
]
SETTINGS = {"until": ["\n"], "max_gen_toks": 6}
PROMPTS = [context for context, _ in PAIRS]
PACKED = ("llama", "gpt2", "gpt_neox", "qwen3")
PLAIN = ("bloom", "gpt_neo")


def axes_file(folder: Path, kind: str, **changes: Any) -> Path:
    """Axes at two sites for a tiny model; its random weights are the same wherever it is built."""
    layout = layout_of(build(kind, **changes))
    path = folder / "axes.safetensors"
    save_axes(path, [axis_for(layout, site) for site in ("value", "resid_post")])
    return path


def plainly(folder: Path, steer: str | None) -> SteeredHFLM:
    return SteeredHFLM(str(folder), steer=steer, device="cpu", dtype="float32", batch_size=1)


@pytest.fixture(scope="module", params=[*PACKED, *PLAIN])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    saved(folder, request.param)
    return request.param, folder, axes_file(folder, request.param)


@pytest.mark.parametrize("site", ["value", "resid_post"])
@pytest.mark.parametrize("positions", ["all", "last", "generated"])
def test_a_dose_of_zero_answers_as_no_steering(model: Any, site: str, positions: str) -> None:
    _, folder, axes = model
    steered = ours(folder, steer=f"{axes}:valence:0:site={site}:positions={positions}")
    unsteered = ours(folder)
    if positions == "all":
        assert scores(steered, PAIRS) == scores(unsteered, PAIRS)
    assert_same_scores(scores(steered, PAIRS), scores(unsteered, PAIRS))
    assert texts(steered, PROMPTS, SETTINGS) == texts(unsteered, PROMPTS, SETTINGS)


@pytest.mark.parametrize("site", ["value", "resid_post"])
def test_packed_answers_are_the_plain_ones(model: Any, site: str) -> None:
    kind, folder, axes = model
    steer = f"{axes}:valence:+1.0:site={site}"
    steered, plain = ours(folder, steer=steer), plainly(folder, steer)
    told = steered.get_model_info()["emo_hf"]
    assert told["backend"] == ("packed" if kind in PACKED else "hf")
    assert_same_scores(scores(steered, PAIRS), scores(plain, PAIRS))
    assert texts(steered, PROMPTS, SETTINGS) == texts(plain, PROMPTS, SETTINGS)
    unsteered = scores(ours(folder), PAIRS)
    moved = [abs(a[0] - b[0]) for a, b in zip(scores(steered, PAIRS), unsteered, strict=True)]
    assert min(moved) > 1e-3


@pytest.mark.parametrize("positions", ["last", "generated"])
def test_positions_that_differ_by_request_fall_back_and_say_so(
    model: Any, positions: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, folder, axes = model
    steered = ours(folder, steer=f"{axes}:valence:1:site=value:positions={positions}")
    reason = f"what is steered ({positions}) differs by request"
    assert reason in caplog.text
    scores(steered, PAIRS)
    told = steered.get_model_info()["emo_hf"]
    assert (told["backend"], told["why"]) == ("hf", reason)
    assert told["fallbacks"] == {reason: len(PAIRS)}
    assert told["steering"]["positions"] == positions


@pytest.mark.parametrize("positions", ["all", "last", "generated"])
def test_answers_do_not_depend_on_what_is_asked_beside_them(positions: str, tmp_path: Path) -> None:
    saved(tmp_path, "llama")
    steer = f"{axes_file(tmp_path, 'llama')}:valence:1:site=value:positions={positions}"
    steered = ours(tmp_path, steer=steer, batch_size=4)
    together = scores(steered, PAIRS)
    assert_same_scores(together, [scores(steered, [pair])[0] for pair in PAIRS])
    written = texts(steered, PROMPTS, SETTINGS)
    assert written == [texts(steered, [prompt], SETTINGS)[0] for prompt in PROMPTS]


def test_what_is_generated_and_the_last_token_are_steered_where_they_are(tmp_path: Path) -> None:
    """An option of one token: nothing generated is read before it is predicted."""
    saved(tmp_path, "llama")
    axes = axes_file(tmp_path, "llama")
    unsteered = ours(tmp_path)
    one = [(context, "\n") for context in PROMPTS]
    assert len(unsteered.tok_encode("\n")) == 1
    steer = f"{axes}:valence:1:site=value:positions="
    before = scores(unsteered, one)
    assert_same_scores(scores(ours(tmp_path, steer=f"{steer}generated"), one), before)
    moved = scores(ours(tmp_path, steer=f"{steer}last"), one)
    assert all(abs(a[0] - b[0]) > 1e-3 for a, b in zip(moved, before, strict=True))


def test_the_hook_count_is_checked_in_packed_passes(tmp_path: Path) -> None:
    saved(tmp_path, "llama")
    steered = ours(tmp_path, steer=f"{axes_file(tmp_path, 'llama')}:valence:1:site=value")
    whole = steered.model.model.layers
    steered.model.model.layers = whole[:1]
    try:
        with pytest.raises(RuntimeError):
            scores(steered, PAIRS)
    finally:
        steered.model.model.layers = whole


@pytest.mark.parametrize("positions", ["all", "last"])
def test_nan_that_steering_may_have_caused_is_no_answer(positions: str, tmp_path: Path) -> None:
    """Doses that float16 holds, and sums that it does not."""
    saved(tmp_path, "llama")
    path = tmp_path / "axes.safetensors"
    axis = axis_for(layout_of(build("llama")), "resid_post")
    save_axes(path, [replace(axis, vectors=np.full_like(axis.vectors, 1.0))])
    with pytest.raises(UserError, match="NaN among its logits"):
        steered = ours(
            tmp_path, steer=f"{path}:valence:65504:positions={positions}", dtype="float16"
        )
        scores(steered, PAIRS)


def test_axes_of_other_models_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, "llama")
    wide = tmp_path / "wide"
    wide.mkdir()
    with pytest.raises(UserError, match="numbers"):
        ours(tmp_path, steer=f"{axes_file(wide, 'llama', head_dim=16)}:valence:1:site=value")
    layout = layout_of(build("llama"))
    other = replace(axis_for(layout, "value"), facts={"model": {"identity": "content 00"}})
    path = tmp_path / "other.safetensors"
    save_axes(path, [other])
    with pytest.raises(UserError, match="another model"):
        ours(tmp_path, steer=f"{path}:valence:1")


def test_keys_of_kept_answers_carry_the_steering_and_not_its_place(tmp_path: Path) -> None:
    axes = axes_file(tmp_path, "llama")
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(axes.read_bytes())

    def key(**steer: str) -> str:
        return answer_key("emo-hf", {"pretrained": "model", **steer}).sha256

    base = key(steer=f"{axes}:valence:1:site=value")
    assert base == key(steer=f"{moved}:valence:+1.0:layers=0-1:site=value")
    others = [
        key(),
        key(steer=f"{axes}:valence:-1:site=value"),
        key(steer=f"{axes}:valence:0:site=value"),
        key(steer=f"{axes}:valence:1:site=resid_post"),
        key(steer=f"{axes}:valence:1:site=value:layers=1"),
        key(steer=f"{axes}:valence:1:site=value:positions=last"),
    ]
    layout = layout_of(build("llama"))
    save_axes(axes, [axis_for(layout, "value", seed=5)])
    others.append(key(steer=f"{axes}:valence:1:site=value"))
    assert len({base, *others}) == 1 + len(others)


def test_runs_are_told_apart_by_what_was_added(tmp_path: Path) -> None:
    saved(tmp_path, "llama")
    axes = axes_file(tmp_path, "llama")

    def settings(steer: str | None) -> dict[str, str]:
        lm = ours(tmp_path, steer=steer)
        results = {
            "config": {
                "model": "emo-hf",
                "model_args": {"pretrained": "m", **({"steer": steer} if steer else {})},
                **json.loads(json.dumps(lm.get_model_info(), default=str)),
            },
            "configs": {"task": {}},
        }
        source = type("S", (), {"kind": "hub", "place": "x"})
        of_images = dict.fromkeys(("image_set", "image_order", "control_image"))
        record = type("R", (), {"source": source, "run_arms": (), **of_images})
        return settings_of(results, "task", record)  # type: ignore[arg-type]

    unsteered = settings(None)
    first = settings(f"{axes}:valence:1:site=value")
    assert "steer" not in unsteered and first["steer"].startswith("valence:+1:site=value:")
    layout = layout_of(build("llama"))
    save_axes(axes, [axis_for(layout, "value", seed=5)])
    assert settings(f"{axes}:valence:1:site=value")["steer"] != first["steer"]


@pytest.mark.slow
def test_embedded_models_are_known_by_name_and_their_axes_fit(tmp_path: Path) -> None:
    from emo_harness.activations.loading import load_language_model
    from emo_harness.lm_models.shared_prefix import SharedPrefixLM
    from emo_harness.prompt_tokens import tokenizer_file
    from emo_harness.resources import embedded_model

    name = "emo-feelings"
    loaded = load_language_model(name, device="cpu")
    path = tmp_path / "axes.safetensors"
    save_axes(path, [axis_for(loaded.layout, "value", model=loaded.facts.model_dump())])
    lm = SharedPrefixLM(name, steer=f"{path}:valence:1", device="cpu")
    assert lm.get_model_info()["emo_hf"]["backend"] == "packed"
    # What a run records is the name: whoever reads the run finds the model behind it.
    folder = embedded_model(name)
    assert tokenizer_file(name) == Path(folder) / "tokenizer.json"
    key = answer_key("emo-hf", {"pretrained": name})
    assert key.identities == {"pretrained": loaded.facts.identity}
