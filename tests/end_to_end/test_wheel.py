"""The wheel, installed beside lm-eval in a fresh environment, makes bare lm_eval know our tasks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import lm_eval
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "demo-out", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation",
         "--quiet", "--wheel-dir", str(folder)],
        check=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def fresh_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with lm-eval and our wheel; third-party packages are lent by path."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = Path(
        subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
    )  # fmt: skip
    # lm-eval itself must lie in the same site folder as our overlay.
    no_overlay = shutil.ignore_patterns("emo_harness", "__pycache__")
    shutil.copytree(Path(lm_eval.__file__).parent, site / "lm_eval", ignore=no_overlay)
    subprocess.run(
        [str(python), "-m", "pip", "install", "--no-deps", "--quiet", "--no-index", str(wheel)],
        check=True,
    )
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def test_wheel_carries_overlay_resources_and_weights(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    overlay = [n for n in names if n.startswith("lm_eval/tasks/emo_harness/")]
    assert len([n for n in overlay if n.endswith("/emo_bbh_attack.yaml")]) == 1
    for needed in (
        "emo_harness/_resources/tasks/bbh.yaml",
        "emo_harness/_resources/templates/stimuli/attack.yaml",
        "emo_harness/_resources/templates/images/attack.yaml",
        "emo_harness/_resources/stimuli_images/README.md",
        "emo_harness/_resources/stimuli_images/emoji/OFL.txt",
        "emo_harness/_resources/stimuli_images/emoji/fear-1-twin.png",
        "emo_harness/_resources/stimuli_images/emoji/manifest.jsonl",
        "emo_harness/demo/weights/emo-demo-lm/model.safetensors",
    ):
        assert needed in names
    assert not [n for n in names if n.startswith("lm_eval/") and n not in overlay]


def test_bare_lm_eval_runs_our_task_from_the_wheel(fresh_python: Path, tmp_path: Path) -> None:
    model = fresh_python.parent.parent
    where = subprocess.run(
        [str(fresh_python), "-c", "import emo_harness; print(emo_harness.__file__)"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert where.startswith(str(model))
    weights = Path(where.strip()).parent / "demo" / "weights" / "emo-demo-lm"
    done = subprocess.run(
        [str(fresh_python), "-m", "lm_eval", "--model", "hf", "--model_args",
         f"pretrained={weights}", "--tasks", "emo_bbh_mini_attack_navigate", "--limit", "1",
         "--device", "cpu", "--gen_kwargs", "max_gen_toks=4", "--log_samples",
         "--metadata", '{"emo": {"stimuli": ["ea01"]}}', "--output_path", str(tmp_path / "out")],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())
    config = results["configs"]["emo_bbh_mini_attack_navigate"]
    assert config["metadata"]["config_source"].startswith(str(fresh_python.parent.parent))
