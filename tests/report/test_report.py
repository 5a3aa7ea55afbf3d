from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from emo_harness.errors import UserError
from emo_harness.report import EffectRow, effect_rows, markdown, write_exports
from emo_harness.report.exports import reported_tables
from emo_harness.runs import find_tasks, read_scores
from tests.conftest import answers_mini, build_task, write_run


def rows_of(folder: Path) -> list[EffectRow]:
    return effect_rows([s for t in find_tasks([folder]) for s in read_scores(t)])


def test_table_has_families_stimuli_and_placebos_for_all_and_each_subtask(mini_run: Path) -> None:
    rows = [r for r in rows_of(mini_run) if r.primary]
    assert [r.subtask for r in rows] == ["(all)"] * 9 + ["boolean_expressions"] * 9 + [
        "navigate"
    ] * 9
    whole = {r.stimulus: r for r in rows[:9]}
    assert whole["(family)"].n_stimuli == 3 and whole["(family)"].n_questions == 6
    assert whole["(family)"].gain_pp == pytest.approx(-200 / 3)
    assert whole["ea01"].gain_pp == whole["ea01"].gain_vs_placebo_pp == -100
    assert whole["ea03"].gain_pp == 0 and whole["ea03"].gain_low_pp < 0 < whole["ea03"].gain_high_pp
    assert whole["ea02"].unparsed_arm_pct == 100 and whole["ea02"].unparsed_control_pct == 0
    assert math.isnan(whole["ea01"].truncated_arm_pct)
    assert whole["self-check"].kind == "placebo" and math.isnan(
        whole["self-check"].gain_vs_placebo_pp
    )


def test_family_gain_equals_lm_evals_own_mean_gain(mini_run: Path) -> None:
    import json

    results = json.loads(next(mini_run.rglob("results_*.json")).read_text())["results"]
    for row in rows_of(mini_run):
        if row.kind == "family" and row.subtask != "(all)":
            theirs = results[f"emo_bbh_mini_attack_{row.subtask}"]
            assert row.gain_pp == pytest.approx(100 * theirs[f"exact_match_gain,{row.filter}"])


def test_each_stimulus_is_held_against_the_neutral_placebo_nearest_in_length(
    mini_run: Path,
) -> None:
    by_id = {r.stimulus: r for r in rows_of(mini_run)}
    assert by_id["ea01"].length_unit == "words" and by_id["ea01"].length == 5
    assert by_id["ea01"].placebo == "neutral-5"
    assert by_id["(family)"].placebo == "(mean)"


def test_files_hold_every_row_and_appear_whole(mini_run: Path, tmp_path: Path) -> None:
    rows = rows_of(mini_run)
    files = write_exports(rows, tmp_path / "new" / "report")
    assert [f.name for f in files] == ["effects.csv", "effects.parquet", "effects.md"]
    assert sorted(p.name for p in files[0].parent.iterdir()) == sorted(f.name for f in files)
    csv, parquet = pd.read_csv(files[0]), pd.read_parquet(files[1])
    assert len(csv) == len(parquet) == len(rows)
    assert list(csv.columns) == list(parquet.columns) == list(EffectRow.__dataclass_fields__)
    assert "| ea01 | 6 | 100.0 | 0.0 | -100.0" in files[2].read_text()


def test_an_unwritable_folder_is_told(mini_run: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="writing the report"):
        write_exports(rows_of(mini_run), blocked)


def test_hostile_text_cannot_break_a_markdown_table(tmp_path: Path) -> None:
    task = build_task("emo_bbh_mini_attack_navigate", stimuli="A | pipe <script> `x`", placebos=1)
    rows = rows_of(write_run(tmp_path, [task], lambda prompt: "Yes | <b>"))
    widths = {line.count("|") for line in markdown(rows).splitlines() if line.startswith("|")}
    assert widths == {9}


def test_runs_that_differ_in_settings_or_stimuli_are_never_put_together(
    mini_run: Path, tmp_path: Path
) -> None:
    task = build_task("emo_bbh_mini_attack_navigate", stimuli=["ea01"], placebos=1)
    other_stimuli = write_run(tmp_path / "a", [task], answers_mini)
    names = ("boolean_expressions", "navigate")
    emo = {"stimuli": ["ea01", "ea02", "ea03"]}
    tasks = [build_task(f"emo_bbh_mini_attack_{name}", **emo) for name in names]
    instructed = write_run(tmp_path / "b", tasks, answers_mini, system_instruction="Hurry.")
    found = find_tasks([mini_run, other_stimuli, instructed])
    rows = effect_rows([s for t in found for s in read_scores(t)])
    tables = dict(reported_tables(rows))
    assert len(tables) == 3
    assert sum("system_instruction=Hurry." in title for title in tables) == 1
    assert sorted(table[0].n_questions for table in tables.values()) == [3, 6, 6]
