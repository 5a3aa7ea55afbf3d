"""`emo run --model emo-vlm`: images and prompts without one in one run, kept and recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emo_harness.lm_tasks import host
from tests.lm_models.vision_models import POSITIONS, saved

TASK = "emo_bbh_visual_mini_attack_boolean_expressions"
ARMS = {"stimuli": ["img:fear-1", "img:sadness-1"], "placebos": ["grey"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"control_image": "none"}),
        ({"emo": {"images": "emoji"}}, {"control_image": "none", "images": "emoji"}),
        ({"emo": {"control_image": "grey"}}, {"control_image": "grey"}),
        ({"emo": "wrong", "pretrained": "x"}, "wrong"),
    ],
)
def test_control_shows_no_image_where_nothing_else_is_said(
    given: dict[str, Any], expected: Any
) -> None:
    made = host._control_without_image(given)
    assert made["emo"] == expected
    assert {name: made[name] for name in given if name != "emo"} == {
        name: value for name, value in given.items() if name != "emo"
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"max_position_embeddings": 4 * POSITIONS}
    return saved(tmp_path_factory.mktemp("llava"), "llava", **sizes)


def results(model: str, folder: Path, out: Path, *more: str, **emo: Any) -> dict[str, Any]:
    host.run([
        "--model", model, "--model_args", f"pretrained={folder},dtype=float32", "--device", "cpu",
        "--tasks", TASK, "--limit", "1", "--gen_kwargs", "max_gen_toks=2",
        "--metadata", json.dumps({"emo": {**ARMS, **emo}}),
        "--output_path", str(out), "--log_samples", *more,
    ])  # fmt: skip
    [written] = out.rglob("results_*.json")
    return json.loads(written.read_text())


def answers(out: Path) -> Any:
    [written] = out.rglob("samples_*.jsonl")
    return [json.loads(line)["resps"] for line in written.read_text().splitlines()]


@pytest.mark.slow
def test_a_visual_task_runs_and_its_answers_are_kept(folder: Path, tmp_path: Path) -> None:
    cache = ("--use_cache", str(tmp_path / "kept"), "--apply_chat_template")
    first = results("emo-vlm", folder, tmp_path / "first", *cache)
    told = first["config"]["emo_vlm"]
    assert told["backend"] == "packed"
    assert not told["fallbacks"]
    # The two images and the grey one; control has none.
    assert told["images"] == told["images_encoded"] == 3
    [config] = first["configs"].values()
    assert config["metadata"]["emo"]["control_image"] == "none"
    again = results("emo-vlm", folder, tmp_path / "again", *cache)
    assert again["config"]["emo_vlm"]["naive_tokens"] == 0
    assert answers(tmp_path / "again") == answers(tmp_path / "first")


@pytest.mark.slow
def test_lm_evals_own_model_gives_the_same_answers(folder: Path, tmp_path: Path) -> None:
    results("emo-vlm", folder, tmp_path / "ours", control_image="grey")
    results("hf-multimodal", folder, tmp_path / "theirs")
    assert answers(tmp_path / "ours") == answers(tmp_path / "theirs")
