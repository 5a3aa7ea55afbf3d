"""The commands a user calls, called as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
MODEL = ROOT / "emo_harness" / "demo" / "weights" / "emo-demo-lm"
TASK = "emo_bbh_mini_attack_boolean_expressions"
COMMON = ["--model", "hf", "--model_args", f"pretrained={MODEL}", "--device", "cpu"]


def call(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / program), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def results_in(folder: Path) -> dict:
    """The results, but for the command line that made them."""
    results = json.loads(next(folder.rglob("results_*.json")).read_text())
    commands = [c["metadata"]["emo"].pop("command") for c in results["configs"].values()]
    assert all(str(folder) in command for command in commands)
    return results


def test_bare_lm_eval_and_emo_run_write_the_same_results(tmp_path: Path) -> None:
    arguments = [
        *COMMON, "--tasks", TASK, "--batch_size", "8", "--log_samples",
        "--gen_kwargs", "max_gen_toks=8",
        "--metadata", '{"emo": {"stimuli": ["ea01", "ea02"], "placebos": 1}}',
    ]  # fmt: skip
    bare = call("lm_eval", *arguments, "--output_path", str(tmp_path / "bare"))
    assert bare.returncode == 0, bare.stderr[-2000:]
    ours = call("emo", "run", *arguments, "--output_path", str(tmp_path / "ours"))
    assert ours.returncode == 0, ours.stderr[-2000:]
    theirs, mine = results_in(tmp_path / "bare"), results_in(tmp_path / "ours")
    for key in ("results", "configs", "versions", "n-shot", "higher_is_better", "task_hashes"):
        assert mine[key] == theirs[key], key
    assert "exact_match_gain" in bare.stdout
    report = call("emo", "report", str(tmp_path / "bare"), "--out", str(tmp_path / "out"))
    assert report.returncode == 0, report.stderr
    assert "attack: mean of 2" in report.stdout


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ('{"emo": {"stimuli": ["ea99"]}}', "ea99"),
        ('{"emo": {"placement": "system"}}', "without a chat template"),
    ],
)
def test_mistakes_under_bare_lm_eval_end_in_one_block(
    tmp_path: Path, metadata: str, told: str
) -> None:
    done = call(
        "lm_eval", *COMMON, "--tasks", TASK, "--metadata", metadata,
        "--output_path", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and told in done.stderr
    assert not (tmp_path / "out").exists()


def test_emo_run_takes_lm_evals_config_file_and_upstream_tasks_are_indexed(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: hf\nmodel_args: {{pretrained: '{MODEL}'}}\ntasks: [{TASK}]\nlimit: 1\n"
        "device: cpu\ngen_kwargs: {max_gen_toks: 4}\n"
        "metadata: {emo: {stimuli: [ea01], placebos: 1}}\n"
    )
    done = call("emo", "run", "--config", str(config))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "exact_match_gain" in done.stdout


def test_embedded_model_is_known_by_name(tmp_path: Path) -> None:
    done = call(
        "emo", "run", "--model", "emo-demo", "--tasks", "emo_calibration_attack", "--limit", "5",
        "--device", "cpu", "--log_samples", "--output_path", str(tmp_path),
        "--metadata", '{"emo": {"stimuli": ["ea01"], "placebos": 1}}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(call("emo", "report", str(tmp_path), "--out", str(tmp_path), "--json").stdout)
    assert {row["model"] for row in rows} == {"emo-demo-lm"}
    assert all(row["truncated_arm_pct"] == 0 for row in rows)
