from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from emo_harness.errors import UserError
from emo_harness.report import EffectRow, Report, build, markdown, write_report
from emo_harness.report.effect_text import reported_tables
from emo_harness.report.freshness import REPORT_FILES
from emo_harness.runs import read_runs
from tests.conftest import answers_mini, build_task, write_run


def report_of(*folders: Path) -> Report:
    return build(read_runs(folders, progress=False))


def rows_of(*folders: Path) -> list[EffectRow]:
    return [row for row in report_of(*folders).contents.rows if row.kind != "theory"]


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
    made = report_of(mini_run)
    rows = made.contents.rows
    files = write_report(made, tmp_path / "new" / "report")
    assert [f.name for f in files] == list(REPORT_FILES)
    assert sorted(p.name for p in files[0].parent.iterdir()) == sorted(f.name for f in files)
    csv, parquet = pd.read_csv(files[2]), pd.read_parquet(files[3])
    assert len(csv) == len(parquet) == len(rows)
    assert list(csv.columns) == list(parquet.columns) == list(EffectRow.__dataclass_fields__)
    assert "| ea01 | 6 | 100.0 | 0.0 | -100.0" in files[4].read_text()


def test_an_unwritable_folder_is_told(mini_run: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="writing the report"):
        write_report(report_of(mini_run), blocked)


def test_hostile_text_cannot_break_a_markdown_table(tmp_path: Path) -> None:
    task = build_task("emo_bbh_mini_attack_navigate", stimuli="A | pipe <script> `x`", placebos=1)
    rows = rows_of(write_run(tmp_path, [task], lambda prompt: "Yes | <b>"))
    widths = {line.count("|") for line in markdown(rows).splitlines() if line.startswith("|")}
    assert widths == {9}


def test_runs_that_differ_in_settings_are_never_put_together(
    mini_run: Path, tmp_path: Path
) -> None:
    names = ("boolean_expressions", "navigate")
    emo = {"stimuli": ["ea01", "ea02", "ea03"]}
    tasks = [build_task(f"emo_bbh_mini_attack_{name}", **emo) for name in names]
    instructed = write_run(tmp_path / "b", tasks, answers_mini, system_instruction="Hurry.")
    tables = dict(reported_tables(rows_of(mini_run, instructed)))
    assert len(tables) == 2
    assert sum("system_instruction=Hurry." in title for title in tables) == 1
    assert [table[0].n_questions for table in tables.values()] == [6, 6]


def test_flips_are_read_back_with_prompts_and_answers(mini_run: Path) -> None:
    made = report_of(mini_run)
    contents = made.contents
    assert contents.n_flips == len(made.flips) == 6
    assert set(made.flips["kind"]) == {"broke"} and set(made.flips["n_stimuli"]) == {2}
    assert len(contents.flips) == 6
    for flip in contents.flips:
        assert (flip.n_stimuli, flip.of_stimuli, flip.stimulus) == (2, 3, "ea01")
        assert flip.stimulus_text in flip.prompt_arm
        assert flip.stimulus_text not in flip.prompt_control
        assert flip.answer_control == flip.target != flip.answer_arm


def test_leaderboards_escape_what_markdown_and_latex_would_read(tmp_path: Path) -> None:
    task = build_task("emo_bbh_mini_attack_navigate", stimuli="A & B", placebos=1)
    made = report_of(write_run(tmp_path, [task], answers_mini, gen_kwargs={"until": ["|&_%"]}))
    write_report(made, tmp_path / "out")
    tex = (tmp_path / "out" / "leaderboard.tex").read_text()
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    body = [line for line in tex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.replace(r"\&", "").count("&") for line in body} == {5}
