"""Pages of small, partial and empty reports: what is unknown is told so, nothing breaks."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from emo_harness.report.contents import ReportContents
from emo_harness.report.page_numbers import tables
from emo_harness.report.sections import sections
from tests.report.parsed_page import ParsedPage, written
from tests.report.synthetic import contents, with_questions


def test_a_part_of_the_questions_is_stamped(tmp_path: Path) -> None:
    stamp = "NOT FOR REPORTING"
    made = contents(models=1, subtasks=1, stimuli=2, flips=0)
    assert stamp not in written(made, tmp_path / "whole")[0]
    limited = replace(made, claims=tuple(replace(c, limited=True) for c in made.claims))
    assert stamp in written(limited, tmp_path / "part")[0]


def test_a_small_report_has_no_empty_parts(tmp_path: Path) -> None:
    made = contents(models=1, subtasks=1, stimuli=1, per_subtask=6, flips=0)
    found = sections(made)
    assert not {"map", "subtasks", "flips", "ablations"} & {section.id for section in found}
    assert all(section.blocks for section in found)
    assert all(table.rows for table in tables(found))
    written(made, tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("subtasks", [1, 3])
@pytest.mark.parametrize("n", [0, 1])
def test_one_question_or_none_is_a_page_of_unknowns(
    n: int, subtasks: int, models: int, tmp_path: Path
) -> None:
    made = with_questions(
        contents(models=models, subtasks=subtasks, stimuli=3, flips=0, ablations=True), n
    )
    page = ParsedPage(written(made, tmp_path)[0])
    assert (
        page.text.count("unknown, as 1 question is too few" if n else "No question of 1") == models
    )
    heading, *rows = page.tables["leaderboard-table"]
    assert {row[heading.index("verdict")] for row in rows} == {"? unknown"}
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())
    assert all(section.blocks for section in sections(made))


@pytest.mark.filterwarnings("error")
def test_a_model_without_scores_stands_last_and_has_no_place(tmp_path: Path) -> None:
    made = with_questions(contents(models=3, subtasks=3, stimuli=4, flips=0), 0, n_claims=1)
    page = ParsedPage(written(made, tmp_path)[0])
    heading, *rows = page.tables["leaderboard-table"]
    assert [row[0] for row in rows][-1] == made.claims[0].label
    assert [row[heading.index("place")] == "–" for row in rows] == [False, False, True]
    assert "No question of 1" in page.text


def test_models_of_unlike_footing_are_counted_apart(tmp_path: Path) -> None:
    made = contents(models=3, subtasks=2, stimuli=2, flips=0)
    counts = (2, 2, 1)
    rows = [replace(r, n_models=n) for r, n in zip(made.leaderboard, counts, strict=True)]
    page = ParsedPage(written(replace(made, leaderboard=tuple(rows)), tmp_path)[0])
    heading, *shown = page.tables["leaderboard-table"]
    assert [row[heading.index("place")][-1] for row in shown] == ["2", "2", "1"]
    assert "asked alike" in page.text


def test_a_run_of_placebos_alone_is_told_and_stamped(tmp_path: Path) -> None:
    made = contents(models=2, subtasks=3, stimuli=2, flips=0, limited=True)
    rows = tuple(row for row in made.rows if row.kind == "placebo")
    made = replace(made, rows=rows, claims=(), leaderboard=())
    page = ParsedPage(written(made, tmp_path)[0])
    assert "NOT FOR REPORTING" in page.text and "No stimulus was asked" in page.text
    assert len(page.tables["validity-placebos"]) == 1 + 2 * 5
    assert len(page.tables["validity-arms"]) == 1 + 2 * 6
    assert "2 models · bbh · placebo" in page.text


def test_stimuli_of_one_length_are_drawn_above_it(tmp_path: Path) -> None:
    made = contents(models=2, subtasks=2, stimuli=3, flips=0)
    rows = [replace(r, length=7.0, demand="", arousal_rank=math.nan) for r in made.rows]
    markup, _ = written(replace(made, rows=tuple(rows)), tmp_path)
    drawing = markup[markup.index('<figure id="stimuli-') :]
    drawing = drawing[: drawing.index("</svg>")]
    assert re.findall(r">(\d+)</text>", drawing).count("7") == 1 and ">length, tokens<" in drawing


def test_nothing_to_tell_is_still_a_page(tmp_path: Path) -> None:
    empty = ReportContents((), (), (), (), 0, (), (), 1.0, (), (), "")
    assert "<!doctype html>" in written(empty, tmp_path)[0]
