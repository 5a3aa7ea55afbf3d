"""A benchmark steered, kept, told apart and compared, as a user would do it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_harness.activations.sites import layout_of
from emo_harness.axes import save_axes
from tests.end_to_end.test_commands import MODEL, call
from tests.steer.steered_models import axis_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def axes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoModelForCausalLM

    path = tmp_path_factory.mktemp("axes") / "axes.safetensors"
    layout = layout_of(AutoModelForCausalLM.from_pretrained(MODEL).eval())
    axis = axis_for(layout, "resid_post")
    save_axes(path, [replace(axis, vectors=(axis.vectors * 3).astype(np.float32))])
    return path


def run(out: Path, *arguments: str) -> dict:
    done = call(
        *("emo", "run", "--model", "emo-hf", "--model_args", f"pretrained={MODEL}"),
        *("--tasks", "emo_calibration_attack", "--limit", "40", "--device", "cpu"),
        *("--metadata", '{"emo": {"stimuli": [], "placebos": 1}}', "--log_samples"),
        *("--use_cache", str(out.parent / "kept" / "answers"), "--output_path", str(out)),
        *arguments,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    newest = max(out.rglob("results_*.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(newest.read_text())


def test_a_steered_run_pairs_with_the_unsteered_one(axes: Path, tmp_path: Path) -> None:
    plain = run(tmp_path / "plain")
    zero = run(tmp_path / "zero", "--steer", f"{axes}:valence:0")
    moved = run(tmp_path / "moved", f"--steer={axes}:valence:+20.0:layers=2-4")
    # Kept answers of one steering never answer for another.
    assert len(list((tmp_path / "kept").glob("*.db"))) == 3
    task = "emo_calibration_attack"
    assert zero["results"][task] == plain["results"][task]
    assert moved["results"][task] != plain["results"][task]
    told = moved["config"]["emo_hf"]
    assert told["backend"] == "packed" and told["sharing_ratio"] > 1
    assert told["steering"]["layers"] == [2, 3, 4] and told["steering"]["dose"] == 20.0

    done = call("emo", "compare", str(tmp_path / "plain"), str(tmp_path / "moved"), "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["stimulus"]: row for row in json.loads(done.stdout)}
    placebos = {name for name, row in rows.items() if row["kind"] == "placebo"}
    assert len(placebos) == 2
    assert {"(control accuracy)", *(f"{name} (accuracy)" for name in placebos)} <= set(rows)
    assert all(row["n_questions"] == 40 for row in rows.values())
    assert "steer default / valence:+20" in rows["(control accuracy)"]["differs"]
    report = call("emo", "report", str(tmp_path), "--out", str(tmp_path / "report"), "--json")
    assert report.returncode == 0, report.stderr
    labels = {row["label"] for row in json.loads(report.stdout)}
    assert len(labels) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--model", "emo-hf", "--steer"), "without a value"),
        (("--model", "emo-hf", "--steer", "a:b:1", "--steer", "a:b:2"), "2 times"),
        (("--model", "emo-hf", "--steer", "nowhere.safetensors:valence:1"), "no such file"),
        (("--model", "emo-hf", "--steer", "valence"), "too few parts"),
        (("--model", "hf", "--steer", "a:b:1"), "--model hf"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(arguments: tuple[str, ...], told: str) -> None:
    done = call(
        "emo", "run", "--tasks", "emo_calibration_attack", "--model_args", "pretrained=no/such",
        *arguments,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-500:]
    assert told in done.stderr
