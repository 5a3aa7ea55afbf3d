from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EMO = [sys.executable, "-c", "from emo_harness.cli.main import main; main()"]


def emo(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EMO, *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    "command",
    [
        ("report",),
        ("calibrate",),
        ("stimuli", "list"),
        ("stimuli", "show"),
        ("stimuli", "validate"),
        ("tasks", "list"),
        ("tasks", "path"),
    ],
)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    done = emo(*command, "--help")
    assert done.returncode == 0 and "Example" in done.stdout


def test_stimuli_in_json() -> None:
    sets = json.loads(emo("stimuli", "list", "--json").stdout)
    assert [s["name"] for s in sets] == ["prompt", "attack", "negative", "placebo"]
    shown = json.loads(emo("stimuli", "show", "ep02+ep07", "ea01", "--json").stdout)
    assert [s["id"] for s in shown] == ["ep02+ep07", "ea01"]


def test_markup_in_a_sentence_is_shown_as_it_is() -> None:
    done = emo("stimuli", "show", "[/red] hello [bold]there[/bold]")
    assert done.returncode == 0 and "[/red] hello [bold]there[/bold]" in done.stdout


def test_a_shipped_set_can_be_copied_edited_and_validated(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(emo("stimuli", "show", "attack", "--yaml").stdout)
    (told,) = json.loads(emo("stimuli", "validate", str(path), "--json").stdout)
    assert told["n_stimuli"] == 22 and told["family"] == "attack"


@pytest.mark.parametrize(
    "arguments",
    [
        ("stimuli", "show", "ea99"),
        ("stimuli", "validate", "nowhere.yaml"),
        ("report", "nowhere"),
        ("run", "--tasks", "emo_bbh_atack", "--model", "dummy"),
        ("run", "--tasks", "emo_bbh_mini_attack", "--model", "nope"),
        ("run", "--tasks", "emo_bbh_mini_attack", "--metadata", "{broken"),
        ("run", "--tasks", "emo_bbh_mini_attack", "--log_samples"),
        ("run", "--config", "nowhere.yaml"),
        ("run",),
        ("stimuli", "show", "a" * 300),
        ("calibrate", "--questions", "1000000"),
    ],
)
def test_user_mistakes_end_in_one_block_and_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = emo(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_calibrate_in_json() -> None:
    told = json.loads(emo("calibrate", "--draws", "50", "--json").stdout)
    assert told["n_stored"] == 20_000
    assert {arm["stimulus"] for arm in told["arms"]} > {"ea01", "ep02", "neutral-5", "(family)"}


def test_report_prints_its_table_and_writes_its_files(mini_run: Path, tmp_path: Path) -> None:
    done = emo("report", str(mini_run), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "attack: mean of 3" in done.stdout and "effects.csv" in done.stdout
    rows = json.loads(emo("report", str(mini_run), "--out", str(tmp_path / "out"), "--json").stdout)
    assert any(r["stimulus"] == "ea01" and r["gain_pp"] == -100 for r in rows)
    assert all(r["truncated_arm_pct"] is None for r in rows)
