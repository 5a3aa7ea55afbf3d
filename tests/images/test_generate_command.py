"""`emo images generate` as it is typed: killed and started again, by two processes, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emo_harness.cli.images_generate import _argument
from emo_harness.errors import UserError
from emo_harness.images import load_image_set
from tests.conftest import ROOT
from tests.images import tiny_pipelines

pytest.importorskip("diffusers")

RECIPE = """
name: small
family: attack
theory: basic emotions
seeds: [1, 2, 3, 4]
negative_prompt: text
concepts:
  - {concept: fear, emotion: fear, prompts: [{prompt: a dark forest, twin: a light forest}]}
  - {concept: joy, emotion: happiness, prompts: [{prompt: a smile, twin: a house}]}
"""
N_IMAGES = 16


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate")
    (folder / "small.yaml").write_text(RECIPE)
    tiny_pipelines.save_stable_diffusion(folder / "model")
    return folder


def arguments(place: Path, out: Path, *further: str) -> list[str]:
    given = ["generate", str(place / "small.yaml"), "--model", str(place / "model")]
    return [*given, "--out", str(out), "--steps", "2", "--size", "32", *further]


def started(args: list[str], **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "emo_harness", "images", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def called(args: list[str]) -> dict[str, Any]:
    from emo_harness.cli.images import app

    done = CliRunner().invoke(app, [*args, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_killed_and_started_again_it_makes_what_is_missing(place: Path, tmp_path: Path) -> None:
    process = started(arguments(place, tmp_path, "--batch-size", "1", "--steps", "8"))
    while process.poll() is None and len(list(tmp_path.glob("[!.]*.png"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*.png")}
    assert 3 <= len(there) < N_IMAGES
    told = called(arguments(place, tmp_path, "--batch-size", "4", "--steps", "8"))
    assert (told["n_there"], told["n_made"]) == (len(there), N_IMAGES - len(there))
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in there.items())
    assert not list(tmp_path.glob(".*"))
    whole = load_image_set(tmp_path)
    called(arguments(place, tmp_path / "whole", "--batch-size", "4", "--steps", "8"))
    for one, other in zip(whole.entries, load_image_set(tmp_path / "whole").entries, strict=True):
        assert one.id == other.id
        levels = [
            np.asarray(load_image_set(folder).open(entry)).astype(int)
            for folder, entry in ((tmp_path, one), (tmp_path / "whole", other))
        ]
        assert np.abs(levels[0] - levels[1]).max() <= 1
    assert called(arguments(place, tmp_path, "--steps", "8"))["n_made"] == 0


@pytest.mark.slow
def test_two_processes_share_the_work(place: Path, tmp_path: Path) -> None:
    ranks = [
        started(arguments(place, tmp_path), RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2")
        for rank in ("0", "1")
    ]
    outputs = [process.communicate()[0].decode() for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    assert "generated: 16 images" in outputs[0] and "by 2 processes" in outputs[0]
    assert outputs[1] == ""
    found = load_image_set(tmp_path)
    ids = [entry.id for entry in found.entries if not entry.twin_of]
    assert ids == [f"{concept}-{i}" for concept in ("fear", "joy") for i in range(1, 5)]
    for entry in found.entries:
        found.open(entry)


def test_what_was_used_is_written_down(place: Path, tmp_path: Path) -> None:
    args = arguments(
        place, tmp_path, "--limit", "2", "--guidance", "3", "--set", "guidance_rescale=0.5",
        "--scheduler", "EulerDiscreteScheduler", "--attention-slicing",
    )  # fmt: skip
    told = called(args)
    assert told["n_images"] == 4
    entries = {entry.id: entry for entry in load_image_set(tmp_path).entries}
    assert set(entries) == {"fear-1", "fear-1-twin", "joy-1", "joy-1-twin"}
    made = entries["fear-1"].made
    assert made.how == "generated"
    assert (made.model, made.pipeline) == ("model", "StableDiffusionPipeline")
    assert (made.scheduler, made.steps, made.guidance) == ("EulerDiscreteScheduler", 2, 3.0)
    assert made.arguments == {"guidance_rescale": 0.5} and made.negative_prompt == "text"
    assert (made.prompt, made.seed, made.attempt) == ("a dark forest", 1, 0)
    assert (made.width, made.height, made.dtype, made.device) == (32, 32, "float32", "cpu")
    assert made.weights_sha256 and made.revision is None and made.versions["torch"]
    twin = entries["fear-1-twin"]
    assert twin.family == "placebo" and twin.made.prompt == "a light forest"  # type: ignore[union-attr]
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["scheduler"] == "EulerDiscreteScheduler" and plan["n_images"] == N_IMAGES


@pytest.mark.parametrize(
    ("further", "told"),
    [
        (["--size", "wide"], "--size wide"),
        (["--size", "100000"], "from 8 to 8192"),
        (["--set", "novalue"], "NAME=VALUE"),
        (["--concepts", "feer"], "nearest: 'fear'"),
        (["--set", "clip_skp=1"], "nearest: 'clip_skip'"),
        (["--cpu-offload", "model", "--device", "cpu"], "CPU offload"),
        (["--set", "clip_skip=99"], "IndexError"),
        (["--set", "eta=foo"], "pipeline refused"),
        (["--set", "latents=foo"], "cannot be set"),
        (["--set", "guidance_scale=1"], "use --guidance"),
        (["--model", "nobody/nothing"], "nothing could be fetched"),
        (["--set", "eta=NaN"], "finite"),
        (["--guidance", "inf"], "finite"),
        (["--size", "33"], "divisible by"),
    ],
)
def test_mistakes_are_told_and_leave_nothing_behind(
    place: Path, tmp_path: Path, further: list[str], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        called(arguments(place, tmp_path / "out", *further))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("further", [["--concepts", "nosuch"], ["--size", "axb"], ["--out", "f"]])
def test_what_is_mistyped_is_told_before_anything_heavy_is_imported(
    place: Path, tmp_path: Path, further: list[str]
) -> None:
    (tmp_path / "f").touch()
    program = (
        "import sys\nfrom emo_harness.cli.images import app\n"
        f"try: app({arguments(place, tmp_path, *further)!r}, standalone_mode=False)\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["UserError", "[]"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("False", False),
        ("true", True),
        ("None", None),
        ("null", None),
        ("2", 2),
        ("nones", "nones"),
    ],
)
def test_words_of_python_and_json_are_values(text: str, value: Any) -> None:
    found = _argument(f"clip_skip={text}")
    assert found == ("clip_skip", value) and type(found[1]) is type(value)
