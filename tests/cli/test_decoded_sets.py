"""What `emo stimuli` and `emo tasks` tell of decoded sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import emo
from tests.lm_tasks.decoded_sets import decoding, entry, meta_entries, write_set


@pytest.fixture
def meta(tmp_path: Path) -> str:
    return str(write_set(tmp_path / "meta.yaml", meta_entries((0, 7))))


def test_a_decoded_set_shows_what_was_decoded_and_where(meta: str) -> None:
    lines = emo("stimuli", "show", meta, "ea01").stdout.splitlines()
    cells = {
        row[1]: row for row in ([c.strip() for c in ln.split("│")] for ln in lines) if len(row) > 2
    }
    assert cells["decoded-prompt-l07"][2:6] == ["meta", "prompt", "contrast", "7 of 40"]
    assert cells["random-attack-l00"][2:6] == ["random", "attack", "mean", "0 of 40"]
    assert cells["neutral-l07"][2:4] == ["neutral", "placebo"]
    assert cells["ea01"][2:6] == ["stimulus", "attack", "", ""]


def test_tokens_that_did_not_survive_and_likeness_to_the_placebo_are_shown(tmp_path: Path) -> None:
    made = {**entry("prompt", 3), "decoded": decoding("prompt", 3, lost=[0, 2], overlap=0.75)}
    shown = emo("stimuli", "show", str(write_set(tmp_path / "meta.yaml", [made]))).stdout
    (row,) = (ln for ln in shown.splitlines() if "decoded-prompt-l03" in ln)
    assert [c.strip() for c in row.split("│")][6:8] == ["75%", "2"]


def test_yaml_and_json_keep_how_each_was_decoded(meta: str, tmp_path: Path) -> None:
    copied = tmp_path / "copied.yaml"
    copied.write_text(emo("stimuli", "show", meta, "--yaml").stdout, "utf-8")
    shown, again = (
        json.loads(emo("stimuli", "show", str(path), "--json").stdout) for path in (meta, copied)
    )
    assert shown == again and len(shown) == 18
    assert shown[0]["decoded"]["layer"] == 0 and shown[0]["decoded"]["source"] == "prompt"
    (told,) = json.loads(emo("stimuli", "validate", str(copied), "--json").stdout)
    assert (told["family"], told["n_stimuli"], told["n_placebos"]) == ("decoded", 18, 14)


def test_lists_tell_that_decoded_sets_are_made_and_not_shipped() -> None:
    assert "emo decode" in emo("stimuli", "list").stdout
    tasks = emo("tasks", "list").stdout
    needing = {line.split()[0] for line in tasks.splitlines() if "needs a set" in line}
    assert needing == {
        "emo_bbh_decoded",
        "emo_bbh_mc_decoded",
        "emo_bbh_cot_decoded",
        "emo_bbh_mini_decoded",
        "emo_calibration_decoded",
    }
    assert """--metadata '{"emo": {"stimuli": "DIR/meta.yaml"}}'""" in tasks
    assert set(needing) < set(json.loads(emo("tasks", "list", "--json").stdout))
