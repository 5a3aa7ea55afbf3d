"""Which model a run asked: what its results tell, whichever of lm-eval's models wrote them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emo_harness.errors import UserError
from emo_harness.run_model import load_run_model, own_model, read_model_runs
from tests.run_model.asked_runs import Asked, scores_of
from tests.runs.made_runs import made_run


@pytest.mark.parametrize(
    ("backend", "args"),
    [
        ("openai-completions", {"model": "davinci-002"}),
        ("local-completions", {"model": "org/m", "base_url": "http://localhost/v1/completions"}),
        ("local-completions", {"pretrained": "org/m", "base_url": "http://localhost/v1"}),
        ("gguf", {"base_url": "http://localhost:8000"}),
        ("dummy", {}),
    ],
)
def test_weights_on_a_server_are_explained_and_forced(
    runs: Asked, tmp_path: Path, backend: str, args: dict[str, Any]
) -> None:
    run = made_run(tmp_path / "run", model="org/m", config={"model": backend, "model_args": args})
    scores = scores_of(run)
    with pytest.raises(UserError, match="whose weights are not here") as refused:
        load_run_model(scores, device="cpu")
    assert backend in refused.value.found
    assert "--model ORG/MODEL --force" in refused.value.fix
    with pytest.raises(UserError, match="its weights are not here"):
        load_run_model(scores, name=str(runs.model), device="cpu")
    found = load_run_model(scores, name=str(runs.model), device="cpu", force=True)
    assert not found.is_same
    assert found.forced is not None
    assert backend in found.forced


def test_messages_that_a_server_rendered_are_no_prompts(runs: Asked, tmp_path: Path) -> None:
    run = made_run(
        tmp_path / "run",
        config={"model": "local-chat-completions", "model_args": {"model": "org/m"}},
        results={"chat_template": "", "chat_template_sha": None},
    )
    with pytest.raises(UserError, match="chat messages"):
        load_run_model(scores_of(run), name=str(runs.model), device="cpu", force=True)


def test_a_hash_of_files_is_no_revision(runs: Asked, tmp_path: Path) -> None:
    own = own_model(scores_of(runs.rated))
    assert own.head.identities["pretrained"].startswith("files ") and own.revision is None
    # The run's folder has gone, and with it what tells a folder from a name on the hub.
    gone = replace(own.head, arguments={"pretrained": str(tmp_path / "gone")})
    moved = replace(own, asked=(gone,))
    assert moved.revision is None and "revision" not in moved.told


@pytest.mark.parametrize("backend", ["vllm", "sglang", "hf", "emo-hf"])
def test_engines_that_load_weights_tell_where_from(
    runs: Asked, tmp_path: Path, backend: str
) -> None:
    run = made_run(
        tmp_path, config={"model": backend, "model_args": {"pretrained": str(runs.model)}}
    )
    assert own_model(scores_of(run)).place == str(runs.model)


def test_arguments_that_older_versions_log_as_text_are_read(runs: Asked, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs.rated, run)
    (results,) = run.rglob("results_*.json")
    logged = json.loads(results.read_text("utf-8"))
    logged["config"]["model_args"] = f"pretrained={runs.model},dtype=float32"
    results.write_text(json.dumps(logged))
    assert load_run_model(scores_of(run), device="cpu").is_same


def test_the_embedded_model_is_found_by_its_name(tmp_path: Path) -> None:
    elsewhere = "/another/environment/emo_harness/demo/weights/emo-demo-lm"
    for number, (backend, args) in enumerate(
        [
            ("emo-demo", {}),
            ("emo-demo", {"pretrained": elsewhere}),
            ("hf", {"pretrained": elsewhere}),
        ]
    ):
        run = made_run(tmp_path / str(number), config={"model": backend, "model_args": args})
        assert own_model(scores_of(run)).place == "emo-demo"


def test_several_models_are_named_with_their_folders(tmp_path: Path) -> None:
    for name in ("org/a", "org/b"):
        made_run(tmp_path / name, model=name, config={"model_args": {"pretrained": name}})
    with pytest.raises(UserError, match="several models: org/a, org/b") as refused:
        load_run_model(scores_of(tmp_path))
    assert str(tmp_path / "org/a") in refused.value.fix
    revised = {"model_args": {"pretrained": "org/a", "revision": "v2"}, "model_revision": "v2"}
    made_run(tmp_path / "org/a2", model="org/a", config=revised)
    with pytest.raises(UserError, match="several models: org/a, org/a@v2"):
        load_run_model(scores_of(tmp_path / "org/a", tmp_path / "org/a2"))


def test_one_model_in_several_dtypes_and_engines_is_one(runs: Asked, tmp_path: Path) -> None:
    place = str(runs.model)
    made_run(tmp_path / "a", config={"model_args": {"pretrained": place}})
    made_run(tmp_path / "b", config={"model": "vllm", "model_args": {"pretrained": place}})
    relative = os.path.relpath(place)
    made_run(tmp_path / "c", config={"model_args": {"pretrained": relative, "dtype": "float16"}})
    assert len(own_model(scores_of(tmp_path)).asked) == 3


@pytest.mark.parametrize(
    "steered",
    [
        {"model_args": {"pretrained": "m", "steer": "axes.safetensors:valence:+1"}},
        {"model": "steered", "model_args": {"pretrained": "m", "steer_path": "v.pt"}},
    ],
)
def test_steered_runs_are_left_out_and_alone_refused(
    tmp_path: Path, steered: dict[str, Any]
) -> None:
    made_run(tmp_path / "steered", config=steered)
    with pytest.raises(UserError, match="a steered model alone"):
        own_model(scores_of(tmp_path))
    made_run(tmp_path / "plain", config={"model_args": {"pretrained": "m"}})
    (kept,) = {one.facts.results_file for one in own_model(scores_of(tmp_path)).scores}
    assert kept.startswith("plain")


@pytest.mark.parametrize("argument", ["delta", "gguf_file", "subfolder"])
def test_weights_that_were_changed_while_loading_are_explained(
    runs: Asked, tmp_path: Path, argument: str
) -> None:
    args = {"pretrained": str(runs.model), argument: "x"}
    run = made_run(tmp_path, config={"model_args": args})
    with pytest.raises(UserError, match=f"with {argument}=x"):
        load_run_model(scores_of(run), device="cpu")


def test_several_models_are_told_before_their_questions_are_compared(tmp_path: Path) -> None:
    for name, questions in (("a", "xy"), ("b", "yz")):
        config = {"model": "hf", "model_args": {"pretrained": f"org/{name}"}}
        folder = tmp_path / "run" / name
        made_run(folder, model=f"org/{name}", questions=tuple(questions), config=config)
    with pytest.raises(UserError, match="runs of several models") as refused:
        read_model_runs(tmp_path / "run")
    assert str(tmp_path / "run" / "a") in refused.value.fix
