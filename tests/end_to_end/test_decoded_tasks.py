"""A hand-written set of meta prompts, from `lm_eval` to `emo report` and `emo compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emo_harness.runs import read_runs
from emo_harness.stimuli import load_set
from tests.conftest import ROOT
from tests.end_to_end.test_commands import call
from tests.lm_tasks.decoded_sets import meta_entries, write_set

pytestmark = pytest.mark.slow
WEIGHTS = ROOT / "emo_harness" / "demo" / "weights"
MINI = [f"emo_bbh_mini_decoded_{name}" for name in ("navigate", "boolean_expressions", "snarks")]
TASKS = ["emo_calibration_decoded", *MINI]


def asked(program: tuple[str, ...], meta: str, out: Path, model: str = "emo-demo-lm") -> str:
    done = call(
        *program, "--model", "hf", "--model_args", f"pretrained={WEIGHTS / model}",
        "--device", "cpu", "--tasks", ",".join(TASKS), "--limit", "4", "--batch_size", "64",
        "--gen_kwargs", "max_gen_toks=4", "--log_samples", "--output_path", str(out),
        "--metadata", json.dumps({"emo": {"stimuli": meta}}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def meta(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("dec") / "meta.yaml"
    return str(write_set(path, meta_entries((0, 2, 3))))


@pytest.fixture(scope="module")
def run(meta: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    table = asked(("lm_eval",), meta, out)
    assert "acc_decoded-prompt_gain" in table and "exact_match_decoded-attack_worst" in table
    return out


def test_bare_lm_eval_asks_every_meta_prompt_and_control_and_runs_read_them_back(
    meta: str, run: Path
) -> None:
    stimuli = {s.id: s for s in load_set(meta).stimuli}
    scores = [s for s in read_runs([run], progress=False).scores if s.primary]
    assert {s.task for s in scores} == set(TASKS)
    for one in scores:
        arms = {a.id: a for a in one.arms}
        assert len(arms) == 1 + 5 + len(stimuli)
        assert {i: arms[i].decoded for i in stimuli} == {i: s.decoded for i, s in stimuli.items()}
        assert not np.isnan(one.scores).any()


def test_emo_run_asks_the_same(meta: str, run: Path, tmp_path: Path) -> None:
    asked(("emo", "run"), meta, tmp_path)
    bare, ours = (read_runs([folder], progress=False).scores for folder in (run, tmp_path))
    for theirs, mine in zip(bare, ours, strict=True):
        assert (theirs.task, theirs.arms, theirs.prompts) == (mine.task, mine.arms, mine.prompts)
        assert np.array_equal(theirs.scores, mine.scores)


def test_the_report_names_each_source_and_another_model_is_asked_and_compared(
    meta: str, run: Path, tmp_path: Path
) -> None:
    asked(("lm_eval",), meta, tmp_path / "transfer", "emo-feelings-lm")
    transfer = str(tmp_path / "transfer")
    report = call("emo", "report", str(run), transfer, "--out", str(tmp_path / "out"), "--json")
    assert report.returncode == 0, report.stderr[-2000:]
    rows = json.loads(report.stdout)
    families = {row["family"] for row in rows if row["kind"] == "family"}
    assert families == {"decoded-prompt", "decoded-attack"}
    assert {row["model"] for row in rows} == {"emo-demo-lm", "emo-feelings-lm"}
    controls = {row["stimulus"] for row in rows if row["kind"] == "placebo"}
    assert {"random-prompt-l02", "neutral-l03", "shuffled-attack-l00", "neutral-5"} <= controls
    compared = call("emo", "compare", str(run), transfer, "--json")
    assert compared.returncode == 0, compared.stderr[-2000:]
    both = {(row["benchmark"], row["family"]) for row in json.loads(compared.stdout)}
    assert {(b, f) for b in ("calibration", "bbh_mini") for f in families} <= both


def test_without_a_set_the_command_says_how_to_make_one(tmp_path: Path) -> None:
    done = call("lm_eval", "--model", "dummy", "--tasks", TASKS[0], "--output_path", str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "emo decode" in done.stderr and "DIR/meta.yaml" in done.stderr
