"""The README's part on what stimuli mean inside, as a user types it, on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emo_harness.stimuli import load_set
from tests.end_to_end.test_commands import MODEL, call

pytestmark = pytest.mark.slow


def run(*arguments: str) -> str:
    done = call(*arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("decoded") / "decoded"
    run("emo", "decode", "prompt", "attack", "--model", "emo-demo", "--out", str(out))
    return out


def asked(out: Path, task: str, emo: dict[str, object]) -> None:
    run(
        *("emo", "run", "--model", "emo-hf", "--model_args", f"pretrained={MODEL}"),
        *("--tasks", task, "--metadata", json.dumps({"emo": emo}), "--device", "cpu"),
        *("--log_samples", "--output_path", str(out)),
    )


def test_the_last_layer_decodes_to_words_of_the_stimuli_it_was_trained_on(decoded: Path) -> None:
    found = {s.id: s.text for s in load_set(decoded / "meta.yaml").stimuli}
    for source in ("prompt", "attack"):
        own = " ".join(s.text.lower() for s in load_set(source).stimuli)
        last = max(i for i in found if i.startswith(f"decoded-{source}-l"))
        words = found[last].split()
        assert sum(word in own for word in words) > len(words) / 2


def test_decode_ask_attribute_report(decoded: Path, tmp_path: Path) -> None:
    meta = str(decoded / "meta.yaml")
    plain, own = tmp_path / "runs", tmp_path / "runs-decoded"
    asked(plain, "emo_calibration_attack", {"questions": 12, "stimuli": ["ea01", "ea14"]})
    asked(own, "emo_calibration_decoded", {"questions": 12, "stimuli": meta})
    run("emo", "attribute", str(plain), "--questions", "4", "--flips", "2")
    run("emo", "decode", "attack", "--run", str(plain), "--questions", "4")
    run("emo", "report", str(plain), str(own), "--out", str(tmp_path / "report"))
    assert {p.name for p in (plain / "posthoc").iterdir()} >= {
        *("attribution.json", "attribution.parquet"),
        *("decode.json", "decode.parquet", "meta.yaml"),
    }
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    sections = {section["id"] for section in told["sections"]}
    assert sections >= {"decoded", "attribution"}
