"""The main job on real questions and a real model, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.test_commands import call

pytestmark = pytest.mark.slow


def test_real_questions_with_a_real_model(
    bbh_folder: Path, stories_model: Path, tmp_path: Path
) -> None:
    done = call(
        "emo", "run", "--model", "hf", "--model_args", f"pretrained={stories_model}",
        "--tasks", "emo_bbh_attack_date_understanding,emo_bbh_mc_prompt_snarks", "--limit", "2",
        "--batch_size", "16", "--device", "cpu", "--gen_kwargs", "max_gen_toks=8",
        "--metadata", json.dumps({"emo": {"data_dir": str(bbh_folder)}}),
        "--log_samples", "--output_path", str(tmp_path / "runs"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = call("emo", "report", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--json")
    rows = json.loads(report.stdout)
    assert {(r["benchmark"], r["mode"], r["n_questions"]) for r in rows} == {
        ("bbh", "zeroshot", 2),
        ("bbh", "mc", 2),
    }
    assert all(r["limited"] and r["length_unit"] == "tokens" for r in rows)
    assert all(r["truncated_arm_pct"] is not None for r in rows)
